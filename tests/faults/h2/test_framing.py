"""What is no gRPC gets a status, within a moment, and hurts no other call, not even on its own connection."""

from __future__ import annotations

import asyncio

import pytest
from google.protobuf.internal import api_implementation
from hyperframe.frame import RstStreamFrame

from penstock.v1 import generation_pb2 as pb
from penstock_service import wire
from tests.conftest import OpenService, Running, eventually
from tests.faults.h2.connection import GENERATE, STREAM_GENERATE, Answer, connected, grpc_headers, grpc_message

REQUEST = pb.GenerateRequest(prompt="Hello", stopping={"max_tokens": 4, "ignore_eos": True}).SerializeToString()
MESSAGE = grpc_message(REQUEST)
OK, UNKNOWN, INVALID_ARGUMENT, RESOURCE_EXHAUSTED, UNIMPLEMENTED, INTERNAL = 0, 2, 3, 8, 12, 13

CASES: dict[str, tuple[list[tuple[str, str]], bytes, set[int]]] = {
    "a flag that is none": ([], grpc_message(REQUEST, flag=2), {INVALID_ARGUMENT, INTERNAL}),
    "4 GiB declared": ([], grpc_message(b"", length=0xFFFFFFFF), {RESOURCE_EXHAUSTED}),
    "1 GiB declared": ([], grpc_message(b"", length=1 << 30), {RESOURCE_EXHAUSTED}),
    "two messages": ([], MESSAGE + MESSAGE, {OK}),
    "no message": ([], b"", {INVALID_ARGUMENT}),
    "junk after the message": ([], MESSAGE + b"junk", {OK, INTERNAL}),
    "half a message": ([], MESSAGE[:9], {INVALID_ARGUMENT, INTERNAL}),
    "no protobuf": ([], grpc_message(b"\xff\xff\xff\xff"), {INVALID_ARGUMENT}),
    "a method that is none": ([(":path", "/no.such.Service/Method")], MESSAGE, {UNIMPLEMENTED}),
    "a deadline that is none": ([("grpc-timeout", "soon")], MESSAGE, {INTERNAL, OK}),
    "binary metadata that is no base64": ([("x-trace-bin", "%%%")], MESSAGE, {INTERNAL}),
    "another content type": ([("content-type", "application/json")], MESSAGE, {OK}),  # gRPC does not look at it
    "no content type": ([("content-type", "")], MESSAGE, {OK}),
    "no word of trailers": ([("te", "")], MESSAGE, {OK, INTERNAL}),
    "metadata that is no UTF-8": ([("x-text", "\u00ff\u00fe")], MESSAGE, {OK, INTERNAL}),
}


@pytest.mark.parametrize("name", CASES)
async def test_bad_framing_gets_a_status_and_hurts_nobody(simulated: Running, name: str) -> None:
    headers, body, statuses = CASES[name]
    async with connected(simulated.address) as connection:
        neighbour = connection.begin(grpc_headers(GENERATE))

        calls = (connection.call(grpc_headers(path, *headers), body) for path in (GENERATE, STREAM_GENERATE))
        for bad in await asyncio.gather(*calls):
            assert bad.status in statuses
        connection.send_data(neighbour, MESSAGE)

        assert (await connection.answered(neighbour)).status == OK
    await eventually(lambda: simulated.engine.running == simulated.service.lifecycle.running == 0, "nothing is left")


@pytest.mark.parametrize("port", ["grpc_port", "health_port", "admin_port"])
async def test_a_path_that_is_no_text_ends_no_server(open_service: OpenService, port: str) -> None:
    running = await open_service(admin_port=0)
    address = f"127.0.0.1:{getattr(running.service, port)}"
    async with connected(address) as connection:
        bad = await connection.call(grpc_headers("", (":path", b"/x\xff")), MESSAGE)  # type: ignore[arg-type]
        assert bad.status == UNKNOWN  # gRPC's own: no handler hears of it. From 1.84 it ends the server
    async with connected(address) as connection:
        assert (await connection.call(grpc_headers("/no.such.Service/Method"), MESSAGE)).status == UNIMPLEMENTED


async def test_a_get_is_no_call(simulated: Running) -> None:
    async with connected(simulated.address) as connection:
        answer = await connection.call(grpc_headers(GENERATE, (":method", "GET")), MESSAGE)

        assert answer.status != OK
        assert (await connection.call(grpc_headers(GENERATE), MESSAGE)).status == OK


@pytest.mark.parametrize("path", [GENERATE, STREAM_GENERATE])
async def test_a_message_that_does_not_come_ends_its_call(
    simulated: Running, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr(wire, "MESSAGE_SECONDS", 0.2)
    async with connected(simulated.address) as connection:
        stream = connection.begin(grpc_headers(path))
        connection.send_data(stream, MESSAGE[:9], end=False)

        answer: Answer = await connection.answered(stream)

        assert answer.status == INVALID_ARGUMENT
        assert "has not come within 0.2 s" in answer.headers["grpc-message"]
        assert (await connection.call(grpc_headers(path), MESSAGE)).status == OK


async def test_a_call_that_is_reset_leaves_the_engine(simulated: Running) -> None:
    endless = pb.GenerateRequest(prompt="Hello", stopping={"max_tokens": 4000, "ignore_eos": True})
    async with connected(simulated.address) as connection:
        for _ in range(50):
            stream = connection.begin(grpc_headers(STREAM_GENERATE))
            connection.send_data(stream, grpc_message(endless.SerializeToString()))
            connection.send(RstStreamFrame(stream, error_code=8))

        assert (await connection.call(grpc_headers(GENERATE), MESSAGE)).status == OK
        await eventually(lambda: simulated.engine.running == simulated.service.lifecycle.running == 0, "all ended")


BOMBS = {
    "groups in groups": b"\x0b" * 100_000,
    "messages in messages": b"\x12\xff\xff\xff\x07" * 1000,
    "a million unknown fields": b"\xf8\x3e\x01" * 1_000_000,
    "a packed list that is longer than the message": b"\x12\x8a\x80\x80\x08\x0a\xff\xff\xff\x07",
    "a varint that does not end": b"\x08" + b"\xff" * 100,
    "a string for a message": b"\x1a\x05hello",
}


@pytest.mark.parametrize("name", BOMBS)
async def test_protobuf_bombs_are_refused_or_ignored(simulated: Running, name: str) -> None:
    assert api_implementation.Type() == "upb"  # the parser in Python recurs
    async with connected(simulated.address) as connection:
        answer = await connection.call(grpc_headers(GENERATE), grpc_message(BOMBS[name]))

        assert answer.status == INVALID_ARGUMENT
        assert (await connection.call(grpc_headers(GENERATE), MESSAGE)).status == OK
