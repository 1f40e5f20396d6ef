"""Several inputs in one call of Generate: each has a result of its own."""

import asyncio

import grpc
import pytest
import structlog

from penstock.v1 import generation_pb2 as pb
from tests.conftest import OpenService, Running, eventually
from tests.rpc.error_details import failure_in, failure_of

HELLO = {"prompt": "Hello"}
LONG = {"max_tokens": 2000, "ignore_eos": True}


def batch(*inputs: dict[str, object], **fields: object) -> pb.GenerateRequest:
    return pb.GenerateRequest(**{"batch": {"inputs": inputs}, "stopping": {"max_tokens": 8}, **fields})


async def test_every_input_is_answered_as_if_it_were_alone(simulated: Running) -> None:
    prompts = [f"Prompt {number}" for number in range(64)]

    reply = await simulated.generation.Generate(batch(*({"prompt": prompt} for prompt in prompts), request_id="all"))

    alone = [
        await simulated.generation.Generate(pb.GenerateRequest(prompt=prompt, stopping={"max_tokens": 8}))
        for prompt in prompts
    ]
    assert [result.response.sequences for result in reply.results] == [each.sequences for each in alone]
    assert reply.usage.completion_tokens == sum(each.usage.completion_tokens for each in alone)
    assert (reply.request_id, reply.model, list(reply.sequences)) == ("all", "builtin", [])
    assert len({result.response.id for result in reply.results}) == 64


async def test_a_wrong_input_fails_alone_and_is_named_by_its_place(open_service: OpenService) -> None:
    running = await open_service(simulated={"context_length": 40})

    reply = await running.generation.Generate(batch(HELLO, {"prompt": ""}, {}, {"prompt": "x" * 400}, HELLO))

    assert [result.WhichOneof("outcome") for result in reply.results] == [
        "response", "status", "status", "status", "response",
    ]  # fmt: skip
    failures = [failure_in(result.status) for result in reply.results[1:4]]
    assert [each.fields for each in failures] == [
        ["batch.inputs[1].prompt"], ["batch.inputs[2].input"], ["batch.inputs[3].prompt"],
    ]  # fmt: skip
    assert [each.reason for each in failures] == ["INVALID_FIELD", "INVALID_FIELD", "CONTEXT_LENGTH"]


async def test_what_is_wrong_for_all_fails_the_call(simulated: Running) -> None:
    failures = [
        await failure_of(simulated.generation.Generate(sent))
        for sent in (batch(), batch(*[HELLO] * 65), batch(HELLO, sampling={"top_p": 7}), batch(HELLO, model="other"))
    ]

    assert [each.fields for each in failures] == [["batch.inputs"], ["batch.inputs"], ["sampling.top_p"], []]
    assert failures[3].code is grpc.StatusCode.NOT_FOUND


async def test_streams_and_sessions_take_one_input(simulated: Running) -> None:
    failure = await failure_of(simulated.generation.StreamGenerate(batch(HELLO)))

    assert failure.fields == ["batch"]


async def test_each_input_leaves_a_line_that_names_the_call(simulated: Running) -> None:
    with structlog.testing.capture_logs() as lines:
        reply = await simulated.generation.Generate(batch(HELLO, {"prompt": ""}))

    calls = [line for line in lines if line["event"] == "call"]
    assert [line.get("batch", "") for line in calls] == [reply.id, reply.id, ""]
    assert [line["code"] for line in calls] == ["INVALID_ARGUMENT", "OK", "OK"]


@pytest.mark.parametrize("ends", ["cancel", "deadline"])
async def test_the_end_of_the_call_ends_every_input(open_service: OpenService, ends: str) -> None:
    running = await open_service(simulated={"step_time_ms": 20})
    call = running.generation.Generate(
        batch(HELLO, HELLO, HELLO, stopping=LONG), timeout=0.3 if ends == "deadline" else None
    )
    if ends == "cancel":
        await eventually(lambda: running.engine.running == 3)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    else:
        assert (await failure_of(call)).code is grpc.StatusCode.DEADLINE_EXCEEDED
    await eventually(lambda: running.engine.running == 0)


async def test_a_partial_answer_is_given_for_every_input(open_service: OpenService) -> None:
    running = await open_service(simulated={"step_time_ms": 20})

    reply = await running.generation.Generate(
        batch(HELLO, HELLO, stopping=LONG, on_deadline=pb.ON_DEADLINE_RETURN_PARTIAL), timeout=1
    )

    reasons = [result.response.sequences[0].finish.reason for result in reply.results]
    assert reasons == [pb.FINISH_REASON_DEADLINE] * 2


async def test_a_batch_whose_server_stops_fails_as_a_whole(open_service: OpenService) -> None:
    running = await open_service(simulated={"step_time_ms": 20})
    call = running.generation.Generate(batch(HELLO, HELLO, stopping=LONG))
    await eventually(lambda: running.engine.running == 2)

    await running.service.drain(0.05)

    failure = await failure_of(call)
    assert (failure.code, failure.reason) == (grpc.StatusCode.UNAVAILABLE, "DRAINING")
