"""Fixtures for the whole suite: services in this process over loopback, on free ports."""

import penstock_service  # noqa: F401 - before gRPC, to which it tells something

# isort: split
import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.util import find_spec
from typing import Any

import grpc
import pytest
from hypothesis import HealthCheck, settings

from penstock.v1.generation_pb2_grpc import GenerationStub
from penstock.v1.models_pb2_grpc import ModelsStub
from penstock_service.engine.base import Engine
from penstock_service.engine.loading import load_engine
from penstock_service.service import Load, Service, running_service
from penstock_service.settings import Settings

# What they hold against each other is told when it differs.
pytest.register_assert_rewrite(
    "tests.rpc.answer_checks",
    "tests.rpc.error_details",
    "tests.rpc.field_effects",
    "tests.rpc.generation_status",
)

# An example that takes long tells of the machine, which is shared, and not of what is tested.
settings.register_profile("shared machine", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared machine")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let parallel workers begin with what takes longest, so that neither is left with it at the end."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: item.get_closest_marker("real_vllm") is None)


@pytest.fixture(scope="session", autouse=True)
def clean_environment() -> Iterator[None]:
    """Keep what is configured on this machine out of the tests, and their telemetry out of its collectors."""
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ:
            if name.startswith(("OTEL_", "PENSTOCK_")) and not name.startswith("PENSTOCK_CLUSTER_"):
                patch.delenv(name)
        yield


@pytest.fixture(scope="session", autouse=True)
def heard_interrupts() -> None:
    """Have the programs that tests start hear Ctrl-C: a shell's background jobs ignore it, and so do their children."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


class Running:
    """A service under test, with stubs on a channel to it."""

    def __init__(self, service: Service, channel: grpc.aio.Channel) -> None:
        self.service = service
        self.channel = channel
        self.address = f"127.0.0.1:{service.grpc_port}"
        self.generation: Any = GenerationStub(channel)
        self.models: Any = ModelsStub(channel)

    @property
    def engine(self) -> Engine:
        """The loaded engine."""
        return self.service.loading.result()


OpenService = Callable[..., Awaitable[Running]]


@asynccontextmanager
async def opened(
    settings: Settings, load: Load = load_engine, ready: bool = True, **rest: Any
) -> AsyncIterator[Running]:
    """A running service; `ready` waits until it serves."""
    async with running_service(settings, load, **rest) as service:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{service.grpc_port}") as channel:
            if ready:
                await service.loading
            yield Running(service, channel)


def simulated_settings(**changes: Any) -> Settings:
    """Settings of a service with the simulated engine on free ports; `simulated` changes its timing."""
    timing = {"step_time_ms": 1, **changes.pop("simulated", {})}
    ports = {"grpc_port": 0, "health_port": 0, "metrics_port": None}
    return Settings(**{"engine": "simulated", "drain_seconds": 0, **ports, "simulated": timing, **changes})


@pytest.fixture
async def open_service() -> AsyncIterator[OpenService]:
    """Open services with the simulated engine, closed when the test ends: `await open_service(simulated={...})`."""
    async with AsyncExitStack() as stack:

        async def open_one(load: Load = load_engine, ready: bool = True, **changes: Any) -> Running:
            return await stack.enter_async_context(opened(simulated_settings(**changes), load, ready))

        yield open_one


@pytest.fixture
async def simulated(open_service: OpenService) -> Running:
    """A service with the simulated engine at 1 ms a step."""
    return await open_service()


@pytest.fixture
async def stuck(open_service: OpenService) -> Running:
    """A service whose engine takes a minute a step: whatever is sent to it stays there."""
    return await open_service(simulated={"step_time_ms": 60_000})


@pytest.fixture(scope="session")
async def real() -> AsyncIterator[Running]:
    """A service with the built-in model on vLLM: one for the whole run (of a worker), in this process."""
    if find_spec("vllm") is None:
        pytest.skip("vLLM is not installed here: `make test` installs it")
    ports = {"grpc_port": 0, "health_port": 0, "metrics_port": 0, "admin_port": 0}
    async with opened(Settings(**ports, drain_seconds=0)) as running:
        yield running


async def eventually(condition: Callable[[], bool], what: str = "the condition") -> None:
    """Wait until `condition` holds; fail after ten seconds."""
    try:
        async with asyncio.timeout(10):
            while not condition():  # noqa: ASYNC110 - the conditions are of others and have no events
                await asyncio.sleep(0.005)
    except TimeoutError:
        pytest.fail(f"{what} did not come true within 10 s")
