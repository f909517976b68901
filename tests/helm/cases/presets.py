"""Each preset: linted, rendered as its golden file says, sound by the schemas of Kubernetes, sound in itself, and with a
configuration that the binary takes."""

import os
import pathlib
import re
import shutil
import tempfile
import unittest

import kubernetes_validate
import yaml

from . import kubelet
from .chart import (CHART, GOLDEN, NAMESPACE, PRESETS, RELEASE, documents, helm, is_selected, of_kind, pod_specs, rendered,
                    reviewed, run, template, tool, values_of)

# The oldest that Chart.yaml names, and the newest that there are schemas for.
VERSIONS = ("1.27", "1.34")
# What other projects define: held against their own types, strictly.
FOREIGN = {"Certificate", "HTTPRoute", "PrometheusRule", "ServiceMonitor", "TLSRoute"}
WHO_SELECTS = {"NetworkPolicy": "podSelector", "PodDisruptionBudget": "selector"}
SERVICES = {"gateway", "ingest"}


class Cases:
    """Mixed into one class for each preset."""

    preset = ""

    def test_lint(self):
        made = run(helm(), "lint", "--strict", "--namespace", NAMESPACE, "--values", values_of(self.preset), CHART)
        self.assertEqual(made.returncode, 0, made.stdout + made.stderr)

    def test_golden(self):
        golden = GOLDEN / f"{self.preset}.yaml"
        if os.environ.get("UPDATE_GOLDEN"):
            golden.parent.mkdir(exist_ok=True)
            golden.write_text(reviewed(self.preset))
        self.maxDiff = None
        self.assertEqual(golden.read_text(), reviewed(self.preset), "if this is wanted: UPDATE_GOLDEN=1 tests/helm/run")

    def test_files_are_carried_whole(self):
        (rules,) = [document["spec"] for document in of_kind(self.preset, "PrometheusRule")] or [None]
        self.assertIn(rules, (None, yaml.safe_load((CHART / "files/rules.yaml").read_text())))
        carried = {}
        for document in of_kind(self.preset, "ConfigMap"):
            if document["metadata"]["labels"]["app.kubernetes.io/component"] == "dashboards":
                carried |= document["data"]
        files = {path.name: path.read_text() for path in (CHART / "files/dashboards").glob("*.json")}
        self.assertIn(carried, ({}, files))
        self.assertEqual(bool(carried), bool(rules), "the presets have both or none")

    def test_schemas_of_kubernetes(self):
        for document in documents(self.preset):
            if document["kind"] in FOREIGN:
                continue
            for version in VERSIONS:
                kubernetes_validate.validate(document, version, strict=True)

    def test_types_of_other_projects(self):
        made = run(tool("foreign"), input=rendered(self.preset))
        self.assertEqual(made.stdout, f"{len(of_kind(self.preset, *FOREIGN))} decoded\n")

    def test_names_are_used_once_and_carry_labels(self):
        names = [(document["kind"], document["metadata"]["name"]) for document in documents(self.preset)]
        self.assertEqual(len(names), len(set(names)))
        for document in documents(self.preset):
            labels = document["metadata"]["labels"]
            self.assertEqual(labels["app.kubernetes.io/instance"], RELEASE)
            wanted = {"app.kubernetes.io/name", "app.kubernetes.io/component", "helm.sh/chart"}
            self.assertLessEqual(wanted, labels.keys())

    def test_pods_are_restricted(self):
        for name, (_, pod) in pod_specs(self.preset).items():
            with self.subTest(name):
                security = pod["securityContext"]
                self.assertTrue(security["runAsNonRoot"])
                self.assertGreater(security["runAsUser"], 0)
                self.assertEqual(security["seccompProfile"]["type"], "RuntimeDefault")
                self.assertFalse(pod["automountServiceAccountToken"])
                for container in pod["containers"]:
                    security = container["securityContext"]
                    self.assertFalse(security["allowPrivilegeEscalation"])
                    self.assertTrue(security["readOnlyRootFilesystem"])
                    self.assertEqual(security["capabilities"], {"drop": ["ALL"]})
                    self.assertIn("memory", container["resources"]["limits"])

    def test_probes_differ_and_ask_ports_that_exist(self):
        for name, (labels, pod) in pod_specs(self.preset).items():
            component = labels["app.kubernetes.io/component"]
            if component not in SERVICES:
                continue
            (container,) = pod["containers"]
            ports = {port["name"] for port in container["ports"]}
            asked = {probe: container[f"{probe}Probe"]["httpGet"] for probe in ("startup", "liveness", "readiness")}
            self.assertEqual({probe: get["path"] for probe, get in asked.items()},
                             {"startup": "/livez", "liveness": "/livez", "readiness": "/readyz"}, name)
            self.assertTrue({get["port"] for get in asked.values()} <= ports)

    def test_selectors_find_pods(self):
        pods = [labels for labels, _ in pod_specs(self.preset).values()]
        for document in of_kind(self.preset, *WHO_SELECTS, "Service"):
            selector = document["spec"].get(WHO_SELECTS.get(document["kind"], "selector"))
            selector = selector.get("matchLabels", selector)
            found = [labels for labels in pods if is_selected(selector, labels)]
            self.assertEqual(len(found), 1, f"{document['kind']} {document['metadata']['name']}")

    def test_services_reach_ports_of_their_pods(self):
        for service in of_kind(self.preset, "Service"):
            (ports,) = ({port["name"] for port in pod["containers"][0]["ports"]}
                        for labels, pod in pod_specs(self.preset).values()
                        if is_selected(service["spec"]["selector"], labels))
            for port in service["spec"]["ports"]:
                self.assertIn(port["targetPort"], ports)

    def test_admin_ports_stay_inside(self):
        for service in of_kind(self.preset, "Service"):
            targets = {port["targetPort"] for port in service["spec"]["ports"]}
            if "admin" in targets:
                self.assertEqual((service["spec"]["type"], targets), ("ClusterIP", {"admin"}))
        for policy in of_kind(self.preset, "NetworkPolicy"):
            for rule in policy["spec"]["ingress"]:
                if {"port": "admin"} in rule["ports"]:
                    self.assertTrue(rule["from"], policy["metadata"]["name"])

    def test_every_pod_has_a_policy_both_ways(self):
        policies = of_kind(self.preset, "NetworkPolicy")
        for name, (labels, _) in pod_specs(self.preset).items():
            (policy,) = (policy["spec"] for policy in policies
                         if is_selected(policy["spec"]["podSelector"]["matchLabels"], labels))
            self.assertEqual(policy["policyTypes"], ["Ingress", "Egress"], name)

    def test_policies_let_talk_who_must_talk(self):
        pods = {labels["app.kubernetes.io/component"]: labels for labels, _ in pod_specs(self.preset).values()}
        policies = of_kind(self.preset, "NetworkPolicy")

        def lets(direction, peers, pod, other, port):
            """Whether the pod's policy lets it talk to (or hear) the other one on this port."""
            (rules,) = (policy["spec"][direction] for policy in policies
                        if is_selected(policy["spec"]["podSelector"]["matchLabels"], pods[pod]))
            return any(
                {"port": port} in rule.get("ports", []) and any(
                    is_selected(peer["podSelector"]["matchLabels"], pods[other]) for peer in rule[peers]
                    if "podSelector" in peer and "namespaceSelector" not in peer)
                for rule in rules if rule.get(peers))

        talks = [("test", service, "admin") for service in SERVICES]
        if "redis" in pods:
            talks += [(pod, "redis", "redis") for pod in (*SERVICES, "test")]
        for client, server, port in talks:
            number = 6379 if server == "redis" else port
            self.assertTrue(lets("egress", "to", client, server, number), f"{client} to {server}")
            self.assertTrue(lets("ingress", "from", server, client, port), f"{server} from {client}")

    def test_routes_lead_to_services(self):
        ports = {document["metadata"]["name"]: document["spec"]["ports"] for document in of_kind(self.preset, "Service")}
        for route in of_kind(self.preset, "HTTPRoute", "TLSRoute"):
            for backend in route["spec"]["rules"][0]["backendRefs"]:
                self.assertIn(backend["port"], [port["port"] for port in ports[backend["name"]]])
        for ingress in of_kind(self.preset, "Ingress"):
            for rule in ingress["spec"]["rules"]:
                backend = rule["http"]["paths"][0]["backend"]["service"]
                self.assertIn(backend["port"]["name"], [port["name"] for port in ports[backend["name"]]])

    def test_monitors_find_admin_services(self):
        services = of_kind(self.preset, "Service")
        for monitor in of_kind(self.preset, "ServiceMonitor"):
            selector = monitor["spec"]["selector"]["matchLabels"]
            (service,) = (service for service in services if is_selected(selector, service["metadata"]["labels"]))
            self.assertEqual([port["name"] for port in service["spec"]["ports"]], ["admin"])

    def test_autoscalers_scale_deployments_that_name_no_number(self):
        deployments = {document["metadata"]["name"]: document["spec"] for document in of_kind(self.preset, "Deployment")}
        scaled = {scaler["spec"]["scaleTargetRef"]["name"] for scaler in of_kind(self.preset, "HorizontalPodAutoscaler")}
        self.assertLessEqual(scaled, deployments.keys())
        for name, spec in deployments.items():
            self.assertEqual("replicas" in spec, name not in scaled, name)

    def test_the_binary_takes_the_configuration(self):
        config_maps = {document["metadata"]["name"]: document["data"] for document in of_kind(self.preset, "ConfigMap")}
        checked = 0
        for name, (labels, pod) in pod_specs(self.preset).items():
            component = labels["app.kubernetes.io/component"]
            if component in SERVICES | {"test"}:
                made = kubelet.check_config(pod, config_maps, SERVICES - {component})
                self.assertEqual(made.returncode, 0, f"{name}: {made.stdout}{made.stderr}")
                checked += 1
        self.assertEqual(checked, 3)

    def test_no_secret_is_in_a_manifest(self):
        for files in kubelet.SECRETS.values():
            for text in files.values():
                self.assertNotIn(text, rendered(self.preset))

    def test_a_change_rolls_whom_it_concerns(self):
        def checksums(overrides):
            made = template(self.preset, overrides)
            found = re.findall(r"checksum/config: (\w+)", made.stdout)
            self.assertEqual(len(found), 2, made.stderr)
            return found

        gateway, ingest = checksums({})
        after = checksums({"gateway": {"config": {"ping_ms": 20000}}})
        self.assertEqual([after[0] == gateway, after[1] == ingest], [False, True])
        shared = checksums({"config": {"projects": {"retention_events": 7}}})
        self.assertFalse({gateway, ingest} & set(shared))

    def test_notes(self):
        notes = notes_of(self.preset)
        self.assertEqual(len(re.findall(r"^\d\. ", notes, re.MULTILINE)), 3, notes)
        is_inside = bool(of_kind(self.preset, "StatefulSet"))
        self.assertEqual("EVALUATION ONLY" in notes, is_inside, notes)
        # Every object that they name is there.
        names = {document["metadata"]["name"] for document in documents(self.preset)}
        for name in re.findall(rf"(?:service|deployment|ingress|route)[/ ]({RELEASE}-[\w-]+)", notes):
            self.assertIn(name, names)


def notes_of(preset):
    """NOTES.txt, which helm renders for clusters alone, rendered as a manifest's field."""
    with tempfile.TemporaryDirectory() as folder:
        chart = pathlib.Path(folder) / "tidings"
        shutil.copytree(CHART, chart)
        notes = chart / "templates/NOTES.txt"
        (chart / "templates/notes.yaml").write_text(
            '{{- define "notes" }}' + notes.read_text() + '{{ end }}kind: Notes\ntext: {{ include "notes" . | quote }}\n')
        notes.unlink()
        made = template(preset, chart=chart)
        assert made.returncode == 0, made.stderr
        made = filter(None, yaml.safe_load_all(made.stdout))
        return next(document["text"] for document in made if document["kind"] == "Notes")


for _preset in PRESETS:
    _name = _preset.title().replace("-", "")
    globals()[_name] = type(_name, (Cases, unittest.TestCase), {"preset": _preset})
