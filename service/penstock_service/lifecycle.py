r"""Where the service stands between start and stop, and which calls run.

    LOADING -> SERVING -> DRAINING
                  \-----> FAILED

Only SERVING admits calls. Draining waits for the admitted ones, then ends them: server.stop() alone would cancel what
still runs, and its callers would see CANCELLED instead of UNAVAILABLE.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum, auto

from penstock_service.engine.base import Engine
from penstock_service.errors import Unavailable, UnavailableReason
from penstock_service.generation import Generation
from penstock_service.loading_progress import LoadingProgress

# For the partial answers of the generations that a drain ends; then their tasks are cancelled.
_LAST_WORDS_SECONDS = 1.0


class Stage(Enum):
    """A stage of the service's life."""

    LOADING = auto()
    SERVING = auto()
    DRAINING = auto()
    FAILED = auto()


_REFUSALS: dict[Stage, UnavailableReason] = {
    Stage.LOADING: "LOADING",
    Stage.DRAINING: "DRAINING",
    Stage.FAILED: "ENGINE_DEAD",
}


class Lifecycle:
    """The stage, the engine once there is one, and the tasks of the admitted calls."""

    def __init__(self) -> None:
        self.stage = Stage.LOADING
        self.progress = LoadingProgress()
        self._engine: Engine | None = None
        self._calls: set[asyncio.Task[object]] = set()
        self._generations: set[Generation] = set()
        self.drain_begun = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._ending = False

    @property
    def running(self) -> int:
        """How many admitted calls run."""
        return len(self._calls)

    def loaded(self, engine: Engine) -> None:
        """Begin to serve, unless a stop came first."""
        if self.stage is Stage.LOADING:
            self._engine, self.stage = engine, Stage.SERVING

    def failed(self) -> None:
        """Refuse all further calls: the engine is dead."""
        self.stage = Stage.FAILED

    @contextmanager
    def call(self) -> Iterator[Engine]:
        """Admit the current task's call and lend it the engine. Raises Unavailable with the stage's reason."""
        if self.stage in _REFUSALS:
            raise Unavailable(_REFUSALS[self.stage], str(self.progress) if self.stage is Stage.LOADING else "")
        assert self._engine is not None  # noqa: S101 - what serves has one
        with self.counted():
            yield self._engine

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Let the drain wait for the current task's call, which needs no engine and is admitted in every stage."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - handlers are tasks
        self._calls.add(task)
        self._idle.clear()
        try:
            yield
        except asyncio.CancelledError:
            if not self._ending:
                raise
            raise Unavailable("DRAINING") from None
        finally:
            self._calls.discard(task)
            if not self._calls:
                self._idle.set()

    @contextmanager
    def generation(self, generation: Generation) -> Iterator[None]:
        """End this generation, too, when the drain waits no longer."""
        self._generations.add(generation)
        try:
            yield
        finally:
            self._generations.discard(generation)

    def draining(self) -> None:
        """Refuse all further calls: the service stops."""
        if self.stage is not Stage.FAILED:
            self.stage = Stage.DRAINING
        self.drain_begun.set()

    async def drain(self, seconds: float) -> None:
        """Wait up to `seconds` for the admitted calls to finish, then end them."""
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        except TimeoutError:
            self.end_calls()
            await self._idle.wait()

    def end_calls(self) -> None:
        """End the calls that still run with UNAVAILABLE, after what they have got so far."""
        for generation in tuple(self._generations):
            generation.drain()
        asyncio.get_running_loop().call_later(_LAST_WORDS_SECONDS, self._cancel_calls)

    def _cancel_calls(self) -> None:
        self._ending = True
        for task in self._calls:
            task.cancel()
