"""Whether and when a failed attempt is followed by another. Pure."""

from __future__ import annotations

from collections.abc import Callable

import grpc

from penstock.errors import APIError, APITimeoutError, ConnectTimeout, FirstTokenTimeout
from penstock.retry import Retry, RetryBudget

Chance = Callable[[], float]  # random, in [0, 1)

# A server that asks for more patience gets none: the caller learns of it instead (`retry_after`).
MOST_PATIENCE_SECONDS = 120.0

_ANYWHERE_ELSE = (ConnectTimeout, FirstTokenTimeout)
# The server may have done the work, so only a key that it knows the work by makes another try harmless.
_MAY_HAVE_RUN = (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DATA_LOSS)


class Attempts:
    """Those of one call.

    ends: when its total is used up; None for never. Times are those of one clock.
    keyed: whether the server recognizes another attempt as the same call, by its idempotency key.
    once: whether the call changes something at the server, so that it is only tried again if nothing has run.
    """

    def __init__(
        self,
        retry: Retry,
        budget: RetryBudget,
        ends: float | None,
        chance: Chance,
        *,
        keyed: bool = False,
        once: bool = False,
    ) -> None:
        self._retry = retry
        self._budget = budget
        self._ends = ends
        self._chance = chance
        self._keyed = keyed
        self._once = once
        self._internal_errors = 0
        self.made = 0
        self.failed_endpoints: set[str] = set()

    def failed(self, error: APIError, began: float, now: float, untried: bool, endpoint: str = "") -> float | None:
        """Seconds until the next attempt; None if there is none, and the error stands.

        began: when the failed one did. untried: whether there are endpoints where no attempt has failed.
        endpoint: where it failed.
        """
        if not self._retryable(error, untried):
            return None
        if self._retry.budget is not None:
            self._take(error, endpoint, began, now)
            if not self._budget.allows:
                return None
        if self.made >= self._retry.attempts:
            return None
        delay = self._delay(error, untried)
        left = float("inf") if self._ends is None else self._ends - now
        return delay if delay < left and delay <= MOST_PATIENCE_SECONDS else None

    @property
    def may_hedge(self) -> bool:
        """Whether a copy may be sent while an attempt is under way."""
        return self.made < self._retry.attempts and (self._retry.budget is None or self._budget.allows)

    def hedged(self) -> None:
        """A copy is sent. It takes from the budget as a failure does."""
        self.made += 1
        if self._retry.budget is not None:
            self._budget.spent()

    def succeeded(self) -> None:
        self._budget.succeeded(self._retry.budget)

    def _take(self, error: APIError, endpoint: str, began: float, now: float) -> None:
        gone = error.status is grpc.StatusCode.UNAVAILABLE and error.reason in (None, "DRAINING")
        if gone or isinstance(error, ConnectTimeout):
            self._budget.lost(endpoint, began, now)
        else:
            self._budget.spent()

    def _retryable(self, error: APIError, untried: bool) -> bool:
        if error.forbids_retry:
            return False
        if isinstance(error, _ANYWHERE_ELSE):
            return untried
        if isinstance(error, APITimeoutError):
            return False
        if error.status is grpc.StatusCode.RESOURCE_EXHAUSTED:
            return error.retry_after is not None
        if self._once:
            return error.status is grpc.StatusCode.UNAVAILABLE and error.reason is not None
        if error.status in _MAY_HAVE_RUN:
            self._internal_errors += 1
            return self._keyed and self._internal_errors == 1
        if error.status is grpc.StatusCode.CANCELLED:
            # gRPC itself resets calls with it where it sheds load, and so do proxies; a Penstock server says why.
            return error.reason is None
        return error.status in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.ABORTED)

    def _delay(self, error: APIError, untried: bool) -> float:
        elsewhere = untried and error.status is not grpc.StatusCode.RESOURCE_EXHAUSTED
        if elsewhere and error.status is not grpc.StatusCode.ABORTED:
            return 0.0  # what one replica says of itself does not hold for the others
        if error.retry_after:  # 0 is meant for the others, which have been tried
            return error.retry_after
        return backoff(self._retry, self.made, self._chance)


def backoff(retry: Retry, failures: int, chance: Chance) -> float:
    """Seconds to wait after so many failures in a row, 1 or more: full jitter under an exponential limit."""
    return chance() * min(retry.cap, retry.base * 2.0 ** min(failures - 1, 30))
