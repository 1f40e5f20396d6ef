"""A cluster to install into: KUBECONFIG's. It must be able to run the image, which comes in one of two ways:

- PENSTOCK_CLUSTER_IMAGE_COMMAND names a command that builds an image and makes it available to the cluster. It is
  called as `<command> TAG DIR --build-arg ...`; PENSTOCK_CLUSTER_BASE_IMAGE is the BASE of the Dockerfile, if set.
- PENSTOCK_CLUSTER_IMAGE names an image that the cluster can pull already.

Neither set means that nobody meant this cluster to be used: a KUBECONFIG alone installs nothing.
Addresses of Services must be reachable from here.
"""

import os
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.deployment import Namespace, unique_name
from tests.cluster.load import Load
from tests.programs import ROOT, find_program, run_program

BUILT_IMAGE = "localhost/penstock:cluster-test"


@pytest.fixture(scope="session")
def kubectl() -> Path:
    if not os.environ.get("KUBECONFIG"):
        pytest.skip("KUBECONFIG is not set: there is no cluster to install into")
    return _program("kubectl")


@pytest.fixture(scope="session")
def load(kubectl: Path) -> Load:
    return Load(_program("ghz"))


@pytest.fixture(scope="session")
def image(kubectl: Path) -> str:
    command = os.environ.get("PENSTOCK_CLUSTER_IMAGE_COMMAND")
    available = os.environ.get("PENSTOCK_CLUSTER_IMAGE")
    if command:
        return _built_by(shlex.split(command))
    return available or pytest.skip(
        "neither PENSTOCK_CLUSTER_IMAGE_COMMAND nor PENSTOCK_CLUSTER_IMAGE is set: the cluster has no image to run"
    )


@pytest.fixture(scope="session")
def namespace(kubectl: Path, image: str) -> Iterator[Namespace]:
    """A namespace of our own that admits only pods of the `restricted` Pod Security Standard."""
    made = Namespace(unique_name(), image, _program("helm"), kubectl)
    made.kubectl("create", "namespace", made.name)
    try:
        made.kubectl("label", "namespace", made.name, "pod-security.kubernetes.io/enforce=restricted")
        yield made
    finally:
        made.kubectl("delete", "namespace", made.name, "--wait", "--timeout=3m")


def _program(name: str) -> Path:
    return find_program(name) or pytest.skip(f"{name} is neither in .tools/bin nor on PATH")


def _built_by(command: list[str]) -> str:
    base = os.environ.get("PENSTOCK_CLUSTER_BASE_IMAGE")
    options = ["--build-arg", f"BASE={base}"] if base else []
    built = run_program(command[0], *command[1:], BUILT_IMAGE, ROOT, *options, timeout=1800)
    assert built.returncode == 0, built.stderr
    return BUILT_IMAGE
