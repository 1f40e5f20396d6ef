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
        self._started = self._step_started = time.monotonic()

    def __str__(self) -> str:
        return f"{self._step}, {time.monotonic() - self._started:.0f} s so far"

    def begin(self, step: str) -> None:
        """A step begins, and with it the one before is over."""
        self.end()
        self._step = step
        log.info("loading", step=step)

    def end(self) -> None:
        """The step is over."""
        now = time.monotonic()
        if self._step != "starting":
            log.info("loading step over", step=self._step, seconds=round(now - self._step_started, 1))
        self._step_started = now

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


def report(step: str) -> None:
    """Say which step of loading an engine begins; without anybody who asks, it goes nowhere."""
    progress = _current.get()
    if progress is not None:
        progress.begin(step)
