"""What is around the chart: its package, its schema, the image's root folder, the compose files, names of metrics."""

import json
import os
import pathlib
import re
import subprocess
import tarfile
import tempfile
import tomllib
import unittest
import urllib.request

import yaml

from .chart import BINARY, CHART, PATIENCE, ROOT, helm, run, template, tool

DEPLOY = ROOT / "deploy"
# The numeric id that the image, the chart and the image's account agree on.
USER = 65532
SECRET = "0123456789abcdef0123456789abcdef"


class Chart(unittest.TestCase):
    def test_schema_names_the_settings_of_the_manual(self):
        made = run(ROOT / "scripts/helm-schema", "--check")
        self.assertEqual(made.returncode, 0, made.stderr)

    def test_version_is_that_of_the_binary(self):
        workspace = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]
        chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
        self.assertEqual(chart["appVersion"], workspace["version"])

    def test_without_values_it_says_what_is_missing(self):
        made = run(helm(), "template", "tidings", CHART)
        self.assertNotEqual(made.returncode, 0)
        self.assertIn("image.repository: name the image", made.stderr)

    def test_package_has_all_and_no_presets(self):
        with tempfile.TemporaryDirectory() as folder:
            made = run(helm(), "package", CHART, "--destination", folder)
            self.assertEqual((made.returncode, made.stderr), (0, ""))
            (package,) = pathlib.Path(folder).iterdir()
            with tarfile.open(package) as packed:
                names = set(packed.getnames())
        self.assertIn("tidings/values.schema.json", names)
        self.assertIn("tidings/files/rules.yaml", names)
        self.assertTrue([name for name in names if name.startswith("tidings/files/dashboards/")])
        self.assertFalse([name for name in names if "/ci/" in name])

    def test_every_value_has_a_place_in_the_schema(self):
        schema = json.loads((CHART / "values.schema.json").read_text())

        def loose(node, path):
            """Objects that would take any name."""
            if isinstance(node, list):
                return [found for at, item in enumerate(node) for found in loose(item, f"{path}[{at}]")]
            if not isinstance(node, dict):
                return []
            is_loose = "properties" in node and node.get("type") == "object" and node.get("additionalProperties") is not False
            return [path] * is_loose + [found for key, item in node.items() for found in loose(item, f"{path}/{key}")]

        self.assertEqual(loose(schema, ""), [])


class Redis(unittest.TestCase):
    """The servers that we start take the arguments that we give them."""

    def assert_starts(self, arguments):
        with tempfile.TemporaryDirectory() as folder:
            arguments = [folder if word == "/data" else word for word in arguments]
            own = ["--port", "0", "--unixsocket", f"{folder}/socket"]
            command = ["redis-server", *own, *arguments]
            told = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
            with subprocess.Popen(command, cwd=folder, **told) as server:
                try:
                    said = []
                    for line in server.stdout:
                        said.append(line)
                        if "eady to accept connections" in line:
                            return
                    self.fail("".join(said))
                finally:
                    server.kill()

    def test_in_the_chart(self):
        for password in ("", "redis-password"):
            made = template("minimal", {"redis": {"inChart": {"passwordSecret": {"name": password}}}})
            made = filter(None, yaml.safe_load_all(made.stdout))
            (redis,) = (document for document in made if document["kind"] == "StatefulSet")
            self.assert_starts(redis["spec"]["template"]["spec"]["containers"][0]["args"])

    def test_in_compose(self):
        for name in Compose.FILES:
            command = read_compose(name)["redis"]["command"]
            self.assertEqual(command[0], "redis-server")
            self.assert_starts(command[1:])


