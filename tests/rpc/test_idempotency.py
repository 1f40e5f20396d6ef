"""Attempts with the same idempotency key mean the same generation: it runs once, and each of them gets all of it."""

import asyncio
from typing import Any

import grpc
import pytest

from penstock.v1 import generation_pb2 as pb
from penstock_service.errors import Overloaded
from penstock_service.recordings import fingerprint_of
from tests.conftest import OpenService, Running, eventually
from tests.faults.faulty_engine import faulty
from tests.rpc.error_details import Failure, failure_of
from tests.rpc.generation_status import forgotten, status
from tests.rpc.session_user import SessionUser

KEY = "order-7/attempts"
SLOW = {"step_time_ms": 20}


def request(tokens: int = 24, **fields: Any) -> pb.GenerateRequest:
    fields = {"prompt": "Hello", "idempotency_key": KEY, **fields}
    return pb.GenerateRequest(stopping={"max_tokens": tokens, "ignore_eos": True}, **fields)


LONG = request(4000)


async def chunks_of(stream: Any) -> list[pb.GenerateChunk]:
    chunks = []
    while (chunk := await stream.read()) is not grpc.aio.EOF:
        chunks.append(chunk)
    return chunks


def is_key_reused(failure: Failure) -> bool:
    return (failure.code, failure.reason) == (grpc.StatusCode.ALREADY_EXISTS, "KEY_REUSED")


async def test_unary_attempts_get_the_same_reply_while_it_runs_and_after_its_end(open_service: OpenService) -> None:
    running = await open_service(simulated=SLOW)
    first, second = (asyncio.ensure_future(running.generation.Generate(request())) for _ in range(2))
    await eventually(lambda: running.engine.running == 1, "it runs")

    replies = [await first, await second, await running.generation.Generate(request())]

    assert replies[0] == replies[1] == replies[2]
    assert replies[0].usage.completion_tokens == 24
    assert (await running.generation.Generate(request(idempotency_key="another"))).id != replies[0].id


async def test_a_stream_is_joined_from_its_beginning(open_service: OpenService) -> None:
    running = await open_service(simulated=SLOW)
    stream = running.generation.StreamGenerate(request())
    first = await stream.read()

    joined, rest = await asyncio.gather(chunks_of(running.generation.StreamGenerate(request())), chunks_of(stream))

    assert joined == [first, *rest]
    assert [chunk.seq for chunk in joined] == list(range(len(joined)))
    assert await chunks_of(running.generation.StreamGenerate(request())) == joined


async def test_a_call_of_a_session_joins_too(simulated: Running) -> None:
    chunks = await chunks_of(simulated.generation.StreamGenerate(request()))

    async with SessionUser(simulated) as user:
        await user.start(1, request())

        await user.text(1)
        assert user.chunks[1] == chunks


async def test_a_batch_is_answered_once(open_service: OpenService) -> None:
    running = await open_service(simulated=SLOW)
    batch = request(prompt=None, batch={"inputs": [{"prompt": "Hello"}, {"prompt": ""}, {"prompt": "Hi"}]})
    first = asyncio.ensure_future(running.generation.Generate(batch))
    await eventually(lambda: running.engine.running == 2, "its inputs run")

    second = await running.generation.Generate(batch)

    assert await first == second == await running.generation.Generate(batch)
    assert [result.status.code for result in second.results] == [0, 3, 0]
    resumed = running.generation.Resume(pb.ResumeRequest(id=second.id))
    assert (await failure_of(resumed)).reason == "GENERATION_NOT_FOUND", "it is several generations"


async def test_a_unary_reply_can_be_read_as_a_stream(simulated: Running) -> None:
    reply = await simulated.generation.Generate(request())

    (chunk,) = await chunks_of(simulated.generation.Resume(pb.ResumeRequest(id=reply.id)))

    assert (chunk.id, chunk.deltas[0].text, chunk.usage) == (reply.id, reply.sequences[0].text, reply.usage)


@pytest.mark.parametrize(
    "other", [request(25), request(prompt="Hi"), request(resumable=True), request(sampling={"seed": 1})]
)
async def test_another_body_is_refused(simulated: Running, other: pb.GenerateRequest) -> None:
    await chunks_of(simulated.generation.StreamGenerate(request()))

    assert is_key_reused(await failure_of(simulated.generation.StreamGenerate(other)))


async def test_a_stream_whose_beginning_is_kept_no_more_cannot_be_joined(open_service: OpenService) -> None:
    running = await open_service(max_kept_bytes_each=8192)
    await chunks_of(running.generation.StreamGenerate(request(2000, response={"max_delay_ms": 0})))

    gone = await failure_of(running.generation.StreamGenerate(request(2000, response={"max_delay_ms": 0})))

    assert (gone.code, gone.reason) == (grpc.StatusCode.OUT_OF_RANGE, "CHUNKS_GONE")


async def test_a_stream_and_a_unary_call_are_different_requests(simulated: Running) -> None:
    await simulated.generation.Generate(request())

    assert is_key_reused(await failure_of(simulated.generation.StreamGenerate(request())))


