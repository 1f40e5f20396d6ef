"""A session for threads: a thread of its own reads it, and one of gRPC's writes it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from queue import SimpleQueue
from typing import TYPE_CHECKING

import grpc

from penstock.call_options import Pairs
from penstock.cancellation import client_closed
from penstock.sessions.blocking_call import BlockingCall
from penstock.sessions.endings import Ending, no_sessions, session_ended, session_failed
from penstock.sessions.multiplexer import Multiplexer
from penstock.sessions.support import Support
from penstock.v1.generation_pb2 import CancelCall, SessionRequest, SessionResponse

if TYPE_CHECKING:
    SessionRpc = grpc.StreamStreamMultiCallable[SessionRequest, SessionResponse]


class BlockingSession:
    """One Session RPC. It holds nothing that holds the channel, so that a forgotten client can be collected."""

    def __init__(self, rpc: SessionRpc, support: Support) -> None:
        self._begin = rpc
        self._support = support
        self._lock = threading.Lock()
        self._multiplexer: Multiplexer[BlockingCall] = Multiplexer()
        self._outgoing: SimpleQueue[SessionRequest | None] = SimpleQueue()  # None half-closes
        self._closed = False  # by the client

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

    def start(self, call: BlockingCall, message: SessionRequest) -> bool:
        """Begin the call. False if the session takes no more."""
        with self._lock:
            if not self._multiplexer.start(call):
                return False
            call.begin(self)
            message.start.call = call.number
            self._outgoing.put(message)
        return True

    def open(self, metadata: Pairs) -> None:
        self._rpc = self._begin(self._requests(), metadata=metadata)
        threading.Thread(target=self._receive, name="penstock-session", daemon=True).start()

    def cancel(self, call: BlockingCall) -> None:
        """Without the lock, because a collector of garbage may be the one who calls: each step is atomic by itself."""
        if self._multiplexer.drop(call):
            self._outgoing.put(SessionRequest(cancel=CancelCall(call=call.number)))
            self._half_close_if_finished()

    def close(self) -> None:
        """The channel is about to be closed, which ends it with its calls."""
        self._closed = True

    def abandon(self) -> None:
        """Nobody can start calls here any more."""
        self._rpc.cancel()

    def _requests(self) -> Iterator[SessionRequest]:
        while (message := self._outgoing.get()) is not None:
            yield message

    def _half_close_if_finished(self) -> None:
        if self._multiplexer.finished:
            self._outgoing.put(None)

    def _receive(self) -> None:
        ending: Ending = session_ended
        try:
            for response in self._rpc:
                self._deliver(response)
        except grpc.RpcError as error:
            ending = self._failed(error)
        finally:
            self._end(ending)

    def _failed(self, error: grpc.RpcError) -> Ending:
        if self.server_id is None and error.code() is grpc.StatusCode.UNIMPLEMENTED:
            self._support.missing = True
            return no_sessions
        if self._closed and error.code() is grpc.StatusCode.CANCELLED:
            return client_closed
        return session_failed(error)

    def _deliver(self, response: SessionResponse) -> None:
        with self._lock:
            news = self._multiplexer.receive(response)
        for call in news.inboxes:
            call.wake()
        for call in news.overflown:
            self._outgoing.put(SessionRequest(cancel=CancelCall(call=call.number)))
        self._half_close_if_finished()

    def _end(self, ending: Ending) -> None:
        with self._lock:
            orphans = self._multiplexer.end(ending)
        self._outgoing.put(None)
        for call in orphans:
            if ending is no_sessions:
                call.start_apart()
            else:
                call.end(ending)
                call.wake()
