"""The flags that the chart renders are the flags that our own programs take."""

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.chart.chart import CHART, Render, Values, container, every_scenario
from tests.client.certificates import Authority
from tests.programs import run_program

MOUNTS = "/etc/penstock"

Secrets = Callable[[list[str]], list[str]]


@pytest.fixture
def secrets(tmp_path: Path) -> Secrets:
    """Flags whose files from Secrets are here instead of where the chart mounts them."""
    authority = Authority(tmp_path)
    certificate, key = authority.sign("penstock")
    contents = {"ca.crt": authority.ca, "tls.crt": certificate, "tls.key": key}

    def secrets(args: list[str]) -> list[str]:
        for path in (Path(arg.partition("=")[2]) for arg in args if f"={MOUNTS}/" in arg):
            here = tmp_path / path.relative_to(MOUNTS)
            here.parent.mkdir(exist_ok=True)
            here.write_bytes(contents[path.name].read_bytes() if path.name in contents else b"")
        return [arg.replace(MOUNTS, str(tmp_path)) for arg in args]

    return secrets


@every_scenario
def test_penstock_serve_accepts_what_the_chart_renders(render: Render, scenario: Path, secrets: Secrets) -> None:
    """On the simulated engine, which needs no time to be imported: all but vLLM's arguments is the same."""
    values: Values = yaml.safe_load(scenario.read_text())
    simulated = {"engine": {"name": "simulated"}, "frontends": 1, "gpu": {"count": 0}}
    args = secrets(container(render({**values, "fullnameOverride": "penstock", **simulated}))["args"])

    settings = _check_config("penstock_service", args)

    _assert_took(settings, args)


@pytest.mark.slow
@pytest.mark.skipif(not importlib.util.find_spec("vllm"), reason="vLLM is not installed: its arguments go unchecked")
def test_vllm_accepts_the_arguments_after_the_dashes(render: Render, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)  # which the built-in model of other tests needs
    args = container(render(yaml.safe_load((CHART / "ci" / "gpu-values.yaml").read_text())))["args"]

    settings = _check_config("penstock_service", args)

    _assert_took(settings, args)


@pytest.mark.parametrize("scenario", ["gateway", "secure"])
def test_penstock_gateway_accepts_what_the_chart_renders(render: Render, scenario: str, secrets: Secrets) -> None:
    values = yaml.safe_load((CHART / "ci" / f"{scenario}-values.yaml").read_text())
    args = secrets(container(render(values), "penstock-gateway")["args"])

    settings = _check_config("penstock_gateway", args)

    _assert_took(settings, args)


def _check_config(package: str, args: list[str]) -> Any:
    checked = run_program(sys.executable, "-m", package, "--check-config", *args)
    assert checked.returncode == 0, checked.stderr
    return json.loads(checked.stdout)


def _assert_took(settings: Any, args: list[str]) -> None:
    """Each `--flag=value` is in the settings that the program printed, as the number or text it stands for."""
    own = args[: args.index("--")] if "--" in args else args
    for flag, _, value in (arg.partition("=") for arg in own):
        taken = settings[flag.removeprefix("--").replace("-", "_")]
        assert taken == (type(taken)(value) if value else True)
    assert settings.get("engine_args", []) == args[len(own) + 1 :]
