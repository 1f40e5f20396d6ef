"""Messages have a size, either way, and no compression."""

from __future__ import annotations

import gzip
import zlib

import grpc
import pytest

from penstock.v1 import generation_pb2 as pb
from penstock.v1.generation_pb2_grpc import GenerationStub
from tests.conftest import OpenService, Running
from tests.faults.h2.connection import (
    GENERATE,
    Connection,
    connected,
    grpc_headers,
    grpc_message,
)
from tests.rpc.error_details import failure_of

REQUEST = pb.GenerateRequest(prompt="Hello", stopping={"max_tokens": 4, "ignore_eos": True})
MESSAGE = grpc_message(REQUEST.SerializeToString())
FAST = {"step_time_ms": 0.1}
INVALID_ARGUMENT, RESOURCE_EXHAUSTED, UNIMPLEMENTED, INTERNAL = 3, 8, 12, 13


async def test_a_request_may_have_as_many_bytes_as_the_limit_says_and_no_more(open_service: OpenService) -> None:
    running = await open_service(max_message_bytes=4096)
    request = pb.GenerateRequest(prompt="Hello", stopping=REQUEST.stopping)
    request.request_id, request.cache_salt = "x" * 100, "x" * 100
    padding = 4096 - request.ByteSize()

    within = await running.channel.unary_unary(GENERATE)(request.SerializeToString() + _unknown_field(padding))
    failure = await failure_of(
        running.channel.unary_unary(GENERATE)(request.SerializeToString() + _unknown_field(padding + 1))
    )

    assert pb.GenerateResponse.FromString(within).usage.completion_tokens == 4
    assert failure.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "larger than max (4097 vs. 4096)" in failure.text
    assert failure.retry_after is None


async def test_a_message_that_is_too_long_is_refused_before_it_is_there(simulated: Running) -> None:
    async with connected(simulated.address) as connection:
        stream = connection.begin(grpc_headers(GENERATE))
        connection.send_data(stream, grpc_message(b"", length=(32 << 20) + 1), end=False)

        answer = await connection.answered(stream)

        assert answer.status == RESOURCE_EXHAUSTED
        assert "larger than max (33554433 vs. 33554432)" in answer.headers["grpc-message"]
        assert await _works(connection)


def _unknown_field(size: int) -> bytes:
    """So many bytes of a field that the message does not have."""
    payload = size - 4  # two bytes of tag and two of length
    return bytes([0xFA, 0x3E, 0x80 | payload & 0x7F, payload >> 7]) + bytes(payload)


async def test_a_reply_may_have_no_more_either(open_service: OpenService) -> None:
    running = await open_service(max_message_bytes=1024, simulated=FAST)
    wordy = pb.GenerateRequest(prompt="Hello", stopping={"max_tokens": 250, "ignore_eos": True})

    failure = await failure_of(running.generation.Generate(wordy))

    assert failure.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "Sent message larger than max" in failure.text


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate])
async def test_a_compressed_request_is_refused(simulated: Running, compression: grpc.Compression) -> None:
    async with grpc.aio.insecure_channel(simulated.address, compression=compression) as channel:
        failure = await failure_of(GenerationStub(channel).Generate(REQUEST))

    assert failure.code is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize(
    ("encoding", "message", "statuses"),
    [
        ("gzip", grpc_message(gzip.compress(MESSAGE[5:]), flag=1), {UNIMPLEMENTED}),
        ("gzip", MESSAGE, {UNIMPLEMENTED}),
        ("deflate", grpc_message(zlib.compress(MESSAGE[5:]), flag=1), {UNIMPLEMENTED}),
        ("br", grpc_message(b"...", flag=1), {INTERNAL}),
        # grpcio 1.83 does not look at the flag then: the bytes are taken as they are, and are no message.
        ("identity", grpc_message(gzip.compress(MESSAGE[5:]), flag=1), {INVALID_ARGUMENT, INTERNAL}),
    ],
    ids=["gzip", "gzip that is none", "deflate", "an unknown one", "unannounced"],
)
async def test_no_encoding_is_accepted(simulated: Running, encoding: str, message: bytes, statuses: set[int]) -> None:
    async with connected(simulated.address) as connection:
        answer = await connection.call(grpc_headers(GENERATE, ("grpc-encoding", encoding)), message)

        assert answer.status in statuses
        assert answer.data == b""
        assert await _works(connection)
    assert simulated.engine.running == 0


async def test_no_reply_is_compressed(open_service: OpenService) -> None:
    running = await open_service(simulated=FAST)
    headers = grpc_headers(GENERATE, ("grpc-accept-encoding", "gzip,deflate,identity"))
    wordy = pb.GenerateRequest(prompt="Hello", stopping={"max_tokens": 100, "ignore_eos": True})
    async with connected(running.address) as connection:
        answer = await connection.call(headers, grpc_message(wordy.SerializeToString()))

    assert answer.headers["grpc-accept-encoding"] == "identity"
    assert answer.headers.get("grpc-encoding", "identity") == "identity"
    assert answer.data[0] == 0
    assert pb.GenerateResponse.FromString(answer.data[5:]).usage.completion_tokens == 100


async def _works(connection: Connection) -> bool:
    return (await connection.call(grpc_headers(GENERATE), MESSAGE)).status == 0
