"""What both flavours of the client have for looking at what happens in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from penstock.stats import Stats

if TYPE_CHECKING:
    from penstock.endpoints.endpoint import EndpointStatus
    from penstock.hooks import Hook, Observers


class _Transport(Protocol):
    def endpoints(self) -> Sequence[EndpointStatus]: ...


class Observed:
    """`on`, `off` and `stats`. Clients of `with_options` are looked at together with the one they come from."""

    _observers: Observers
    _transport: _Transport

    def on(self, event: str, hook: Hook) -> None:
        """Call `hook` with each event of that name; penstock.events has the names and what the events say.

        It is called where the event happens, a thread or an event loop, and must be quick; it may not be a coroutine.
        What it raises goes to the log "penstock". Raises TypeError, or ValueError for an unknown name.
        """
        self._observers.on(event, hook)

    def off(self, event: str, hook: Hook) -> None:
        """Call `hook` with them no more. No error if it was not called."""
        self._observers.off(event, hook)

    def stats(self) -> Stats:
        """What was counted since the client was made: calls by method, model and tier, and how each server stands."""
        return Stats(tuple(self._observers.statistics.snapshot()), tuple(self._transport.endpoints()))
