"""The edge of the service: the one place where errors become statuses, and where every call is recorded."""

import asyncio
import functools
import math
import time
from collections.abc import Awaitable, Callable, Iterable
from datetime import timedelta
from typing import Any, Protocol, TypeVar, cast

import grpc
import structlog
from grpc_status.rpc_status import to_status
from opentelemetry.trace import Span

from penstock_service.call import Call
from penstock_service.call_log import log_call
from penstock_service.deadlines import Deadlines
from penstock_service.errors import Cancelled, DeadlineExceeded, InternalError, ServiceError
from penstock_service.telemetry import Telemetry
from penstock_service.wire import end_with, readable

Context = grpc.aio.ServicerContext[Any, Any]

log = structlog.get_logger()

_DEADLINE_JITTER_SECONDS = 0.05
_RETRIED = (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE)


class Recorded(Protocol):
    """A servicer whose calls are recorded, and end in time."""

    telemetry: Telemetry
    deadlines: Deadlines


S = TypeVar("S", bound=Recorded)
Request = TypeVar("Request")
Reply = TypeVar("Reply")
Handler = Callable[[S, Request, Context, Call], Awaitable[Reply]]


def answers(
    method: str, limited: bool = True
) -> Callable[[Handler[S, Request, Reply]], Callable[[S, Request, Context], Any]]:
    """Make the handler of an RPC answer what it raises with a status, and leave one log line, a span and metrics.

    `method` is the RPC's full name, such as "penstock.v1.Generation/Generate". A call that is not `limited` takes as
    long as its caller lets it.
    """

    def decorate(handler: Handler[S, Request, Reply]) -> Callable[[S, Request, Context], Any]:
        @functools.wraps(handler)
        async def answering(self: S, request: Request, context: Context) -> Reply:
            now, deadlines = time.monotonic(), self.deadlines if limited else Deadlines()
            call = Call(method, deadlines.deadline(context.time_remaining(), now), received=now)

            async def answer() -> Reply:
                return await handler(self, readable(request), context, call)

            outcome = await settled(self.telemetry, call, context.invocation_metadata() or (), answer())
            if isinstance(outcome, ServiceError):
                await end_with(grpc_status(outcome), context)
            return outcome

        return answering

    return decorate


def grpc_status(error: ServiceError) -> grpc.Status:
    """What gRPC sends for `error`: its status and, where retrying is a question, what gRPC's own retries obey (A6)."""
    status = to_status(error.status())
    if error.code in _RETRIED:
        after = error.retry_after
        milliseconds = -1 if after is None else math.ceil(after / timedelta(milliseconds=1))
        pushback = ("grpc-retry-pushback-ms", str(milliseconds))
        status = status._replace(trailing_metadata=(*status.trailing_metadata, pushback))
    return cast(grpc.Status, status)


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
        return await _in_time(call, work)
    except asyncio.CancelledError as raised:
        if _is_cancelled():
            _note_cancellation(call)
            raise
        return _expected(raised, call)
    except grpc.aio.InternalError:  # a write to a caller who has left, before gRPC has cancelled the task
        _note_cancellation(call)
        return Cancelled()
    except Exception as raised:
        return _expected(raised, call)
    finally:
        telemetry.record(call, span)
        log_call(call, span)


async def _in_time(call: Call, work: Awaitable[Reply]) -> Reply:
    """What `work` returns, unless the call's deadline comes first. Raises DeadlineExceeded."""
    try:
        async with asyncio.timeout(call.seconds_left()) as call.cut:
            return await work
    except TimeoutError:
        if call.cut is None or not call.cut.expired():
            raise
        raise DeadlineExceeded from None


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
    if isinstance(error, Cancelled) and _is_late(call):
        error = DeadlineExceeded()  # a session's caller tells that its time is over
    if isinstance(error, DeadlineExceeded) and call.deadline is not None and call.deadline.limit and _is_late(call):
        error = DeadlineExceeded(call.deadline.limit)
    call.code, call.reason = error.code, error.reason
    return error


def _note_cancellation(call: Call) -> None:
    """gRPC cancels the handler both when the caller leaves and when its deadline passes."""
    ending = DeadlineExceeded if _is_late(call) else Cancelled
    call.code, call.reason = ending.code, ending.reason


def _is_late(call: Call) -> bool:
    """Whether the deadline has come, or nearly.

    At its deadline the caller leaves as well, and which of the two arrives first is a matter of chance; timers of the
    event loop are some milliseconds early at times.
    """
    if call.deadline is None:
        return False
    given = call.deadline.at - call.received
    return call.deadline.at - time.monotonic() <= min(_DEADLINE_JITTER_SECONDS, given / 5)
