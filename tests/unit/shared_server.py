"""A server in virtual time, made of the pure parts of admission: what tenants that share it get, without an engine."""

import heapq
import itertools
import random
from dataclasses import dataclass, field

from penstock.v1.generation_pb2 import Timings, Usage
from penstock_service.admission import Admission, AdmissionLimits, Admitted, Asked, Outlook
from penstock_service.errors import ServiceError
from penstock_service.fair_queue import FairQueue, Waiter
from penstock_service.waiting import WaitEstimator

PROMPT_TOKENS = 100


@dataclass
class Got:
    """What one tenant's calls came to."""

    ended: int = 0
    refused: int = 0
    waits: list[float] = field(default_factory=list)  # seconds until the engine began
    predictions: list[tuple[float, float]] = field(default_factory=list)  # seconds of wait: predicted, come


@dataclass(eq=False)
class _Call:
    tenant: str
    came: float
    admitted: Admitted
    predicted: float | None
    waiter: Waiter


class SharedServer:
    """Calls come by chance, and hold a place in the engine for about a second."""

    def __init__(self, places: int, rates: dict[str, float], seed: int, share: float = 0.5) -> None:
        """`rates` are calls a second of each tenant; the engine ends `places` of them in a second."""
        self.limits = AdmissionLimits(places, places + max(places // 2, 32), 1 << 40, 10.0, share)
        self.got = {tenant: Got() for tenant in rates}
        self._rates = rates
        self._random = random.Random(seed)
        self._admission, self._queue, self._estimator = Admission(), FairQueue[Waiter](), WaitEstimator()
        self._engine = _Engine(places)
        self._most_handed = places + max(2, places // 8)
        self._waiting: dict[Waiter, _Call] = {}
        self._events: list[tuple[float, int, str, _Call | str]] = []
        self._number = itertools.count()

    def run(self, seconds: float) -> None:
        """Let calls come for so long, and end."""
        for tenant in self._rates:
            self._next_of(tenant, 0.0)
        while self._events:
            now, _, kind, subject = heapq.heappop(self._events)
            if kind == "comes" and now < seconds:
                self._next_of(str(subject), now)
                self._comes(str(subject), now)
            elif isinstance(subject, _Call):
                self._ends(subject, now)

    def _comes(self, tenant: str, now: float) -> None:
        ahead = self._engine.held + self._queue.ahead(tenant)
        wait = self._estimator.wait_ms(ahead, self.limits.places)
        predicted = None if wait is None else wait / 1000
        free = not self._queue and self._engine.held < self._most_handed
        between = self._estimator.between_ends_ms(self.limits.places)
        between_ends = None if between is None else between / 1000
        outlook = Outlook(not free, predicted, predicted, between_ends, self._queue.waiting_of(tenant))
        try:
            admitted = self._admission.admit(Asked(tenant, 1, PROMPT_TOKENS), self.limits, outlook, now)
        except ServiceError:
            self.got[tenant].refused += 1
            return
        waiter = Waiter(tenant, 1, PROMPT_TOKENS)
        call = _Call(tenant, now, admitted, predicted, waiter)
        if free:
            self._queue.served(tenant, waiter.cost)
            self._hand_over(call, now)
        else:
            self._queue.add(waiter)
            self._waiting[waiter] = call

    def _hand_over(self, call: _Call, now: float) -> None:
        call.admitted.begun(PROMPT_TOKENS)
        if (taken_on := self._engine.hand_over(call)) is not None:
            self._begins(taken_on, now)

    def _begins(self, call: _Call, now: float) -> None:
        got = self.got[call.tenant]
        got.waits.append(now - call.came)
        if call.predicted is not None:
            got.predictions.append((call.predicted, now - call.came))
        self._later(now + self._random.uniform(0.2, 1.8), "ends", call)

    def _ends(self, call: _Call, now: float) -> None:
        self.got[call.tenant].ended += 1
        queued = self.got[call.tenant].waits[-1]
        total = 1000 * (now - call.came)
        self._estimator.ended(
            Timings(queue_time_ms=min(1000 * queued, total), generation_time_ms=total), Usage(completion_tokens=1)
        )
        call.admitted.release()
        if (taken_on := self._engine.ended()) is not None:
            self._begins(taken_on, now)
        while self._queue and self._engine.held < self._most_handed:
            self._hand_over(self._waiting.pop(self._queue.pop()), now)

    def _next_of(self, tenant: str, now: float) -> None:
        self._later(now + self._random.expovariate(self._rates[tenant]), "comes", tenant)

    def _later(self, at: float, kind: str, subject: "_Call | str") -> None:
        heapq.heappush(self._events, (at, next(self._number), kind, subject))


class _Engine:
    """Takes on what it is handed, in that order, so many at a time."""

    def __init__(self, places: int) -> None:
        self._places = places
        self._running = 0
        self._queue: list[_Call] = []

    @property
    def held(self) -> int:
        return self._running + len(self._queue)

    def hand_over(self, call: _Call) -> _Call | None:
        if self._running < self._places:
            self._running += 1
            return call
        self._queue.append(call)
        return None

    def ended(self) -> _Call | None:
        """One has ended; the one that is taken on for it."""
        if self._queue:
            return self._queue.pop(0)
        self._running -= 1
        return None
