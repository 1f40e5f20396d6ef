"""How far the loading of an engine is, for the log and for callers who come too early."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import structlog

log = structlog.get_logger()

_current: ContextVar["LoadingProgress | None"] = ContextVar("loading progress", default=None)


class LoadingProgress:
    """The step that runs, and since when."""

    def __init__(self) -> None:
        self._step = "starting"
        self._expected_seconds: float | None = None
        self._started = self._step_started = time.monotonic()

    def __str__(self) -> str:
        return f"{self._step}, {time.monotonic() - self._started:.0f} s so far"

    def begin(self, step: str, expected_seconds: float | None = None) -> None:
        """A step begins, and with it the one before is over."""
        self.end()
        self._step, self._expected_seconds = step, expected_seconds
        log.info("loading", step=step)

    def end(self) -> None:
        """The step is over."""
        now = time.monotonic()
        if self._step != "starting":
            log.info("loading step over", step=self._step, seconds=round(now - self._step_started, 1))
        self._step_started = now

    @property
    def step(self) -> str:
        """What runs."""
        return self._step

    @property
    def step_seconds(self) -> float:
        """Since the step began."""
        return time.monotonic() - self._step_started

    @property
    def percent(self) -> float | None:
        """How much of the step is done, below 100 until it is over; None if nobody knows how long it takes."""
        if self._expected_seconds is None:
            return None
        return min(100 * self.step_seconds / self._expected_seconds, 99.0) if self._expected_seconds else 99.0

    @property
    def seconds(self) -> float:
        """Since the loading began."""
        return time.monotonic() - self._started

    @contextmanager
    def of_this_task(self) -> Iterator[None]:
        """Take in what `report` says in the block."""
        token = _current.set(self)
        try:
            yield
            self.end()
        finally:
            _current.reset(token)


def report(step: str, expected_seconds: float | None = None) -> None:
    """Say which step of loading an engine begins, and how long it takes where that is known.

    Without anybody who asks, it goes nowhere.
    """
    progress = _current.get()
    if progress is not None:
        progress.begin(step, expected_seconds)
