"""Tells apart the two meanings of asyncio.CancelledError around a grpc.aio call."""

from __future__ import annotations

import asyncio

from penstock.errors import RequestCancelled


def being_cancelled() -> bool:
    """Whether somebody asked the current task to stop. Python 3.10 does not tell; there it is False."""
    cancelling = getattr(asyncio.current_task(), "cancelling", None)
    return cancelling is not None and cancelling() > 0


def client_closed(request_id: str | None) -> RequestCancelled:
    """The error of a call that was open when its client was closed."""
    return RequestCancelled("the client was closed while the call was open", request_id=request_id)


def closed_early(request_id: str | None) -> RequestCancelled:
    """The error of a stream that its caller closed before its end."""
    return RequestCancelled("the stream was closed before its end", request_id=request_id)
