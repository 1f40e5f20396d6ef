"""How a call of a session can end: each ending makes the error for a call from its request_id, or None for OK. Pure."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import grpc

from penstock.errors import (
    APIConnectionError,
    APIError,
    APITimeoutError,
    InternalServerError,
    NotSupportedError,
    RateLimitError,
    RequestCancelled,
)
from penstock.statuses import from_rpc_error, from_rpc_status
from penstock.v1.generation_pb2 import CallEnd
from penstock.v1.mirrors_pb2 import ErrorInfo

Ending = Callable[["str | None"], "APIError | None"]


def finish(ending: Ending, request_id: str | None) -> None:
    """What the reader of a call meets after its last chunk. Raises the error if the call failed."""
    error = ending(request_id)
    if error is not None:
        raise error


def completed(request_id: str | None) -> None:
    """The server ended the call with OK."""


def ended_by_server(end: CallEnd) -> Ending:
    return partial(from_rpc_status, end.status) if end.status.code else completed


def session_failed(error: grpc.RpcError) -> Ending:
    """Each call of a failed session fails as a stream of its own would have.

    None of them was cancelled when the session was, unless here: a server at its end does that, or a proxy.
    """
    if error.code() is grpc.StatusCode.CANCELLED:
        return session_lost

    def ending(request_id: str | None) -> APIError:
        failure = from_rpc_error(error, request_id)
        failure.__cause__ = error
        return failure

    return ending


def no_sessions(request_id: str | None) -> APIError:
    """The server has no sessions: its calls do not end, but begin again as streams of their own."""
    return NotSupportedError("the server has no sessions", request_id=request_id)


def masked(error: grpc.RpcError) -> bool:
    """Whether a write that came too late put grpc.aio's own status in the place of the one that the RPC ended with."""
    return error.code() is grpc.StatusCode.INTERNAL and error.details() == "Internal error from Core"


def session_lost(request_id: str | None) -> APIError:
    """The session is over, and nobody knows why."""
    return APIConnectionError("the session broke", request_id=request_id)


def session_ended(request_id: str | None) -> APIError:
    """The server ended the session with OK and forgot the call."""
    return InternalServerError("the server ended the session before the call", request_id=request_id)


def cancelled(request_id: str | None) -> APIError:
    """The call was closed here."""
    return RequestCancelled("the stream was closed before its end", request_id=request_id)


def deadline_exceeded(request_id: str | None) -> APIError:
    """The deadline passed by the clock of this process. The text is gRPC's own."""
    return APITimeoutError("Deadline Exceeded", request_id=request_id)


def slow_reader(request_id: str | None) -> APIError:
    """More of the call was left unread than is kept for it."""
    info = ErrorInfo(reason="SLOW_READER", domain="penstock")
    return RateLimitError("too much of the stream was left unread", details=[info], request_id=request_id)