async def test_each_attempt_has_a_name_of_its_own(simulated: Running) -> None:
    named = [request(request_id=name) for name in ("attempt-1", "attempt-2")]

    replies = [await simulated.generation.Generate(each) for each in named]
    streams = [
        await chunks_of(simulated.generation.StreamGenerate(request(idempotency_key="k", request_id=name)))
        for name in ("attempt-1", "attempt-2")
    ]

    assert [reply.request_id for reply in replies] == ["attempt-1", "attempt-2"]
    assert replies[0].id == replies[1].id
    assert [chunks[0].request_id for chunks in streams] == ["attempt-1", "attempt-2"]
    wrong = await failure_of(simulated.generation.Generate(request(request_id="a\nb" * 99)))
    assert (wrong.code, set(wrong.fields)) == (grpc.StatusCode.INVALID_ARGUMENT, {"request_id"})


async def test_the_reply_of_an_attempt_that_was_given_up_is_there_for_the_next(open_service: OpenService) -> None:
    running = await open_service(simulated=SLOW)
    first = running.generation.Generate(request())
    await eventually(lambda: running.engine.running == 1, "it runs")
    begun = await status(running, idempotency_key=KEY)
    first.cancel()

    reply = await running.generation.Generate(request())

    assert begun is not None
    assert (reply.id, reply.usage.completion_tokens) == (begun.id, 24)


async def test_a_failure_before_any_output_is_not_kept(open_service: OpenService) -> None:
    running = await open_service(load=faulty(Overloaded()))
    for call in (running.generation.Generate, running.generation.StreamGenerate):
        assert (await failure_of(call(request()))).reason == "OVERLOADED"
        assert (await failure_of(call(request(prompt=None)))).fields == ["input"]

    running.engine.error = None

    assert (await chunks_of(running.generation.StreamGenerate(request())))[-1].usage.completion_tokens == 24
    assert (await running.generation.Generate(request(idempotency_key="k"))).usage.completion_tokens == 24


async def test_a_deadline_before_any_output_is_not_kept_either(stuck: Running) -> None:
    assert (await stuck.generation.Generate(LONG, timeout=0.1).code()) is grpc.StatusCode.DEADLINE_EXCEEDED
    await eventually(lambda: stuck.engine.running == 0, "it has ended")

    again = stuck.generation.Generate(LONG)

    await eventually(lambda: stuck.engine.running == 1, "it runs anew")
    again.cancel()


async def test_a_failure_after_output_is_what_joining_calls_get(open_service: OpenService) -> None:
    running = await open_service(load=faulty(KeyError("/secret/path"), 3))
    first, *others = [running.generation.StreamGenerate(request()) for _ in range(3)]
    chunk = await first.read()

    ended = await failure_of(first)

    assert ended.code is grpc.StatusCode.INTERNAL
    for stream in [*others, running.generation.StreamGenerate(request())]:
        assert await stream.read() == chunk
        assert await failure_of(stream) == ended


async def test_what_was_cancelled_stays_so_for_attempts_that_are_late(stuck: Running) -> None:
    first = stuck.generation.Generate(LONG)
    await eventually(lambda: stuck.engine.running == 1, "it runs")
    await stuck.generation.Cancel(pb.CancelRequest(idempotency_key=KEY))
    await failure_of(first)

    late = await failure_of(stuck.generation.Generate(LONG))

    assert late.code is grpc.StatusCode.CANCELLED
    assert stuck.engine.running == 0


async def test_an_attempt_in_a_session_keeps_its_own_deadline(stuck: Running) -> None:
    async with SessionUser(stuck) as user:
        await user.start(1, LONG)
        await user.start(2, LONG, timeout_ms=50)

        assert (await user.failure(2)).reason == "DEADLINE"
        assert not user.ends[1]
        assert stuck.engine.running == 1


async def test_a_unary_attempt_ends_at_its_own_deadline_and_the_generation_goes_on(stuck: Running) -> None:
    first = stuck.generation.Generate(LONG)
    await eventually(lambda: stuck.engine.running == 1, "it runs")

    late = stuck.generation.Generate(LONG, timeout=0.1)

    assert await late.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert stuck.engine.running == 1
    first.cancel()


async def test_after_the_grace_time_the_key_is_free(open_service: OpenService) -> None:
    running = await open_service(grace_seconds=0.1)
    first = await running.generation.Generate(request())

    await forgotten(running, idempotency_key=KEY)

    assert (await running.generation.Generate(request(30))).id != first.id


async def test_a_server_without_grace_time_takes_no_keys(open_service: OpenService) -> None:
    running = await open_service(grace_seconds=0)

    for call in (running.generation.Generate(request()), running.generation.StreamGenerate(request())):
        refused = await failure_of(call)
        assert (refused.code, refused.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "FEATURE_OFF")
        assert refused.text.startswith("idempotency_key: ")


def test_the_order_of_a_map_changes_nothing() -> None:
    forward, backward = pb.GenerateRequest(prompt="Hello"), pb.GenerateRequest(prompt="Hello")
    for token in range(64):
        forward.sampling.logit_bias[token] = 1.0
        backward.sampling.logit_bias[63 - token] = 1.0

    assert fingerprint_of(forward, streamed=True) == fingerprint_of(backward, streamed=True)
