"""A session on an event loop: one task reads it; another writes it while there is something to write."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

import grpc
import grpc.aio

from penstock.call_options import Pairs
from penstock.cancellation import client_closed
from penstock.sessions.asyncio_call import AsyncioCall
from penstock.sessions.endings import Ending, masked, no_sessions, session_ended, session_failed, session_lost
from penstock.sessions.multiplexer import Multiplexer
from penstock.sessions.support import Support
from penstock.v1.generation_pb2 import CancelCall, SessionRequest, SessionResponse

if TYPE_CHECKING:
    SessionRpc = grpc.aio.StreamStreamMultiCallable[SessionRequest, SessionResponse]


class AsyncioSession:
    """One Session RPC. It holds nothing that holds the channel, so that a forgotten client can be collected."""

    def __init__(self, rpc: SessionRpc, support: Support) -> None:
        self._begin = rpc
        self._support = support
        self._loop = asyncio.get_running_loop()
        self._multiplexer: Multiplexer[AsyncioCall] = Multiplexer()
        self._outgoing: deque[SessionRequest] = deque()
        self._writer: asyncio.Task[None] | None = None

    @property
    def open_calls(self) -> int:
        return len(self._multiplexer)

    @property
    def takes_calls(self) -> bool:
        return self._multiplexer.takes_calls

    @property
    def over(self) -> bool:
        return self._multiplexer.ending is not None

    @property
    def server_id(self) -> str | None:
        return self._multiplexer.server_id

    def start(self, call: AsyncioCall, message: SessionRequest) -> bool:
        """Begin the call. False if the session takes no more."""
        if not self._multiplexer.start(call):
            return False
        call.begin(self)
        message.start.call = call.number
        self._send(message)
        return True

    def open(self, metadata: Pairs) -> None:
        self._rpc = self._begin(metadata=metadata)
        self._reader = self._loop.create_task(self._receive())

    def cancel(self, call: AsyncioCall) -> None:
        if self._multiplexer.drop(call):
            self._send(SessionRequest(cancel=CancelCall(call=call.number)))

    async def close(self) -> None:
        """End it with its calls."""
        self._end(client_closed)
        self._rpc.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)

    def abandon(self) -> None:
        """Nobody can start calls here any more. Garbage is collected in any thread; the RPC belongs to the loop's."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._rpc.cancel)

    def _send(self, message: SessionRequest) -> None:
        self._outgoing.append(message)
        self._write_soon()

    def _write_soon(self) -> None:
        if self._writer is None:
            self._writer = self._loop.create_task(self._write())

    async def _write(self) -> None:
        """grpc.aio takes one write after the other."""
        try:
            while self._outgoing:
                await self._rpc.write(self._outgoing.popleft())
            if self._multiplexer.finished:
                await self._rpc.done_writing()
        except (grpc.RpcError, asyncio.InvalidStateError, grpc.aio.InternalError):
            # The RPC is over; the reader says why. done_writing() of an RPC that ends just now raises InternalError.
            self._outgoing.clear()
        finally:
            self._writer = None

    async def _receive(self) -> None:
        ending: Ending = session_ended
        try:
            # Never given up while it waits: each cancelled read leaks memory in grpc.aio.
            while isinstance(response := await self._rpc.read(), SessionResponse):
                self._deliver(response)
        except grpc.RpcError as error:
            ending = self._failed(error)
        except asyncio.CancelledError:
            ending = client_closed
            raise
        finally:
            self._end(ending)

    def _failed(self, error: grpc.RpcError) -> Ending:
        if self.server_id is None and error.code() is grpc.StatusCode.UNIMPLEMENTED:
            self._support.missing = True
            return no_sessions
        if masked(error):
            # Streams of their own learn the reason. Later that would repeat output.
            return no_sessions if self.server_id is None else session_lost
        return session_failed(error)

    def _deliver(self, response: SessionResponse) -> None:
        news = self._multiplexer.receive(response)
        for call in news.inboxes:
            call.wake()
        for call in news.overflown:
            self._send(SessionRequest(cancel=CancelCall(call=call.number)))
        if self._multiplexer.finished:
            self._write_soon()

    def _end(self, ending: Ending) -> None:
        for call in self._multiplexer.end(ending):
            if ending is no_sessions:
                call.start_apart()
            else:
                call.end(ending)
                call.wake()
