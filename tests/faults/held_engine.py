"""A simulated engine whose steps a test holds, and a loader that remembers its engines."""

import asyncio
from typing import Self

from penstock_service.engine.simulated import SimulatedEngine
from penstock_service.settings import Settings


class HeldEngine(SimulatedEngine):
    """Makes no step while `going` is cleared."""

    going: asyncio.Event

    @classmethod
    async def load(cls, settings: Settings) -> Self:
        engine = await super().load(settings)
        engine.going = asyncio.Event()
        engine.going.set()
        return engine

    async def _work(self, seconds: float) -> None:
        await super()._work(seconds)
        await self.going.wait()


class HeldEngines:
    """Loads one engine after the other. The loads in `failing`, counted from 0, fail; each waits for `room`."""

    def __init__(self, *failing: int, error: Exception | None = None) -> None:
        self.made: list[HeldEngine] = []
        self.room = asyncio.Event()
        self.room.set()
        self._failing = failing
        self._error = error or MemoryError("no room")
        self._loads = 0

    @property
    def newest(self) -> HeldEngine:
        return self.made[-1]

    async def __call__(self, settings: Settings) -> HeldEngine:
        self._loads += 1
        await self.room.wait()
        if self._loads - 1 in self._failing:
            raise self._error
        self.made.append(await HeldEngine.load(settings))
        return self.newest
