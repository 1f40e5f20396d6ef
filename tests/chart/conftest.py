"""What a person who installs the chart gets from `helm`: objects, or a refusal."""

import subprocess
from pathlib import Path

import pytest
import yaml

from tests.chart.chart import CHART, KUBERNETES, Objects, Refusal, Render, Values
from tests.programs import find_program, run_program


@pytest.fixture(scope="session")
def helm() -> Path:
    return find_program("helm") or pytest.skip("helm is neither in .tools/bin nor on PATH")


@pytest.fixture(scope="session")
def kubeconform() -> Path:
    return find_program("kubeconform") or pytest.skip("kubeconform is neither in .tools/bin nor on PATH")


@pytest.fixture(scope="session")
def render(helm: Path) -> Render:
    """The objects of a release, which is called penstock unless told otherwise."""

    def render(values: Values, release: str = "penstock") -> Objects:
        made = _template(helm, values, release)
        assert made.returncode == 0, made.stderr
        documents = [document for document in yaml.safe_load_all(made.stdout) if document]
        return {(document["kind"], document["metadata"]["name"]): document for document in documents}

    return render


@pytest.fixture(scope="session")
def refusal(helm: Path) -> Refusal:
    """The sentence with which the chart refuses the values."""

    def refusal(values: Values) -> str:
        made = _template(helm, values)
        assert made.returncode != 0, "the chart accepted these values"
        return made.stderr

    return refusal


def _template(helm: Path, values: Values, release: str = "penstock") -> "subprocess.CompletedProcess[str]":
    options = ["--kube-version", KUBERNETES, "--values", "-"]
    return run_program(helm, "template", release, CHART, *options, stdin=yaml.safe_dump(values))
