"""Values that cannot work are refused when the chart is rendered, with a sentence that names the value to change."""

import pytest
import yaml

from tests.chart.chart import CHART, Objects, Refusal, Render, Values, container

IMPOSSIBLE: dict[str, tuple[Values, str]] = {
    "grace period shorter than the drain": (
        {"lifecycle": {"terminationGracePeriodSeconds": 69}},
        "is 69, but preStopSleepSeconds + lameDuckSeconds + drainSeconds + slackSeconds is 70",
    ),
    "vLLM arguments for the simulated engine": (
        {"engine": {"name": "simulated", "args": ["--max-model-len", "8192"]}},
        "engine.args are for vLLM, but engine.name is simulated",
    ),
    "a GPU for the simulated engine": (
        {"engine": {"name": "simulated"}, "gpu": {"count": 1}},
        "gpu.count is 1, but the simulated engine uses no GPU",
    ),
    "front ends of the simulated engine": (
        {"engine": {"name": "simulated"}, "frontends": 2},
        "frontends is 2, but the simulated engine lives in one process",
    ),
    "GPUs among the limits": (
        {"resources": {"limits": {"nvidia.com/gpu": 1}}},
        "resources.limits has nvidia.com/gpu: set gpu.count instead",
    ),
    "two ports that are the same": (
        {"ports": {"health": 50051}},
        "ports.grpc, ports.health, ports.metrics and ports.admin are [50051 50051 9464]: each needs a port of its own",
    ),
    "an admin port that is another": (
        {"ports": {"admin": 9464}},
        "ports.grpc, ports.health, ports.metrics and ports.admin are [50051 50052 9464 9464]",
    ),
    "an engine that is started again under several front ends": (
        {"engine": {"restarts": 3}, "frontends": 2},
        "engine.restarts is 3, but front ends (here 2) cannot be connected to another engine",
    ),
    "an admin port of several front ends": (
        {"ports": {"admin": 50053}, "frontends": 2},
        "ports.admin is 50053, but frontends is 2",
    ),
    "callers' certificates without TLS": (
        {"tls": {"existingClientCaSecret": "callers"}},
        "tls.existingClientCaSecret is callers, but callers show certificates only where there is TLS",
    ),
    "a gateway's certificate without TLS": (
        {"gateway": {"existingCertificateSecret": "mine"}},
        "gateway.existingCertificateSecret is mine, but certificates are shown only where there is TLS",
    ),
    "a gateway without a certificate where all show one": (
        {"tls": {"existingSecret": "mine", "existingClientCaSecret": "callers"}, "gateway": {"enabled": True}},
        "tls.existingClientCaSecret is callers, so the gateway needs a certificate as well",
    ),
    "plain text announced where there is TLS": (
        {"tls": {"existingSecret": "mine"}, "service": {"appProtocol": "kubernetes.io/h2c"}},
        "service.appProtocol is kubernetes.io/h2c, which is HTTP/2 without TLS",
    ),
    "a certificate by a variable beside its value": (
        {"extraEnv": {"PENSTOCK_TLS_CERTIFICATE": "/tls.crt"}},
        "extraEnv.PENSTOCK_TLS_CERTIFICATE would contradict the flags that the chart sets: use tls.existingSecret",
    ),
    "a label that selectors use": (
        {"podLabels": {"app.kubernetes.io/name": "mine"}},
        "podLabels sets app.kubernetes.io/name, which the chart sets itself",
    ),
    "a common label that the chart sets": (
        {"commonLabels": {"app.kubernetes.io/managed-by": "me"}},
        "commonLabels sets app.kubernetes.io/managed-by, which the chart sets itself",
    ),
    "an environment variable that a flag overrides": (
        {"extraEnv": {"PENSTOCK_DRAIN_SECONDS": "60"}},
        "extraEnv.PENSTOCK_DRAIN_SECONDS would contradict the flags that the chart sets: use lifecycle.drainSeconds",
    ),
    "a variable of the gateway that a flag overrides": (
        {"gateway": {"extraEnv": {"PENSTOCK_GATEWAY_PORT": "80"}}},
        "gateway.extraEnv.PENSTOCK_GATEWAY_PORT would contradict the flags that the chart sets: use gateway.port",
    ),
    "a variable for what the chart always sets": (
        {"extraEnv": {"PENSTOCK_HOST": "::"}},
        "extraEnv.PENSTOCK_HOST would contradict the flags that the chart sets: leave it out.",
    ),
    "a volume name that is taken": (
        {"extraVolumes": {"tmp": {"emptyDir": {}}}},
        "extraVolumes.tmp: the chart has a volume of that name already",
    ),
    "a mount without its volume": (
        {"extraVolumeMounts": {"/etc/corpus": {"name": "corpus"}}},
        "extraVolumeMounts mounts corpus on /etc/corpus, but extraVolumes has no corpus",
    ),
    "a mount over another": (
        {
            "modelCache": {"existingClaim": "weights", "mountPath": "/models"},
            "extraVolumes": {"corpus": {"emptyDir": {}}},
            "extraVolumeMounts": {"/models": {"name": "corpus"}},
        },
        "extraVolumeMounts mounts corpus on /models, where the chart mounts a volume already",
    ),
}

