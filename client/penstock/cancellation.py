"""Tells apart the two meanings of asyncio.CancelledError around a grpc.aio call."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection, Iterator
from typing import Protocol

import grpc
import grpc.aio

from penstock.errors import APIError, RequestCancelled


def times_cancelled() -> int:
    """How often somebody has asked the current task to stop. Python 3.10 does not tell; there it is 0.

    Who caught that and went on is asked as often as before. Only more than before a call was awaited is about the call.
    """
    cancelling = getattr(asyncio.current_task(), "cancelling", None)
    return 0 if cancelling is None else int(cancelling())


class MayClose(Protocol):
    closed: bool


def client_closed(request_id: str | None, attempts: int = 1) -> RequestCancelled:
    """The error of a call that was open when its client was closed."""
    error = RequestCancelled("the client was closed while the call was open", request_id=request_id)
    error.attempts = attempts
    return error


@contextlib.contextmanager
def refused_if_closed(calls: MayClose, request_id: str | None = None, *, open_before: bool = True) -> Iterator[None]:
    """Around what needs the channels, for which grpc and the pool have other errors once they are closed.

    open_before: whether the call was open before; else the error stands: nobody may use a closed client.
    """
    try:
        yield
    except (RuntimeError, ValueError, grpc.aio.UsageError):
        if not calls.closed or not open_before:
            raise
        raise client_closed(request_id) from None


@contextlib.contextmanager
def ended_if_closed(calls: MayClose, request_id: str | None = None) -> Iterator[None]:
    """Around the whole of a grpc.aio call: closing the channel cancels it, which looks like a cancelled caller."""
    cancelled_before = times_cancelled()
    try:
        with refused_if_closed(calls, request_id):
            yield
    except asyncio.CancelledError:
        if not calls.closed or times_cancelled() != cancelled_before:
            raise
        raise client_closed(request_id) from None


def closed_early(request_id: str | None) -> RequestCancelled:
    """The error of a stream that its caller closed before its end."""
    return RequestCancelled("the stream was closed before its end", request_id=request_id)


def closed_here(error: APIError, endpoints: Collection[str]) -> bool:
    """Whether the call was cancelled by closing its client, which then has no endpoints in use any more."""
    return error.status is grpc.StatusCode.CANCELLED and not endpoints
