"""A caller that does not read is bounded and ended, and nobody else notices."""

import asyncio

import grpc
import pytest

from penstock.v1 import generation_pb2 as pb
from tests.conftest import OpenService, Running, eventually
from tests.faults.small_window import SMALL_WINDOW
from tests.rpc.error_details import failure_of
from tests.rpc.session_user import SessionUser

ENDLESS = pb.GenerateRequest(
    prompt="Hello", stopping={"max_tokens": 1 << 20, "ignore_eos": True}, response={"token_ids": True}
)
SHORT = pb.GenerateRequest(prompt="Hello", stopping={"max_tokens": 50, "ignore_eos": True})
FAST = {"step_time_ms": 0.1, "context_length": 1 << 21, "kv_cache_tokens": 1 << 30}


async def unread(running: Running, calls: int) -> list[grpc.aio.UnaryStreamCall]:
    """Streams of which the first chunk is read and no more, on a connection with a small window."""
    channel = grpc.aio.insecure_channel(running.address, options=SMALL_WINDOW)
    method = channel.unary_stream(
        "/penstock.v1.Generation/StreamGenerate",
        pb.GenerateRequest.SerializeToString,
        pb.GenerateChunk.FromString,
    )
    streams = [method(ENDLESS) for _ in range(calls)]
    for stream in streams:
        await stream.read()
    return streams


async def test_a_stream_that_is_not_read_ends_when_too_much_is_held(open_service: OpenService) -> None:
    running = await open_service(max_held_bytes=8192, max_stall_seconds=3600, simulated=FAST)

    (stream,) = await unread(running, 1)

    await eventually(lambda: running.engine.running == running.service.lifecycle.running == 0, "it was ended")
    failure = await failure_of(stream)
    assert (failure.code, failure.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "SLOW_READER")
    assert failure.retry_after is None


async def test_a_stream_that_is_not_read_ends_after_a_while(open_service: OpenService) -> None:
    running = await open_service(max_held_bytes=1 << 30, max_stall_seconds=0.5, simulated=FAST)

    (stream,) = await unread(running, 1)

    await eventually(lambda: running.engine.running == running.service.lifecycle.running == 0, "it was ended")
    assert (await failure_of(stream)).reason == "SLOW_READER"


async def test_others_get_everything_meanwhile(open_service: OpenService) -> None:
    running = await open_service(max_held_bytes=8192, simulated=FAST)
    await unread(running, 4)

    replies = await asyncio.gather(*(running.generation.Generate(SHORT) for _ in range(8)))

    assert [reply.usage.completion_tokens for reply in replies] == [50] * 8


async def test_a_stream_that_waits_long_for_its_next_token_is_not_slow(open_service: OpenService) -> None:
    running = await open_service(max_stall_seconds=0.1, simulated={"step_time_ms": 400})
    three = pb.GenerateRequest(prompt="Hello", stopping={"max_tokens": 3, "ignore_eos": True})

    chunks = [chunk async for chunk in running.generation.StreamGenerate(three)]

    assert chunks[-1].usage.completion_tokens == 3


@pytest.mark.parametrize(
    "limits", [{"max_held_bytes": 4096, "max_stall_seconds": 3600}, {"max_stall_seconds": 0.5}], ids=["held", "stall"]
)
async def test_a_session_that_is_not_read_ends_its_calls(open_service: OpenService, limits: dict[str, float]) -> None:
    running = await open_service(**limits, simulated=FAST)
    channel = grpc.aio.insecure_channel(running.address, options=SMALL_WINDOW)
    session = channel.stream_stream(
        "/penstock.v1.Generation/Session", pb.SessionRequest.SerializeToString, pb.SessionResponse.FromString
    )()
    for number in range(1, 5):
        await session.write(pb.SessionRequest(start={"call": number, "request": ENDLESS}))
    await eventually(lambda: running.engine.running == 4, "the calls run")

    await eventually(lambda: running.engine.running == running.service.lifecycle.running == 0, "all were ended")

    if "max_held_bytes" not in limits:
        failure = await failure_of(session)
        assert (failure.code, failure.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "SLOW_READER")
    async with SessionUser(running) as other:
        await other.start(1, SHORT)
        assert await other.text(1)
