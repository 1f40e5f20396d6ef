"""What the calls of one client, and of those made of it by `with_options`, have in common."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from google.protobuf.message import Message

from penstock.endpoints.endpoint import EndpointStatus
from penstock.endpoints.lease import Lease
from penstock.hooks import Observers
from penstock.resilience.adaptive import Adaptive, Experience, call_kind
from penstock.resilience.attempts import Attempts
from penstock.resilience.call_report import CallReport
from penstock.resilience.recovery import Recovery
from penstock.retry import RetryBudget
from penstock.sessions.riding import Riding
from penstock.terms import Terms

if TYPE_CHECKING:
    from penstock.resilience.resumption import Recorder
    from penstock.v1.generation_pb2 import GenerateRequest


CallsT = TypeVar("CallsT")


class Pool(Protocol[CallsT]):
    def endpoints(self) -> Sequence[EndpointStatus]: ...

    def lease_of(self, endpoint: str) -> Lease[CallsT] | None: ...


PoolT = TypeVar("PoolT", bound=Pool[Any])


class ClientParts(Generic[PoolT]):
    """group: what the endpoints are together, as the client was told. Threads may share all of it."""

    def __init__(self, pool: PoolT, riding: Riding, observers: Observers, *, group: str, adaptive: bool) -> None:
        self.pool = pool
        self.riding = riding
        self.observers = observers
        self.budget = RetryBudget()
        self.chance: Callable[[], float] = random.random  # another one in each forked child
        self.recorder: Callable[[GenerateRequest, str, Terms], Recorder] | None = None  # with a state file
        self._group = group
        self._adaptive = Adaptive() if adaptive else None

    def attempts(self, terms: Terms, *, keyed: bool = False, once: bool = False) -> Attempts:
        return Attempts(terms.retry, self.budget, terms.ends, self.chance, keyed=keyed, once=once)

    def recovery(self, terms: Terms) -> Recovery:
        return Recovery(terms.retry, terms.timeout.idle, terms.ends, self.chance)

    def experience(self, model: str, request: Message, terms: Terms) -> Experience | None:
        """That with calls like this one; None where nothing of the call depends on it."""
        limits = terms.timeout
        limited = limits.first_token is not None or limits.idle is not None
        if self._adaptive is None or not (limited or terms.retry.hedge == "p95"):
            return None
        return self._adaptive.of(call_kind(self._group, model, "StreamGenerate", request.ByteSize()))

    def report(self, method: str, model: str, terms: Terms, request: Message) -> CallReport:
        return CallReport(self.observers, method, model, terms.tier, request, time.monotonic())

    def endpoints(self) -> list[str]:
        """Those there are now; none any more once the client is closed."""
        return [status.endpoint for status in self._statuses()]

    def endpoints_in_use(self) -> list[str]:
        """Those that are not ejected: where a call can go next."""
        return [status.endpoint for status in self._statuses() if status.ejected_until is None]

    def _statuses(self) -> Sequence[EndpointStatus]:
        try:
            return self.pool.endpoints()
        except RuntimeError:
            return []

    def lease_of(self, endpoint: str) -> Lease[Any] | None:
        """Of that endpoint; None if it is not known any more, or the client is closed."""
        try:
            return self.pool.lease_of(endpoint)
        except RuntimeError:
            return None
