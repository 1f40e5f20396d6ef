"""The service from start to stop: ports first, then the engine; on the way out the other way round."""

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any

import structlog
from opentelemetry.sdk.trace.export import SpanExporter

from penstock_service.configuration import ConfigurationError
from penstock_service.engine.base import Engine
from penstock_service.engine.loading import load_engine
from penstock_service.health import Health
from penstock_service.lifecycle import Lifecycle, Stage
from penstock_service.pacing import LoopLoad
from penstock_service.server import health_server, service_server
from penstock_service.settings import Settings
from penstock_service.stalls import StallWatch
from penstock_service.telemetry import telemetry

log = structlog.get_logger()

Load = Callable[[Settings], Awaitable[Engine]]

# Long enough for watchers to receive the last health status before their streams are closed.
_CLOSING_SECONDS = 0.5


class ServiceFailed(RuntimeError):
    """The service cannot go on."""


class EngineFailed(ServiceFailed):
    """The engine did not start, or stopped by itself."""


class Service:
    """A service whose ports are open. Its engine may still be loading."""

    def __init__(self, settings: Settings, lifecycle: Lifecycle, health: Health, load: Load) -> None:
        self.grpc_port = self.health_port = 0
        self.metrics_port: int | None = None
        self.lifecycle = lifecycle
        self.loading: asyncio.Task[Engine] = asyncio.create_task(self._load(load, settings), name="load engine")
        self._health = health

    async def failure(self) -> None:
        """Return never, or raise why the service cannot go on: ConfigurationError or EngineFailed."""
        try:
            engine = await asyncio.shield(self.loading)
        except ConfigurationError:
            raise
        except Exception as error:
            raise EngineFailed("the engine did not start") from error
        await engine.died()
        self.lifecycle.failed()
        await self._health.set_ready(False)
        raise EngineFailed("the engine has stopped by itself")

    async def _load(self, load: Load, settings: Settings) -> Engine:
        log.info("loading", engine=settings.engine, model=settings.model_name)
        progress = self.lifecycle.progress
        with progress.of_this_task():
            engine = await load(settings)
        # What loading has made lives as long as the process: a full collection would look at it for 0.3 s each time.
        gc.collect()
        gc.freeze()
        self.lifecycle.loaded(engine)
        await self._health.set_ready(self.lifecycle.stage is Stage.SERVING)
        log.info("loaded", model=engine.model.name, grpc_port=self.grpc_port, seconds=round(progress.seconds, 1))
        return engine

    async def drain(self, seconds: float) -> None:
        """Become unready, let running calls finish for up to `seconds`, end the rest."""
        self.lifecycle.draining()
        await self._health.set_ready(False)
        log.info("draining", running=self.lifecycle.running, seconds=seconds)
        await self.lifecycle.drain(seconds)

    def hurry(self) -> None:
        """End the calls that a drain still waits for."""
        self.lifecycle.end_calls()

    async def close_engine(self) -> None:
        """Stop the engine, or its loading. What loading raised is `failure`'s to tell."""
        self.loading.cancel()
        (engine,) = await asyncio.gather(self.loading, return_exceptions=True)
        if isinstance(engine, BaseException):
            return
        try:
            await engine.close()
        except Exception:
            log.warning("the engine did not stop as it should", exc_info=True)


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
        await health.start()
        busyness, stalls = LoopLoad(), StallWatch(settings.max_stall_seconds)
        await stack.enter_async_context(_watch(busyness.watch(), "event loop load"))
        await stack.enter_async_context(_watch(stalls.watch(), "stalled readers"))
        probes, health_port = health_server(settings, health) if front_end is None else (None, 0)
        server, grpc_port = service_server(settings, lifecycle, health, measured, busyness, stalls)
        for each in filter(None, (probes, server)):
            await each.start()
            stack.push_async_callback(each.stop, _CLOSING_SECONDS)
        service = Service(settings, lifecycle, health, load)
        service.grpc_port, service.health_port, service.metrics_port = grpc_port, health_port, metrics_port
        log.info("listening", grpc_port=grpc_port, health_port=health_port or None, metrics_port=metrics_port)
        stack.push_async_callback(service.close_engine)
        stack.push_async_callback(service.drain, settings.drain_seconds)
        yield service
