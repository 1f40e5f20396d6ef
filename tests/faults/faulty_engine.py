"""A simulated engine with knobs for what a real one cannot be asked to do."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable

from penstock.v1.generation_pb2 import GenerateChunk
from penstock_service.engine.base import Engine, Generation
from penstock_service.engine.simulated import SimulatedEngine
from penstock_service.settings import Settings


class FaultyEngine(SimulatedEngine):
    """Raises `error` after `good_chunks` chunks."""

    error: BaseException | None = None
    good_chunks = 0

    async def generate(self, generation: Generation) -> AsyncGenerator[GenerateChunk, None]:
        async for chunk in super().generate(generation):
            if self.error is not None and chunk.seq >= self.good_chunks:
                raise self.error
            yield chunk


def faulty(error: BaseException, good_chunks: int = 0) -> Callable[[Settings], Awaitable[Engine]]:
    """A loader of an engine that raises `error`."""

    async def load(settings: Settings) -> Engine:
        engine = await FaultyEngine.load(settings)
        engine.error, engine.good_chunks = error, good_chunks
        return engine

    return load


def without_chat() -> Callable[[Settings], Awaitable[Engine]]:
    """A loader of a model that has no chat template."""

    async def load(settings: Settings) -> Engine:
        engine = await SimulatedEngine.load(settings)
        engine.model.chat = False
        return engine

    return load


class HeldLoading:
    """A loader that takes until `release` is set, or fails with `error`."""

    def __init__(self, error: Exception | None = None) -> None:
        self.release = asyncio.Event()
        self.error = error

    async def __call__(self, settings: Settings) -> Engine:
        await self.release.wait()
        if self.error is not None:
            raise self.error
        return await SimulatedEngine.load(settings)
