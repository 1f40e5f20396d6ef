"""The edge of the service: the one place where errors become statuses, and where every call is recorded."""

import asyncio
import functools
import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

import grpc
import structlog
from grpc_status.rpc_status import to_status

from penstock_service.call import Call
from penstock_service.call_log import log_call
from penstock_service.errors import InternalError, ServiceError
from penstock_service.telemetry import Telemetry

Context = grpc.aio.ServicerContext[Any, Any]

log = structlog.get_logger()


class Recorded(Protocol):
    """A servicer whose calls are recorded."""

    telemetry: Telemetry


S = TypeVar("S", bound=Recorded)
Request = TypeVar("Request")
Reply = TypeVar("Reply")


def answers(
    handler: Callable[[S, Request, Context, Call], Awaitable[Reply]],
) -> Callable[[S, Request, Context], Any]:
    """Make an RPC handler that answers what it raises with a status, and leaves one log line, a span and metrics."""

    @functools.wraps(handler)
    async def answering(self: S, request: Request, context: Context) -> Reply:
        call = Call(
            method=f"penstock.v1.{handler.__qualname__.replace('Servicer.', '/')}",
            deadline_seconds=context.time_remaining(),
        )
        with self.telemetry.span(call, context.invocation_metadata()) as span:
            try:
                return await handler(self, request, context, call)
            except asyncio.CancelledError as raised:
                if _is_cancelled():
                    _note_cancellation(call)
                    raise
                error = _expected(raised, call)
            except Exception as raised:
                error = _expected(raised, call)
            finally:
                self.telemetry.record(call, span)
                log_call(call, span)
        # Outside `except`: abort() raises, and what it raises must not be caught here again.
        return await context.abort_with_status(to_status(error.status()))

    return answering


def _is_cancelled() -> bool:
    """Whether gRPC cancelled this call's task.

    A CancelledError that comes from elsewhere must become a status: grpc.aio would leave the caller without one.
    """
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _expected(raised: BaseException, call: Call) -> ServiceError:
    error = raised if isinstance(raised, ServiceError) else InternalError(call.id)
    if error is not raised:
        log.error("internal error", id=call.id, method=call.method, exc_info=raised)
    call.code, call.reason = error.code, error.reason
    return error


def _note_cancellation(call: Call) -> None:
    """gRPC cancels the handler both when the caller leaves and when its deadline passes."""
    late = call.deadline_seconds is not None and time.monotonic() - call.received >= call.deadline_seconds
    call.code = grpc.StatusCode.DEADLINE_EXCEEDED if late else grpc.StatusCode.CANCELLED
    call.reason = call.code.name
