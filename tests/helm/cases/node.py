"""A node with one release on it: the pods of a preset, started as a kubelet would start them, each in the image's root
folder and as the user that its manifest names, in a network that is this node's alone. `helm test` runs against them, then
they are told to stop. Exit code 0: all of it went well.

It is no Kubernetes: nothing is scheduled, policies are not enforced, and Services are names with a forwarder where the port
changes. Run by `cases.install` in a network namespace of its own: `python -m cases.node PRESET`.
"""

import asyncio
import contextlib
import fcntl
import os
import pathlib
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from urllib.parse import unquote

import yaml

from . import kubelet
from .chart import BINARY, ROOT, run, template

VALUES = {
    # Nothing here needs time to notice.
    "gateway": {"config": {"drain_notice_ms": 200}},
    "ingest": {"config": {"drain_notice_ms": 200}},
    "tests": {"tokenSecret": {"name": "tidings-test"}},
}
SERVICES = ("gateway", "ingest")
# What the URLs of the presets call a Redis that is not in the release.
EXTERNAL_REDIS = "redis.redis"


def raise_loopback():
    """A new network has its loopback interface, but down."""
    set_flags, up = 0x8914, 0x1
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, set_flags, struct.pack("16sh", b"lo", up))


class Release:
    def __init__(self, preset, folder):
        self.folder = folder
        made = template(preset, VALUES)
        assert made.returncode == 0, made.stderr
        self.pods, self.config_maps, self.services = {}, {}, []
        for document in filter(None, yaml.safe_load_all(made.stdout)):
            if document["kind"] == "ConfigMap":
                self.config_maps[document["metadata"]["name"]] = document["data"]
            elif document["kind"] == "Service":
                self.services.append(document)
            elif document["kind"] in ("Deployment", "StatefulSet", "Pod"):
                pod = document["spec"].get("template", document)["spec"]
                self.pods[document["metadata"]["labels"]["app.kubernetes.io/component"]] = pod
        run(ROOT / "scripts/image-root", BINARY, folder / "image", check=True)

    def container(self, component):
        return self.pods[component]["containers"][0]

    def command(self, component, *arguments):
        """How a pod's container begins, and its variables."""
        pod, root = self.pods[component], self.folder / component
        if not root.exists():
            run("cp", "--archive", "--link", self.folder / "image", root, check=True)
            kubelet.lay_out(pod, self.config_maps, root, seen_from=root)
            names = [EXTERNAL_REDIS, *(service["metadata"]["name"] for service in self.services)]
            (root / "etc/hosts").write_text(f"127.0.0.1 {' '.join(names)}\n")
        security = pod["securityContext"]
        who = [f"--userspec={security['runAsUser']}:{security['runAsGroup']}"] if "AS_ROOT" in os.environ else []
        environment = kubelet.variables(self.container(component)) | {"PATH": os.environ["PATH"]}
        return ["chroot", *who, str(root), "/tidings", *(arguments or self.container(component)["args"])], environment

    def start(self, component, stack):
        """Starts a pod of a service; it is killed when `stack` closes."""
        command, environment = self.command(component)
        process = stack.enter_context(subprocess.Popen(command, env=environment))
        stack.callback(process.kill)
        return process

    def start_redis(self, stack):
        data = self.folder / "data"
        data.mkdir()
        if "redis" in self.pods:
            words = [str(data) if word == "/data" else word for word in self.container("redis")["args"]]
        else:
            words = ["--dir", str(data), "--save", "", "--requirepass", unquote(kubelet.SECRETS["tidings-redis"]["password"])]
        process = stack.enter_context(subprocess.Popen(["redis-server", *words], stdout=subprocess.DEVNULL))
        stack.callback(process.kill)

    def await_ready(self, component):
        """Probes as the manifest says, first whether it has started, then whether it is ready."""
        container = self.container(component)
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        for probe in (container["startupProbe"], container["readinessProbe"] | {"failureThreshold": 15}):
            url = f"http://127.0.0.1:{ports[probe['httpGet']['port']]}{probe['httpGet']['path']}"
            for _ in range(probe["failureThreshold"]):
                try:
                    urllib.request.urlopen(url, timeout=probe["timeoutSeconds"]).close()
                    break
                except (urllib.error.URLError, ConnectionError):
                    time.sleep(probe["periodSeconds"])
            else:
                sys.exit(f"{component}: {url} never answered 200")

    def shake_hands(self, component):
        """Where a pod speaks TLS: with the certificate of its Secret."""
        if not any(volume["name"] == "tls" for volume in self.pods[component]["volumes"]):
            return
        port = next(port["containerPort"] for port in self.container(component)["ports"] if port["name"] == "serve")
        terms = ssl.create_default_context(cadata=kubelet.TLS["ca.crt"])
        with socket.create_connection(("127.0.0.1", port)) as plain, terms.wrap_socket(plain, server_hostname=kubelet.HOST) as secure:
            print(f"{component} speaks {secure.version()}")

    def forward(self):
        """Services whose port is not that of their pods."""
        forwarded = {}
        for service in self.services:
            component = service["spec"]["selector"]["app.kubernetes.io/component"]
            ports = {port["name"]: port["containerPort"] for port in self.container(component)["ports"]}
            for port in service["spec"]["ports"]:
                # All names stand for one address here: of two Services with one port, that of ingests is the one in use.
                if port["port"] != ports[port["targetPort"]] and component == "ingest":
                    forwarded[port["port"]] = ports[port["targetPort"]]
        ready = threading.Event()
        threading.Thread(target=lambda: asyncio.run(forward(forwarded, ready)), daemon=True).start()
        ready.wait()


async def forward(ways, ready):
    async def pass_on(reader, writer):
        with contextlib.closing(writer):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()

    def accept(target):
        async def both(reader, writer):
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", target)
            await asyncio.gather(pass_on(reader, far_writer), pass_on(far_reader, writer), return_exceptions=True)

        return both

    for port, target in ways.items():
        await asyncio.start_server(accept(target), "127.0.0.1", port)
    ready.set()
    await asyncio.Event().wait()


def main():
    raise_loopback()
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        os.chmod(name, 0o755)
        release = Release(sys.argv[1], pathlib.Path(name))
        release.start_redis(stack)
        running = {component: release.start(component, stack) for component in SERVICES}
        for component in SERVICES:
            release.await_ready(component)
            release.shake_hands(component)
        release.forward()

        # As NOTES.txt says, with what the test's token needs.
        words = ["token", "mint", "--project", "tidings-doctor", "--scopes", "publish,admin", "--user", "helm"]
        command, environment = release.command("gateway", *words)
        minted = run(*command, env=environment, check=True)
        kubelet.SECRETS["tidings-test"]["token"] = minted.stdout.strip()

        command, environment = release.command("test")
        subprocess.run(command, env=environment, check=True)

        for process in running.values():
            process.terminate()
        for component, process in running.items():
            assert process.wait(release.pods[component]["terminationGracePeriodSeconds"]) == 0, component


main()
