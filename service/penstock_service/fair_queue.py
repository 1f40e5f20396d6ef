"""Whose turn it is, fair between tenants by what they ask for. Pure: no clock, no tasks.

Start-time fair queueing (Goyal, Vin and Cheng, SIGCOMM 1996): each tenant has a tag that grows by the cost of each of
its turns, the lowest tag is next, and a tenant that comes back takes up at the tag of the turn before. So nobody saves
up turns, and a tenant with little to ask for passes those with much. Inside a tenant the priority decides (lower
first), then who came first.
"""

from bisect import bisect_right, insort
from collections.abc import Iterator
from itertools import takewhile
from typing import Generic, TypeVar

# Each owes at most the cost of one turn, so that forgetting them is no harm.
_MOST_REMEMBERED = 1024


class Waiter:
    """One who wants a turn."""

    __slots__ = ("cost", "number", "priority", "sequences", "tenant")

    def __init__(self, tenant: str, sequences: int, cost: float, priority: int = 0) -> None:
        self.tenant = tenant
        self.sequences = sequences
        self.cost = cost
        self.priority = priority
        self.number = 0  # in the order of arrival, once it waits


WaiterT = TypeVar("WaiterT", bound=Waiter)


class _Line(Generic[WaiterT]):
    """Those of one tenant who wait; `tag` is that of the first, `cost` and `sequences` those of all."""

    __slots__ = ("cost", "sequences", "tag", "waiters")

    def __init__(self, tag: float) -> None:
        self.tag = tag
        self.cost = 0.0
        self.sequences = 0
        self.waiters: list[WaiterT] = []

    def add(self, waiter: WaiterT) -> None:
        insort(self.waiters, waiter, key=_order)
        self.cost += waiter.cost
        self.sequences += waiter.sequences

    def left(self, waiter: WaiterT) -> None:
        self.cost -= waiter.cost
        self.sequences -= waiter.sequences

    def before(self, priority: int) -> tuple[float, int]:
        """Cost and sequences of those who come before a newcomer."""
        if self.waiters[-1].priority <= priority:
            return self.cost, self.sequences
        before = self.waiters[: bisect_right(self.waiters, priority, key=lambda waiter: waiter.priority)]
        return sum(waiter.cost for waiter in before), sum(waiter.sequences for waiter in before)

    def until(self, tag: float) -> int:
        """Sequences of those who come no later than `tag`."""
        if self.tag + self.cost - self.waiters[-1].cost <= tag:
            return self.sequences
        return sum(waiter.sequences for _, waiter in takewhile(lambda tagged: tagged[0] <= tag, self.tagged()))

    def tagged(self) -> Iterator[tuple[float, WaiterT]]:
        tag = self.tag
        for waiter in self.waiters:
            yield tag, waiter
            tag += waiter.cost


class FairQueue(Generic[WaiterT]):
    """Those who wait, of all tenants."""

    def __init__(self) -> None:
        self.sequences = 0  # that wait
        self._lines: dict[str, _Line[WaiterT]] = {}
        self._tag = 0.0  # of the latest turn
        self._next_tags: dict[str, float] = {}  # of tenants of whom nobody waits
        self._number = 0

    def __bool__(self) -> bool:
        return bool(self._lines)

    def served(self, tenant: str, cost: float) -> None:
        """Charge a turn that nobody waited for."""
        self._tag = tag = max(self._tag, self._next_tags.get(tenant, 0.0))
        self._remember(tenant, tag + cost)

    def add(self, waiter: WaiterT) -> None:
        """Let one wait."""
        line = self._lines.get(waiter.tenant)
        if line is None:
            line = self._lines[waiter.tenant] = _Line(self._first_tag(waiter.tenant))
            self._next_tags.pop(waiter.tenant, None)
        self._number += 1
        waiter.number = self._number
        line.add(waiter)
        self.sequences += waiter.sequences

    def remove(self, waiter: WaiterT) -> None:
        """One waits no longer, and has had no turn."""
        line = self._lines[waiter.tenant]
        line.waiters.remove(waiter)
        self._left(line, waiter)

    def first(self) -> WaiterT:
        """Whose turn it is. Somebody must wait."""
        return self._first_line().waiters[0]

    def pop(self) -> WaiterT:
        """Give the turn to whose it is."""
        line = self._first_line()
        waiter = line.waiters.pop(0)
        self._tag = line.tag
        line.tag += waiter.cost
        self._left(line, waiter)
        return waiter

    def order(self) -> list[WaiterT]:
        """All who wait, in the order of their turns if nobody else came."""
        tagged = [(tag, waiter.number, waiter) for line in self._lines.values() for tag, waiter in line.tagged()]
        # Of equal tags the tenant whose first one came earlier is next; between later ones it makes no difference.
        return [waiter for _, _, waiter in sorted(tagged, key=lambda each: each[:2])]

    def ahead(self, tenant: str, priority: int = 0) -> int:
        """How many sequences would have their turn before a newcomer's."""
        own = self._lines.get(tenant)
        cost, sequences = (0.0, 0) if own is None else own.before(priority)
        tag = cost + (self._first_tag(tenant) if own is None else own.tag)
        return sequences + sum(line.until(tag) for line in self._lines.values() if line is not own)

    def waiting_of(self, tenant: str) -> int:
        """How many sequences of that tenant wait."""
        line = self._lines.get(tenant)
        return 0 if line is None else line.sequences

    def _first_tag(self, tenant: str) -> float:
        return max(self._tag, self._next_tags.get(tenant, 0.0))

    def _first_line(self) -> _Line[WaiterT]:
        return min(self._lines.values(), key=lambda line: (line.tag, line.waiters[0].number))

    def _left(self, line: _Line[WaiterT], waiter: WaiterT) -> None:
        self.sequences -= waiter.sequences
        line.left(waiter)
        if not line.waiters:
            del self._lines[waiter.tenant]
            self._remember(waiter.tenant, line.tag)

    def _remember(self, tenant: str, tag: float) -> None:
        if len(self._next_tags) >= _MOST_REMEMBERED and tenant not in self._next_tags:
            self._next_tags.clear()
        self._next_tags[tenant] = tag


def _order(waiter: Waiter) -> tuple[int, int]:
    return waiter.priority, waiter.number
