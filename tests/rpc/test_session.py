"""Many calls over one stream: each is what it would be alone."""

import asyncio
import itertools

import grpc
import pytest
import structlog
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from penstock.v1 import generation_pb2 as pb
from tests.conftest import OpenService, Running, eventually, opened, simulated_settings
from tests.faults.faulty_engine import faulty
from tests.rpc.bad_requests import BAD_REQUESTS, bad_request
from tests.rpc.error_details import failure_of
from tests.rpc.session_user import SessionUser


def request(prompt: str = "Hello", tokens: int = 24, **fields: object) -> pb.GenerateRequest:
    return pb.GenerateRequest(prompt=prompt, stopping={"max_tokens": tokens, "ignore_eos": True}, **fields)


LONG = request(tokens=4000)


async def texts(chunks: grpc.aio.UnaryStreamCall) -> str:
    return "".join([chunk.deltas[0].text async for chunk in chunks])


async def test_the_first_message_names_the_server_and_comes_at_once(simulated: Running, stuck: Running) -> None:
    async with SessionUser(simulated) as one, SessionUser(simulated) as two, SessionUser(stuck) as other:
        users = (one, two, other)
        for user in users:
            await user.until(lambda user=user: user.responses)

        same, same_again, another = (user.responses[0].server_id for user in users)
        assert same == same_again != another != ""


async def test_forty_calls_give_what_forty_streams_give(simulated: Running) -> None:
    prompts = [f"Hello {number}" for number in range(40)]
    alone = await asyncio.gather(*(texts(simulated.generation.StreamGenerate(request(text))) for text in prompts))

    async with SessionUser(simulated) as user:
        for number, prompt in enumerate(prompts, 1):
            await user.start(number, request(prompt, request_id=f"order-{number}"))
        together = [await user.text(number) for number in range(1, 41)]

        assert together == alone
        assert [user.chunks[number][0].request_id for number in (1, 40)] == ["order-1", "order-40"]
        assert len({chunks[0].id for chunks in user.chunks.values()}) == 40


async def test_what_a_step_brings_to_all_calls_comes_in_one_message(open_service: OpenService) -> None:
    running = await open_service(simulated={"step_time_ms": 20})
    async with SessionUser(running) as user:
        for number in range(1, 33):
            await user.start(number, request(tokens=20))
        for number in range(1, 33):
            await user.text(number)

        # 20 steps, the calls' joining on the way, their ends, and the first message; alone they would be 640.
        assert len(user.responses) < 60
        assert max(len(response.chunks) for response in user.responses) == 32


