r"""Where the service stands between start and stop, and which calls run.

    LOADING <-> SERVING -> LAME_DUCK -> DRAINING         SERVING <-> ASLEEP; any of them -> FAILED

SERVING and LAME_DUCK admit calls, unless the engine stalls; LAME_DUCK does so unready, until balancers have noticed.
STALLED is how SERVING shows itself meanwhile. A dead engine that is loaded again leads back to LOADING. Draining waits
for the admitted calls, then ends them: server.stop() alone would cancel what still runs, and its callers would see
CANCELLED instead of UNAVAILABLE. Then it waits a moment for sessions, whose callers end them when they have read that.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection, Iterator
from contextlib import contextmanager
from enum import Enum, auto

from penstock_service.engine.base import Engine
from penstock_service.errors import Unavailable, UnavailableReason
from penstock_service.loading_progress import LoadingProgress
from penstock_service.running_calls import RunningCalls


class Stage(Enum):
    """A stage of the service's life."""

    LOADING = auto()
    SERVING = auto()
    STALLED = auto()
    ASLEEP = auto()
    LAME_DUCK = auto()
    DRAINING = auto()
    FAILED = auto()


_REFUSALS: dict[Stage, UnavailableReason] = {
    Stage.LOADING: "LOADING",
    Stage.ASLEEP: "ASLEEP",
    Stage.DRAINING: "DRAINING",
    Stage.FAILED: "ENGINE_DEAD",
}


class Lifecycle:
    """The stage, the engine once there is one, and the tasks of the admitted calls."""

    def __init__(self) -> None:
        self._stage = Stage.LOADING
        self._stalled = False
        self.progress = LoadingProgress()
        self.engine: Engine | None = None  # the newest; what calls use they take from `call`
        self.engine_restarts = 0
        self._calls = RunningCalls()
        self.counted, self.generation, self.session = self._calls.counted, self._calls.generation, self._calls.session
        self.stop_asked = asyncio.Event()
        self.drain_seconds: float | None = None  # what the one who asked for the stop has said
        self._budget: asyncio.Timeout | None = None
        self.drain_begun = asyncio.Event()
        self._wait_over = asyncio.Event()
        self._preparations: list[Callable[[Engine], Awaitable[None]]] = []

    @property
    def stage(self) -> Stage:
        """Where the service stands."""
        return Stage.STALLED if self._stalled and self._stage is Stage.SERVING else self._stage

    @property
    def running(self) -> int:
        """How many admitted calls run."""
        return len(self._calls)

    @property
    def ready(self) -> bool:
        """Whether callers should come here."""
        return self.stage is Stage.SERVING and not self.stop_asked.is_set()

    def before_serving(self, prepare: Callable[[Engine], Awaitable[None]]) -> None:
        """Have every engine prepared by `prepare` before calls are admitted."""
        self._preparations.append(prepare)

    async def prepare(self, engine: Engine) -> None:
        """Give a newly loaded engine what it must have before calls are admitted."""
        for prepare in self._preparations:
            await prepare(engine)

    def loaded(self, engine: Engine) -> None:
        """Begin to serve, unless a stop came first."""
        self.engine = engine
        self._move({Stage.LOADING}, Stage.SERVING)

    def stalled(self) -> None:
        """Refuse further calls for now: the engine makes no step."""
        self._stalled = True

    def recovered(self) -> None:
        """Serve on."""
        self._stalled = False

    def fall_asleep(self) -> None:
        """Refuse further calls until the engine is woken."""
        self._move({Stage.SERVING}, Stage.ASLEEP)

    def wake(self) -> None:
        """Serve on."""
        self._move({Stage.ASLEEP}, Stage.SERVING)

    def reloading(self) -> None:
        """Refuse further calls until another engine has been loaded."""
        self.progress = LoadingProgress()
        self.engine_restarts += 1
        self._stalled = False
        self._move({Stage.SERVING, Stage.ASLEEP}, Stage.LOADING)

    def failed(self) -> None:
        """Refuse all further calls: the engine is dead."""
        self._stage = Stage.FAILED
        self._wait_over.set()

    def _move(self, before: Collection[Stage], after: Stage) -> None:
        if self._stage in before:
            self._stage = after

    @property
    def admitting(self) -> bool:
        """Whether calls are admitted."""
        return self._refusal is None

    def check_admitting(self) -> None:
        """Raise Unavailable with the stage's reason if calls are refused."""
        self._calls.one_comes()
        if (reason := self._refusal) is not None:
            raise Unavailable(reason, str(self.progress) if reason == "LOADING" else "")

    @property
    def _refusal(self) -> UnavailableReason | None:
        return _REFUSALS.get(self._stage, "ENGINE_STALLED" if self._stalled else None)

    @contextmanager
    def call(self) -> Iterator[Engine]:
        """Admit the current task's call and lend it the engine. Raises Unavailable with the stage's reason."""
        self.check_admitting()
        assert self.engine is not None  # noqa: S101 - what serves has one
        with self.counted():
            yield self.engine

    def begin_drain(self, drain_seconds: float | None = None) -> None:
        """Begin to stop, as a signal does; how far it is, `stage` tells.

        `drain_seconds` stands for those of the settings; of a drain that waits already, they begin now.
        """
        self.stop_asked.set()
        if drain_seconds is not None:
            self.drain_seconds = drain_seconds
            if self._budget is not None and not self._budget.expired():
                self._budget.reschedule(asyncio.get_running_loop().time() + drain_seconds)

    async def lame_duck(self, seconds: float) -> None:
        """Go on admitting calls for a while, if there is anything to admit them to."""
        if self.stage is Stage.SERVING and seconds:
            self._stage = Stage.LAME_DUCK
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wait_over.wait(), seconds)

    def draining(self) -> None:
        """Refuse all further calls: the service stops."""
        if self._stage is not Stage.FAILED:
            self._stage = Stage.DRAINING
        self.drain_begun.set()

    async def idle(self, seconds: float) -> None:
        """Return when no admitted call runs. Raises TimeoutError after `seconds`."""
        async with asyncio.timeout(seconds):
            await self._calls.idle()

    async def drain(self, seconds: float) -> None:
        """Wait up to `seconds` for the admitted calls to finish, or as long as `begin_drain` says; then end them.

        Callers have a moment of the time to go elsewhere; sessions without calls have a moment more.
        """
        try:
            async with asyncio.timeout(seconds if self.drain_seconds is None else self.drain_seconds) as self._budget:
                try:
                    await self._calls.idle()
                    await self._calls.quiet()
                finally:
                    self._budget = None
        except TimeoutError:
            self.end_calls()
            await self._calls.idle()
        await self._calls.sessions_over()

    def end_calls(self) -> None:
        """End the calls that still run with UNAVAILABLE, after what they have got so far."""
        self._wait_over.set()
        self._calls.end()
