"""A simulated engine with knobs for what a real one cannot be asked to do."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from penstock_service.engine.base import Engine, Job, Receiver
from penstock_service.engine.simulated import SimulatedEngine
from penstock_service.loading_progress import report
from penstock_service.settings import Settings


class FaultyEngine(SimulatedEngine):
    """Raises `error` at submission, or gives a job up with it after `good_puts` of its outputs."""

    error: BaseException | None = None
    good_puts = 0

    async def submit(self, job: Job, receiver: Receiver) -> None:
        if self.error is not None and not self.good_puts:
            raise self.error
        await super().submit(job, _Failing(self, job, receiver) if self.error else receiver)


class _Failing:
    """A receiver that hears of an error where the engine had output."""

    def __init__(self, engine: FaultyEngine, job: Job, receiver: Receiver) -> None:
        self._engine = engine
        self._job = job
        self._receiver = receiver
        self._left = engine.good_puts
        self.finished, self.failed = receiver.finished, receiver.failed

    def put(self, text: str, token_ids: Sequence[int]) -> None:
        self._receiver.put(text, token_ids)
        self._left -= 1
        if not self._left:
            error = self._engine.error
            assert isinstance(error, Exception)
            self._receiver.failed(error, self._engine.abort(self._job.id))


def faulty(error: BaseException, good_puts: int = 0) -> Callable[[Settings], Awaitable[Engine]]:
    """A loader of an engine that raises `error`."""

    async def load(settings: Settings) -> Engine:
        engine = await FaultyEngine.load(settings)
        engine.error, engine.good_puts = error, good_puts
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

    def __init__(self, error: BaseException | None = None) -> None:
        self.release = asyncio.Event()
        self.error = error

    async def __call__(self, settings: Settings) -> Engine:
        report("reading weights")
        await self.release.wait()
        if self.error is not None:
            raise self.error
        return await SimulatedEngine.load(settings)
