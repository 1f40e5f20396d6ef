"""Keeps an engine: loads it, watches it, and loads it again when it has died, as often as the settings permit."""

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable
from typing import NoReturn

import structlog

from penstock_service.configuration import ConfigurationError
from penstock_service.engine.base import Engine
from penstock_service.engine_watch import loss, watch
from penstock_service.failures import EngineFailed
from penstock_service.health import Health
from penstock_service.lifecycle import Lifecycle
from penstock_service.logged_errors import with_messages
from penstock_service.restarts import Restarts
from penstock_service.settings import Settings

log = structlog.get_logger()

Load = Callable[[Settings], Awaitable[Engine]]

# After a first load that failed, and so many times as long after each further one in a row.
_PAUSE_SECONDS = 1.0


class EngineKeeper:
    """The engine of a service, in the lifecycle and in what health says. `alone`: no supervisor judges it."""

    def __init__(self, load: Load, settings: Settings, lifecycle: Lifecycle, health: Health, alone: bool) -> None:
        self._load = load
        self._settings = settings
        self._lifecycle = lifecycle
        self._health = health
        self._alone = alone
        self._restarts = Restarts(settings.engine_restarts)
        self._failed_loads = 0  # since the last that did not
        self.loading = self._begin_loading()
        self._keeping = asyncio.create_task(self._keep(), name="keep the engine")

    async def failure(self) -> NoReturn:
        """Raise why there is no engine any more, once that is so: ConfigurationError or EngineFailed."""
        await asyncio.shield(self._keeping)

    async def tell_stalled(self, stalled: bool) -> None:
        """The engine makes no step, or goes on."""
        if stalled:
            self._lifecycle.stalled()
        else:
            self._lifecycle.recovered()
        await self._health.set_ready(self._lifecycle.ready)

    async def close(self) -> None:
        """Stop the engine, or its loading. What was wrong with it is `failure`'s to tell."""
        self._keeping.cancel()
        await asyncio.gather(self._keeping, return_exceptions=True)
        self.loading.cancel()
        await self._close_engine()

    def _begin_loading(self) -> "asyncio.Task[Engine]":
        return asyncio.create_task(self._loaded(), name="load engine")

    async def _loaded(self) -> Engine:
        log.info("loading", engine=self._settings.engine, model=self._settings.model_name)
        progress = self._lifecycle.progress
        with progress.of_this_task():
            engine = await self._load(self._settings)
        try:
            await self._lifecycle.prepare(engine)
        except BaseException:
            await engine.close()
            raise
        # What loading has made lives as long as the engine: a full collection would look at it for 0.3 s each time.
        gc.collect()
        gc.freeze()
        self._lifecycle.loaded(engine)
        await self._health.set_ready(self._lifecycle.ready)
        log.info("loaded", model=engine.model.name, seconds=round(progress.seconds, 1))
        return engine

    async def _keep(self) -> NoReturn:
        while True:
            failure = await self._lost()
            if self._lifecycle.stop_asked.is_set() or not self._restarts.begin(time.monotonic()):
                self._lifecycle.failed()
                await self._health.set_ready(False)
                raise failure
            self._lifecycle.reloading()
            await self._health.set_ready(False)
            cause = failure.__cause__ and with_messages(failure.__cause__)
            log.error("starting the engine again", error=str(failure), exception=cause)
            await self._close_engine()
            gc.unfreeze()
            await asyncio.sleep(_PAUSE_SECONDS * self._failed_loads)
            self.loading = self._begin_loading()

    async def _lost(self) -> EngineFailed:
        """Wait until there is no engine; return why. Raises ConfigurationError, which only the first can mean."""
        try:
            engine = await asyncio.shield(self.loading)
        except Exception as error:
            if isinstance(error, ConfigurationError) and self._lifecycle.engine is None:
                raise
            self._failed_loads += 1  # the same settings have served: whatever it is, it may pass
            failure = EngineFailed("the engine did not start")
            failure.__cause__ = error
            return failure
        self._failed_loads = 0
        return await loss(engine, self._watch(engine))

    async def _watch(self, engine: Engine) -> None:
        if self._alone:
            await watch(engine, self._settings, self.tell_stalled)
        else:
            await asyncio.Event().wait()

    async def _close_engine(self) -> None:
        (engine,) = await asyncio.gather(self.loading, return_exceptions=True)
        if isinstance(engine, BaseException):
            return
        try:
            await engine.close()
        except Exception:
            log.warning("the engine did not stop as it should", exc_info=True)
