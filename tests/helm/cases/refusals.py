"""Values that cannot work: each is refused, with a message that says what is wrong."""

import unittest

from .chart import template

BIG = 1 << 40

# (name, preset, values over it by their paths, what the refusal says)
REFUSED = [
    # By the schema.
    ("unknown_value", "minimal", {"gatway": {}}, "additional properties 'gatway' not allowed"),
    ("unknown_setting", "minimal", {"gateway.config.pong_ms": 1}, "'pong_ms' not allowed"),
    ("unknown_shared_setting", "minimal", {"config.limits.events": 1}, "'events' not allowed"),
    ("setting_out_of_bounds", "minimal", {"gateway.config.ping_ms": 10}, "minimum: got 10, want 1,000"),
    ("setting_that_the_chart_makes", "minimal", {"gateway.config.listen": "0.0.0.0:1"}, "'listen' not allowed"),
    ("secret_as_a_value", "minimal", {"config.auth.secret": "ssssssssssssssssssssssssssssssssssssssss"},
     "'secret' not allowed"),
    ("password_in_a_host", "minimal", {"redis.external.hosts": ["user:password@redis:6379"]}, "does not match pattern"),
    ("host_without_port", "ha", {"redis.external.hosts": ["redis.example.com"]}, "does not match pattern"),
    ("exposure", "minimal", {"gateway.exposure.type": "nodePort"}, "value must be one of"),
    ("memory_without_limit", "minimal", {"gateway.resources.limits.memory": None}, "missing property 'memory'"),
    ("memory_in_odd_units", "minimal", {"gateway.resources.limits.memory": "512M"}, "does not match pattern"),
    ("no_pods", "minimal", {"gateway.replicas": 0}, "minimum: got 0, want 1"),
    ("ingress_that_cuts_streams", "ingress", {"gateway.exposure.ingress.timeoutSeconds": 5}, "minimum: got 5, want 60"),
    # By checks.yaml.
    ("no_image", "minimal", {"image.repository": ""}, "image.repository: name the image"),
    ("no_credentials", "minimal", {"auth.secret.name": ""}, "auth: nothing says where credentials come from"),
    ("idle_webhook_secret", "minimal", {"auth.webhookSecret.name": "x"}, "auth.webhookSecret: of no use"),
    ("no_redis", "minimal", {"redis.inChart.enabled": False}, "redis: none is named"),
    ("two_redis", "ha", {"redis.inChart.enabled": True}, "redis: both are enabled"),
    ("no_hosts", "ha", {"redis.external.hosts": [], "redis.external.username": "", "redis.external.passwordSecret.name": ""},
     "name its hosts, or urlSecret"),
    ("url_beside_hosts", "ha", {"redis.external.urlSecret.name": "x"}, "urlSecret is the whole URL"),
    ("single_with_hosts", "ha", {"redis.external.hosts": ["a:1", "b:1"]}, "mode single takes one host"),
    ("sentinel_without_name", "sentinel-tls", {"redis.external.masterName": ""},
     "masterName: needed with mode sentinel"),
    ("name_without_sentinel", "ha", {"redis.external.masterName": "m"}, "masterName: needed with mode sentinel"),
    ("database_of_a_cluster", "external-cluster", {"redis.external.database": 1}, "a cluster has database 0 alone"),
    ("sentinel_account_alone", "ha", {"redis.external.sentinel.username": "x"}, "of no use with mode single"),
    ("idle_redis_certificate", "external-cluster", {"redis.external.tls.certSecret": "x"},
     "of no use unless tls.enabled"),
    ("grace_too_short", "minimal", {"gateway.terminationGracePeriodSeconds": 65},
     "gateway.terminationGracePeriodSeconds = 65: .* must be at least 66"),
    ("drain_too_long", "minimal", {"ingest.config.drain_ms": 40000},
     "ingest.terminationGracePeriodSeconds = 45: .* must be at least 46"),
    ("notice_takes_all", "minimal", {"gateway.config.drain_notice_ms": 58000},
     "leaves 2000 for telling viewers where to go, which needs 5000"),
    ("requests_cut", "minimal", {"ingest.config.deadline_ms": 25000},
     r"leaves 20000 for requests in work \(deadline_ms\), which needs 25000"),
    ("ring_over_budget", "minimal", {"gateway.config.ring_bytes_max": BIG},
     "gateway.config.ring_bytes_max = .* more than the whole budget"),
    ("limit_below_pages", "minimal", {"gateway.resources.limits.memory": "128Mi"},
     "pages_bytes_max = 67108864 is more than the whole budget of 33554432"),
    ("budget_over_limit", "minimal", {"gateway.config.memory_bytes_max": BIG},
     "more than half of resources.limits.memory"),
    ("ingest_without_room", "minimal", {"ingest.resources.limits.memory": "256Mi"},
     "ingest.resources.limits.memory = 256Mi: .* need 320Mi"),
    ("least_over_most", "ha", {"gateway.autoscaling.maxReplicas": 2}, "minReplicas = 3 is more than maxReplicas = 2"),
    ("nothing_to_scale_by", "external-cluster", {"ingest.autoscaling.cpuUtilization": None}, "nothing to scale by"),
    ("part_of_no_request", "external-cluster", {"ingest.resources.requests.cpu": None},
     "is a part of resources.requests.cpu"),
    ("all_evicted", "ha", {"gateway.podDisruptionBudget.maxUnavailable": 3}, "lets all of 3 pods be evicted at once"),
    ("no_rollout", "ha", {"ingest.rollout.maxSurge": 0}, "no pod could ever be replaced"),
    ("no_certificate", "external-cluster", {"gateway.tls.secretName": ""}, "gateway.tls: no certificate"),
    ("two_certificates", "ha", {"gateway.tls.secretName": "x"}, "name two certificates"),
    ("no_issuer", "ha", {"gateway.tls.certManager.issuerRef.name": ""}, "who signs the certificate"),
    ("certificate_for_nobody", "ha", {"gateway.exposure.hosts": []}, "a certificate for no name"),
    ("idle_tickets", "minimal", {"gateway.tls.ticketSecret.name": "x"}, "of no use unless tls.enabled"),
    ("plain_to_the_world", "minimal", {"gateway.exposure.type": "loadBalancer"},
     "tlsAt = pod, but tls.enabled = false"),
    ("balancer_and_pods", "ha", {"gateway.exposure.loadBalancer.tlsAt": "balancer"},
     "tlsAt = balancer, but tls.enabled = true"),
    ("route_for_no_host", "ingress", {"gateway.exposure.hosts": []}, "needs the names that it routes by"),
    ("plain_to_tls", "ingress", {"gateway.exposure.ingress.backend": "plain", "gateway.exposure.ingress.verifyCASecret": ""},
     "backend = plain, but tls.enabled = true"),
    ("verify_nothing", "ingress", {"ingest.exposure.ingress.verifyCASecret": "a/b"},
     "nothing to verify with backend plain"),
    ("tls_route_to_plain", "gateway-api", {"ingest.exposure.gatewayAPI.route": "TLSRoute"},
     "route = TLSRoute, but tls.enabled = false"),
    ("no_gateway", "gateway-api", {"gateway.exposure.gatewayAPI.parentRefs": []}, "parentRefs: which Gateway"),
    ("proxy_without_addresses", "ingress", {"gateway.config.trusted_proxies": []},
     "gateway.config.trusted_proxies: a proxy stands before"),
    ("proxy_protocol_of_nobody", "ha", {"gateway.config.proxy_protocol": True},
     "gateway.config.trusted_proxies: a proxy stands before"),
    ("client_certificates_at_a_proxy", "gateway-api", {"ingest.tls.enabled": True, "ingest.tls.secretName": "x", "ingest.tls.clientCA.name": "ca"},
     "runners' certificates end at the proxy"),
    ("test_under_another_name", "ha", {"tests.tokenSecret.name": "x"}, "tests.ingestUrl: with ingest.tls"),
    ("idle_test_url", "minimal", {"tests.ingestUrl": "http://x"}, "tests.ingestUrl: of no use"),
]


def nested(values):
    """{"a.b": 1} as {"a": {"b": 1}}."""
    tree = {}
    for path, value in values.items():
        *parents, last = path.split(".")
        place = tree
        for name in parents:
            place = place.setdefault(name, {})
        place[last] = value
    return tree


class Refusals(unittest.TestCase):
    pass


def _case(preset, values, message):
    def test(self):
        made = template(preset, nested(values))
        self.assertNotEqual(made.returncode, 0, "it was rendered")
        self.assertRegex(made.stderr.replace("\n", " "), message)

    return test


for _name, *_rest in REFUSED:
    setattr(Refusals, f"test_{_name}", _case(*_rest))
