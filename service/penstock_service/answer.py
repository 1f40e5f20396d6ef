"""The edge of the service: the one place where errors become statuses, and where every call is recorded."""

import asyncio
import functools
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Protocol, TypeVar

import grpc
import structlog
from grpc_status.rpc_status import to_status
from opentelemetry.trace import Span

from penstock_service.call import Call
from penstock_service.call_log import log_call
from penstock_service.errors import InternalError, ServiceError
from penstock_service.telemetry import Telemetry
from penstock_service.wire import readable

Context = grpc.aio.ServicerContext[Any, Any]

log = structlog.get_logger()

_DEADLINE_JITTER_SECONDS = 0.05


class Recorded(Protocol):
    """A servicer whose calls are recorded."""

    telemetry: Telemetry


S = TypeVar("S", bound=Recorded)
Request = TypeVar("Request")
Reply = TypeVar("Reply")
Handler = Callable[[S, Request, Context, Call], Awaitable[Reply]]


def answers(method: str) -> Callable[[Handler[S, Request, Reply]], Callable[[S, Request, Context], Any]]:
    """Make the handler of an RPC answer what it raises with a status, and leave one log line, a span and metrics.

    `method` is the RPC's full name, such as "penstock.v1.Generation/Generate".
    """

    def decorate(handler: Handler[S, Request, Reply]) -> Callable[[S, Request, Context], Any]:
        @functools.wraps(handler)
        async def answering(self: S, request: Request, context: Context) -> Reply:
            call = Call(method, deadline_seconds=context.time_remaining())

            async def answer() -> Reply:
                return await handler(self, readable(request), context, call)

            outcome = await settled(self.telemetry, call, context.invocation_metadata() or (), answer())
            if isinstance(outcome, ServiceError):
                return await context.abort_with_status(to_status(outcome.status()))
            return outcome

        return answering

    return decorate


async def settled(
    telemetry: Telemetry, call: Call, metadata: Iterable[tuple[str, str | bytes]], work: Awaitable[Reply]
) -> Reply | ServiceError:
    """What `work` returns, or the error that its caller is to see; the call is recorded either way.

    `metadata` may name the caller's span.
    """
    with telemetry.span(call, metadata) as span:
        return await recorded(telemetry, call, span, work)


async def recorded(telemetry: Telemetry, call: Call, span: Span, work: Awaitable[Reply]) -> Reply | ServiceError:
    """As `settled`, with the span that the call is to be recorded in."""
    try:
        return await work
    except asyncio.CancelledError as raised:
        if _is_cancelled():
            _note_cancellation(call)
            raise
        return _expected(raised, call)
    except Exception as raised:
        return _expected(raised, call)
    finally:
        telemetry.record(call, span)
        log_call(call, span)


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
    """gRPC cancels the handler both when the caller leaves and when its deadline passes.

    At its deadline the caller leaves as well, and which of the two arrives first is a matter of chance.
    """
    elapsed, deadline = time.monotonic() - call.received, call.deadline_seconds
    late = deadline is not None and elapsed >= deadline - min(_DEADLINE_JITTER_SECONDS, deadline / 5)
    call.code = grpc.StatusCode.DEADLINE_EXCEEDED if late else grpc.StatusCode.CANCELLED
    call.reason = call.code.name
