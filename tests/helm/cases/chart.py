"""The chart as tests see it: rendered by helm, read back as documents."""

import functools
import os
import pathlib
import subprocess
import tempfile

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[3]
CHART = ROOT / "helm/tidings"
GOLDEN = CHART / "ci/golden"
BINARY = os.environ["BINARY"]
RELEASE = NAMESPACE = "tidings"
CARRIERS = ("tidings/templates/dashboards.yaml", "tidings/templates/prometheusrule.yaml")
# How many seconds anything may take: a bound that tells a hang from a slow machine.
PATIENCE = 240
PRESETS = sorted(path.name.removesuffix("-values.yaml") for path in (CHART / "ci").glob("*-values.yaml"))


@functools.cache
def tool(name):
    """The path of a Go tool that scripts/setup built."""
    made = subprocess.run([ROOT / "scripts/go-tool", name], capture_output=True, text=True, check=True)
    return made.stdout.strip()


def helm():
    return tool("helm")


def run(*command, **options):
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=PATIENCE, **options)


def values_of(preset):
    return CHART / f"ci/{preset}-values.yaml"


def template(preset, overrides=None, chart=CHART):
    """What `helm template` says of a preset with these values over it."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump(overrides or {}, file)
        file.flush()
        return run(
            helm(), "template", RELEASE, chart, "--namespace", NAMESPACE,
            "--values", values_of(preset), "--values", file.name,
        )


@functools.cache
def rendered(preset):
    """The text of a preset's manifests."""
    made = template(preset)
    assert made.returncode == 0, made.stderr
    return made.stdout


def reviewed(preset):
    """The manifests' text without those that only carry a file, which is tested to be that file."""
    parts = rendered(preset).split("---\n# Source: ")
    return "---\n# Source: ".join(part for part in parts if not part.startswith(CARRIERS))


@functools.cache
def documents(preset):
    """A preset's manifests."""
    return [document for document in yaml.safe_load_all(rendered(preset)) if document]


def of_kind(preset, *kinds):
    return [document for document in documents(preset) if document["kind"] in kinds]


def pod_specs(preset):
    """{name: (labels, pod spec)} of everything that makes pods."""
    found = {}
    for document in documents(preset):
        name = f"{document['kind']}/{document['metadata']['name']}"
        if document["kind"] == "Pod":
            found[name] = (document["metadata"]["labels"], document["spec"])
        elif "template" in document.get("spec", {}):
            pod = document["spec"]["template"]
            found[name] = (pod["metadata"]["labels"], pod["spec"])
    return found


def is_selected(selector, labels):
    return selector.items() <= labels.items()
