"""What the chart works out from its values, and what it must never change between releases."""

from pathlib import Path

import pytest
import yaml

from tests.chart.chart import CHART, Render, Values, container, deployment, pod
from tests.programs import run_program

WITH_KEYS: dict[str, Values] = {
    "a file": {"identity": {"existingSecret": "tenants"}},
    "a variable": {"extraEnv": {"PENSTOCK_API_KEYS": f"search:{64 * 'a'}"}},
    "a variable from a Secret": {
        "extraEnv": {"PENSTOCK_API_KEYS": {"valueFrom": {"secretKeyRef": {"name": "tenants", "key": "hashes"}}}}
    },
}


@pytest.mark.parametrize(("budget", "period", "threshold"), [(900, 5, 180), (901, 5, 181), (3, 5, 1), (60, 1, 60)])
def test_the_startup_probe_allows_the_whole_startup_budget(
    render: Render, budget: int, period: int, threshold: int
) -> None:
    objects = render({"lifecycle": {"startupBudgetSeconds": budget}, "probes": {"startup": {"periodSeconds": period}}})

    assert container(objects)["startupProbe"]["failureThreshold"] == threshold


def test_the_grace_period_covers_the_wait_the_drain_and_the_slack(render: Render) -> None:
    objects = render(
        {"lifecycle": {"preStopSleepSeconds": 7, "lameDuckSeconds": 4, "drainSeconds": 120, "slackSeconds": 3}}
    )

    assert pod(objects)["terminationGracePeriodSeconds"] == 134
    assert container(objects)["lifecycle"]["preStop"] == {"sleep": {"seconds": 7}}
    assert {"--lame-duck-seconds=4", "--drain-seconds=120"} <= set(container(objects)["args"])


def test_left_alone_the_grace_period_has_thirty_seconds_more_than_the_wait_and_the_drain(render: Render) -> None:
    objects = render({"lifecycle": {"preStopSleepSeconds": 7, "lameDuckSeconds": 4, "drainSeconds": 120}})

    assert pod(objects)["terminationGracePeriodSeconds"] == 161


def test_a_longer_grace_period_may_be_set(render: Render) -> None:
    objects = render({"lifecycle": {"terminationGracePeriodSeconds": 600}})

    assert pod(objects)["terminationGracePeriodSeconds"] == 600


def test_without_a_wait_there_is_no_pre_stop_action(render: Render) -> None:
    """Kubernetes before 1.33 refuses a sleep of 0 seconds."""
    objects = render({"lifecycle": {"preStopSleepSeconds": 0}})

    assert "lifecycle" not in container(objects)


def test_a_rollout_may_take_a_drain_a_start_and_five_minutes_a_step(render: Render) -> None:
    objects = render({"lifecycle": {"startupBudgetSeconds": 1800, "drainSeconds": 60}})

    assert deployment(objects)["progressDeadlineSeconds"] == 1800 + 100 + 300


@pytest.mark.parametrize(
    ("values", "surge", "unavailable"),
    [
        ({}, 1, 0),
        ({"gpu": {"count": 1}}, 0, 1),
        ({"gpu": {"count": 1}, "rollout": {"preset": "surge"}}, 1, 0),
        ({"rollout": {"preset": "inPlace"}}, 0, 1),
    ],
)
def test_pods_with_gpus_are_replaced_in_place(render: Render, values: Values, surge: int, unavailable: int) -> None:
    strategy = deployment(render(values))["strategy"]["rollingUpdate"]

    assert strategy == {"maxSurge": surge, "maxUnavailable": unavailable}


def test_gpus_are_a_limit_beside_the_others(render: Render) -> None:
    objects = render({"gpu": {"count": 2, "resource": "nvidia.com/mig-3g.40gb"}})

    assert container(objects)["resources"]["limits"] == {"memory": "8Gi", "nvidia.com/mig-3g.40gb": 2}


def test_probes_ask_the_plain_health_port(render: Render) -> None:
    probed = container(render({"ports": {"health": 6000}}))

    assert probed["startupProbe"]["grpc"] == {"port": 6000, "service": "penstock.v1.Generation"}
    assert probed["readinessProbe"]["grpc"] == {"port": 6000, "service": "penstock.v1.Generation"}
    assert probed["livenessProbe"]["grpc"] == {"port": 6000, "service": "liveness"}


