"""Finds readers that do not read.

A connection that takes nothing more holds up whoever writes to it, without an error and without an end. What is written
to is looked at once in a while, so that no write needs a timer of its own.
"""

import asyncio
import time
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from typing import Protocol

_LOOKS_IN_A_STALL = 10  # a stall is noticed at most a tenth too late
_LONGEST_PAUSE_SECONDS = 1.0


class Read(Protocol):
    """What somebody reads."""

    def progress(self) -> Hashable | None:
        """What changes whenever its reader reads; None while it is not the reader that is waited for."""

    def too_slow(self) -> None:
        """Its reader has not read for too long."""


class StallWatch:
    """What is being read, and since when nothing moves there."""

    def __init__(self, stall_seconds: float) -> None:
        self._stall_seconds = stall_seconds
        self._since: dict[Read, tuple[Hashable | None, float]] = {}

    @contextmanager
    def watching(self, read: Read) -> Iterator[None]:
        """Watch it for as long as the block runs."""
        self._since[read] = (None, 0.0)
        try:
            yield
        finally:
            del self._since[read]

    def look(self, now: float) -> None:
        """End what has not moved for `stall_seconds` at `now`."""
        for read, (before, since) in list(self._since.items()):
            progress = read.progress()
            if progress is None or progress != before:
                self._since[read] = (progress, now)
            elif now - since >= self._stall_seconds:
                read.too_slow()

    async def watch(self) -> None:
        """Look for ever."""
        while True:
            await asyncio.sleep(min(self._stall_seconds / _LOOKS_IN_A_STALL, _LONGEST_PAUSE_SECONDS))
            self.look(time.monotonic())
