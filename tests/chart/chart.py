"""The chart, its scenarios, and the types that its tests pass around."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.programs import ROOT

CHART = ROOT / "helm" / "penstock"
KUBERNETES = "1.35.0"  # what the chart is rendered for and checked against (schemas/)
SCENARIOS = sorted((CHART / "ci").glob("*-values.yaml"))

Values = dict[str, Any]
Objects = dict[tuple[str, str], Any]  # by kind and name
Render = Callable[..., Objects]
Refusal = Callable[[Values], str]


def scenario_name(values: Path) -> str:
    return values.stem.removesuffix("-values")


every_scenario = pytest.mark.parametrize("scenario", SCENARIOS, ids=scenario_name)


def deployment(objects: Objects, name: str = "penstock") -> Any:
    return objects["Deployment", name]["spec"]


def pod(objects: Objects, name: str = "penstock") -> Any:
    return deployment(objects, name)["template"]["spec"]


def container(objects: Objects, name: str = "penstock") -> Any:
    return pod(objects, name)["containers"][0]
