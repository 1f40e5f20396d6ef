"""Ends generations that would go on without their caller: by Cancel, for whose answer nobody waits."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
import weakref
from typing import Protocol

import grpc
import grpc.aio

from penstock import forks
from penstock.call_options import Pairs
from penstock.calls import AsyncCalls, Calls
from penstock.endpoints.lease import Lease
from penstock.v1.generation_pb2 import CancelRequest, CancelResponse

TIMEOUT_SECONDS = 5.0

# For a client that closes: its channels would take their calls with them.
LAST_WAIT_SECONDS = 1.0


class Cancellable(Protocol):
    """A stream's call."""

    def cancel(self) -> None: ...


class Cancels:
    """Those of a blocking client that are under way, and the streams that will need one if the client closes."""

    def __init__(self) -> None:
        self._open: dict[grpc.Future[CancelResponse], Calls] = {}  # grpc ends a call whose channel nobody holds
        self._of_parents: list[object] = []
        self.renew_locks()
        forks.renew_locks_of(self)

    def renew_locks(self) -> None:
        """A forked child ends nothing of its parent's, and keeps it: destroying grpc's objects there could block."""
        self._of_parents.append(self._open)
        self._open = {}
        self._streams: weakref.WeakSet[Cancellable] = weakref.WeakSet()
        self._expecting = threading.Lock()
        self._some_ended = threading.Event()

    def expect(self, stream: Cancellable) -> None:
        """Its generation outlives it."""
        with self._expecting:
            self._streams.add(stream)

    def send(self, lease: Lease[Calls], request: CancelRequest, metadata: Pairs) -> None:
        try:
            call = lease.calls.cancel.future(request, timeout=TIMEOUT_SECONDS, metadata=metadata)
        except ValueError:  # grpc's way to say that the channel is closed, and with it whatever could be cancelled
            return
        self._open[call] = lease.calls
        call.add_done_callback(self._done)

    def _done(self, call: grpc.Future[CancelResponse]) -> None:
        self._open.pop(call, None)
        self._some_ended.set()

    def finish(self) -> None:
        """End what is still open, and wait until all were sent and answered, for a second at most."""
        with self._expecting:
            streams = list(self._streams)
        for stream in streams:
            stream.cancel()
        ends = time.monotonic() + LAST_WAIT_SECONDS
        while self._open and time.monotonic() < ends:
            self._some_ended.wait(ends - time.monotonic())
            self._some_ended.clear()


class AsyncCancels:
    """Those of an asyncio client that are under way, and the streams that will need one if the client closes."""

    def __init__(self) -> None:
        self._open: set[asyncio.Task[None]] = set()
        self._of_parents: list[object] = []
        self.renew_locks()
        forks.renew_locks_of(self)

    def renew_locks(self) -> None:
        """A forked child ends nothing of its parent's, and keeps it: destroying grpc's objects there could block."""
        self._of_parents.append(self._open)
        self._open = set()
        self._streams: weakref.WeakKeyDictionary[Cancellable, asyncio.AbstractEventLoop] = weakref.WeakKeyDictionary()
        self._expecting = threading.Lock()  # loops of several threads may share the client

    def expect(self, stream: Cancellable) -> None:
        """Its generation outlives it."""
        with self._expecting:
            self._streams[stream] = asyncio.get_running_loop()

    def send(self, lease: Lease[AsyncCalls], request: CancelRequest, metadata: Pairs) -> None:
        if lease.calls.closed:
            return
        call = lease.calls.cancel(request, timeout=TIMEOUT_SECONDS, metadata=metadata)
        task = asyncio.get_running_loop().create_task(_answered(call, lease.calls))
        self._open.add(task)
        task.add_done_callback(self._open.discard)

    async def finish(self) -> None:
        """End what is still open on this loop, and wait until all were sent and answered, for a second at most."""
        loop = asyncio.get_running_loop()
        with self._expecting:
            streams = [stream for stream, its_loop in self._streams.items() if its_loop is loop]
        for stream in streams:
            stream.cancel()
        if here := [task for task in self._open if task.get_loop() is loop]:
            await asyncio.wait(here, timeout=LAST_WAIT_SECONDS)


async def _answered(call: grpc.aio.UnaryUnaryCall[CancelRequest, CancelResponse], calls: AsyncCalls) -> None:
    """Whatever the answer is: a generation that is not there needs no end. Holds the channel meanwhile."""
    with contextlib.suppress(grpc.RpcError):
        await call
    del calls