@pytest.mark.parametrize("name", BAD_REQUESTS)
async def test_a_wrong_call_ends_alone_and_names_every_wrong_field(simulated: Running, name: str) -> None:
    bad, fields = bad_request(name)
    async with SessionUser(simulated) as user:
        await user.start(1, request())
        await user.start(2, bad)

        failure = await user.failure(2)

        assert (failure.code, failure.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
        assert failure.fields == fields
        assert await user.text(1)


async def test_other_failures_are_those_of_a_stream(open_service: OpenService) -> None:
    running = await open_service(load=faulty(KeyError("/secret/path"), 3))
    async with SessionUser(running) as user:
        await user.start(1, request(model="gpt-9"))
        await user.start(2, LONG)
        await user.start(3, request(), timeout_ms=-5)

        unknown, broken, wrong = [await user.failure(number) for number in (1, 2, 3)]

    assert (unknown.code, unknown.reason) == (grpc.StatusCode.NOT_FOUND, "MODEL_NOT_FOUND")
    assert (broken.code, broken.reason) == (grpc.StatusCode.INTERNAL, "INTERNAL")
    assert "secret" not in broken.text
    assert user.chunks[2][-1].usage.completion_tokens >= 3
    assert (wrong.code, wrong.fields) == (grpc.StatusCode.INVALID_ARGUMENT, ["timeout_ms"])


async def test_a_cancelled_call_leaves_the_engine_and_the_others_go_on(open_service: OpenService) -> None:
    running = await open_service(simulated={"step_time_ms": 20})
    async with SessionUser(running) as user:
        await user.start(1, request(tokens=50))
        await user.start(2, LONG)
        await user.until(lambda: user.chunks[2])

        await user.cancel(2)
        await user.cancel(77)

        failure = await user.failure(2)
        assert (failure.code, failure.reason) == (grpc.StatusCode.CANCELLED, "CANCELLED")
        assert running.engine.running == 1
        assert await user.text(1)


async def test_a_call_cancelled_in_the_same_breath_ends_too(stuck: Running) -> None:
    async with SessionUser(stuck) as user:
        await user.start(1, LONG)
        await user.cancel(1)

        assert (await user.failure(1)).code is grpc.StatusCode.CANCELLED
        await eventually(lambda: stuck.engine.running == 0, "the engine is idle")


@pytest.mark.parametrize("timeout_ms", [0, 50])
async def test_each_call_has_its_own_deadline(stuck: Running, timeout_ms: int) -> None:
    async with SessionUser(stuck) as user:
        await user.start(1, LONG)
        await user.start(2, LONG, timeout_ms=timeout_ms)

        failure = await user.failure(2)

        assert (failure.code, failure.reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE")
        assert stuck.engine.running == 1


async def test_after_the_callers_half_close_the_session_ends_with_its_last_call(simulated: Running) -> None:
    async with SessionUser(simulated) as user:
        await user.start(1, request())
        await user.rpc.done_writing()

        assert await user.text(1)
        assert await user.rpc.code() is grpc.StatusCode.OK


async def test_a_caller_that_is_gone_frees_all_its_calls(stuck: Running) -> None:
    async with SessionUser(stuck) as user:
        for number in range(1, 6):
            await user.start(number, LONG)
        await eventually(lambda: stuck.engine.running == 5, "the calls run")

    await eventually(lambda: stuck.engine.running == stuck.service.lifecycle.running == 0, "all is free")


@pytest.mark.parametrize(
    ("message", "field"),
    [
        (pb.SessionRequest(), "action"),
        (pb.SessionRequest(start={"call": 3, "request": LONG}), "start.call"),
        (pb.SessionRequest(start={"call": -1, "request": LONG}), "start.call"),
    ],
    ids=["no action", "number again", "number below"],
)
async def test_what_is_no_session_ends_the_session_and_frees_its_calls(
    stuck: Running, message: pb.SessionRequest, field: str
) -> None:
    async with SessionUser(stuck) as user:
        await user.start(3, LONG)
        await user.rpc.write(message)

        failure = await user.broken()

    assert (failure.code, failure.reason, failure.fields) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "INVALID_FIELD",
        [field],
    )
    await eventually(lambda: stuck.engine.running == 0, "the engine is idle")


async def test_bytes_that_are_no_message_end_the_session(simulated: Running) -> None:
    session = simulated.channel.stream_stream("/penstock.v1.Generation/Session")()
    await session.write(b"\xff\xff\xff")

    failure = await failure_of(session)

    assert (failure.code, failure.fields) == (grpc.StatusCode.INVALID_ARGUMENT, ["request"])


async def test_a_session_has_room_for_so_many_calls(open_service: OpenService) -> None:
    running = await open_service(max_concurrent_streams=4, simulated={"step_time_ms": 60_000})
    async with SessionUser(running) as user:
        for number in range(1, 6):
            await user.start(number, LONG)

        failure = await user.failure(5)
        await user.cancel(1)
        await user.failure(1)
        await user.start(6, LONG)

        assert (failure.code, failure.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
        assert failure.retry_after == 1
        await eventually(lambda: running.engine.running == 4, "the sixth has its place")


async def test_a_drain_announces_itself_lets_calls_finish_and_refuses_new_ones(open_service: OpenService) -> None:
    running = await open_service(simulated={"step_time_ms": 20})
    async with SessionUser(running) as user:
        await user.start(1, request(tokens=30))
        await user.until(lambda: user.chunks[1])

        draining = asyncio.create_task(running.service.drain(30))
        await user.until(lambda: user.draining)
        await user.start(2, request())

        failure = await user.failure(2)
        assert (failure.code, failure.reason, failure.retry_after) == (grpc.StatusCode.UNAVAILABLE, "DRAINING", 0)
        assert await user.text(1)
        await draining
        assert await user.rpc.code() is grpc.StatusCode.OK


async def test_a_session_as_old_as_its_connection_may_be_takes_no_further_call(open_service: OpenService) -> None:
    running = await open_service(max_connection_age_seconds=0.3, simulated={"step_time_ms": 20})
    async with SessionUser(running) as user:
        await user.start(1, request(tokens=200))

        await user.until(lambda: user.draining)

        await user.start(2, request())
        assert await user.text(2)  # it was on its way
        for number in itertools.count(3):
            await user.start(number, request(tokens=1))
            if (await user.outcome(number)).HasField("status"):
                break
        assert (await user.failure(number)).reason == "DRAINING"
        assert await user.text(1)


async def test_a_dead_engine_ends_every_call_with_what_it_had(simulated: Running) -> None:
    async with SessionUser(simulated) as user:
        for number in (1, 2):
            await user.start(number, LONG)
        await user.until(lambda: user.chunks[1] and user.chunks[2])

        simulated.engine.kill()

        for number in (1, 2):
            failure = await user.failure(number)
            assert (failure.code, failure.reason) == (grpc.StatusCode.UNAVAILABLE, "ENGINE_DEAD")
            last = user.chunks[number][-1]
            assert last.usage.completion_tokens > 0
            assert not last.deltas[0].HasField("finish")


async def test_a_call_is_traced_and_logged_as_its_own() -> None:
    exporter = InMemorySpanExporter()
    trace, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    with structlog.testing.capture_logs() as lines:
        async with opened(simulated_settings(), spans=exporter) as running, SessionUser(running) as user:
            await user.start(1, request(request_id="order-7"), traceparent=f"00-{trace}-{parent}-01")
            await user.text(1)
            await user.rpc.done_writing()
            assert await user.rpc.code() is grpc.StatusCode.OK

    spans = {span.name: span for span in exporter.get_finished_spans()}
    server = spans["penstock.v1.Generation/StreamGenerate"]
    assert f"{server.context.trace_id:032x}" == trace
    assert f"{server.parent.span_id:016x}" == parent
    assert spans["text_completion builtin"].parent.span_id == server.context.span_id
    call, session = (line for line in lines if line["event"] == "call")
    assert (call["request_id"], call["completion_tokens"], call["code"]) == ("order-7", 24, "OK")
    assert (session["method"], session["id"]) == ("penstock.v1.Generation/Session", call["session"])
