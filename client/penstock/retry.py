"""When a failed call is tried again: the policy, and the budget that all calls of a client share. Pure."""

from __future__ import annotations

import dataclasses
import threading
from dataclasses import dataclass
from typing import Literal

from penstock import arguments, forks
from penstock.arguments import ArgumentTypeError, ArgumentValueError

# gRPC's own numbers for this (gRFC A6): a client whose calls mostly fail stops repeating them.
MOST_TOKENS = 10.0
ENOUGH_TOKENS = MOST_TOKENS / 2

# The calls of a connection fail within this time once it has broken, or its server has begun to drain.
BREAK_SECONDS = 0.1

MOST_ATTEMPTS = 100


@dataclass(frozen=True, slots=True)
class Retry:
    """How often a call is tried, as long as nothing of its answer has come.

    attempts: in all, 1 to 100; 1 never tries again.
    base, cap: seconds. Before retry number n it waits a random time up to base * 2**(n - 1), and up to the cap. What
        the server says about the time is kept instead.
    budget: how much of a retry each success earns. A client has 10 to begin with and at most; each failure that could
        be retried takes one, and with half of them gone nothing is retried. None: no budget.
    hedge: after so many seconds without a first chunk a copy of a stream goes to another endpoint, and the slower of
        them is cancelled; "p95" for the time that 95 of 100 calls like it have taken. It counts as an attempt and takes
        from the budget. None, the default: never.
    """

    attempts: int = 3
    base: float = 0.2
    cap: float = 5.0
    budget: float | None = 0.1
    hedge: float | Literal["p95"] | None = None

    def __post_init__(self) -> None:
        attempts = arguments.integer("retry.attempts", self.attempts)
        if not 1 <= attempts <= MOST_ATTEMPTS:
            raise ArgumentValueError("retry.attempts", f"is {attempts}; it must be 1 to {MOST_ATTEMPTS}")
        for name in ("base", "cap", "budget"):
            _check_not_negative(f"retry.{name}", getattr(self, name), name == "budget")
        if self.hedge != "p95":
            _check_not_negative("retry.hedge", self.hedge, True)


def changed_retry(base: Retry, retry: object, max_retries: object) -> Retry:
    """`base`, or what the caller gives in its place; `max_retries` says how many attempts it has beside the first."""
    changed = base if retry is None else checked_retry(retry)
    if max_retries is None:
        return changed
    more = arguments.integer("max_retries", max_retries)
    if not 0 <= more < MOST_ATTEMPTS:
        raise ArgumentValueError("max_retries", f"is {more}; it must be 0 to {MOST_ATTEMPTS - 1}")
    return dataclasses.replace(changed, attempts=more + 1)


def checked_retry(value: object) -> Retry:
    """`value`, which must be a Retry."""
    if not isinstance(value, Retry):
        raise ArgumentTypeError("retry", "a Retry", value)
    return value


def _check_not_negative(argument: str, value: object, optional: bool) -> None:
    if value is None and optional:
        return
    number = arguments.number(argument, value)
    if not number >= 0:
        raise ArgumentValueError(argument, f"is {number}; it must be 0 or more")


class RetryBudget:
    """The tokens of one client. Threads may share it."""

    def __init__(self) -> None:
        self.tokens = MOST_TOKENS
        self._breaks: dict[str, float] = {}  # when the connection to an endpoint broke, of late
        self.renew_locks()
        forks.renew_locks_of(self)

    def renew_locks(self) -> None:
        self._changing = threading.Lock()

    @property
    def allows(self) -> bool:
        """Whether something may be retried now."""
        return self.tokens > ENOUGH_TOKENS

    def succeeded(self, earned: float | None) -> None:
        if earned and self.tokens < MOST_TOKENS:
            with self._changing:
                self.tokens = min(MOST_TOKENS, self.tokens + earned)

    def spent(self) -> None:
        """Something was sent, or has failed, that could be sent again."""
        with self._changing:
            self._take()

    def lost(self, endpoint: str, began: float, now: float) -> None:
        """The connection to the endpoint broke under an attempt that began then, or the endpoint is about to stop.

        That takes as many calls with it as there are, which is one failure. Those that began later fail by themselves.
        """
        with self._changing:
            if began < self._breaks.get(endpoint, began) and now - self._breaks[endpoint] <= BREAK_SECONDS:
                return
            self._breaks = {other: at for other, at in self._breaks.items() if now - at <= BREAK_SECONDS}
            self._breaks[endpoint] = now
            self._take()

    def _take(self) -> None:
        self.tokens = max(0.0, self.tokens - 1)
