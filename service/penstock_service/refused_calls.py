"""Calls that got no further than the door: each is counted, and told in the log at a bounded rate."""

import time
from collections.abc import Callable

import structlog

from penstock_service.errors import ServiceError

# Whoever tries keys must not fill the disk.
_SECONDS_BETWEEN_LINES = 1.0

log = structlog.get_logger()


class RefusedCalls:
    """Where refusals are noted. `count` takes the reason of each."""

    def __init__(self, count: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._count = count
        self._clock = clock
        self._next_line = float("-inf")
        self._untold = 0

    def note(self, method: str, peer: str, error: ServiceError) -> None:
        """Count a refusal; write a line unless the last one is too fresh. `untold` is how many had none before it."""
        self._count(error.reason)
        if (now := self._clock()) < self._next_line:
            self._untold += 1
            return
        self._next_line = now + _SECONDS_BETWEEN_LINES
        log.warning("refused", method=method, peer=peer, reason=error.reason, untold=self._untold)
        self._untold = 0
