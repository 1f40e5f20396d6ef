"""What is done about a resumable stream that broke. Pure.

The replica still has the generation when only the connection broke: it is read on there. When the replica is gone, or
does not have the generation any more, another one goes on from the tokens.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

import grpc

from penstock.errors import APIError, APITimeoutError, ConnectTimeout
from penstock.resilience.attempts import Chance, backoff
from penstock.retry import Retry

# Without a limit on idle times a break is waited out for so long: about what servers keep a generation for.
PATIENCE_SECONDS = 30.0

# So often the replica is asked before another one, which has to read the prompt again, takes its place.
RECONNECTS = 3

_LOST = ("GENERATION_NOT_FOUND", "CHUNKS_GONE")
_BROKEN = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.CANCELLED)


class How(enum.Enum):
    RESUME = "resume"
    CONTINUE = "continuation"


@dataclass(frozen=True, slots=True)
class Step:
    how: How
    delay: float


class Recovery:
    """Of one stream. Times are those of one clock; `ends` is when the total is used up, None for never."""

    def __init__(self, retry: Retry, idle: float | None, ends: float | None, chance: Chance) -> None:
        self._retry = retry
        self._patience = PATIENCE_SECONDS if idle is None else idle
        self._ends = ends
        self._chance = chance
        self._failures = 0  # since the last chunk
        self._gives_up_at = 0.0
        self.lost = False  # the replica's generation, as far as can be told
        self.gone = False  # the replica itself says so
        self.stuck = False  # and no other can go on

    def progress(self) -> None:
        """A chunk came."""
        self._failures = 0
        self.lost = self.gone = False

    def step(self, error: APIError, now: float, *, known: bool, others: bool) -> Step | None:
        """What to do next; None if the error stands.

        known: whether the replica has told its name of the generation. others: whether there are other replicas.
        """
        if self.stuck or error.forbids_retry:
            return None
        if not self._failures:
            self._gives_up_at = now + self._patience
        self._failures += 1
        newly_lost = not self.lost and self._is_lost(error, known, others)
        self.lost = self.lost or newly_lost
        if not (newly_lost or self._passes(error, others)):
            return None
        delay = 0.0 if newly_lost or self._failures == 1 else backoff(self._retry, self._failures - 1, self._chance)
        delay = max(delay, error.retry_after or 0.0) if self.lost and not newly_lost else delay
        ends = self._gives_up_at if self._ends is None else min(self._ends, self._gives_up_at)
        return Step(How.CONTINUE if self.lost else How.RESUME, delay) if now + delay < ends else None

    def _is_lost(self, error: APIError, known: bool, others: bool) -> bool:
        # A server that says why it is unavailable has ended its generations.
        if error.reason in _LOST or (error.status is grpc.StatusCode.UNAVAILABLE and error.reason is not None):
            self.gone = True
            return True
        return self._passes(error, others) and (not known or (others and self._failures > RECONNECTS))

    def _passes(self, error: APIError, others: bool) -> bool:
        """Whether it may be otherwise the next time."""
        if isinstance(error, ConnectTimeout):
            return others
        if isinstance(error, APITimeoutError):
            return False
        if error.status is grpc.StatusCode.RESOURCE_EXHAUSTED:
            return error.retry_after is not None and self.lost
        if error.status is grpc.StatusCode.CANCELLED:
            # Proxies reset streams with it. If somebody has cancelled the generation, it comes again.
            return error.reason is None and self._failures == 1
        if error.status is grpc.StatusCode.UNAVAILABLE:
            return True
        return error.reason is None and error.status in _BROKEN and self._failures <= RECONNECTS
