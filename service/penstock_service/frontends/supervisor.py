"""Owns what several front ends share: their engine, their port, health, metrics and the signals.

A front end that ends by itself ends the service, because vLLM's engine greets each of its clients once: a successor
would never be connected, and the platform restarts the whole as fast as the engine could be.
"""

import asyncio
import contextlib
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
from prometheus_client import CollectorRegistry

from penstock_service.configuration import ConfigurationError
from penstock_service.daemon_thread import in_daemon_thread
from penstock_service.engine.loading import make_shared_engine
from penstock_service.engine_watch import loss, watch
from penstock_service.failures import EngineFailed
from penstock_service.frontends.control import Connect, EngineDied, EngineStarted, Hurry, Stalled
from penstock_service.frontends.metrics import FrontEndMetrics
from penstock_service.frontends.port import reserved_port
from penstock_service.frontends.process import FrontEndProcess
from penstock_service.health import Health
from penstock_service.prometheus_endpoint import open_prometheus
from penstock_service.server import health_server
from penstock_service.serving import Servers
from penstock_service.settings import Settings

if TYPE_CHECKING:
    from penstock_service.engine.vllm.shared_engine import SharedEngine

log = structlog.get_logger()

# What a front end may take after its drain: sending the last telemetry takes up to 4 s.
_ENDING_SECONDS = 10.0
_SCRAPE_SECONDS = 10.0


class Supervisor:
    """A service of several front ends. Its engine may still be loading."""

    def __init__(
        self, settings: Settings, health: Health, servers: Servers, directory: Path, front_ends: list[FrontEndProcess]
    ) -> None:
        self.grpc_port = self.health_port = 0
        self.metrics_port: int | None = None
        self._settings = settings
        self._health = health
        self._directory = directory
        self._front_ends = front_ends
        self._engine: SharedEngine | None = None
        self._loaded = self._stalled = self._failing = False
        self._stop_asked = asyncio.Event()
        tasks = (self._run_engine(), self._become_ready(), servers.failure())
        self._tasks = [asyncio.create_task(task) for task in tasks]

    async def failure(self) -> None:
        """Return never, or raise why the service cannot go on: ConfigurationError or ServiceFailed."""
        lives = [front_end.life for front_end in self._front_ends]
        done, _ = await asyncio.wait([*lives, *self._tasks], return_when=asyncio.FIRST_EXCEPTION)
        self._failing = True
        await self._tell_health()
        raise _decisive([error for task in done if (error := task.exception())])

    def begin_drain(self) -> None:
        """Begin to stop, as a signal does."""
        self._stop_asked.set()

    async def stop_asked(self) -> None:
        """Return when a stop was asked for."""
        await self._stop_asked.wait()

    def hurry(self) -> None:
        """End the calls that a drain still waits for."""
        for front_end in self._front_ends:
            front_end.send(Hurry())

    async def drain(self, seconds: float) -> None:
        """Become unready, let every front end drain its calls for up to `seconds`, and see each of them end."""
        self.begin_drain()
        await self._tell_health()
        log.info("draining", frontends=len(self._front_ends), seconds=seconds)
        for front_end in self._front_ends:
            front_end.drain()
        lives = [front_end.life for front_end in self._front_ends]
        await asyncio.wait(lives, timeout=self._settings.lame_duck_seconds + seconds + _ENDING_SECONDS)
        for front_end in self._front_ends:
            front_end.kill()
        ended = await asyncio.gather(*lives, return_exceptions=True)
        if errors := [error for error in ended if error is not None and not self._failing]:
            raise _decisive(errors)

    async def close_engine(self) -> None:
        """Stop the engine, or its loading."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._engine is not None:
            await self._engine.close()

    async def _run_engine(self) -> None:
        """Load the engine, connect the front ends, and raise when it dies."""
        log.info("loading", engine=self._settings.engine, model=self._settings.model_name)
        self._engine = await make_shared_engine(self._settings, self._directory)
        try:
            await self._engine.start(self._tell_processes)
        except ConfigurationError:
            raise
        except Exception as error:
            raise EngineFailed("the engine did not start") from error
        for front_end, link in zip(self._front_ends, self._engine.links(), strict=True):
            front_end.send(Connect(link=link))
        reported = ReportedEngine(self._engine, self._front_ends)
        failure = await loss(reported, watch(reported, self._settings, self._tell_stalled))
        for front_end in self._front_ends:
            front_end.send(EngineDied())
        raise failure

    async def _tell_stalled(self, stalled: bool) -> None:
        self._stalled = stalled
        for front_end in self._front_ends:
            front_end.send(Stalled(stalled=stalled))
        await self._tell_health()

    async def _tell_health(self) -> None:
        stopping = self._failing or self._stop_asked.is_set()
        await self._health.set_ready(self._loaded and not (self._stalled or stopping))

    def _tell_processes(self, processes: list[int]) -> None:
        for front_end in self._front_ends:
            front_end.send(EngineStarted(processes=processes))

    async def _become_ready(self) -> None:
        await asyncio.gather(*(front_end.listening.wait() for front_end in self._front_ends))
        ports = {"health_port": self.health_port, "metrics_port": self.metrics_port}
        log.info("listening", grpc_port=self.grpc_port, frontends=len(self._front_ends), **ports)
        await asyncio.gather(*(front_end.loaded.wait() for front_end in self._front_ends))
        self._loaded = True
        await self._tell_health()
        log.info("loaded", model=self._settings.model_name, frontends=len(self._front_ends))


class ReportedEngine:
    """The engine as all front ends together see it: one whose jobs all wait sees no step of the others'."""

    occupied = False  # front ends load no adapters, and nobody can ask for more

    def __init__(self, engine: "SharedEngine", front_ends: Sequence[FrontEndProcess]) -> None:
        self._front_ends = front_ends
        self.kill, self.died = engine.kill, engine.died

    @property
    def running(self) -> int:
        """See Engine.running."""
        now = time.monotonic()
        return sum(front_end.running(now) for front_end in self._front_ends)

    @property
    def steps(self) -> int:
        """See Engine.steps."""
        return sum(front_end.progress.steps for front_end in self._front_ends)

    def lose(self) -> None:
        """See Engine.lose. The supervisor tells its front ends."""


