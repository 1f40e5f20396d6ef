"""`with_raw_response`: what is known of a call beside its result."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Generic, TypeVar

from penstock.events import Hedged, Retried
from penstock.hooks import Observers

ResultT = TypeVar("ResultT")


class RawResponse(Generic[ResultT]):
    """An answer and how it came. As in openai-python, `parse()` is the answer itself.

    elapsed: seconds until the whole answer was there, or the first piece of a stream.
    attempts: how many were made until then, hedges included. retries_taken: all but the first.
    headers: what the gateway would send with it. status_code: 200; failures are raised.
    """

    status_code = 200

    def __init__(self, result: ResultT, elapsed: float, attempts: int) -> None:
        self._result = result
        self.elapsed = elapsed
        self.attempts = attempts

    def parse(self) -> ResultT:
        """The answer, or the stream."""
        return self._result

    @property
    def request_id(self) -> str | None:
        """The call's id."""
        return getattr(self._result, "_request_id", None)

    @property
    def retries_taken(self) -> int:
        return self.attempts - 1

    @property
    def headers(self) -> dict[str, str]:
        return {"x-request-id": self.request_id} if self.request_id else {}


class RawResponses:
    """The functions of a resource, each of which returns a RawResponse."""

    def __init__(self, resource: object, observers: Observers) -> None:
        self._resource = resource
        self._observers = observers

    def __getattr__(self, name: str) -> Callable[..., RawResponse[Any]]:
        function: Callable[..., Any] = getattr(self._resource, name)

        def call(*arguments: Any, **keywords: Any) -> RawResponse[Any]:
            started = time.monotonic()
            with _counted(self._observers) as attempts:
                result = function(*arguments, **keywords)
            return RawResponse(result, time.monotonic() - started, attempts.made)

        return call


class AsyncRawResponses:
    """The functions of a resource, each of which returns a RawResponse when it is awaited."""

    def __init__(self, resource: object, observers: Observers) -> None:
        self._resource = resource
        self._observers = observers

    def __getattr__(self, name: str) -> Callable[..., Awaitable[RawResponse[Any]]]:
        function: Callable[..., Awaitable[Any]] = getattr(self._resource, name)

        async def call(*arguments: Any, **keywords: Any) -> RawResponse[Any]:
            started = time.monotonic()
            with _counted(self._observers) as attempts:
                result = await function(*arguments, **keywords)
            return RawResponse(result, time.monotonic() - started, attempts.made)

        return call


class _Attempts:
    made = 1


_current: ContextVar[_Attempts | None] = ContextVar("penstock_attempts", default=None)


@contextmanager
def _counted(observers: Observers) -> Iterator[_Attempts]:
    """The attempts of the one call in the body; those of other calls at the same time are not its own."""
    attempts = _Attempts()

    def count(_: object) -> None:
        if _current.get() is attempts:
            attempts.made += 1

    events = [kind.name for kind in (Retried, Hedged)]
    token = _current.set(attempts)
    for event in events:
        observers.on(event, count)
    try:
        yield attempts
    finally:
        for event in events:
            observers.off(event, count)
        _current.reset(token)
