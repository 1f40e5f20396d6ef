"""Every limit of a connection bites: gRPC ignores the options whose names it does not know.

What takes minutes by default is scaled down by the very name that the service gives to gRPC.
"""

from __future__ import annotations

import asyncio
import os
import socket

import psutil
import pytest
from grpc_health.v1 import health_pb2
from hyperframe.frame import ContinuationFrame, HeadersFrame, PingFrame

from penstock.v1 import generation_pb2 as pb
from penstock_service.configuration import PortTaken
from tests.conftest import OpenService, Running, eventually
from tests.faults.h2.connection import (
    FRAME_BYTES,
    GENERATE,
    PREFACE,
    Answer,
    Connection,
    connected,
    grpc_headers,
    grpc_message,
)
from tests.rpc.scaled_options import scaled

REQUEST = pb.GenerateRequest(prompt="Hello", stopping={"max_tokens": 4, "ignore_eos": True})
MESSAGE = grpc_message(REQUEST.SerializeToString())
STUCK = {"step_time_ms": 60_000}
REFUSED_STREAM, ENHANCE_YOUR_CALM = 7, 11
RESOURCE_EXHAUSTED, UNIMPLEMENTED, UNAVAILABLE = 8, 12, 14


async def hung_up(reader: asyncio.StreamReader) -> bytes:
    """What came before the peer closed the connection."""
    async with asyncio.timeout(10):
        try:
            return await reader.read()
        except ConnectionError:
            return b""


# Connections


async def test_a_connection_beyond_the_cap_is_closed_until_another_has_gone(open_service: OpenService) -> None:
    running = await open_service(max_connections=3)
    host, port = running.address.split(":")
    async with connected(running.address), connected(running.address) as second:
        async with connected(running.address) as third:
            beyond, writer = await asyncio.open_connection(host, port)

            assert await hung_up(beyond) == b""
            writer.close()
            assert (await third.call(grpc_headers(GENERATE), MESSAGE)).status == 0
        async with asyncio.timeout(10):
            while not await _answers(running.address):  # noqa: ASYNC110 - gRPC tells nobody that a place is free
                await asyncio.sleep(0.01)
        assert not second.closed


async def _answers(address: str) -> bool:
    async with connected(address) as connection:
        return not connection.closed and (await connection.call(grpc_headers(GENERATE), MESSAGE)).status == 0


@pytest.mark.parametrize("said", [b"", PREFACE[:10], PREFACE], ids=["nothing", "half a preface", "no SETTINGS"])
async def test_a_connection_that_never_gets_to_its_first_call_is_closed(open_service: OpenService, said: bytes) -> None:
    with scaled({"grpc.server_handshake_timeout_ms": 200}):
        running = await open_service()
    reader, writer = await asyncio.open_connection(*running.address.split(":"))

    writer.write(said)

    assert b"SERVER" not in await hung_up(reader)
    writer.close()


async def test_a_connection_without_calls_is_closed_after_a_while(open_service: OpenService) -> None:
    with scaled({"grpc.max_connection_idle_ms": 200}):
        running = await open_service()
    async with connected(running.address) as connection:
        await connection.until_closed()

    assert connection.goaway is not None
    assert connection.goaway.additional_data == b"connection idle"


async def test_a_peer_that_has_vanished_is_given_up(open_service: OpenService) -> None:
    with scaled({"grpc.keepalive_time_ms": 200, "grpc.http2.ping_timeout_ms": 200}):
        running = await open_service()
    async with connected(running.address) as polite, connected(running.address) as vanished:
        vanished.courteous = False

        await vanished.until_closed()

        assert vanished.goaway is not None
        assert vanished.goaway.additional_data == b"ping_timeout"
        assert not polite.closed


async def test_the_kernel_gives_up_a_peer_that_takes_nothing(open_service: OpenService) -> None:
    with scaled({"grpc.keepalive_timeout_ms": 7000}):
        running = await open_service()
    async with connected(running.address) as connection:
        port = connection.writer.get_extra_info("sockname")[1]
        connections = psutil.Process().net_connections("tcp")
        (file,) = [each.fd for each in connections if each.raddr and each.raddr.port == port]
        with socket.socket(fileno=os.dup(file)) as theirs:
            milliseconds = theirs.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)

    assert milliseconds == 7000


async def test_an_old_connection_takes_no_new_calls_and_finishes_those_it_has(open_service: OpenService) -> None:
    running = await open_service(max_connection_age_seconds=0.2, simulated={"step_time_ms": 5})
    long = pb.GenerateRequest(prompt="Hello", stopping={"max_tokens": 100, "ignore_eos": True})
    async with connected(running.address) as connection:
        stream = connection.begin(grpc_headers(GENERATE))
        connection.send_data(stream, grpc_message(long.SerializeToString()))

        await connection.until(lambda: connection.goaway is not None)

        assert connection.goaway is not None
        assert connection.goaway.additional_data == b"max_age"
        assert (await connection.answered(stream)).status == 0
        await connection.until_closed()


async def test_callers_notice_nothing_of_a_connections_age(open_service: OpenService) -> None:
    running = await open_service(max_connection_age_seconds=0.1, simulated={"step_time_ms": 5})
    request = pb.GenerateRequest(prompt="Hello", stopping={"max_tokens": 40, "ignore_eos": True})

    async def one(number: int) -> int:
        await asyncio.sleep(number / 100)
        *_, last = [chunk async for chunk in running.generation.StreamGenerate(request)]
        return last.usage.completion_tokens

    assert await asyncio.gather(*map(one, range(50))) == [40] * 50