class Metrics(unittest.TestCase):
    """Every metric that is asked for is one that the services have."""

    def setUp(self):
        paths = [path for folder in ("crates", "services") for path in (ROOT / folder).glob("*/src/**/*.rs")]
        manual = ROOT / "docs/metrics.md"
        named = set(re.findall(r'"(tidings_[a-z_]+)"', "".join(path.read_text() for path in paths)))
        named |= set(re.findall(r"`(tidings_[a-z_]+)`", manual.read_text())) if manual.exists() else set()
        self.known = named | {f"{name}_{part}" for name in named for part in ("bucket", "sum", "count")}
        self.adapter = yaml.safe_load((DEPLOY / "prometheus-adapter.yaml").read_text())["rules"]["custom"]

    def assert_known(self, text, where):
        asked = set(re.findall(r"\btidings_[a-z_]+", text))
        self.assertEqual(asked - self.known, set(), where)

    def test_of_the_adapter(self):
        for rule in self.adapter:
            self.assert_known(rule["seriesQuery"], "prometheus-adapter.yaml")

    def test_of_the_autoscalers(self):
        values = yaml.safe_load((CHART / "values.yaml").read_text())
        asked = {metric["name"] for service in ("gateway", "ingest")
                 for metric in values[service]["autoscaling"]["customMetrics"]["metrics"]}
        self.assertLessEqual(asked, {rule["name"]["as"] for rule in self.adapter})

    def test_of_rules_and_dashboards(self):
        groups = yaml.safe_load((CHART / "files/rules.yaml").read_text())["groups"]
        for rule in (rule for group in groups for rule in group["rules"]):
            self.assert_known(rule["expr"], rule.get("alert") or rule.get("record"))
        dashboards = sorted((CHART / "files/dashboards").glob("*.json"))
        self.assertTrue(dashboards)
        for path in dashboards:
            expressions = re.findall(r'"expr": "((?:[^"\\]|\\.)*)"', path.read_text())
            self.assertTrue(expressions, path.name)
            self.assert_known(" ".join(expressions), path.name)
        self.assertEqual(len({json.loads(path.read_text())["uid"] for path in dashboards}), len(dashboards))


class Image(unittest.TestCase):
    """The root folder as the image's build lays it out, around the binary of the tests, entered as the image would be."""

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        os.chmod(cls.folder.name, 0o755)
        cls.root = pathlib.Path(cls.folder.name) / "root"
        run(ROOT / "scripts/image-root", BINARY, cls.root, check=True)
        as_root = os.geteuid() == 0
        cls.enter = ["chroot", f"--userspec={USER}:{USER}"] if as_root else ["unshare", "--map-root-user", "chroot"]
        cls.enter += [str(cls.root), "/tidings"]
        cls.environment = {"PATH": os.environ["PATH"]}

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def test_holds_nothing_else(self):
        files = {str(path.relative_to(self.root)) for path in self.root.rglob("*") if path.is_file()}
        etc = {f"etc/{name}" for name in ("group", "nsswitch.conf", "passwd", "ssl/certs/ca-certificates.crt")}
        others = {name for name in files if not name.startswith("lib")}
        self.assertEqual(others - {"etc/hosts"}, {"LICENSE", "tidings"} | etc)
        self.assertLess(len(files), 20, files)

    def test_knows_the_public_authorities(self):
        environment = self.environment | {"TIDINGS_REDIS__URL": "rediss://redis.example.com"}
        made = run(*self.enter, "config", "check", env=environment)
        self.assertEqual(made.returncode, 0, made.stdout + made.stderr)

    def test_resolves_names(self):
        # The container's engine writes this file.
        (self.root / "etc/hosts").write_text("127.0.0.1 redis.test\n")
        made = run(*self.enter, "doctor", "--redis-url", "redis://redis.test:1", env=self.environment)
        self.assertIn("redis.test:1: connection refused", " ".join(made.stdout.split()))

    def test_serves_and_stops(self):
        words = ["dev", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]
        with subprocess.Popen([*self.enter, *words], env=self.environment, stdout=subprocess.PIPE, text=True) as server:
            try:
                url = next(line.split()[1] for line in server.stdout if line.split()[:1] == ["watch"])
                # Not the page: builds for tests have it on the disk, those for production in the binary.
                with urllib.request.urlopen(url + "openapi.json", timeout=PATIENCE) as document:
                    self.assertIn("paths", json.load(document))
                server.terminate()
                self.assertEqual(server.wait(PATIENCE), 0)
            finally:
                server.kill()

    def test_dockerfile_agrees_with_the_repository(self):
        dockerfile = (DEPLOY / "Dockerfile").read_text()
        toolchain = tomllib.loads((ROOT / "rust-toolchain.toml").read_text())["toolchain"]["channel"]
        self.assertIn(f"ARG RUST_VERSION={toolchain}\n", dockerfile)
        self.assertIn(f"USER {USER}:{USER}\n", dockerfile)
        (steps,) = re.findall(r"\n((?:    )?make build .*)\n", dockerfile)
        self.assertEqual(steps.strip(), "make build && scripts/image-root target/release/tidings /image")

    def test_what_the_build_is_given_is_a_workspace(self):
        ignored = [line for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines() if line[0] != "#"]
        everywhere = {name.removeprefix("**/") for name in ignored if name.startswith("**/")}

        def is_given(path):
            parents = {str(parent) for parent in (path, *path.parents)}
            return not (everywhere & set(path.parts) or parents & set(ignored))

        listed = run("git", "ls-files", "--cached", "--others", "--exclude-standard", cwd=ROOT, check=True).stdout
        with tempfile.TemporaryDirectory() as folder:
            for path in map(pathlib.Path, listed.splitlines()):
                if is_given(path) and (ROOT / path).is_file():
                    copy = folder / path
                    copy.parent.mkdir(parents=True, exist_ok=True)
                    copy.write_bytes((ROOT / path).read_bytes())
            made = run("cargo", "metadata", "--locked", "--no-deps", "--format-version", "1", cwd=folder)
            self.assertEqual(made.returncode, 0, made.stderr)
            self.assertFalse((pathlib.Path(folder) / "helm").exists())