def test_the_headless_service_has_the_port_of_the_container(render: Render) -> None:
    objects = render({"ports": {"grpc": 6001}, "service": {"port": 443}})

    headless = objects["Service", "penstock-headless"]["spec"]
    assert headless["clusterIP"] == "None"
    assert {"name": "grpc", "port": 6001, "targetPort": "grpc", "appProtocol": "kubernetes.io/h2c"} in headless["ports"]
    assert objects["Service", "penstock"]["spec"]["ports"][0]["port"] == 443


def test_without_tls_the_server_is_told_that_the_network_protects_it(render: Render) -> None:
    args = container(render({}))["args"]

    assert "--insecure" in args
    assert not [arg for arg in args if arg.startswith(("--tls", "--identity", "--admin"))]


def test_with_tls_no_port_is_announced_as_plain_text(render: Render) -> None:
    objects = render({"tls": {"existingSecret": "llm-tls"}})

    args = container(objects)["args"]
    assert "--insecure" not in args
    assert {"--tls-certificate=/etc/penstock/tls/tls.crt", "--tls-key=/etc/penstock/tls/tls.key"} <= set(args)
    assert {"name": "tls", "secret": {"secretName": "llm-tls"}} in pod(objects)["volumes"]
    for service in ("penstock", "penstock-headless"):
        assert "appProtocol" not in objects["Service", service]["spec"]["ports"][0]


def test_the_gateway_trusts_the_authority_of_the_service_and_sees_no_key_of_it(render: Render) -> None:
    objects = render({"tls": {"existingSecret": "llm-tls"}, "gateway": {"enabled": True}})

    assert "--upstream-ca=/etc/penstock/tls/ca.crt" in container(objects, "penstock-gateway")["args"]
    only_the_authority = {"secretName": "llm-tls", "items": [{"key": "ca.crt", "path": "ca.crt"}]}
    assert {"name": "tls", "secret": only_the_authority} in pod(objects, "penstock-gateway")["volumes"]


def test_names_of_secrets_stay_text_whatever_they_look_like(render: Render) -> None:
    secrets = {
        "tls": {"existingSecret": "123", "existingClientCaSecret": "456"},
        "identity": {"existingSecret": "true"},
    }

    objects = render({**secrets, "gateway": {"enabled": True, "existingCertificateSecret": "0x7"}})

    for name, expected in (("penstock", {"123", "456", "true"}), ("penstock-gateway", {"123", "0x7"})):
        volumes = pod(objects, name)["volumes"]
        assert {volume["secret"]["secretName"] for volume in volumes if "secret" in volume} == expected


@pytest.mark.parametrize("tls", [{}, {"tls": {"existingSecret": "llm-tls"}}], ids=["plain text", "TLS"])
@pytest.mark.parametrize("keys", [{}, *WITH_KEYS.values()], ids=["no keys", *WITH_KEYS])
def test_whoever_installs_is_told_what_travels_in_plain_text(helm: Path, keys: Values, tls: Values) -> None:
    options = ["--dry-run=client", "--values", "-"]
    told = run_program(helm, "install", "penstock", CHART, *options, stdin=yaml.safe_dump({**keys, **tls}))

    assert told.returncode == 0, told.stderr
    assert ("API keys travel in plain text" in told.stdout) is bool(keys and not tls)
    assert ("Anybody who reaches the pods may call, in plain text" in told.stdout) is (not keys and not tls)


@pytest.mark.parametrize("keys", WITH_KEYS.values(), ids=WITH_KEYS)
@pytest.mark.parametrize(("gateway", "forwards"), [({}, True), ({"forwardKeys": False}, False)])
def test_the_gateway_hands_keys_on_where_the_service_asks_for_them(
    render: Render, keys: Values, gateway: Values, forwards: bool
) -> None:
    objects = render({**keys, "gateway": {"enabled": True, **gateway}})

    assert ("--forward-keys" in container(objects, "penstock-gateway")["args"]) is forwards


def test_the_gateway_hands_no_keys_on_where_nobody_asks_for_them(render: Render) -> None:
    objects = render({"gateway": {"enabled": True}, "extraEnv": {"HF_HUB_OFFLINE": "1"}})

    assert "--forward-keys" not in container(objects, "penstock-gateway")["args"]


def test_the_service_reads_who_may_call_from_the_secret(render: Render) -> None:
    objects = render({"identity": {"existingSecret": "tenants"}})

    assert "--identity-file=/etc/penstock/identity/identity.toml" in container(objects)["args"]


