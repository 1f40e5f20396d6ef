"""Every scenario of helm/penstock/ci lints without a warning and renders objects that Kubernetes knows."""

import subprocess
from pathlib import Path

from tests.chart.chart import CHART, KUBERNETES, every_scenario
from tests.programs import ROOT, run_program

SCHEMAS = (
    f"{ROOT}/tests/chart/schemas/{{{{.NormalizedKubernetesVersion}}}}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json"
)


@every_scenario
def test_helm_lint_finds_nothing(helm: Path, scenario: Path) -> None:
    linted = run_program(helm, "lint", "--strict", "--kube-version", KUBERNETES, "--values", scenario, CHART)

    assert linted.returncode == 0, linted.stdout + linted.stderr


@every_scenario
def test_kubeconform_accepts_every_object(helm: Path, kubeconform: Path, scenario: Path) -> None:
    rendered = _render(helm, scenario)

    checked = _conform(kubeconform, rendered)

    assert checked.returncode == 0, checked.stdout
    assert "Invalid: 0, Errors: 0, Skipped: 0" in checked.stdout


@every_scenario
def test_the_check_notices_a_field_that_kubernetes_does_not_know(helm: Path, kubeconform: Path, scenario: Path) -> None:
    rendered = _render(helm, scenario)

    checked = _conform(kubeconform, rendered.replace("readinessProbe:", "readynessProbe:"))

    assert checked.returncode != 0
    assert "additional properties 'readynessProbe' not allowed" in checked.stdout


def _render(helm: Path, scenario: Path) -> str:
    rendered = run_program(helm, "template", "penstock", CHART, "--kube-version", KUBERNETES, "--values", scenario)
    assert rendered.returncode == 0, rendered.stderr
    return rendered.stdout


def _conform(kubeconform: Path, objects: str) -> "subprocess.CompletedProcess[str]":
    options = ["-strict", "-kubernetes-version", KUBERNETES, "-summary", "-schema-location", SCHEMAS]
    return run_program(kubeconform, *options, stdin=objects)