def read_compose(name):
    """The file as docker compose reads it, with a secret."""
    text = re.sub(r"\$\{TIDINGS_AUTH__SECRET:\?[^}]*\}", SECRET, (DEPLOY / name).read_text())
    with tempfile.NamedTemporaryFile("w", dir=DEPLOY, prefix=".", suffix=".yaml") as file:
        file.write(text)
        file.flush()
        made = run(tool("compose"), file.name, cwd=DEPLOY)
    assert made.returncode == 0, made.stderr
    return yaml.safe_load(made.stdout)["services"]


class Compose(unittest.TestCase):
    FILES = ("compose.yaml", "compose.single.yaml")

    def ours(self, name):
        return {key: service for key, service in read_compose(name).items() if service["image"].startswith("tidings:")}

    def test_without_a_secret_it_says_so(self):
        for name in self.FILES:
            made = run(tool("compose"), name, cwd=DEPLOY, env={})
            self.assertNotEqual(made.returncode, 0)
            said = "TIDINGS_AUTH__SECRET .* services without credentials would listen on loopback only"
            self.assertRegex(made.stderr, said)

    def test_the_binary_takes_the_settings(self):
        for name in self.FILES:
            for key, service in self.ours(name).items():
                made = run(BINARY, "config", "check", env=service["environment"])
                self.assertEqual(made.returncode, 0, f"{name} {key}: {made.stdout}{made.stderr}")

    def test_services_are_confined_and_have_time_to_drain(self):
        for name in self.FILES:
            for key, service in self.ours(name).items():
                self.assertEqual((service["read_only"], service["cap_drop"]), (True, ["ALL"]), key)
                self.assertIn(service["command"][0], ("gateway", "ingest", "all"))
                manual = (ROOT / "docs/configuration.md").read_text()
                drain = int(re.search(r"\| `drain_ms` \| `(\d+)`", manual)[1])
                self.assertGreater(int(service["stop_grace_period"].removesuffix("s")) * 1000, drain + 5000)

    def test_ports_are_this_machines_alone(self):
        for name in self.FILES:
            for service in read_compose(name).values():
                for port in service.get("ports", []):
                    self.assertEqual(port["host_ip"], "127.0.0.1")

    def test_mounted_files_are_there(self):
        for service in read_compose("compose.yaml").values():
            for volume in service.get("volumes", []):
                if volume["type"] == "bind":
                    self.assertTrue(pathlib.Path(volume["source"]).exists(), volume["source"])

    def test_prometheus_scrapes_every_service(self):
        config = yaml.safe_load((DEPLOY / "compose/prometheus.yaml").read_text())
        targets = {target for job in config["scrape_configs"] for target in job["static_configs"][0]["targets"]}
        expected = {f"{key}:{9464 if key.startswith('gateway') else 9465}" for key in self.ours("compose.yaml")}
        self.assertEqual(targets, expected)

    def test_the_proxy_knows_every_service(self):
        nginx = (DEPLOY / "compose/nginx.conf").read_text()
        servers = set(re.findall(r"server ([\w-]+:\d+)", nginx))
        expected = {f"{key}:{8000 if key.startswith('gateway') else 8010}" for key in self.ours("compose.yaml")}
        self.assertEqual(servers, expected)
