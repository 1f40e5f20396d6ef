"""The parts of several front ends that need no engine."""

import asyncio
import socket
from collections.abc import AsyncIterator

import grpc
import pytest
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector, CollectorRegistry

from penstock_service.channel_options import channel_options
from penstock_service.configuration import ConfigurationError, PortTaken
from penstock_service.engine.link import Link
from penstock_service.frontends.control import (
    Channel,
    Connect,
    Drain,
    EngineStarted,
    Failed,
    Message,
    Progress,
    Stalled,
    Start,
)
from penstock_service.frontends.metrics import merged
from penstock_service.frontends.port import reserved_port
from penstock_service.settings import settings_from

LINK = Link(1, 2, "ipc:///run/input-1", "ipc:///run/output-1", None, "5ec2e7", "/run/queue")


@pytest.fixture
async def channels() -> AsyncIterator[tuple[Channel, Channel]]:
    ends = [await Channel.over(end) for end in socket.socketpair()]
    yield ends[0], ends[1]
    for end in ends:
        await end.close()


@pytest.mark.parametrize(
    "message",
    [
        Start(
            index=1, settings=settings_from(["--model", "acme/writer", "--metrics-port", "none", "--", "--seed", "7 8"])
        ),
        Connect(link=LINK),
        EngineStarted(processes=[7, 8]),
        Failed(sentence='model: no "such"\nthing', configuration=True),
        Drain(),
        Stalled(stalled=True),
        Progress(running=3, steps=7),
    ],
    ids=lambda message: message.kind,
)
async def test_a_message_arrives_as_it_was_sent(channels: tuple[Channel, Channel], message: Message) -> None:
    ours, theirs = channels

    ours.send(message)
    arrived = await theirs.receive()

    assert type(arrived) is type(message)
    assert arrived.model_dump() == message.model_dump()


async def test_the_settings_that_a_front_end_gets_are_the_programs_and_not_its_environments(
    channels: tuple[Channel, Channel], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = channels
    ours.send(Start(index=0, settings=settings_from(["--grpc-port", "7"])))
    monkeypatch.setenv("PENSTOCK_GRPC_PORT", "8")
    monkeypatch.setenv("PENSTOCK_DRAIN_SECONDS", "9")

    start = await theirs.receive()

    assert isinstance(start, Start)
    assert (start.settings.grpc_port, start.settings.drain_seconds) == (7, 30)


async def test_the_end_of_the_other_process_is_the_end_of_the_messages(channels: tuple[Channel, Channel]) -> None:
    ours, theirs = channels
    ours.send(Drain())
    await ours.close()

    assert isinstance(await theirs.receive(), Drain)
    assert await theirs.receive() is None
    theirs.send(Drain())  # nobody reads it, which is no error


def test_shared_families_stay_and_the_others_carry_their_front_end() -> None:
    shared = [GaugeMetricFamily("vllm:running", "Requests that run", value=3)]
    own = [_text(GaugeMetricFamily("vllm:running", "", value=3), _calls(4)), _text(_calls(5))]

    text = generate_latest(_registry(merged(shared, [text_string_to_metric_families(each) for each in own]))).decode()

    assert text.splitlines() == [
        "# HELP vllm:running Requests that run",
        "# TYPE vllm:running gauge",
        "vllm:running 3.0",
        "# HELP calls_total Calls",
        "# TYPE calls_total counter",
        'calls_total{frontend="0",model="builtin"} 4.0',
        'calls_total{frontend="1",model="builtin"} 5.0',
    ]


def test_the_creation_time_of_a_shared_counter_is_left_out() -> None:
    shared = [CounterMetricFamily("vllm:tokens", "", value=3)]
    own = [[GaugeMetricFamily("vllm:tokens_created", "", value=1e9), Metric("vllm:unused", "", "counter")]]

    assert list(merged(shared, own)) == shared


def test_a_histogram_is_still_one_after_the_merge() -> None:
    histogram = HistogramMetricFamily("seconds", "", buckets=[("1.0", 2), ("+Inf", 3)], sum_value=4.5)

    (family,) = merged([], [list(text_string_to_metric_families(_text(histogram)))])

    assert family.type == "histogram"
    assert {sample.name: sample.value for sample in family.samples}["seconds_count"] == 3
    assert all(sample.labels["frontend"] == "0" for sample in family.samples)


def test_a_free_port_is_held_until_the_end() -> None:
    with reserved_port("127.0.0.1", 0) as port:
        with pytest.raises(PortTaken), reserved_port("127.0.0.1", port):
            pass

    with reserved_port("127.0.0.1", port) as again:
        assert again == port


@pytest.mark.parametrize("shared", [True, False])
def test_a_port_with_a_listener_is_taken_even_if_it_would_share(shared: bool) -> None:
    with socket.create_server(("127.0.0.1", 0), reuse_port=shared) as listener:
        with pytest.raises(PortTaken), reserved_port("127.0.0.1", listener.getsockname()[1]):
            pass


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "localhost", "::1"])  # noqa: S104
async def test_front_ends_open_the_port_that_is_held_and_nobody_else(host: str) -> None:
    address = f"[{host}]" if ":" in host else host
    sharing, alone = (dict(channel_options(settings_from(["--frontends", count]))) for count in ("2", "1"))
    with reserved_port(host, 0) as port:
        servers = [grpc.aio.server(options=list(sharing.items())) for _ in range(2)]
        assert [server.add_insecure_port(f"{address}:{port}") for server in servers] == [port, port]
        await asyncio.gather(*(server.start() for server in servers))

        with pytest.raises(RuntimeError):
            grpc.aio.server(options=list(alone.items())).add_insecure_port(f"{address}:{port}")
        await asyncio.gather(*(server.stop(0) for server in servers))


def test_a_host_that_does_not_exist_is_named() -> None:
    with pytest.raises(PortTaken, match=r"grpc_port: cannot open no-such-host\.invalid:50051"):
        with reserved_port("no-such-host.invalid", 50051):
            pass


def test_the_simulated_engine_has_one_front_end() -> None:
    with pytest.raises(ConfigurationError, match="frontends is 2, but the simulated engine lives in one process"):
        settings_from(["--engine", "simulated", "--frontends", "2"])


def _calls(count: int) -> Metric:
    family = CounterMetricFamily("calls", "Calls", labels=["model"])
    family.add_metric(["builtin"], count)
    return family


def _text(*families: Metric) -> str:
    return generate_latest(_registry(families)).decode()


def _registry(families: object) -> CollectorRegistry:
    class Given(Collector):
        def collect(self) -> object:
            return families

    registry = CollectorRegistry()
    registry.register(Given())
    return registry
