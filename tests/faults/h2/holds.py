"""Attacks by connections and messages that are begun and held, or that are too large."""

from __future__ import annotations

import asyncio
import gzip
import time
from contextlib import AsyncExitStack, suppress
from random import Random

from hyperframe.frame import HeadersFrame

from penstock.v1 import generation_pb2 as pb
from tests.faults.h2.connection import GENERATE, PREFACE, Connection, connected, grpc_headers, grpc_message
from tests.faults.h2.floods import MESSAGE, Attack, Sent, Unit

MIB = 1 << 20


async def slow_preface(address: str, seconds: float, rate: float, chance: Random) -> Sent:
    """A hundred connections, each of which sends a byte of the preface a second."""
    sent = Sent(connections=100)

    async def one() -> None:
        reader, writer = await asyncio.open_connection(*address.split(":"))
        with suppress(ConnectionError):
            for byte in PREFACE[: max(int(seconds), 1)]:
                writer.write(bytes([byte]))
                sent.units += 1
                await asyncio.sleep(1)
                if reader.at_eof() or writer.is_closing():
                    break
        with suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(15):
                await reader.read()
            sent.answers["closed"] += 1
        writer.transport.abort()

    await asyncio.gather(*(one() for _ in range(100)))
    return sent


def held(begin: Unit, connections: int) -> Attack:
    """The attack that opens so many connections, begins something on each, holds them, and closes them at its rate."""

    async def attack(address: str, seconds: float, rate: float, chance: Random) -> Sent:
        sent, until = Sent(connections=connections), time.monotonic() + seconds
        async with AsyncExitStack() as stack:
            opened = []
            for _ in range(connections):
                with suppress(ConnectionError, TimeoutError):
                    connection = await stack.enter_async_context(connected(address))
                    begin(connection, chance)
                    sent.units += 1
                    opened.append(connection)
                    await asyncio.sleep(1 / rate)
            await asyncio.sleep(max(until - time.monotonic(), 1))
            for connection in opened:
                sent.note(connection)
            sent.answers["held to the end"] = sum(not connection.closed for connection in opened)
            for connection in opened:
                await connection.close()
                await asyncio.sleep(1 / rate)
        return sent

    return attack


def nothing(connection: Connection, chance: Random) -> None:
    """An idle connection."""


def headers_without_end(connection: Connection, chance: Random) -> None:
    """Headers whose END_HEADERS never comes."""
    connection.send(HeadersFrame(1, connection.encoder.encode(grpc_headers(GENERATE))))


def half_a_message(connection: Connection, chance: Random) -> None:
    """A hundred calls of which half a message has come."""
    for _ in range(100):
        connection.send_data(connection.begin(grpc_headers(GENERATE)), MESSAGE[: len(MESSAGE) // 2], end=False)


def a_gibibyte_declared(connection: Connection, chance: Random) -> None:
    """The five bytes that declare 1 GiB, and nothing of it."""
    connection.send_data(connection.begin(grpc_headers(GENERATE)), grpc_message(b"", length=1 << 30), end=False)


def too_much(size: int) -> Attack:
    """A hundred connections that each send so many bytes in one message, as far as the server takes them."""

    async def attack(address: str, seconds: float, rate: float, chance: Random) -> Sent:
        sent = Sent(connections=100)

        async def one() -> None:
            async with connected(address) as connection:
                try:
                    async with asyncio.timeout(seconds):
                        stream = connection.begin(grpc_headers(GENERATE))
                        connection.send_data(stream, grpc_message(b"", length=size), end=False)
                        for begin in range(0, size, MIB):
                            await _room(connection, stream)
                            connection.send_data(stream, bytes(MIB), end=begin + MIB >= size)
                            await connection.flush()
                            sent.units += 1
                        await connection.answered(stream)
                finally:
                    sent.note(connection)

        async def quietly(number: int) -> None:
            await asyncio.sleep(number / rate)
            with suppress(ConnectionError, TimeoutError):
                await one()

        await asyncio.gather(*map(quietly, range(100)))
        return sent

    return attack


async def _room(connection: Connection, stream: int) -> None:
    """Wait until the peer's windows take another MiB, or it has ended the stream."""
    await connection.until(lambda: connection.window(stream) >= MIB or connection.ended(stream), 60)


async def gzip_bomb(address: str, seconds: float, rate: float, chance: Random) -> Sent:
    """Requests of 256 KiB that unpack to 256 MiB."""
    bomb = await asyncio.to_thread(gzip.compress, bytes(256 * MIB))
    return await _calls(address, seconds, rate, [([("grpc-encoding", "gzip")], grpc_message(bomb, flag=1))])


async def bad_framing(address: str, seconds: float, rate: float, chance: Random) -> Sent:
    """What is no gRPC, one after the other."""
    whole = MESSAGE.replace(b"\xe8\x07", b"\x04\x00")
    cases: list[tuple[list[tuple[str, str]], bytes]] = [
        ([], grpc_message(whole[5:], flag=2)),
        ([], grpc_message(b"", length=0xFFFFFFFF)),
        ([], whole + whole),
        ([], b""),
        ([], whole + b"junk"),
        ([], whole[:7]),
        ([("content-type", "application/json")], whole),
        ([("te", "")], whole),
        ([(":method", "GET")], whole),
        ([(":path", "/no.such.Service/Method")], whole),
        ([("grpc-timeout", "soon")], whole),
        ([], grpc_message(pb.GenerateRequest(prompt="x").SerializeToString()[:-1] + b"\xff")),
    ]
    return await _calls(address, seconds, rate, cases)


async def _calls(address: str, seconds: float, rate: float, cases: list[tuple[list[tuple[str, str]], bytes]]) -> Sent:
    sent, began = Sent(), time.monotonic()
    while time.monotonic() < began + seconds:
        sent.connections += 1
        with suppress(ConnectionError, TimeoutError):
            async with connected(address) as connection:
                try:
                    while time.monotonic() < began + seconds and not connection.closed:
                        headers, body = cases[sent.units % len(cases)]
                        sent.units += 1
                        stream = connection.begin(grpc_headers(GENERATE, *headers))
                        connection.send_data(stream, body)
                        await connection.flush()
                        await asyncio.sleep(1 / rate)
                    await asyncio.sleep(1)
                finally:
                    sent.note(connection)
    return sent