MISTYPED: dict[str, tuple[Values, str]] = {
    "an unknown value": ({"replicaCount": 2}, "additional properties 'replicaCount' not allowed"),
    "an unknown value inside": ({"lifecycle": {"drainSecond": 60}}, "additional properties 'drainSecond' not allowed"),
    "an engine that does not exist": ({"engine": {"name": "vlm"}}, "'/engine/name'"),
    "no front end": ({"frontends": 0}, "'/frontends'"),
    "an argument that is not text": ({"engine": {"args": ["--max-model-len", 8192]}}, "got number, want string"),
    "an environment variable that is not text": ({"extraEnv": {"OMP_NUM_THREADS": 4}}, "'/extraEnv/OMP_NUM_THREADS'"),
    "a budget that blocks node drains": (
        {"podDisruptionBudget": {"maxUnavailable": 0}},
        "'/podDisruptionBudget/maxUnavailable'",
    ),
    "a size without a unit": ({"shm": {"sizeLimit": "64"}}, "'/shm/sizeLimit'"),
    "callers that are nobody": ({"networkPolicy": {"enabled": True, "grpcFrom": []}}, "'/networkPolicy/grpcFrom'"),
    "a privileged port": ({"ports": {"grpc": 443}}, "'/ports/grpc'"),
}


@pytest.mark.parametrize(("values", "sentence"), IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_an_impossible_combination_is_refused(refusal: Refusal, values: Values, sentence: str) -> None:
    assert sentence in refusal(values)


def test_a_variable_of_any_flag_that_the_chart_sets_is_refused(render: Render, refusal: Refusal) -> None:
    """As set without TLS, and with all of it."""
    scenarios = [CHART / "ci" / f"{name}-values.yaml" for name in ("gateway", "secure")]
    releases = [render(yaml.safe_load(scenario.read_text())) for scenario in scenarios]

    for name in _variables(releases, "penstock", "PENSTOCK_"):
        assert f"extraEnv.{name} would contradict" in refusal({"extraEnv": {name: "any"}})
    assert "extraEnv.penstock_host would contradict" in refusal({"extraEnv": {"penstock_host": "any"}})  # the same one
    for name in _variables(releases, "penstock-gateway", "PENSTOCK_GATEWAY_"):
        assert f"gateway.extraEnv.{name} would contradict" in refusal({"gateway": {"extraEnv": {name: "any"}}})


@pytest.mark.parametrize(("values", "sentence"), MISTYPED.values(), ids=MISTYPED)
def test_the_schema_refuses(refusal: Refusal, values: Values, sentence: str) -> None:
    assert sentence in refusal(values)


def _variables(releases: list[Objects], name: str, prefix: str) -> set[str]:
    """The environment variables of the container's flags."""
    args = [arg for objects in releases for arg in container(objects, name)["args"]]
    return {prefix + arg.partition("=")[0].removeprefix("--").replace("-", "_").upper() for arg in args}