def _decisive(errors: list[BaseException]) -> BaseException:
    """What to report: that the settings are wrong, if they are; every front end and the engine fail of it."""
    return next((error for error in errors if isinstance(error, ConfigurationError)), errors[0])


@contextlib.asynccontextmanager
async def running_front_ends(settings: Settings) -> AsyncIterator[Supervisor]:
    """Open the ports, start the front ends, begin to load the engine; on exit drain, then stop. Raises PortTaken."""
    async with contextlib.AsyncExitStack() as stack:
        health, servers = Health(), Servers()
        probes, health_port = health_server(settings, health)
        await stack.enter_async_context(servers.running(probes, "health_port"))
        grpc_port = stack.enter_context(reserved_port(settings.host, settings.grpc_port))
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="penstock-")))
        front_ends: list[FrontEndProcess] = []
        metrics_port = await stack.enter_async_context(_metrics_endpoint(settings, directory, front_ends))
        for index in range(settings.frontends):
            shared = settings.model_copy(update={"grpc_port": grpc_port})
            front_ends.append(await FrontEndProcess.start(index, shared, directory))
            stack.callback(front_ends[-1].kill)
        supervisor = Supervisor(settings, health, servers, directory, front_ends)
        supervisor.grpc_port, supervisor.health_port, supervisor.metrics_port = grpc_port, health_port, metrics_port
        stack.push_async_callback(supervisor.close_engine)
        stack.push_async_callback(supervisor.drain, settings.drain_seconds)
        yield supervisor


@contextlib.asynccontextmanager
async def _metrics_endpoint(
    settings: Settings, directory: Path, front_ends: list[FrontEndProcess]
) -> AsyncIterator[int | None]:
    if settings.metrics_port is None:
        yield None
        return
    loop = asyncio.get_running_loop()

    async def ask() -> list[str]:
        return await asyncio.gather(*(front_end.metrics() for front_end in front_ends))

    def scrape() -> list[str]:  # in a thread of the endpoint
        return asyncio.run_coroutine_threadsafe(ask(), loop).result(_SCRAPE_SECONDS)

    registry, closing = CollectorRegistry(), list[Callable[[], object]]()
    registry.register(FrontEndMetrics(directory, scrape))
    try:
        yield open_prometheus(settings.host, settings.metrics_port, closing, registry)
    finally:
        for close in reversed(closing):
            await in_daemon_thread(close)
