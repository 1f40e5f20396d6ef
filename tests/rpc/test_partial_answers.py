"""What there is when a generation cannot be completed reaches its caller."""

import contextlib

import grpc
import pytest

from penstock.v1 import generation_pb2 as pb
from penstock_service.generation import deadline_margin
from tests.conftest import OpenService, Running, eventually
from tests.rpc.error_details import failure_of
from tests.rpc.session_user import SessionUser


def request(**fields: object) -> pb.GenerateRequest:
    return pb.GenerateRequest(prompt="Hello", stopping={"max_tokens": 4000, "ignore_eos": True}, **fields)


PARTIAL = request(on_deadline=pb.ON_DEADLINE_RETURN_PARTIAL)


async def the_rest(call: grpc.aio.UnaryStreamCall) -> list[pb.GenerateChunk]:
    """What comes before the status."""
    chunks = []
    with contextlib.suppress(grpc.RpcError):
        while (chunk := await call.read()) is not grpc.aio.EOF:
            chunks.append(chunk)
    return chunks


async def test_a_unary_call_gets_what_there_is_before_its_deadline(open_service: OpenService) -> None:
    running = await open_service(simulated={"step_time_ms": 10})

    reply = await running.generation.Generate(PARTIAL, timeout=0.5)

    assert reply.sequences[0].finish.reason == pb.FINISH_REASON_DEADLINE
    assert len(reply.sequences[0].text) > 10
    assert 1 < reply.usage.completion_tokens < 100
    assert reply.usage.prompt_tokens == 2
    assert 0 < reply.timings.time_to_first_token_ms < 500
    await eventually(lambda: running.engine.running == 0, "the engine is idle")


async def test_a_stream_ends_well_before_its_deadline(open_service: OpenService) -> None:
    running = await open_service(simulated={"step_time_ms": 10})
    call = running.generation.StreamGenerate(PARTIAL, timeout=0.5)

    *_, last = [chunk async for chunk in call]

    assert last.deltas[0].finish.reason == pb.FINISH_REASON_DEADLINE
    assert last.usage.completion_tokens > 1
    assert await call.code() is grpc.StatusCode.OK


async def test_a_call_of_a_session_does_the_same(open_service: OpenService) -> None:
    running = await open_service(simulated={"step_time_ms": 10})
    async with SessionUser(running) as user:
        await user.start(1, PARTIAL, timeout_ms=500)

        assert await user.text(1)

        assert user.chunks[1][-1].deltas[0].finish.reason == pb.FINISH_REASON_DEADLINE


async def test_a_call_that_still_waits_for_its_first_token_gets_an_empty_answer(stuck: Running) -> None:
    reply = await stuck.generation.Generate(PARTIAL, timeout=0.3)

    assert reply.sequences[0].finish.reason == pb.FINISH_REASON_DEADLINE
    assert (reply.sequences[0].text, reply.usage.completion_tokens) == ("", 0)


async def test_text_held_back_for_a_stop_text_is_part_of_the_answer(open_service: OpenService) -> None:
    running = await open_service(simulated={"step_time_ms": 10})
    asked = pb.GenerateRequest()
    asked.CopyFrom(PARTIAL)
    asked.stopping.stop.append("never in the text")
    asked.response.token_ids = True

    chunks = [chunk async for chunk in running.generation.StreamGenerate(asked, timeout=0.5)]

    text = "".join(chunk.deltas[0].text for chunk in chunks)
    tokens = sum(len(chunk.deltas[0].token_ids) for chunk in chunks)
    assert tokens == chunks[-1].usage.completion_tokens
    assert len(text) == 5 * tokens  # a space and two syllables each


async def test_without_being_asked_for_a_partial_answer_is_an_error(open_service: OpenService) -> None:
    running = await open_service(simulated={"step_time_ms": 10})

    failure = await failure_of(running.generation.StreamGenerate(request(), timeout=0.3))

    assert failure.code is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_a_stream_that_fails_says_what_it_has_counted(simulated: Running) -> None:
    call = simulated.generation.StreamGenerate(request())
    chunks = [await call.read()]

    simulated.engine.kill()
    chunks += await the_rest(call)

    assert await call.code() is grpc.StatusCode.UNAVAILABLE
    assert [chunk.seq for chunk in chunks] == list(range(len(chunks)))
    assert chunks[-1].usage.completion_tokens >= len(chunks) - 1
    assert chunks[-1].timings.chunk_count == len(chunks)
    assert not chunks[-1].deltas[0].HasField("finish")


async def test_a_drain_that_waits_no_longer_leaves_the_text_so_far(open_service: OpenService) -> None:
    running = await open_service(simulated={"step_time_ms": 20})
    call = running.generation.StreamGenerate(request())
    chunks = [await call.read()]

    await running.service.drain(0.1)
    chunks += await the_rest(call)

    assert await call.code() is grpc.StatusCode.UNAVAILABLE
    assert chunks[-1].usage.completion_tokens > 1


@pytest.mark.parametrize(("seconds", "margin"), [(0.01, 0.02), (1, 0.1), (4, 0.4), (3600, 0.5)])
def test_the_margin_is_a_tenth_within_bounds(seconds: float, margin: float) -> None:
    assert deadline_margin(seconds) == pytest.approx(margin)
