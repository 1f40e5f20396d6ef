"""HTTP/2 frame by frame, for what gRPC's own client never does."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from hpack import Decoder, Encoder
from hyperframe.frame import (
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
FRAME_BYTES = 16_384  # the most that a peer must take in one frame
LARGEST_WINDOW = (1 << 31) - 1
GENERATE = "/penstock.v1.Generation/Generate"
STREAM_GENERATE = "/penstock.v1.Generation/StreamGenerate"

Headers = Iterable[tuple[str, str]]


def grpc_headers(path: str, *more: tuple[str, str], without: str = "") -> list[tuple[str, str]]:
    """The headers of a call; `more` replaces those of its names, and follows them."""
    usual = {
        ":method": "POST",
        ":scheme": "http",
        ":path": path,
        ":authority": "localhost",
        "te": "trailers",
        "content-type": "application/grpc",
    }
    kept = [(name, text) for name, text in usual.items() if name != without and name not in dict(more)]
    return sorted([*kept, *more], key=lambda header: not header[0].startswith(":"))


def grpc_message(message: bytes, flag: int = 0, length: int | None = None) -> bytes:
    """A message as gRPC frames it: a byte that says whether it is compressed, and its length."""
    return struct.pack(">BI", flag, len(message) if length is None else length) + message


@dataclass
class Answer:
    """What came back on one stream."""

    headers: dict[str, str] = field(default_factory=dict)
    data: bytes = b""
    reset: int | None = None  # the error code of a RST_STREAM

    @property
    def status(self) -> int | None:
        """The gRPC status, once there is one."""
        return int(self.headers["grpc-status"]) if "grpc-status" in self.headers else None


class Connection:
    """A connection that says what it is told to. SETTINGS and PING are acknowledged while `courteous`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self.answers: dict[int, Answer] = {}
        self.settings: dict[int, int] = {}  # the peer's
        self.goaway: GoAwayFrame | None = None
        self.courteous = True
        self.pongs = 0  # answers to our PINGs
        self.encoder = Encoder()
        self.next_stream = 1
        self._windows = {0: 65_535}  # what the peer has granted, by stream; 0 is the connection
        self._sent: dict[int, int] = {}
        self._reader = reader
        self._decoder = Decoder(max_header_list_size=1 << 20)
        self._block = b""
        self._news = asyncio.Condition()
        self._reading = asyncio.create_task(self._read(), name="raw connection")

    # Sending.

    def send(self, *frames: Frame) -> None:
        """Queue frames; `flush` waits until the kernel has them. ConnectionError when the peer has hung up."""
        self.send_bytes(b"".join(frame.serialize() for frame in frames))

    def send_bytes(self, raw: bytes) -> None:
        """The same with anything."""
        if self.writer.is_closing() or self._reading.done():
            raise ConnectionResetError("the peer has hung up")
        self.writer.write(raw)

    async def flush(self) -> None:
        """As far as the peer reads. ConnectionError when it has hung up."""
        await self.writer.drain()

    def begin(self, headers: Headers, end: bool = False) -> int:
        """Open the next stream."""
        stream, self.next_stream = self.next_stream, self.next_stream + 2
        flags = ["END_HEADERS", "END_STREAM"] if end else ["END_HEADERS"]
        self.send(HeadersFrame(stream, self.encoder.encode(list(headers)), flags=flags))
        return stream

    def send_data(self, stream: int, data: bytes, end: bool = True) -> None:
        """In frames of the size that every peer takes, with no regard to windows."""
        pieces = [data[begin : begin + FRAME_BYTES] for begin in range(0, len(data), FRAME_BYTES)] or [b""]
        for number, piece in enumerate(pieces, 1):
            last = end and number == len(pieces)
            self.send(DataFrame(stream, piece, flags=["END_STREAM"] if last else []))
        for window in (0, stream):
            self._sent[window] = self._sent.get(window, 0) + len(data)

    def window(self, stream: int) -> int:
        """How much the peer takes of a stream's data at the moment."""
        own = self.settings.get(SettingsFrame.INITIAL_WINDOW_SIZE, 65_535) + self._windows.get(stream, 0)
        return min(own - self._sent.get(stream, 0), self._windows[0] - self._sent.get(0, 0))

    async def call(self, headers: Headers, body: bytes, seconds: float = 10) -> Answer:
        """A whole unary call."""
        stream = self.begin(headers)
        self.send_data(stream, body)
        return await self.answered(stream, seconds)

    # What came.

    @property
    def closed(self) -> bool:
        """Whether the peer has hung up."""
        return self._reading.done()

    async def answered(self, stream: int, seconds: float = 10) -> Answer:
        """What came on a stream once it has ended there, by its trailers or by a reset."""
        await self.until(lambda: self.ended(stream), seconds)
        return self.answers.get(stream, Answer())

    async def until_closed(self, seconds: float = 10) -> None:
        """Return when the peer hangs up. TimeoutError."""
        await asyncio.wait_for(asyncio.shield(self._reading), seconds)

    async def until(self, condition: Callable[[], bool], seconds: float = 10) -> None:
        """Wait for what frames bring, or for the end of the connection. TimeoutError."""
        async with asyncio.timeout(seconds), self._news:
            await self._news.wait_for(lambda: condition() or self.closed)

    def ended(self, stream: int) -> bool:
        """Whether the peer has ended a stream."""
        answer = self.answers.get(stream)
        return answer is not None and (answer.status is not None or answer.reset is not None)

    async def _read(self) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                header = await self._reader.readexactly(9)
                frame, length = Frame.parse_frame_header(memoryview(header))
                frame.parse_body(memoryview(await self._reader.readexactly(length)))
                self._take(frame)
                async with self._news:
                    self._news.notify_all()
        asyncio.get_running_loop().call_soon(lambda: asyncio.ensure_future(self._wake()))

    async def _wake(self) -> None:
        async with self._news:
            self._news.notify_all()

    def _take(self, frame: Frame) -> None:
        match frame:
            case SettingsFrame() if "ACK" not in frame.flags:
                self.settings |= frame.settings
                self._acknowledge(SettingsFrame(0, flags=["ACK"]))
            case PingFrame() if "ACK" not in frame.flags:
                self._acknowledge(PingFrame(0, frame.opaque_data, flags=["ACK"]))
            case PingFrame():
                self.pongs += 1
            case HeadersFrame():
                answer = self.answers.setdefault(frame.stream_id, Answer())
                answer.headers |= dict(self._decoder.decode(frame.data))
            case DataFrame():
                self.answers.setdefault(frame.stream_id, Answer()).data += frame.data
            case RstStreamFrame():
                self.answers.setdefault(frame.stream_id, Answer()).reset = frame.error_code
            case GoAwayFrame():
                self.goaway = frame
            case WindowUpdateFrame():
                self._windows[frame.stream_id] = self._windows.get(frame.stream_id, 0) + frame.window_increment

    def _acknowledge(self, frame: Frame) -> None:
        if self.courteous and not self.writer.is_closing():
            self.writer.write(frame.serialize())

    async def close(self) -> None:
        self.writer.transport.abort()
        self._reading.cancel()
        with suppress(asyncio.CancelledError):
            await self._reading


@asynccontextmanager
async def connected(address: str, settings: dict[int, int] | None = None) -> AsyncIterator[Connection]:
    """A connection past its preface, whose peer may send as much as it likes. `settings` are told to it."""
    host, _, port = address.rpartition(":")
    connection = Connection(*await asyncio.open_connection(host, int(port), limit=1 << 20))
    try:
        windows = {SettingsFrame.INITIAL_WINDOW_SIZE: LARGEST_WINDOW}
        connection.writer.write(PREFACE)
        connection.send(SettingsFrame(0, settings=windows | (settings or {})))
        connection.send(WindowUpdateFrame(0, LARGEST_WINDOW - 65_535))
        await connection.until(lambda: bool(connection.settings))
        yield connection
    finally:
        await connection.close()
