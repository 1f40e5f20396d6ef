"""What the chart works out from its values, and what it must never change between releases."""

import pytest

from tests.chart.chart import Render, Values, container, deployment, pod


@pytest.mark.parametrize(("budget", "period", "threshold"), [(900, 5, 180), (901, 5, 181), (3, 5, 1), (60, 1, 60)])
def test_the_startup_probe_allows_the_whole_startup_budget(
    render: Render, budget: int, period: int, threshold: int
) -> None:
    objects = render({"lifecycle": {"startupBudgetSeconds": budget}, "probes": {"startup": {"periodSeconds": period}}})

    assert container(objects)["startupProbe"]["failureThreshold"] == threshold


def test_the_grace_period_covers_the_wait_the_drain_and_the_slack(render: Render) -> None:
    objects = render({"lifecycle": {"preStopSleepSeconds": 7, "drainSeconds": 120, "slackSeconds": 3}})

    assert pod(objects)["terminationGracePeriodSeconds"] == 130
    assert container(objects)["lifecycle"]["preStop"] == {"sleep": {"seconds": 7}}
    assert "--drain-seconds=120" in container(objects)["args"]


def test_a_longer_grace_period_may_be_set(render: Render) -> None:
    objects = render({"lifecycle": {"terminationGracePeriodSeconds": 600}})

    assert pod(objects)["terminationGracePeriodSeconds"] == 600


def test_without_a_wait_there_is_no_pre_stop_action(render: Render) -> None:
    """Kubernetes before 1.33 refuses a sleep of 0 seconds."""
    objects = render({"lifecycle": {"preStopSleepSeconds": 0}})

    assert "lifecycle" not in container(objects)


def test_a_rollout_may_take_a_drain_a_start_and_five_minutes_a_step(render: Render) -> None:
    objects = render({"lifecycle": {"startupBudgetSeconds": 1800, "drainSeconds": 60}})

    assert deployment(objects)["progressDeadlineSeconds"] == 1800 + 90 + 300


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
