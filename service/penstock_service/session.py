"""Many generations over one bidirectional stream.

One task reads what the caller wants, one writes; a call's own task wakes for its beginning and its end only. All that
an engine step brings is there before the writer runs, so it goes out in one message.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple

import grpc

from penstock.v1.generation_pb2 import CallEnd, GenerateRequest, SessionRequest, SessionResponse, StartCall
from penstock_service.answer import Context, settled
from penstock_service.call import Call
from penstock_service.deadlines import Deadlines
from penstock_service.errors import InvalidRequest, Overloaded, ServiceError, SlowReader, Unavailable, Violation
from penstock_service.lifecycle import Lifecycle
from penstock_service.reading import Readable, Reader
from penstock_service.rpc_status import rpc_status
from penstock_service.session_call import SessionCall
from penstock_service.stalls import StallWatch
from penstock_service.telemetry import Telemetry
from penstock_service.tenant import caller, identify
from penstock_service.wire import readable

# After its last call, for the caller of a draining session to see the announcement and half-close: calls that it begins
# after the end would be lost without a reason.
_LINGER_SECONDS = 1.0
# Of text; after a pause all calls may have much to say, and callers receive 4 MiB at a time unless they say otherwise.
_MOST_MESSAGE_BYTES = 1 << 20


OpensStream = Callable[[GenerateRequest, Call, Reader], AbstractAsyncContextManager[Readable]]


class SessionTerms(NamedTuple):
    """What holds for every session of a server."""

    server_id: str
    most_calls: int  # that a session may have open
    age_seconds: float  # after which a session takes no further call
    deadlines: Deadlines
    lifecycle: Lifecycle
    stalls: StallWatch


class Session:
    """One Session RPC and its calls."""

    def __init__(
        self, opens: OpensStream, telemetry: Telemetry, context: Context, session_id: str, terms: SessionTerms
    ) -> None:
        self._opens = opens
        self._telemetry = telemetry
        self._context = context
        self._id = session_id
        self._terms = terms
        self._calls: dict[int, SessionCall] = {}
        self._highest = 0
        self._unread: dict[SessionCall, None] = {}  # in the order of their news
        self._ends: list[CallEnd] = []
        self._news = asyncio.Event()
        self._moved = asyncio.Event()  # something was written
        self._idle = asyncio.Event()  # no call is open
        self._idle.set()
        self._announces = False  # `draining` is to be sent
        self._draining = False  # and has been for long enough
        self._no_more_calls = False
        self._error: ServiceError | None = None
        self._written = 0
        self._writing = False
        self._interrupted = False
        self._task: asyncio.Task[object] | None = None

    async def run(self) -> None:
        """Serve until the caller has half-closed, or the session has drained, and the last call has ended."""
        self._task = asyncio.current_task()
        with self._terms.lifecycle.session(), self._terms.stalls.watching(self):
            async with asyncio.TaskGroup() as tasks:
                helpers = [tasks.create_task(self._read(tasks)), tasks.create_task(self._drain())]
                await self._write_to_the_end()
                for task in helpers:
                    task.cancel()
                for call in self._calls.values():
                    call.task.cancel()
        if self._error is not None:
            raise self._error

    # For the calls.

    def has_news(self, call: SessionCall) -> None:
        """A call's generation can be read."""
        if not self._unread:
            self._news.set()
        self._unread[call] = None

    # For the stall watch.

    def progress(self) -> int | None:
        """See stalls.Read."""
        return self._written if self._writing else None

    def too_slow(self) -> None:
        """See stalls.Read."""
        self._error = SlowReader()
        self._interrupted = True
        if self._task is not None:
            self._task.cancel()

    # Reading.

    async def _read(self, tasks: asyncio.TaskGroup) -> None:
        try:
            while (message := await self._context.read()) is not grpc.aio.EOF:
                self._act(readable(message), tasks)
                await self._room()
        except ServiceError as error:
            self._error = error
        self._no_more_calls = True
        self._news.set()

    def _act(self, message: SessionRequest, tasks: asyncio.TaskGroup) -> None:
        match message.WhichOneof("action"):
            case "start":
                self._begin(message.start, tasks)
            case "cancel":
                if call := self._calls.get(message.cancel.call):
                    call.cancel()
            case _:
                raise InvalidRequest([Violation("action", "is missing: set start or cancel")])

    def _begin(self, start: StartCall, tasks: asyncio.TaskGroup) -> None:
        if start.call <= self._highest:
            raise InvalidRequest([Violation("start.call", f"must be above {self._highest}, got {start.call}")])
        self._highest = start.call
        call = self._calls[start.call] = SessionCall(self, start.call)
        self._idle.clear()
        call.task = tasks.create_task(self._serve(start, call), name="session call")

    async def _room(self) -> None:
        """Read no further while the ends of calls pile up unread."""
        while len(self._calls) + len(self._ends) >= 2 * self._terms.most_calls:
            self._moved.clear()
            await self._moved.wait()

    # A call.

    async def _serve(self, start: StartCall, reader: SessionCall) -> None:
        now, seconds = time.monotonic(), start.timeout_ms / 1000 if start.HasField("timeout_ms") else None
        deadline = self._terms.deadlines.deadline(seconds, now)
        call = Call("penstock.v1.Generation/StreamGenerate", deadline, received=now, session=self._id)
        trace = [("traceparent", start.traceparent), ("tracestate", start.tracestate)]
        outcome = await settled(self._telemetry, call, trace, self._generate(start, call, reader))
        del self._calls[start.call]
        self._ends.append(_end(start.call, outcome))
        if not self._calls:
            self._idle.set()
        self._news.set()

    async def _generate(self, start: StartCall, call: Call, reader: SessionCall) -> None:
        if self._draining:
            raise Unavailable("DRAINING")
        if len(self._calls) > (most := self._terms.most_calls):
            raise Overloaded(f"the session has {most} calls open, as many as it may have")
        call.tenant = identify.get()()
        caller.set(call.tenant)
        if start.timeout_ms < 0:
            raise InvalidRequest([Violation("timeout_ms", f"must be at least 0, got {start.timeout_ms}")])
        async with self._opens(start.request, call, reader):
            await reader.delivered()

    # Writing.

    async def _write_to_the_end(self) -> None:
        try:
            await self._write(SessionResponse(server_id=self._terms.server_id))
            while not self._over:
                await self._news.wait()
                self._news.clear()
                if (response := self._gathered()) is not None:
                    await self._write(response)
        except asyncio.CancelledError:
            if not self._interrupted or self._task is None:
                raise
            self._task.uncancel()

    async def _write(self, response: SessionResponse) -> None:
        self._writing = True
        try:
            await self._context.write(response)
        finally:
            self._writing = False
        self._written += 1
        self._moved.set()

    def _gathered(self) -> SessionResponse | None:
        response = SessionResponse()
        room = _MOST_MESSAGE_BYTES
        for call in list(self._unread):  # each once: what it has then is for the next message
            if room <= 0:
                break
            del self._unread[call]
            room -= call.move(response)
        if self._unread:
            self._news.set()
        if self._ends:
            response.ends.extend(self._ends)
            self._ends.clear()
        if self._announces:
            response.draining, self._announces = True, False
        return response if response.chunks or response.ends or response.draining else None

    @property
    def _over(self) -> bool:
        if self._error is not None:
            return True
        return self._no_more_calls and not (self._calls or self._unread or self._ends)

    # Draining.

    async def _drain(self) -> None:
        """Announce that the session takes no further calls once the service drains or the session is old."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._terms.age_seconds):
                await self._terms.lifecycle.drain_begun.wait()
        self._announces = True
        self._news.set()
        if not self._terms.lifecycle.drain_begun.is_set():  # it is only old, and a call may be on its way already
            await asyncio.sleep(_LINGER_SECONDS)
        self._draining = True
        await self._idle.wait()
        await asyncio.sleep(_LINGER_SECONDS)
        self._no_more_calls = True
        self._news.set()


def _end(number: int, outcome: object) -> CallEnd:
    if not isinstance(outcome, ServiceError):
        return CallEnd(call=number)
    return CallEnd(call=number, status=rpc_status(outcome))
