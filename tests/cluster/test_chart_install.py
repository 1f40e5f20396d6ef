"""The chart, installed on a real cluster with the simulated engine: it serves, rolls over, drains and goes away."""

import http.client
import json
from collections.abc import Iterator

import pytest

from tests.cluster.deployment import Namespace
from tests.cluster.load import Load, outcomes

pytestmark = pytest.mark.cluster

RELEASE = "penstock"
SERVER_PODS = f"app.kubernetes.io/instance={RELEASE},app.kubernetes.io/component=server"


@pytest.fixture(scope="module")
def installed(namespace: Namespace, load: Load) -> Iterator[Namespace]:
    namespace.install(RELEASE)
    yield namespace
    namespace.uninstall(RELEASE)


@pytest.mark.parametrize("method", ["Generate", "StreamGenerate"])
def test_the_service_answers_every_call(installed: Namespace, load: Load, method: str) -> None:
    address = installed.service_address(RELEASE)

    report = load(address, method, calls=200, concurrency=32, connections=8)

    assert outcomes(report) == {"OK": 200}


def test_the_headless_service_lists_every_pod(installed: Namespace) -> None:
    pods = {pod["status"]["podIP"] for pod in installed.get("pods", SERVER_PODS)}

    assert len(pods) == 2
    assert ready_addresses(installed, f"{RELEASE}-headless") == pods


def test_the_namespace_admits_our_pods_and_no_careless_ones(installed: Namespace) -> None:
    careless = {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "careless"}}
    careless["spec"] = {"containers": [{"name": "any", "image": installed.image}]}

    with pytest.raises(AssertionError, match='violates PodSecurity "restricted:latest"'):
        installed.kubectl("create", "--dry-run=server", "--filename", "-", stdin=json.dumps(careless))

    assert {pod["status"]["phase"] for pod in installed.get("pods", SERVER_PODS)} == {"Running"}


def test_no_new_connection_fails_during_an_upgrade(installed: Namespace, load: Load) -> None:
    """Each run of ghz dials anew, as a client does that has just been started."""
    address = installed.service_address(RELEASE)
    reports: list[dict[str, int]] = []

    upgrade = installed.start_upgrade(RELEASE, "--set", "lifecycle.drainSeconds=21")
    while upgrade.poll() is None:
        reports.append(outcomes(load(address, "Generate", calls=16, concurrency=4)))

    assert upgrade.returncode == 0, upgrade.stderr and upgrade.stderr.read()
    assert reports
    assert all(report == {"OK": 16} for report in reports)
    running = [pod for pod in installed.get("pods", SERVER_PODS) if "deletionTimestamp" not in pod["metadata"]]
    assert all("--drain-seconds=21" in pod["spec"]["containers"][0]["args"] for pod in running)


def test_streams_on_pods_that_are_told_to_end_still_finish(installed: Namespace, load: Load) -> None:
    """They last 10 s; SIGTERM comes after the 5 s wait, so half of each stream happens while its pod drains."""
    address = installed.service_address(RELEASE)
    pods = [pod["metadata"]["name"] for pod in installed.get("pods", SERVER_PODS)]

    installed.kubectl("delete", "pods", "--wait=false", *pods)
    report = load(address, "StreamGenerate", calls=8, concurrency=8, connections=8, max_tokens=1000)

    assert outcomes(report) == {"OK": 8}
    assert report["fastest"] > 9e9  # nanoseconds: the streams were whole
    # Well before the grace period of 30 s is over: the pods ended by themselves.
    installed.kubectl("wait", "--for=delete", "--timeout=10s", *(f"pod/{name}" for name in pods))
    installed.kubectl("rollout", "status", f"deployment/{RELEASE}", "--timeout=2m")


def test_the_gateway_answers_for_the_service(installed: Namespace) -> None:
    installed.install("beside", "--set", "replicas=1,gateway.enabled=true")

    gateway = http.client.HTTPConnection(installed.service_address("beside-penstock-gateway"), timeout=10)
    gateway.request("GET", "/v1/models")
    models = json.load(gateway.getresponse())
    gateway.close()

    assert [model["id"] for model in models["data"]] == ["builtin"]
    assert len(ready_addresses(installed, f"{RELEASE}-headless")) == 2  # a release beside it takes none of its traffic
    installed.uninstall("beside")


def test_uninstall_leaves_nothing_behind(installed: Namespace) -> None:
    everything = "all,endpointslices,serviceaccounts,poddisruptionbudgets,configmaps,secrets"
    ours = "app.kubernetes.io/instance=passing"
    installed.install("passing", "--set", "replicas=1,gateway.enabled=true,lifecycle.preStopSleepSeconds=0")
    assert installed.get(everything, ours)

    installed.uninstall("passing")

    # What Helm made is gone at once; pods go when they have drained, which idle ones do long before their grace period.
    installed.kubectl("wait", "--for=delete", everything, "--selector", ours, "--timeout=15s")
    assert installed.get(everything, ours) == []
    assert installed.get("secrets", "owner=helm,name=passing") == []


def ready_addresses(namespace: Namespace, service: str) -> set[str]:
    slices = namespace.get("endpointslices", f"kubernetes.io/service-name={service}")
    endpoints = [endpoint for piece in slices for endpoint in piece["endpoints"] or []]
    return {address for endpoint in endpoints if endpoint["conditions"]["ready"] for address in endpoint["addresses"]}
