"""What the kubelet makes of a pod's specification: the files and variables that its container finds.

Kept to what the chart uses. The Secrets are those that the presets name; one that is missing here is a mistake in one of the
two places.
"""

import pathlib
import re
import tempfile
import tomllib

from .chart import BINARY, run

# The name of the certificate.
HOST = "live.example.com"

_folder = tempfile.TemporaryDirectory()
_keys = pathlib.Path(_folder.name)
run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
    "-subj", f"/CN={HOST}", "-addext", f"subjectAltName=DNS:{HOST}", "-keyout", _keys / "key", "-out", _keys / "certificate", check=True)
_public = run("openssl", "pkey", "-in", _keys / "key", "-pubout", check=True).stdout
_certificate, _key = ((_keys / name).read_text() for name in ("certificate", "key"))

DECLARED = """
[[keys]]
id = "0123456789abcdef"
hash = "sha256:0000000000000000000000000000000000000000000000000000000000000000"
projects = ["demo"]

[[settings]]
projects = ["demo"]
redaction = { builtin = true }
"""
TLS = {"tls.crt": _certificate, "tls.key": _key, "ca.crt": _certificate}
SECRETS = {
    "ingest-certificate": TLS,
    "issuer-keys": {"jwks.json": _public},
    "live-certificate": TLS,
    "redis-ca": {"ca.crt": _certificate},
    "runners-ca": {"ca.crt": _certificate},
    "tidings-auth": {"secret": "a shared secret of more than 32 bytes"},
    "tidings-declared": {"declared.toml": DECLARED},
    "tidings-gateway-tls": TLS,
    "tidings-redis": {"password": "p%40ss", "url": "redis://tidings:p%40ss@redis.example.com:6379/0"},
    "tidings-redis-client": TLS,
    "tidings-sentinel": {"password": "another one"},
    "tidings-test": {"token": "a.b.c"},
    "tidings-tickets": {"secret": "a secret of tickets with more than 32 bytes"},
    "tidings-webhook": {"secret": "what the webhook is shown"},
}


def variables(container):
    """The container's variables, references to earlier ones resolved."""
    found = {}
    for entry in container.get("env", []):
        if "value" in entry:
            found[entry["name"]] = re.sub(r"\$\((\w+)\)", lambda name: found[name[1]], entry["value"])
        else:
            wanted = entry["valueFrom"]["secretKeyRef"]
            found[entry["name"]] = SECRETS[wanted["name"]][wanted["key"]]
    return found


def lay_out(pod, config_maps, root, seen_from=pathlib.Path("/")):
    """Writes what the first container of a pod has mounted below `root`, for a process whose own root is `seen_from`."""
    inside = f"/{root.relative_to(seen_from)}" if root != seen_from else ""
    for mount in pod["containers"][0]["volumeMounts"]:
        (volume,) = (volume for volume in pod["volumes"] if volume["name"] == mount["name"])
        if "configMap" in volume:
            files = config_maps[volume["configMap"]["name"]]
        else:
            files = SECRETS[volume["secret"]["secretName"]]
            if items := volume["secret"].get("items"):
                files = {item["path"]: files[item["key"]] for item in items}
        folder = root / mount["mountPath"].lstrip("/")
        folder.mkdir(parents=True)
        for name, text in files.items():
            # The pod's paths are absolute; seen from elsewhere they begin at its root.
            (folder / name).write_text(text.replace('"/etc/tidings/', f'"{inside}/etc/tidings/'))


def missing_files(config, root, foreign):
    """Files that the sections name, but for `foreign` ones, and that are not there."""
    named = [value for section, keys in config.items() if section not in foreign for value in keys.values()]
    paths = [value for value in named if isinstance(value, str) and value.startswith(str(root))]
    return [path for path in paths if not pathlib.Path(path).is_file()]


def check_config(pod, config_maps, foreign):
    """What `tidings config check` says in that pod. `foreign`: sections of other services, whose files it need not have."""
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        lay_out(pod, config_maps, root)
        found = variables(pod["containers"][0])
        found["TIDINGS_CONFIG"] = str(root) + found["TIDINGS_CONFIG"]
        missing = missing_files(tomllib.loads(pathlib.Path(found["TIDINGS_CONFIG"]).read_text()), root, foreign)
        assert not missing, missing
        return run(BINARY, "config", "check", env=found)
