"""Presets installed on a node that is not there: see `cases.node`."""

import os
import sys
import unittest

from .chart import ROOT, run


class Install(unittest.TestCase):
    def install(self, preset):
        """What `helm test` and the node say, as one line."""
        is_root = os.geteuid() == 0
        environment = os.environ | ({"AS_ROOT": "yes"} if is_root else {})
        user = [] if is_root else ["--map-root-user"]
        # In a tree of processes of its own, so that no pod outlives a node that is killed.
        own = ["unshare", *user, "--net", "--pid", "--fork", "--kill-child"]
        made = run(*own, sys.executable, "-m", "cases.node", preset, cwd=ROOT / "tests/helm", env=environment)
        self.assertEqual(made.returncode, 0, made.stdout + made.stderr)
        said = " ".join(made.stdout.split())
        self.assertIn("an event appended through http://tidings-ingest,", said)
        for service in ("gateway-admin:9464", "ingest-admin:9465"):
            self.assertIn(f"http://tidings-{service} is ready", said)
        return said

    def test_with_redis_in_the_release(self):
        self.install("minimal")

    def test_with_redis_elsewhere_and_tls_to_the_pods(self):
        said = self.install("gateway-api")
        self.assertIn("gateway speaks TLSv1.3", said)
