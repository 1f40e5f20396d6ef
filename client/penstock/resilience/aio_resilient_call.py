"""A stream's call that outlasts its attempts, for asyncio."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine
from contextlib import AbstractContextManager
from time import monotonic
from typing import Any

from penstock.calls import AsyncCalls
from penstock.cancellation import closed_early, refused_if_closed
from penstock.chunk_calls import AsyncChunkCall, AsyncEnded, AsyncStreamCall
from penstock.client_parts import ClientParts
from penstock.endpoints.asyncio_pool import AsyncEndpointPool
from penstock.endpoints.lease import Lease
from penstock.errors import APIConnectionError, APIError
from penstock.resilience.asking import planned_async
from penstock.resilience.cancels import AsyncCancels
from penstock.resilience.connecting import connect_async
from penstock.resilience.continuation import CannotContinue, Continuation
from penstock.resilience.hedging import AsyncHedgedCall
from penstock.resilience.opening import begin_async
from penstock.resilience.recovery import How
from penstock.resilience.resumption import Leg, Resumption
from penstock.resilience.stream_course import StreamCourse, endpoint_failed
from penstock.resilience.watchdog import look_after
from penstock.v1.generation_pb2 import GenerateChunk, GenerateRequest, ResumeRequest


class AsyncResilientCall:
    """Bound to its event loop. It begins at once; what goes wrong with that is for the first `read`."""

    def __init__(self, parts: ClientParts[AsyncEndpointPool], cancels: AsyncCancels, course: StreamCourse) -> None:
        self.course = course
        self._parts = parts
        self._pid = os.getpid()
        self._cancels = cancels
        self._lease: Lease[AsyncCalls] | None = None
        self._inner: AsyncChunkCall | None = None
        self._copy: Lease[AsyncCalls] | None = None  # of the rival, until one has won
        self._added: GenerateChunk | None = None  # by the client itself, between two replicas
        self._failure: APIError | None = None  # for the first `read`
        self._wake: asyncio.Future[None] | None = None
        self._beginning: asyncio.Task[None] | None = None
        try:
            self._loop = asyncio.get_running_loop()
            if course.outlives_its_call:
                cancels.expect(self)
            if not self._begun_at_once():
                self._beginning = self._loop.create_task(self._begin_first())
        except BaseException:
            self._not_begun()
            raise

    async def read(self) -> GenerateChunk | None:
        """The next chunk; None after the last. Raises APIError."""
        course, watch = self.course, self.course.watch
        while True:
            try:
                inner = self._inner
                if inner is None:
                    inner = self._inner = await self._begin_again()
                if self._added is not None:
                    added, self._added = self._added, None
                    return added
                if watch.limited:
                    watch.waiting_since = monotonic()
                chunk = await inner.read()
                watch.waiting_since = None
            except APIError as error:
                await self._recover(error)
                continue
            if chunk is None:
                self._end()
                return None
            return course.received(chunk, monotonic())

    def cancel(self) -> None:
        """The caller is done with the call: end it if it still runs. Wakes the reader."""
        if self._pid != os.getpid():
            return  # a forked child's copy: the call is its parent's
        course, lease, inner = self.course, self._lease, self._inner
        course.closed = True
        course.watch.over()
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)
        if self._beginning is not None:
            self._beginning.cancel()
        if not course.over and course.outlives_its_call:
            course.over = True
            self._cancel_generation(lease)
        if inner is not None:
            inner.cancel()
        for each in (lease, self._copy):
            if each is not None:
                each.release(None)
        course.left()

    def _not_begun(self) -> None:
        self.course.over = self.course.begun  # what an earlier stream began may still be read on
        self.cancel()

    def _cancel_generation(self, lease: Lease[AsyncCalls] | None) -> None:
        """Also where the connection is broken at the moment."""
        reached = lease or self._parts.lease_of(self.course.report.endpoint)
        if reached is not None:
            self._cancels.send(reached, self.course.cancel_request(), self.course.metadata)
            reached.release(None)

    def _end(self) -> None:
        self.course.ended_well()
        if self._lease is not None:
            self._lease.release(False)

    def _begun_at_once(self) -> bool:
        """Begin, if there is nothing to wait for."""
        course = self.course
        if not _ran_through(self._parts.pool.resolved()) or course.begun:
            return False
        lease = self._acquire()
        if course.terms.timeout.connect is not None and not lease.calls.connected:
            lease.release(None)
            return False
        course.begins_at(lease.endpoint)
        self._inner = self._first_call(lease)
        return True

    async def _begin_first(self) -> None:
        """What goes wrong is for the first `read`."""
        try:
            self._inner = await self._begin()
        except APIError as error:
            self._failure = error

    async def _begin_again(self) -> AsyncChunkCall:
        if self._beginning is not None:
            beginning, self._beginning = self._beginning, None
            await beginning
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
        if self.course.closed:
            raise closed_early(self.course.request_id)
        return self._inner or await self._begin()

    async def _begin(self) -> AsyncChunkCall:
        course, resumption = self.course, self.course.resumption
        if resumption is None or not course.begun:
            return await self._attempt()
        if course.how is How.RESUME:
            lease = await self._lease_of(resumption.leg.endpoint)
            if lease is not None:
                return await self._resume(lease, resumption.leg)
        return await self._continue(resumption)

    async def _attempt(self) -> AsyncChunkCall:
        course, lease = self.course, await self._lease_one()
        course.begins_at(lease.endpoint)
        await self._connect(lease)
        return self._first_call(lease)

    def _first_call(self, lease: Lease[AsyncCalls]) -> AsyncChunkCall:
        call, after = self._begin_at(lease, self.course.request), self.course.hedge_after
        if after is not None:
            call = AsyncHedgedCall(call, after, self._send_copy, self._settle)
        return self._watched(call)

    def _send_copy(self) -> AsyncChunkCall | None:
        course, lease = self.course, self._lease
        if lease is None or course.closed or self._parts.pool.closed or not course.attempts.may_hedge:
            return None
        copy = self._parts.pool.acquire({lease.endpoint, *course.attempts.failed_endpoints})
        if copy.endpoint == lease.endpoint:
            copy.release(None)
            return None
        self._copy = copy
        course.hedged(copy.endpoint)
        return self._begin_at(copy, course.request)

    def _settle(self, copy_won: bool) -> None:
        """One of the two replicas is left."""
        course, loser = self.course, self._copy
        if copy_won and self._copy is not None:
            loser, self._lease = self._lease, self._copy
            course.moved_to(self._lease.endpoint)
        self._copy = None
        if loser is not None:
            if course.outlives_its_call:
                self._cancels.send(loser, course.cancel_request(), course.metadata)
            loser.release(None)

    def _begin_at(self, lease: Lease[AsyncCalls], request: GenerateRequest) -> AsyncChunkCall:
        return begin_async(lease, request, self._left(), self.course.metadata, self._parts.riding)

    def _call(self, lease: Lease[AsyncCalls], request: GenerateRequest) -> AsyncChunkCall:
        return self._watched(self._begin_at(lease, request))

    async def _resume(self, lease: Lease[AsyncCalls], leg: Leg) -> AsyncChunkCall:
        course = self.course
        course.begins_at(lease.endpoint)
        await self._connect(lease)
        request = ResumeRequest(id=leg.id, next_seq=leg.next_seq)
        with refused_if_closed(lease.calls, course.request_id):
            rpc = lease.calls.resume(request, timeout=self._left(), metadata=course.metadata)
        return self._watched(AsyncStreamCall(rpc, lease.calls, course.request.request_id))

    async def _continue(self, resumption: Resumption) -> AsyncChunkCall:
        lease = await self._lease_one()
        self.course.begins_at(lease.endpoint)
        await self._connect(lease)
        continuation = await self._plan(lease, resumption)
        self._added = resumption.goes_on(continuation, lease.endpoint)
        if continuation.request is None:
            return AsyncEnded()
        return self._call(lease, continuation.request)

    async def _plan(self, lease: Lease[AsyncCalls], resumption: Resumption) -> Continuation:
        course = self.course
        limit = course.asking_limit(self._left())
        try:
            return await planned_async(resumption.plan(), lease.calls, limit, course.metadata)
        except CannotContinue as cannot:
            lost = APIConnectionError("the replica is not known here", request_id=course.request_id)
            raise resumption.stuck(str(cannot), lost) from None

    async def _lease_one(self) -> Lease[AsyncCalls]:
        with self._open_client():
            await self._parts.pool.resolved(self._left())
        return self._acquire()

    def _acquire(self) -> Lease[AsyncCalls]:
        with self._open_client():
            self._lease = self._parts.pool.acquire(self.course.attempts.failed_endpoints)
        return self._lease

    async def _lease_of(self, endpoint: str) -> Lease[AsyncCalls] | None:
        with self._open_client():
            await self._parts.pool.resolved(self._left())
            self._lease = self._parts.pool.lease_of(endpoint)
        return self._lease

    def _open_client(self) -> AbstractContextManager[None]:
        course = self.course
        return refused_if_closed(self._parts.pool, course.request_id, open_before=course.endpoint is not None)

    async def _connect(self, lease: Lease[AsyncCalls]) -> None:
        await connect_async(lease.calls, self.course.terms.timeout.connect, self._left())

    def _watched(self, call: AsyncChunkCall) -> AsyncChunkCall:
        course, watch = self.course, self.course.watch
        if watch.begin(call.cancel, course.first_limit):
            look_after(watch, self._loop)
        if course.closed:
            call.cancel()
        return call

    def _left(self) -> float | None:
        return self.course.terms.left(monotonic())

    async def _recover(self, failure: APIError) -> None:
        """Wait until it is time to begin again, or raise what the failure means."""
        course, lease, inner = self.course, self._lease, self._inner
        self._lease = self._inner = None
        error = course.meant(failure)
        if inner is not None:
            inner.cancel()
        if lease is not None:
            lease.release(endpoint_failed(error))
            if course.leaves_generation(error):
                self._cancels.send(lease, course.cancel_request(), course.metadata)
        if course.complete:
            self._inner = AsyncEnded()
            return
        delay = course.next_delay(error, monotonic(), self._parts.endpoints_in_use())
        if delay is None:
            raise error
        await self._wait(delay)

    async def _wait(self, seconds: float) -> None:
        """Closing the stream cuts it short."""
        if seconds > 0:
            self._wake = self._loop.create_future()
            await self._parts.pool.sleep(seconds, self._wake)


def _ran_through(waiting: Coroutine[Any, Any, None]) -> bool:
    """Run it until it would wait; then it is given up."""
    try:
        waiting.send(None)
    except StopIteration:
        return True
    waiting.close()
    return False
