"""A stream's call that outlasts its attempts, for threads."""

from __future__ import annotations

import os
import threading
from contextlib import AbstractContextManager
from time import monotonic

from penstock.calls import Calls
from penstock.cancellation import closed_early, refused_if_closed
from penstock.chunk_calls import ChunkCall, Ended, StreamCall
from penstock.client_parts import ClientParts
from penstock.endpoints.lease import Lease
from penstock.endpoints.pool import EndpointPool
from penstock.errors import APIConnectionError, APIError
from penstock.resilience.asking import planned
from penstock.resilience.cancels import Cancels
from penstock.resilience.connecting import connect
from penstock.resilience.continuation import CannotContinue, Continuation
from penstock.resilience.hedging import HedgedCall
from penstock.resilience.opening import begin
from penstock.resilience.recovery import How
from penstock.resilience.resumption import Leg, Resumption
from penstock.resilience.stream_course import StreamCourse, endpoint_failed
from penstock.resilience.watchdog import Watchdog
from penstock.v1.generation_pb2 import GenerateChunk, GenerateRequest, ResumeRequest


class ResilientCall:
    """One thread reads; any may cancel. It begins at once; what goes wrong with that is for the first `read`."""

    def __init__(
        self, parts: ClientParts[EndpointPool], watchdog: Watchdog, cancels: Cancels, course: StreamCourse
    ) -> None:
        self.course = course
        self._parts = parts
        self._pid = os.getpid()
        self._watchdog = watchdog
        self._cancels = cancels
        self._lease: Lease[Calls] | None = None
        self._inner: ChunkCall | None = None
        self._copy: Lease[Calls] | None = None  # of the rival, until one has won
        self._added: GenerateChunk | None = None  # by the client itself, between two replicas
        self._failure: APIError | None = None  # for the first `read`
        self._wake: threading.Event | None = None
        if course.outlives_its_call:
            cancels.expect(self)
        try:
            self._inner = self._begin()
        except APIError as error:
            self._failure = error
        except BaseException:
            self._not_begun()
            raise

    def read(self) -> GenerateChunk | None:
        """The next chunk; None after the last. Raises APIError."""
        course, watch = self.course, self.course.watch
        while True:
            try:
                inner = self._inner
                if inner is None:
                    inner = self._inner = self._begin_again()
                if self._added is not None:
                    added, self._added = self._added, None
                    return added
                if watch.limited:
                    watch.waiting_since = monotonic()
                chunk = inner.read()
                watch.waiting_since = None
            except APIError as error:
                self._recover(error)
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
        if self._wake is not None:
            self._wake.set()
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

    def _cancel_generation(self, lease: Lease[Calls] | None) -> None:
        """Also where the connection is broken at the moment."""
        reached = lease or self._parts.lease_of(self.course.report.endpoint)
        if reached is not None:
            self._cancels.send(reached, self.course.cancel_request(), self.course.metadata)
            reached.release(None)

    def drop(self) -> None:
        """What a collector of garbage does instead: it must not wait for locks, and a Cancel takes some."""
        self._watchdog.call(self.cancel)

    def _end(self) -> None:
        self.course.ended_well()
        if self._lease is not None:
            self._lease.release(False)

    def _begin_again(self) -> ChunkCall:
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
        if self.course.closed:
            raise closed_early(self.course.request_id)
        return self._begin()

    def _begin(self) -> ChunkCall:
        course, resumption = self.course, self.course.resumption
        if resumption is None or not course.begun:
            return self._attempt()
        if course.how is How.RESUME:
            lease = self._lease_of(resumption.leg.endpoint)
            if lease is not None:
                return self._resume(lease, resumption.leg)
        return self._continue(resumption)

    def _attempt(self) -> ChunkCall:
        course, lease = self.course, self._lease_one()
        course.begins_at(lease.endpoint)
        self._connect(lease)
        return self._first_call(lease)

    def _first_call(self, lease: Lease[Calls]) -> ChunkCall:
        call, after = self._begin_at(lease, self.course.request), self.course.hedge_after
        if after is not None:
            call = HedgedCall(call, after, self._send_copy, self._settle)
        return self._watched(call)

    def _send_copy(self) -> ChunkCall | None:
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

    def _begin_at(self, lease: Lease[Calls], request: GenerateRequest) -> ChunkCall:
        return begin(lease, request, self._left(), self.course.metadata, self._parts.riding)

    def _call(self, lease: Lease[Calls], request: GenerateRequest) -> ChunkCall:
        return self._watched(self._begin_at(lease, request))

    def _resume(self, lease: Lease[Calls], leg: Leg) -> ChunkCall:
        course = self.course
        course.begins_at(lease.endpoint)
        self._connect(lease)
        request = ResumeRequest(id=leg.id, next_seq=leg.next_seq)
        with refused_if_closed(lease.calls, course.request_id):
            rpc = lease.calls.resume(request, timeout=self._left(), metadata=course.metadata)
        return self._watched(StreamCall(rpc, lease.calls, course.request.request_id))

    def _continue(self, resumption: Resumption) -> ChunkCall:
        lease = self._lease_one()
        self.course.begins_at(lease.endpoint)
        self._connect(lease)
        continuation = self._plan(lease, resumption)
        self._added = resumption.goes_on(continuation, lease.endpoint)
        if continuation.request is None:
            return Ended()
        return self._call(lease, continuation.request)

    def _plan(self, lease: Lease[Calls], resumption: Resumption) -> Continuation:
        course = self.course
        limit = course.asking_limit(self._left())
        try:
            return planned(resumption.plan(), lease.calls, limit, course.metadata)
        except CannotContinue as cannot:
            lost = APIConnectionError("the replica is not known here", request_id=course.request_id)
            raise resumption.stuck(str(cannot), lost) from None

    def _lease_one(self) -> Lease[Calls]:
        with self._open_client():
            self._parts.pool.resolved(self._left())
            self._lease = self._parts.pool.acquire(self.course.attempts.failed_endpoints)
        return self._lease

    def _lease_of(self, endpoint: str) -> Lease[Calls] | None:
        with self._open_client():
            self._parts.pool.resolved(self._left())
            self._lease = self._parts.pool.lease_of(endpoint)
        return self._lease

    def _open_client(self) -> AbstractContextManager[None]:
        course = self.course
        return refused_if_closed(self._parts.pool, course.request_id, open_before=course.endpoint is not None)

    def _connect(self, lease: Lease[Calls]) -> None:
        connect(lease.calls, self.course.terms.timeout.connect, self._left())

    def _watched(self, call: ChunkCall) -> ChunkCall:
        course, watch = self.course, self.course.watch
        if watch.begin(call.cancel, course.first_limit):
            self._watchdog.look_after(watch)
        if course.closed:
            call.cancel()
        return call

    def _left(self) -> float | None:
        return self.course.terms.left(monotonic())

    def _recover(self, failure: APIError) -> None:
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
            self._inner = Ended()
            return
        delay = course.next_delay(error, monotonic(), self._parts.endpoints_in_use())
        if delay is None:
            raise error
        self._wait(delay)

    def _wait(self, seconds: float) -> None:
        """Closing the stream cuts it short."""
        if seconds > 0:
            self._wake = threading.Event()
            if not self.course.closed:
                self._parts.pool.sleep(seconds, self._wake)
