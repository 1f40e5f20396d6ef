"""Has the watchdog look at an engine, ends one that hangs, and tells why one is gone. The engine is sent nothing."""

import asyncio
import contextlib
import faulthandler
import tempfile
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Protocol

import structlog

from penstock_service.failures import EngineFailed
from penstock_service.settings import Settings
from penstock_service.watchdog import Verdict, Watchdog

log = structlog.get_logger()

# For a killed engine to be gone. A process in an uninterruptible wait does not die of SIGKILL.
_DEATH_SECONDS = 5.0


class Watched(Protocol):
    """What is watched: an Engine, or what several front ends tell of theirs."""

    @property
    def running(self) -> int:
        """See Engine.running."""

    @property
    def steps(self) -> int:
        """See Engine.steps."""

    @property
    def occupied(self) -> bool:
        """See Engine.occupied."""

    async def died(self) -> None:
        """See Engine.died."""

    def lose(self) -> None:
        """See Engine.lose."""

    def kill(self) -> None:
        """See Engine.kill."""


async def watch(engine: Watched, settings: Settings, tell_stalled: Callable[[bool], Awaitable[None]]) -> None:
    """Return once the engine has hung and was killed. `tell_stalled` hears when it stalls and when it goes on."""
    watchdog = Watchdog(settings.engine_stall_seconds, settings.engine_hang_seconds)
    stalled = False
    while True:
        await asyncio.sleep(watchdog.tick_seconds)
        silence = watchdog.silence
        verdict = watchdog.judge(time.monotonic(), engine.running, engine.steps, engine.occupied)
        if stalled is not (verdict is not Verdict.HEALTHY):
            stalled = not stalled
            if stalled:
                log.warning("the engine stalls", seconds=round(watchdog.silence, 1), running=engine.running)
            else:
                log.info("the engine goes on", seconds=round(silence, 1), running=engine.running)
            await tell_stalled(stalled)
        if verdict is Verdict.HUNG:
            stacks = _stacks()
            log.error("the engine hangs", seconds=round(watchdog.silence, 1), running=engine.running, stacks=stacks)
            engine.kill()
            return


async def loss(engine: Watched, watching: Coroutine[object, object, None]) -> EngineFailed:
    """Wait until the engine is gone, or is killed by `watching` and should be; return why.

    `watching` is `watch`, or what never returns where somebody else watches.
    """
    death, watched = asyncio.create_task(engine.died()), asyncio.create_task(watching, name="watch the engine")
    try:
        await asyncio.wait([death, watched], return_when=asyncio.FIRST_COMPLETED)
        if not watched.done():
            return EngineFailed("the engine has stopped by itself")
        if (error := watched.exception()) is not None:
            failure = EngineFailed("the watch over the engine has failed")
            failure.__cause__ = error
            return failure
        if death not in (await asyncio.wait([death], timeout=_DEATH_SECONDS))[0]:
            log.error("the engine was killed and does not end")
            engine.lose()
        return EngineFailed("the engine hung and was killed")
    finally:
        death.cancel()
        watched.cancel()


def _stacks() -> list[str]:
    """Where all threads of this process are: functions, files and lines, no values. Empty where no file can be."""
    with contextlib.suppress(OSError), tempfile.TemporaryFile("w+") as file:  # faulthandler writes to a descriptor
        faulthandler.dump_traceback(file)
        file.seek(0)
        return file.read().splitlines()
    return []
