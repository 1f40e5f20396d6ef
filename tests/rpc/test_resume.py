"""A resumable generation outlives its connection: whoever comes back reads on, and nothing is lost or doubled."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import grpc
import pytest
import structlog
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from penstock.v1 import generation_pb2 as pb
from penstock.v1 import models_pb2
from penstock_service.settings import Settings
from tests.conftest import OpenService, Running, eventually, opened, simulated_settings
from tests.faults.faulty_engine import faulty
from tests.faults.test_slow_readers import FAST, SMALL_WINDOW
from tests.rpc.error_details import Failure, failure_of
from tests.rpc.generation_status import forgotten, in_phase
from tests.rpc.session_user import SessionUser
from tests.rpc.test_get_generation import HeldEngine
from tests.rpc.test_real_vllm import _engine_gauges

SLOW = {"step_time_ms": 20}


def request(tokens: int = 40, **fields: Any) -> pb.GenerateRequest:
    fields = {"prompt": "Hello", "resumable": True, **fields}
    stopping = {"max_tokens": tokens, "ignore_eos": True}
    return pb.GenerateRequest(stopping=stopping, response={"token_ids": True, "max_delay_ms": 0}, **fields)


LONG = request(4000)


async def read(stream: Any, count: int = 1 << 30) -> list[pb.GenerateChunk]:
    """So many chunks, or all."""
    chunks: list[pb.GenerateChunk] = []
    while len(chunks) < count and (chunk := await stream.read()) is not grpc.aio.EOF:
        chunks.append(chunk)
    return chunks


async def begun(running: Running, sent: pb.GenerateRequest, count: int = 3) -> list[pb.GenerateChunk]:
    """The first chunks of a stream whose connection breaks then."""
    stream = running.generation.StreamGenerate(sent)
    chunks = await read(stream, count)
    stream.cancel()
    return chunks


def resume(running: Running, generation_id: str, next_seq: int = 0) -> Any:
    return running.generation.Resume(pb.ResumeRequest(id=generation_id, next_seq=next_seq))


async def failure(running: Running, generation_id: str, next_seq: int = 0) -> Failure:
    return await failure_of(resume(running, generation_id, next_seq))


def said(chunks: Sequence[pb.GenerateChunk]) -> tuple[str, list[int]]:
    """Text and tokens of a whole answer whose numbers have no gap."""
    assert [chunk.seq for chunk in chunks] == list(range(len(chunks)))
    assert [chunk.HasField("usage") for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert chunks[-1].timings.chunk_count == len(chunks)
    return "".join(chunk.deltas[0].text for chunk in chunks), [i for chunk in chunks for i in chunk.deltas[0].token_ids]


async def kept_alive(running: Running) -> None:
    """Wait until no call reads the only generation, which goes on."""
    await eventually(lambda: running.service.lifecycle.running == 1, "no call reads it")
    assert running.engine.running == 1


# Reading on.


async def test_a_stream_that_breaks_anywhere_goes_on_at_the_next_chunk(simulated: Running) -> None:
    whole = said(await read(simulated.generation.StreamGenerate(request(resumable=False))))
    for cut in random.Random(7).sample(range(1, 40), 12):
        chunks = await begun(simulated, request(), cut)

        chunks += await read(resume(simulated, chunks[0].id, len(chunks)))

        assert said(chunks) == whole


async def test_a_stream_that_breaks_again_and_again_loses_nothing(simulated: Running) -> None:
    whole = said(await read(simulated.generation.StreamGenerate(request(200, resumable=False))))
    chunks = await begun(simulated, request(200), 1)
    while not chunks[-1].HasField("usage"):
        stream = resume(simulated, chunks[0].id, len(chunks))
        chunks += await read(stream, 7)
        stream.cancel()

    assert said(chunks) == whole


async def test_readers_beside_each_other_get_the_same(open_service: OpenService) -> None:
    running = await open_service(simulated=SLOW)
    stream = running.generation.StreamGenerate(request())
    first = await read(stream, 5)

    others = [resume(running, first[0].id, seq) for seq in (0, 2, 5)]
    rest, *again = await asyncio.gather(read(stream), *map(read, others))

    chunks = first + rest
    assert again == [chunks, chunks[2:], chunks[5:]]
    assert said(chunks)


async def test_the_end_can_be_read_again(simulated: Running) -> None:
    chunks = await read(simulated.generation.StreamGenerate(request()))

    assert await read(resume(simulated, chunks[0].id)) == chunks
    assert await read(resume(simulated, chunks[0].id, len(chunks) - 1)) == chunks[-1:]
    nothing = resume(simulated, chunks[0].id, len(chunks))
    assert await read(nothing) == []
    assert await nothing.code() is grpc.StatusCode.OK


async def test_without_a_reader_it_goes_on_to_its_end(open_service: OpenService) -> None:
    running = await open_service(simulated=SLOW)
    chunks = await begun(running, request())
    await kept_alive(running)

    await eventually(lambda: running.engine.running == 0, "it is complete")

    assert said(chunks + await read(resume(running, chunks[0].id, len(chunks))))


async def test_a_plain_stream_ends_with_its_connection_as_before(simulated: Running) -> None:
    chunks = await begun(simulated, request(4000, resumable=False))

    await eventually(lambda: simulated.engine.running == 0, "the engine is idle")
    gone = await failure(simulated, chunks[0].id)
    assert (gone.code, gone.reason) == (grpc.StatusCode.NOT_FOUND, "GENERATION_NOT_FOUND")


# How long, and how much.


async def test_nobody_comes_back_in_the_grace_time(open_service: OpenService) -> None:
    running = await open_service(grace_seconds=0.2, simulated=SLOW)
    chunks = await begun(running, LONG)
    await kept_alive(running)

    await eventually(lambda: running.engine.running == running.service.lifecycle.running == 0, "it is cancelled")

    assert (await failure(running, chunks[0].id, 1)).reason == "GENERATION_NOT_FOUND"


async def test_a_reader_who_comes_back_stops_the_grace_time(open_service: OpenService) -> None:
    running = await open_service(grace_seconds=0.3, simulated=SLOW)
    chunks = await begun(running, request(60))

    chunks += await read(resume(running, chunks[0].id, len(chunks)))

    assert said(chunks)


async def test_the_end_is_forgotten_after_the_grace_time(open_service: OpenService) -> None:
    running = await open_service(grace_seconds=0.2)
    chunks = await read(running.generation.StreamGenerate(request(idempotency_key="order-7")))
    assert await read(resume(running, chunks[0].id)) == chunks

    await forgotten(running, idempotency_key="order-7")

    assert (await failure(running, chunks[0].id)).reason == "GENERATION_NOT_FOUND"


async def test_a_server_without_grace_time_takes_none(open_service: OpenService) -> None:
    running = await open_service(grace_seconds=0)

    refused = await failure_of(running.generation.StreamGenerate(request()))

    assert (refused.code, refused.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "FEATURE_OFF")
    assert refused.text.startswith("resumable: ")


@pytest.mark.parametrize("grace_seconds", [0, 30])
async def test_the_model_tells_the_grace_time(open_service: OpenService, grace_seconds: float) -> None:
    running = await open_service(grace_seconds=grace_seconds)

    model = await running.models.GetModel(models_pb2.GetModelRequest(name="builtin"))

    assert {limit.field: limit.maximum for limit in model.limits}["resumable"] == grace_seconds


async def test_the_oldest_chunks_of_a_long_generation_are_dropped(open_service: OpenService) -> None:
    running = await open_service(max_kept_bytes_each=8192)
    chunks = await read(running.generation.StreamGenerate(request(2000)))

    gone = await failure(running, chunks[0].id)
    assert (gone.code, gone.reason) == (grpc.StatusCode.OUT_OF_RANGE, "CHUNKS_GONE")
    first = int(gone.text.split()[1])
    assert 0 < first < len(chunks)
    assert await read(resume(running, chunks[0].id, first)) == chunks[first:]


async def test_ended_generations_that_nobody_reads_go_first(open_service: OpenService) -> None:
    running = await open_service(max_kept_bytes=1 << 16, max_kept_bytes_each=1 << 20)
    ended = await read(running.generation.StreamGenerate(request(100)))

    long = await read(running.generation.StreamGenerate(request(1500)))

    assert (await failure(running, ended[0].id)).reason == "GENERATION_NOT_FOUND"
    assert (await failure(running, long[0].id)).reason == "CHUNKS_GONE"
    assert await read(resume(running, long[0].id, len(long) - 1)) == long[-1:]


# What ends a reader.


@pytest.mark.parametrize(
    "limits", [{"max_stall_seconds": 0.5, "max_kept_bytes_each": 1 << 30}, {"max_kept_bytes_each": 16_384}]
)
async def test_a_reader_who_does_not_read_ends_alone(open_service: OpenService, limits: dict[str, Any]) -> None:
    running = await open_service(**{"max_kept_bytes": 1 << 30, **limits}, simulated=FAST)
    channel = grpc.aio.insecure_channel(running.address, options=SMALL_WINDOW)
    method = channel.unary_stream(
        "/penstock.v1.Generation/StreamGenerate", pb.GenerateRequest.SerializeToString, pb.GenerateChunk.FromString
    )
    unread = method(request(1 << 20))
    (first,) = await read(unread, 1)

    await kept_alive(running)
    slow = await failure_of(unread)
    await channel.close()

    assert (slow.code, slow.reason, slow.retry_after) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "SLOW_READER", None)
    await running.generation.Cancel(pb.CancelRequest(id=first.id))


@pytest.mark.parametrize(
    ("wrong", "fields"),
    [({}, ["id"]), ({"id": "x", "next_seq": -1}, ["next_seq"]), ({"next_seq": -(1 << 63)}, ["id", "next_seq"])],
)
async def test_a_wrong_request_names_its_fields(simulated: Running, wrong: dict[str, Any], fields: list[str]) -> None:
    refused = await failure_of(simulated.generation.Resume(pb.ResumeRequest(**wrong)))

    assert (refused.code, refused.fields) == (grpc.StatusCode.INVALID_ARGUMENT, fields)


async def test_a_place_that_is_not_there_yet_is_none(open_service: OpenService) -> None:
    running = await open_service(simulated=SLOW)
    chunks = await begun(running, LONG)

    beyond = await failure(running, chunks[0].id, 1 << 40)

    assert (beyond.code, beyond.reason) == (grpc.StatusCode.OUT_OF_RANGE, "CHUNKS_GONE")
    assert (await failure(running, "no-such-generation" * 40)).reason == "GENERATION_NOT_FOUND"


async def test_a_unary_call_is_not_resumable(simulated: Running) -> None:
    refused = await failure_of(simulated.generation.Generate(request()))

    assert (refused.code, refused.fields) == (grpc.StatusCode.INVALID_ARGUMENT, ["resumable"])


# What ends the generation.


async def test_the_deadline_is_that_of_the_call_that_began_it(open_service: OpenService) -> None:
    running = await open_service(simulated=SLOW)
    stream = running.generation.StreamGenerate(LONG, timeout=0.6)
    chunks = await read(stream, 2)
    stream.cancel()

    ended = await failure(running, chunks[0].id, 2)

    assert (ended.code, ended.reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE")
    assert running.engine.running == 0


async def test_a_partial_answer_at_the_deadline_can_be_read_later(open_service: OpenService) -> None:
    running = await open_service(simulated=SLOW)
    sent = request(4000, on_deadline=pb.ON_DEADLINE_RETURN_PARTIAL)
    stream = running.generation.StreamGenerate(sent, timeout=0.6)
    chunks = await read(stream, 2)
    stream.cancel()

    chunks += await read(resume(running, chunks[0].id, 2))

    assert said(chunks)
    assert chunks[-1].deltas[0].finish.reason == pb.FINISH_REASON_DEADLINE


async def test_a_failure_after_output_ends_every_reader_alike(open_service: OpenService) -> None:
    running = await open_service(load=faulty(KeyError("/secret/path"), 5))
    stream = running.generation.StreamGenerate(request())
    (first,) = await read(stream, 1)

    ended, again = await failure_of(stream), await failure(running, first.id)

    assert ended.code is grpc.StatusCode.INTERNAL
    assert again == ended
    resumed = resume(running, first.id)
    assert await resumed.read() == first
    assert (await failure_of(resumed)) == ended


async def test_cancel_ends_it_for_all_its_readers_with_what_there_is(open_service: OpenService) -> None:
    running = await open_service(simulated=SLOW)
    stream = running.generation.StreamGenerate(LONG)
    (first,) = await read(stream, 1)
    other = resume(running, first.id)

    await running.generation.Cancel(pb.CancelRequest(id=first.id))

    for reader in (stream, other):
        ended = await failure_of(reader)
        assert (ended.code, ended.reason) == (grpc.StatusCode.CANCELLED, "CANCELLED")
    assert running.engine.running == 0
    assert (await failure(running, first.id, 1)).code is grpc.StatusCode.CANCELLED
    await running.generation.Cancel(pb.CancelRequest(id=first.id))


async def test_cancel_after_the_end_changes_nothing(simulated: Running) -> None:
    chunks = await read(simulated.generation.StreamGenerate(request()))

    await simulated.generation.Cancel(pb.CancelRequest(id=chunks[0].id))

    assert await read(resume(simulated, chunks[0].id)) == chunks


async def test_cancel_ends_a_plain_generation_too(open_service: OpenService) -> None:
    running = await open_service(simulated=SLOW)
    stream = running.generation.StreamGenerate(request(4000, resumable=False))
    (first,) = await read(stream, 1)

    for _ in range(2):
        await running.generation.Cancel(pb.CancelRequest(id=first.id))

    assert (await failure_of(stream)).reason == "CANCELLED"
    assert running.engine.running == 0


async def test_cancel_by_key_needs_no_chunk(stuck: Running) -> None:
    stream = stuck.generation.StreamGenerate(request(idempotency_key="order-7"))
    unary = stuck.generation.Generate(request(resumable=False, idempotency_key="order-8"))
    await eventually(lambda: stuck.engine.running == 2, "they run")

    for key in ("order-7", "order-8", "order-8"):
        await stuck.generation.Cancel(pb.CancelRequest(idempotency_key=key))

    assert [(await failure_of(call)).code for call in (stream, unary)] == [grpc.StatusCode.CANCELLED] * 2
    assert stuck.engine.running == 0


async def test_cancel_reaches_one_whose_prompt_is_still_prepared(open_service: OpenService) -> None:
    load: Callable[[Settings], Awaitable[HeldEngine]] = HeldEngine.load
    running = await open_service(load=load)
    stream = running.generation.StreamGenerate(request(idempotency_key="order-7"))
    await in_phase(running, pb.GENERATION_PHASE_PREPARING, idempotency_key="order-7")

    await running.generation.Cancel(pb.CancelRequest(idempotency_key="order-7"))

    assert (await failure_of(stream)).reason == "CANCELLED"


async def test_cancel_by_key_ends_a_whole_batch(stuck: Running) -> None:
    inputs = {"inputs": [{"prompt": "Hello"}, {"prompt": "Hi"}]}
    batch = stuck.generation.Generate(pb.GenerateRequest(batch=inputs, idempotency_key="order-9"))
    await eventually(lambda: stuck.engine.running == 2, "they run")

    await stuck.generation.Cancel(pb.CancelRequest(idempotency_key="order-9"))

    assert (await failure_of(batch)).reason == "CANCELLED"
    assert stuck.engine.running == 0


@pytest.mark.parametrize("sent", [pb.CancelRequest(id="x" * 300), pb.CancelRequest(idempotency_key="nobody's")])
async def test_what_is_not_there_cannot_be_cancelled(simulated: Running, sent: pb.CancelRequest) -> None:
    unknown = await failure_of(simulated.generation.Cancel(sent))

    assert (unknown.code, unknown.reason) == (grpc.StatusCode.NOT_FOUND, "GENERATION_NOT_FOUND")
    unnamed = await failure_of(simulated.generation.Cancel(pb.CancelRequest()))
    assert (unnamed.code, unnamed.fields) == (grpc.StatusCode.INVALID_ARGUMENT, ["generation"])


# Stopping.


async def test_a_drain_waits_for_one_that_nobody_reads(open_service: OpenService) -> None:
    running = await open_service(simulated=SLOW)
    chunks = await begun(running, request())
    await kept_alive(running)

    draining = asyncio.create_task(running.service.drain(30))
    chunks += await read(resume(running, chunks[0].id, len(chunks)))
    await draining

    assert said(chunks)


async def test_what_exceeds_the_drains_budget_ends_with_draining_for_its_readers(stuck: Running) -> None:
    stream = stuck.generation.StreamGenerate(LONG)
    await eventually(lambda: stuck.engine.running == 1, "it runs")

    await stuck.service.drain(0.05)

    ended = await failure_of(stream)
    assert (ended.code, ended.reason) == (grpc.StatusCode.UNAVAILABLE, "DRAINING")
    assert stuck.engine.running == 0


async def test_a_kept_end_does_not_hold_up_the_drain(simulated: Running) -> None:
    await read(simulated.generation.StreamGenerate(request()))

    async with asyncio.timeout(5):
        await simulated.service.drain(3600)


# In a session.


async def test_a_call_of_a_session_outlives_it(open_service: OpenService) -> None:
    running = await open_service(simulated=SLOW)
    async with SessionUser(running) as user:
        await user.start(1, request())
        await user.until(lambda: len(user.chunks[1]) >= 3)
    chunks = user.chunks[1]
    await kept_alive(running)

    chunks += await read(resume(running, chunks[0].id, len(chunks)))

    assert said(chunks)


async def test_a_call_of_a_session_is_read_to_its_end(simulated: Running) -> None:
    whole = said(await read(simulated.generation.StreamGenerate(request(resumable=False))))
    async with SessionUser(simulated) as user:
        await user.start(1, request())
        await user.start(2, request(model="gpt-9"))

        assert await user.text(1) == whole[0]
        assert (await user.failure(2)).reason == "MODEL_NOT_FOUND"


async def test_a_message_of_a_session_has_one_chunk_of_a_call_however_many_wait(simulated: Running) -> None:
    keyed = request(resumable=False, idempotency_key="order-12")
    whole = said(await read(simulated.generation.StreamGenerate(keyed)))
    async with SessionUser(simulated) as user:
        await user.start(1, keyed)

        assert await user.text(1) == whole[0]
        counts = [[chunk.call for chunk in response.chunks].count(1) for response in user.responses]
    assert max(counts) == 1
    assert len(user.chunks[1]) > 1


async def test_cancelling_a_call_of_a_session_ends_its_reader_only(open_service: OpenService) -> None:
    running = await open_service(simulated=SLOW)
    async with SessionUser(running) as user:
        await user.start(1, LONG)
        await user.until(lambda: user.chunks[1])

        await user.cancel(1)

        assert (await user.failure(1)).code is grpc.StatusCode.CANCELLED
        await eventually(lambda: running.service.lifecycle.running == 1, "the session's call is over")
        assert running.engine.running == 1


# What operators see.


async def test_the_generation_leaves_one_line_and_one_span_and_each_reader_a_line_that_names_it() -> None:
    exporter = InMemorySpanExporter()
    with structlog.testing.capture_logs() as lines:
        async with opened(simulated_settings(), spans=exporter) as running:
            chunks = await begun(running, request(request_id="order-7"))
            await read(resume(running, chunks[0].id, len(chunks)))
            await eventually(lambda: len([line for line in lines if line["event"] == "call"]) == 3, "three lines")

    calls = [line for line in lines if line["event"] == "call"]
    (own,) = [line for line in calls if "generation" not in line]
    assert (own["id"], own["completion_tokens"], own["request_id"]) == (chunks[0].id, 40, "order-7")
    readers = {line["method"].rpartition("/")[2]: line for line in calls if line is not own}
    assert {name: line["generation"] for name, line in readers.items()} == dict.fromkeys(
        ("StreamGenerate", "Resume"), chunks[0].id
    )
    assert not any("completion_tokens" in line for line in readers.values())
    spans = {span.name: span for span in exporter.get_finished_spans()}
    assert len(spans) == len(exporter.get_finished_spans()) == 3
    assert spans["text_completion builtin"].parent.span_id == (
        spans["penstock.v1.Generation/StreamGenerate"].context.span_id
    )


# On the real engine.


@pytest.mark.real_vllm
@pytest.mark.timeout(600)
async def test_vllms_streams_go_on_where_they_broke(real: Running) -> None:
    sent = request(48, prompt="Once upon a time", sampling={"temperature": 0.0})
    whole = said(await read(real.generation.StreamGenerate(sent)))
    places = random.Random(11)

    async def broken() -> tuple[str, list[int]]:
        chunks = await begun(real, sent, places.randint(1, 20))
        while not chunks[-1].HasField("usage"):
            stream = resume(real, chunks[0].id, len(chunks))
            chunks += await read(stream, places.randint(1, 20))
            stream.cancel()
        return said(chunks)

    assert await asyncio.gather(*(broken() for _ in range(20))) == [whole] * 20


@pytest.mark.real_vllm
@pytest.mark.timeout(600)
@pytest.mark.parametrize("resumable", [True, False])
async def test_vllm_is_freed_by_cancel_and_by_the_end_of_a_plain_call(real: Running, resumable: bool) -> None:
    stream = real.generation.StreamGenerate(request(900, prompt="Once upon a time", resumable=resumable))
    (first,) = await read(stream, 1)
    stream.cancel()
    if resumable:
        await eventually(lambda: real.service.lifecycle.running == 1, "no call reads it")
        assert real.engine.running == 1
        await real.generation.Cancel(pb.CancelRequest(id=first.id))

    await eventually(lambda: real.engine.running == 0, "vLLM's front end has nothing")
    async with asyncio.timeout(30):
        while (await asyncio.to_thread(_engine_gauges, real.service.metrics_port)) != (0, 0):
            await real.generation.Generate(pb.GenerateRequest(prompt="Hi", stopping={"max_tokens": 1}))
