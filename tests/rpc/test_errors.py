"""The statuses of the contract that are nobody's bad input, each with its details."""

import asyncio
import re

import grpc
import pytest

from penstock.v1 import generation_pb2 as pb
from penstock.v1 import models_pb2
from penstock_service.errors import Overloaded
from tests.conftest import OpenService, Running, eventually
from tests.faults.faulty_engine import HeldLoading, faulty, without_chat
from tests.rpc.error_details import failure_of

HELLO = pb.GenerateRequest(prompt="Hello", stopping={"max_tokens": 8, "ignore_eos": True})


def calls(running: Running) -> list[grpc.aio.Call]:
    return [running.generation.Generate(HELLO), running.generation.StreamGenerate(HELLO)]


async def test_while_loading_every_call_is_refused_with_a_delay(open_service: OpenService) -> None:
    running = await open_service(load=HeldLoading(), ready=False)

    for call in [*calls(running), running.models.ListModels(models_pb2.ListModelsRequest())]:
        failure = await failure_of(call)
        progress = r"the model is still loading \(reading weights, \d+ s so far\); another replica may serve the call"
        assert re.fullmatch(progress, failure.text)
        assert (failure.code, failure.reason, failure.retry_after) == (grpc.StatusCode.UNAVAILABLE, "LOADING", 5)


async def test_a_dead_engine_ends_running_calls_and_refuses_new_ones(stuck: Running) -> None:
    running = calls(stuck)
    await eventually(lambda: stuck.engine.running == 2, "both calls run")
    watched = asyncio.create_task(stuck.service.failure())

    stuck.engine.kill()

    with pytest.raises(RuntimeError, match="stopped by itself"):
        await watched
    for call in [*running, *calls(stuck)]:
        failure = await failure_of(call)
        assert (failure.code, failure.reason) == (grpc.StatusCode.UNAVAILABLE, "ENGINE_DEAD")
        assert failure.retry_after == 1


@pytest.mark.parametrize("good_chunks", [0, 3])
async def test_what_we_did_not_expect_is_internal_and_tells_nothing(
    open_service: OpenService, good_chunks: int
) -> None:
    # Long steps: what comes while the one before is still to be sent goes out with it.
    running = await open_service(load=faulty(KeyError("/secret/path"), good_chunks), simulated={"step_time_ms": 100})
    call = running.generation.StreamGenerate(HELLO)

    for _ in range(good_chunks):
        assert (await call.read()).deltas[0].text
    failure = await failure_of(call)

    assert (failure.code, failure.reason) == (grpc.StatusCode.INTERNAL, "INTERNAL")
    assert "secret" not in failure.text
    assert failure.text.startswith("internal error; the server's log tells more under call ")


async def test_a_full_queue_says_when_to_come_back(open_service: OpenService) -> None:
    running = await open_service(load=faulty(Overloaded()))

    failures = [await failure_of(call) for call in calls(running)]

    for failure in failures:
        assert (failure.code, failure.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
    earlier, later = sorted(failure.retry_after for failure in failures)
    assert 1 <= earlier < later


async def test_a_conversation_needs_a_chat_template(open_service: OpenService) -> None:
    running = await open_service(load=without_chat())
    turn = pb.Message(role=pb.ROLE_USER, content=[pb.ContentPart(text="Hello")])

    failure = await failure_of(
        running.generation.Generate(pb.GenerateRequest(conversation=pb.Conversation(messages=[turn])))
    )

    assert (failure.code, failure.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "FEATURE_OFF")


async def test_a_cancellation_that_nobody_asked_for_still_ends_the_call(open_service: OpenService) -> None:
    """grpc.aio leaves the caller without any status when a handler raises CancelledError by itself."""
    running = await open_service(load=faulty(asyncio.CancelledError()))

    for call in calls(running):
        assert (await failure_of(call)).code is grpc.StatusCode.INTERNAL
