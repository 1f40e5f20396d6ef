"""The service from start to stop: ports first, then the engine; on the way out the other way round."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine

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


class EngineFailed(RuntimeError):
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
        engine = await load(settings)
        self.lifecycle.loaded(engine)
        await self._health.set_ready(self.lifecycle.stage is Stage.SERVING)
        log.info("loaded", model=engine.model.name, grpc_port=self.grpc_port)
        return engine

    async def drain(self, seconds: float) -> None:
        """Become unready, let running calls finish for up to `seconds`, end the rest."""
        self.lifecycle.draining()
        await self._health.set_ready(False)
        log.info("draining", running=self.lifecycle.running, seconds=seconds)
        await self.lifecycle.drain(seconds)

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


@contextlib.asynccontextmanager
async def _watch(watching: Coroutine[object, object, None], name: str) -> AsyncIterator[None]:
    task = asyncio.create_task(watching, name=name)
    yield
    task.cancel()


@contextlib.asynccontextmanager
async def running_service(
    settings: Settings, load: Load = load_engine, spans: SpanExporter | None = None
) -> AsyncIterator[Service]:
    """Open the ports and begin to load the engine; on exit drain, then stop. Raises PortTaken."""
    async with contextlib.AsyncExitStack() as stack:
        measured, metrics_port = await stack.enter_async_context(telemetry(settings, spans))
        health, lifecycle = Health(), Lifecycle()
        await health.start()
        busyness, stalls = LoopLoad(), StallWatch(settings.max_stall_seconds)
        await stack.enter_async_context(_watch(busyness.watch(), "event loop load"))
        await stack.enter_async_context(_watch(stalls.watch(), "stalled readers"))
        probes, health_port = health_server(settings, health)
        server, grpc_port = service_server(settings, lifecycle, health, measured, busyness, stalls)
        for each in (probes, server):
            await each.start()
            stack.push_async_callback(each.stop, _CLOSING_SECONDS)
        service = Service(settings, lifecycle, health, load)
        service.grpc_port, service.health_port, service.metrics_port = grpc_port, health_port, metrics_port
        log.info("listening", grpc_port=grpc_port, health_port=health_port, metrics_port=metrics_port)
        stack.push_async_callback(service.close_engine)
        stack.push_async_callback(service.drain, settings.drain_seconds)
        yield service
