"""The service from start to stop: ports first, then the engine; on the way out the other way round."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from typing import Any, NoReturn

import structlog
from opentelemetry.sdk.trace.export import SpanExporter

from penstock_service.admin import admin_endpoint
from penstock_service.door import Door
from penstock_service.engine.base import Engine
from penstock_service.engine.loading import load_engine
from penstock_service.engine_keeper import EngineKeeper, Load
from penstock_service.health import Health
from penstock_service.lifecycle import Lifecycle
from penstock_service.operations import Operated
from penstock_service.pacing import LoopLoad
from penstock_service.server import health_server, service_server
from penstock_service.serving import Servers
from penstock_service.settings import Settings
from penstock_service.stalls import StallWatch
from penstock_service.telemetry import telemetry

log = structlog.get_logger()


class Service:
    """A service whose ports are open. Its engine may still be loading."""

    def __init__(
        self, settings: Settings, lifecycle: Lifecycle, health: Health, keeper: EngineKeeper, servers: Servers
    ) -> None:
        self.grpc_port = self.health_port = 0
        self.metrics_port: int | None = None
        self.admin_port: int | None = None
        self.lifecycle = lifecycle
        self._lame_duck_seconds = settings.lame_duck_seconds
        self._health = health
        self._keeper = keeper
        self._servers = servers
        self.tell_stalled, self.close_engine = keeper.tell_stalled, keeper.close

    @property
    def loading(self) -> "asyncio.Task[Engine]":
        """What loads the newest engine."""
        return self._keeper.loading

    async def failure(self) -> NoReturn:
        """Raise why the service cannot go on, once that is so: ConfigurationError or ServiceFailed."""
        failures = [asyncio.create_task(each) for each in (self._keeper.failure(), self._servers.failure())]
        try:
            await asyncio.wait(failures, return_when=asyncio.FIRST_COMPLETED)
            await next(each for each in failures if each.done())
        finally:
            for each in failures:
                each.cancel()

    def begin_drain(self) -> None:
        """Begin to stop, as a signal does."""
        self.lifecycle.begin_drain()

    async def stop_asked(self) -> None:
        """Return when a stop was asked for."""
        await self.lifecycle.stop_asked.wait()

    async def drain(self, seconds: float) -> None:
        """Become unready, admit calls a little longer, let running ones finish for up to `seconds`, end the rest."""
        self.lifecycle.begin_drain()
        await self._health.set_ready(False)
        await self.lifecycle.lame_duck(self._lame_duck_seconds)
        self.lifecycle.draining()
        log.info("draining", running=self.lifecycle.running, seconds=seconds)
        await self.lifecycle.drain(seconds)

    def hurry(self) -> None:
        """End the calls that a drain still waits for."""
        self.lifecycle.end_calls()


async def until(stop: Coroutine[Any, Any, object], failure: Coroutine[Any, Any, None]) -> None:
    """Return when `stop` returns, or raise what `failure` raises."""
    stopping, failing = asyncio.create_task(stop), asyncio.create_task(failure)
    done, _ = await asyncio.wait([stopping, failing], return_when=asyncio.FIRST_COMPLETED)
    for task in (stopping, failing):
        task.cancel()
    if failing in done:
        await failing


@contextlib.asynccontextmanager
async def _watch(watching: Coroutine[object, object, None], name: str) -> AsyncIterator[None]:
    task = asyncio.create_task(watching, name=name)
    try:
        yield
    finally:
        task.cancel()


@contextlib.asynccontextmanager
async def running_service(
    settings: Settings, load: Load = load_engine, spans: SpanExporter | None = None, front_end: int | None = None
) -> AsyncIterator[Service]:
    """Open the ports and begin to load the engine; on exit drain, then stop. Raises PortTaken.

    `front_end` is the number of a front end: then the ports of health and metrics are its supervisor's.
    """
    async with contextlib.AsyncExitStack() as stack:
        measured, metrics_port = await stack.enter_async_context(telemetry(settings, spans, front_end))
        health, lifecycle = Health(), Lifecycle()
        busyness, stalls = LoopLoad(), StallWatch(settings.max_stall_seconds)
        await stack.enter_async_context(_watch(busyness.watch(), "event loop load"))
        await stack.enter_async_context(_watch(stalls.watch(), "stalled readers"))
        probes, health_port = health_server(settings, health) if front_end is None else (None, 0)
        door = Door(settings, measured)
        server, grpc_port = service_server(settings, lifecycle, health, measured, busyness, stalls, door)
        servers = Servers()
        if probes is not None:
            await stack.enter_async_context(servers.running(probes, "health_port"))
        await stack.enter_async_context(servers.running(server, "grpc_port"))
        operated = Operated(settings, lifecycle, health, door)
        admin_port = await stack.enter_async_context(admin_endpoint(operated, measured, servers))
        keeper = EngineKeeper(load, settings, lifecycle, health, alone=front_end is None)
        service = Service(settings, lifecycle, health, keeper, servers)
        service.grpc_port, service.health_port, service.metrics_port = grpc_port, health_port, metrics_port
        service.admin_port = admin_port
        ports = {"health_port": health_port or None, "metrics_port": metrics_port, "admin_port": admin_port}
        log.info("listening", grpc_port=grpc_port, **ports)
        stack.push_async_callback(service.close_engine)
        stack.push_async_callback(service.drain, settings.drain_seconds)
        yield service
