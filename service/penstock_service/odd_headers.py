"""What gRPC logs of a header or a method that is not UTF-8: it quotes it, be it a key, at once and each time.

The calls go on, or are refused and counted like others. Here their lines say no more than that, at a bounded rate.
"""

import logging
import time
from collections.abc import Callable

_LOGGER = "grpc._cython.cygrpc"
_SECONDS_BETWEEN_LINES = 1.0


class OddHeaders(logging.Filter):
    """Lets one line a second through, without the header; `untold` is how many had none before it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._next_line = float("-inf")
        self._untold = 0

    def filter(self, record: logging.LogRecord) -> bool:
        """See logging.Filter."""
        if not _quotes(record):
            return True
        if (now := self._clock()) < self._next_line:
            self._untold += 1
            return False
        self._next_line = now + _SECONDS_BETWEEN_LINES
        record.msg, record.args = "a caller's header or method is not UTF-8 (untold: %d)", (self._untold,)
        record.exc_info = record.exc_text = None  # the exception has it as well
        record.levelno, record.levelname = logging.WARNING, "WARNING"
        self._untold = 0
        return True


def _quotes(record: logging.LogRecord) -> bool:
    """Whether it is one of gRPC's two lines (_cygrpc/grpc_string.pyx.pxi, aio/server.pyx.pxi) with a caller's bytes."""
    if str(record.msg).startswith("Invalid encoding on"):
        return True
    return record.exc_info is not None and isinstance(record.exc_info[1], UnicodeDecodeError)


def hide_odd_headers() -> None:
    """From here on, in this process."""
    logger = logging.getLogger(_LOGGER)
    if not any(isinstance(each, OddHeaders) for each in logger.filters):
        logger.addFilter(OddHeaders())