def test_the_admin_port_is_no_port_of_the_pod(render: Render) -> None:
    """It is opened on the pod's loopback: `kubectl port-forward` needs no more."""
    server = container(render({"ports": {"admin": 50053}}))

    assert "--admin-port=50053" in server["args"]
    assert [port["name"] for port in server["ports"]] == ["grpc", "health", "metrics"]
    assert not [arg for arg in server["args"] if arg.startswith("--admin-host")]


def test_a_network_policy_lets_callers_the_gateway_scrapes_and_probes_in(render: Render) -> None:
    callers, scrapers = [{"podSelector": {"matchLabels": {"a": "b"}}}], [{"namespaceSelector": {}}]
    objects = render({"networkPolicy": {"enabled": True, "grpcFrom": callers}, "gateway": {"enabled": True}})

    policy = objects["NetworkPolicy", "penstock"]["spec"]
    gateway = {"podSelector": deployment(objects, "penstock-gateway")["selector"]}
    assert policy["podSelector"] == deployment(objects)["selector"]
    grpc, metrics, health = policy["ingress"]
    assert (grpc["ports"][0]["port"], grpc["from"]) == ("grpc", [*callers, gateway])
    assert (metrics["ports"][0]["port"], metrics["from"]) == ("metrics", scrapers)
    assert (health["ports"][0]["port"], "from" in health) == ("health", False)
    assert ("NetworkPolicy", "penstock") not in render({})


def test_selectors_stay_the_same_whatever_the_labels_are(render: Render) -> None:
    """A Deployment's selector cannot be changed: one that followed the values would make an upgrade fail."""
    plain = render({"gateway": {"enabled": True}})
    labelled = render({"gateway": {"enabled": True}, "commonLabels": {"team": "a"}, "podLabels": {"tier": "b"}})

    for name in ("penstock", "penstock-gateway"):
        assert deployment(plain, name)["selector"] == deployment(labelled, name)["selector"]
        labels = deployment(labelled, name)["template"]["metadata"]["labels"]
        assert labels.items() >= deployment(labelled, name)["selector"]["matchLabels"].items()
        assert labels["team"] == "a"


def test_two_releases_select_different_pods(render: Render) -> None:
    one, other = render({}, "one"), render({}, "other")

    assert one["Service", "one-penstock"]["spec"]["selector"] != other["Service", "other-penstock"]["spec"]["selector"]


def test_server_and_gateway_select_different_pods(render: Render) -> None:
    objects = render({"gateway": {"enabled": True}})

    assert deployment(objects)["selector"] != deployment(objects, "penstock-gateway")["selector"]


def test_the_gateway_dials_the_headless_service(render: Render) -> None:
    objects = render({"gateway": {"enabled": True}, "ports": {"grpc": 6001}})

    assert "--upstream=penstock-headless:6001" in container(objects, "penstock-gateway")["args"]


@pytest.mark.parametrize("name", ["penstock", "penstock-gateway"])
def test_pods_fit_the_restricted_pod_security_standard(render: Render, name: str) -> None:
    objects = render({"gateway": {"enabled": True}})

    assert pod(objects, name)["securityContext"]["runAsNonRoot"] is True
    assert pod(objects, name)["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container(objects, name)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }


@pytest.mark.parametrize("name", ["penstock", "penstock-gateway"])
def test_pods_get_neither_service_variables_nor_an_api_token(render: Render, name: str) -> None:
    objects = render({"gateway": {"enabled": True}})

    assert pod(objects, name)["enableServiceLinks"] is False
    assert pod(objects, name)["automountServiceAccountToken"] is False


def test_a_model_cache_is_mounted_as_the_home_of_downloads(render: Render) -> None:
    objects = render({"modelCache": {"existingClaim": "weights", "mountPath": "/models", "readOnly": True}})

    assert {"name": "HF_HOME", "value": "/models"} in container(objects)["env"]
    assert {"name": "model-cache", "mountPath": "/models", "readOnly": True} in container(objects)["volumeMounts"]


def test_extra_environment_wins_and_no_name_occurs_twice(render: Render) -> None:
    objects = render({"modelCache": {"existingClaim": "weights"}, "extraEnv": {"HF_HOME": "/elsewhere"}})

    assert container(objects)["env"] == [{"name": "HF_HOME", "value": "/elsewhere"}]


def test_a_long_release_name_is_cut_but_stays_unique(render: Render) -> None:
    one, other = ("a" * 52 + end for end in "xy")

    names = [{name for _, name in render({"gateway": {"enabled": True}}, release)} for release in (one, other)]

    assert not names[0] & names[1]
    assert max(len(name) for name in names[0] | names[1]) <= 63
