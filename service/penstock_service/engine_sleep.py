"""Puts the engine to sleep and wakes it; calls are refused meanwhile, and none is cut."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import structlog

from penstock_service.engine.base import Engine
from penstock_service.errors import CallsRunning, Unavailable
from penstock_service.health import Health
from penstock_service.lifecycle import Lifecycle, Stage

log = structlog.get_logger()


class EngineSleep:
    """The sleep of a lifecycle's engine. One call at a time changes it; others wait for it."""

    def __init__(self, lifecycle: Lifecycle, health: Health) -> None:
        self._lifecycle = lifecycle
        self._health = health
        self._changing = asyncio.Lock()

    async def begin(self, wait_seconds: float) -> None:
        """Refuse calls, wait for the running ones, put the engine to sleep. Raises CallsRunning if they do not end."""
        async with self._changing:
            if self._lifecycle.stage is Stage.ASLEEP:
                return
            with self._lifecycle.call() as engine:
                engine.controls.check_sleep()
            if self._lifecycle.stage is Stage.LAME_DUCK:
                raise Unavailable("DRAINING")
            self._lifecycle.fall_asleep()
            try:
                await self._tell_health()
                await self._wait_for_calls(wait_seconds)
            except BaseException:
                await self._serve_on()
                raise
            await _to_its_end(self._put_to_sleep(engine))

    async def end(self) -> None:
        """Wake the engine and admit calls."""
        async with self._changing:
            if self._lifecycle.stage is not Stage.ASLEEP:
                self._lifecycle.check_admitting()
                return
            engine = self._lifecycle.engine
            assert engine is not None  # noqa: S101 - it was put to sleep
            await _to_its_end(self._wake(engine))

    async def _put_to_sleep(self, engine: Engine) -> None:
        try:
            await engine.controls.sleep()
        except BaseException:
            await self._serve_on()
            raise
        log.info("asleep")

    async def _wake(self, engine: Engine) -> None:
        await engine.controls.wake()
        await self._serve_on()
        log.info("awake")

    async def _serve_on(self) -> None:
        self._lifecycle.wake()
        await self._tell_health()

    async def _wait_for_calls(self, seconds: float) -> None:
        try:
            await self._lifecycle.idle(seconds)
        except TimeoutError:
            raise CallsRunning(f"{self._lifecycle.running} calls still run after {seconds:g} s") from None
        if self._lifecycle.stage is not Stage.ASLEEP:  # a stop came, or the engine died
            self._lifecycle.check_admitting()

    async def _tell_health(self) -> None:
        await self._health.set_ready(self._lifecycle.ready)


async def _to_its_end(change: Coroutine[Any, Any, None]) -> None:
    """Await a change of the engine that goes on when the caller leaves: half a change would be neither."""
    changing = asyncio.create_task(change)
    try:
        await asyncio.shield(changing)
    except asyncio.CancelledError:
        await asyncio.wait([changing])
        raise