async def test_what_outlives_the_grace_of_an_old_connection_is_ended(open_service: OpenService) -> None:
    running = await open_service(max_connection_age_seconds=0.1, max_connection_age_grace_seconds=0.1, simulated=STUCK)
    async with connected(running.address) as connection:
        answer = await connection.call(grpc_headers(GENERATE), MESSAGE)

    assert (answer.status, answer.headers["grpc-message"]) == (UNAVAILABLE, "max connection age")
    await eventually(lambda: running.engine.running == 0, "the engine is free")


async def test_no_second_service_takes_the_port_by_accident(open_service: OpenService) -> None:
    first = await open_service()

    with pytest.raises(PortTaken, match="grpc_port"):
        await open_service(grpc_port=first.service.grpc_port)


# Calls and their headers


async def test_a_call_beyond_the_cap_of_a_connection_is_refused_and_never_runs(open_service: OpenService) -> None:
    running = await open_service(max_concurrent_streams=4, simulated=STUCK)
    async with connected(running.address) as connection:
        streams = [connection.begin(grpc_headers(GENERATE)) for _ in range(6)]
        for stream in streams:
            connection.send_data(stream, MESSAGE)

        answers = [await connection.answered(stream) for stream in streams[4:]]

        assert [answer.reset for answer in answers] == [REFUSED_STREAM] * 2
        await eventually(lambda: running.engine.running == 4, "the others run")


async def test_pings_at_the_pace_of_a_keepalive_are_welcome(open_service: OpenService) -> None:
    with scaled({"grpc.http2.min_ping_interval_without_data_ms": 25}):
        running = await open_service()
    async with connected(running.address) as connection:
        for number in range(5):
            connection.send(PingFrame(0, b"keepaliv"))
            await connection.until(lambda number=number: connection.pongs > number)
            await asyncio.sleep(0.05)

        assert connection.goaway is None
        assert await _works(connection)


async def test_pings_at_a_higher_pace_end_the_connection(simulated: Running) -> None:
    async with connected(simulated.address) as connection:
        for _ in range(4):
            connection.send(PingFrame(0, b"too many"))

        await connection.until_closed()

    assert connection.goaway is not None
    assert (connection.goaway.error_code, connection.goaway.additional_data) == (ENHANCE_YOUR_CALM, b"too_many_pings")


async def test_the_third_ping_too_many_is_the_last(open_service: OpenService) -> None:
    with scaled({"grpc.http2.max_ping_strikes": 20}):
        running = await open_service()
    async with connected(running.address) as connection:
        for _ in range(4):
            connection.send(PingFrame(0, b"too many"))

        assert await _works(connection)


async def test_long_metadata_is_refused(open_service: OpenService) -> None:
    with scaled({"grpc.max_metadata_size": 1024, "grpc.absolute_max_metadata_size": 2048}):
        running = await open_service()
    async with connected(running.address) as connection:
        sizes = [1500] * 20 + [2100] * 20
        answers = await asyncio.gather(*(_with_metadata(connection, size) for size in sizes))

        refused = [answer.status == RESOURCE_EXHAUSTED for answer in answers]
        assert any(refused[:20])  # between the two by chance, of which twenty such calls leave one in 40 000
        assert all(refused[20:])
        assert await _works(connection)


async def test_metadata_beyond_16_kib_is_always_refused(simulated: Running) -> None:
    async with connected(simulated.address) as connection:
        assert (await _with_metadata(connection, 8 << 10, of_all=True)).status == 0
        for answer in await asyncio.gather(*(_with_metadata(connection, kib << 10) for kib in (17, 64))):
            assert answer.status == RESOURCE_EXHAUSTED
            assert "metadata size exceeds hard limit" in answer.headers["grpc-message"]
        assert await _works(connection)


async def _with_metadata(connection: Connection, size: int, of_all: bool = False) -> Answer:
    """A call with metadata of so many bytes, counted as HTTP/2 does: 32 more for each header."""
    usual = sum(len(name) + len(text) + 32 for name, text in grpc_headers(GENERATE))
    padding = size - 32 - len("x-long") - usual * of_all
    block = connection.encoder.encode(grpc_headers(GENERATE, ("x-long", "~" * padding)))
    stream, connection.next_stream = connection.next_stream, connection.next_stream + 2
    pieces = [block[begin : begin + FRAME_BYTES] for begin in range(0, len(block), FRAME_BYTES)]
    connection.send(HeadersFrame(stream, pieces[0], flags=["END_HEADERS"] if len(pieces) == 1 else []))
    for number, piece in enumerate(pieces[1:], 2):
        connection.send(ContinuationFrame(stream, piece, flags=["END_HEADERS"] if number == len(pieces) else []))
    connection.send_data(stream, MESSAGE)
    return await connection.answered(stream)


# The port of health


async def test_the_port_of_health_has_limits_as_well(open_service: OpenService) -> None:
    with scaled({"grpc.server_handshake_timeout_ms": 200}):
        running = await open_service()
    address = f"127.0.0.1:{running.service.health_port}"
    headers = grpc_headers("/grpc.health.v1.Health/Check")
    reader, writer = await asyncio.open_connection(*address.split(":"))
    async with connected(address) as connection:
        within = await connection.call(headers, grpc_message(b""))
        long = await connection.call(headers, grpc_message(bytes((1 << 20) + 1)))
        compressed = await connection.call([*headers, ("grpc-encoding", "gzip")], grpc_message(b""))

    assert health_pb2.HealthCheckResponse.FromString(within.data[5:]).status == health_pb2.HealthCheckResponse.SERVING
    assert (long.status, compressed.status) == (RESOURCE_EXHAUSTED, UNIMPLEMENTED)
    await hung_up(reader)
    writer.close()


async def _works(connection: Connection) -> bool:
    return (await connection.call(grpc_headers(GENERATE), MESSAGE)).status == 0
