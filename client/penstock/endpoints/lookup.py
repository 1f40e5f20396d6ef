"""When a name is looked up, and what is known of it. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.endpoints.targets import Address, Name

# Replicas come and go within minutes, and resolvers keep what they know for about as long.
REFRESH_SECONDS = 30.0

# After a failure the name is looked up early, because replicas that went away are likely to be the cause.
SOONEST_SECONDS = 1.0


class Lookup:
    """One name's addresses. Times are those of one monotonic clock."""

    def __init__(self, name: Name) -> None:
        self.name = name
        self.ended = False  # at least once
        self._addresses: tuple[Address, ...] = ()
        self._under_way = False
        self._last_end = float("-inf")
        self._due_at = float("-inf")

    @property
    def addresses(self) -> tuple[Address, ...]:
        return self._addresses or (self.name.unresolved,)

    def due(self, now: float) -> bool:
        return not self._under_way and now >= self._due_at

    def begin(self) -> None:
        self._under_way = True

    def end(self, now: float, addresses: Sequence[Address]) -> None:
        """None found: what was known stays, and the name is looked up again soon."""
        self.ended = True
        self._under_way = False
        self._last_end = now
        self._due_at = now + (REFRESH_SECONDS if addresses else SOONEST_SECONDS)
        self._addresses = tuple(addresses) or self._addresses

    def call_failed(self) -> None:
        """A call to one of the addresses failed."""
        self._due_at = min(self._due_at, self._last_end + SOONEST_SECONDS)
