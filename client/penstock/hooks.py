"""Calls whoever listens to a client with what happens in it: `client.on("retry", function)`."""

from __future__ import annotations

import inspect
import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from penstock import forks
from penstock.arguments import ArgumentTypeError, ArgumentValueError
from penstock.events import EVENTS, CallStarted, Event
from penstock.stats import Statistics

if TYPE_CHECKING:
    from penstock.call_options import Pairs

logger = logging.getLogger("penstock")

Hook = Callable[[Any], object]


class Observers:
    """Who listens to a client. Threads may share it.

    Hooks run where the event happens, a reading thread or an event loop, one after the other: they must be quick.
    """

    def __init__(self) -> None:
        self.renew_locks()
        forks.renew_locks_of(self)
        self._hooks: dict[str, tuple[Hook, ...]] = {}  # replaced and never changed, so that `emit` needs no lock
        self.trace_headers: Callable[[CallStarted], Pairs] | None = None
        self.statistics = Statistics(self)

    def renew_locks(self) -> None:
        self._changing = threading.Lock()

    def on(self, event: str, hook: Hook) -> None:
        """Call `hook` with each event of that name from now on. ValueError for a name that is not in EVENTS."""
        _check(event, hook)
        with self._changing:
            self._hooks = {**self._hooks, event: (*self._hooks.get(event, ()), hook)}

    def off(self, event: str, hook: Hook) -> None:
        """Call it no more. No error if it was not called."""
        _check(event, hook)
        with self._changing:
            left = tuple(other for other in self._hooks.get(event, ()) if other != hook)
            self._hooks = {**self._hooks, event: left}

    def heard(self, kind: type[Event]) -> bool:
        """Whether anybody listens to events of that kind; they need not be made otherwise."""
        return bool(self._hooks.get(kind.name))

    def emit(self, event: Event) -> None:
        """Tell the hooks. What one raises is logged and hurts neither the call nor the other hooks."""
        for hook in self._hooks.get(event.name, ()):
            _call(hook, event)

    def traced(self, call: CallStarted, metadata: Pairs) -> Pairs:
        """`metadata` with the trace context of the call, where tracing is on and the caller gave none of its own."""
        if self.trace_headers is None or any(key == "traceparent" for key, _ in metadata):
            return metadata
        try:
            return (*metadata, *self.trace_headers(call))
        except Exception:
            logger.exception("the trace context could not be read")
            return metadata


def _call(hook: Hook, event: Event) -> None:
    try:
        hook(event)
    except Exception:
        logger.exception("a hook of %r failed", event.name)


def _check(event: str, hook: Hook) -> None:
    if event not in EVENTS:
        raise ArgumentValueError("event", f"is {event!r}; there are {', '.join(EVENTS)}")
    if not callable(hook) or inspect.iscoroutinefunction(hook):
        raise ArgumentTypeError("hook", "a function that is not a coroutine", hook)
