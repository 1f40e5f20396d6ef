"""Bounds the head of a request, in bytes and in time. uvicorn has no such time, and h11 looks at the size of what is
incomplete only: a head that comes in one piece, or waits behind another request, may have any.
"""

import asyncio
import re
import sys
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

MAX_HEAD_BYTES = 16 << 10
HEAD_SECONDS = 10.0

_LINGER_SECONDS = 1.0  # closed with bytes unread, a connection is reset, and its peer may lose our answer
_END_OF_HEAD = re.compile(rb"\n\r?\n")  # h11's own notion of it

_TOO_LARGE = 431
_TEXTS = {
    400: "this is no HTTP request",
    408: "the head of the request has not come in time",
    _TOO_LARGE: f"the head of a request has at most {MAX_HEAD_BYTES} bytes",
}


class _ShortHeads(h11.Connection):
    """h11's connection, which reads no head that is too long, whenever it came."""

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        if self.their_state is h11.IDLE:
            _check_length(self.trailing_data[0])
        return super().next_event()


def _check_length(unread: bytes) -> None:
    if len(unread) > MAX_HEAD_BYTES and not _END_OF_HEAD.search(unread, 0, MAX_HEAD_BYTES):
        raise h11.RemoteProtocolError(_TEXTS[_TOO_LARGE], error_status_hint=_TOO_LARGE)


class BoundedHeads(H11Protocol):
    """uvicorn's protocol of a connection, whose requests' heads are short and come soon."""

    _late: asyncio.TimerHandle | None = None
    _refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.conn = _ShortHeads(h11.SERVER, MAX_HEAD_BYTES)
        super().connection_made(transport)
        self._await_head()

    def data_received(self, data: bytes) -> None:
        if self._in_head and self._late is None:
            self._await_head()
        if not self._refused:
            super().data_received(data)

    def handle_events(self) -> None:
        super().handle_events()
        if not self._in_head:
            self._stop_waiting()
        elif self._late is None and self.conn.trailing_data[0]:
            self._await_head()  # of a request that was sent before the last one was answered

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Say what is wrong with the request that h11 was to read."""
        self._refuse(getattr(sys.exception(), "error_status_hint", 400))

    @property
    def _in_head(self) -> bool:
        return self.conn.their_state is h11.IDLE and not self._refused

    def _await_head(self) -> None:
        self._late = self.loop.call_later(HEAD_SECONDS, self._refuse, 408)

    def _stop_waiting(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _refuse(self, status: int) -> None:
        self._stop_waiting()
        self._refused = True
        text = _TEXTS.get(status, _TEXTS[400]).encode()
        headers: list[Any] = [("content-type", "text/plain; charset=utf-8"), ("connection", "close")]
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            head = h11.Response(status_code=status, headers=[*headers, ("content-length", str(len(text)))])
            for event in (head, h11.Data(data=text), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
            self.transport.write_eof()
        self.loop.call_later(_LINGER_SECONDS, self.transport.close)
