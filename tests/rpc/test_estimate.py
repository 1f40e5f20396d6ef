"""Estimate: what a request would need, and whether and when it would be taken."""

import asyncio
from collections.abc import Awaitable, Callable

import grpc
import pytest

from penstock.v1 import generation_pb2 as pb
from penstock_service.engine.base import Engine
from penstock_service.engine.simulated import SimulatedEngine
from penstock_service.errors import Overloaded, ServiceError
from penstock_service.settings import Settings
from tests.conftest import OpenService, Running, eventually
from tests.faults.faulty_engine import HeldLoading, without_chat
from tests.rpc.bad_requests import BAD_REQUESTS, bad_request
from tests.rpc.error_details import failure_in, failure_of

HELLO = pb.GenerateRequest(prompt="Hello", stopping={"max_tokens": 8, "ignore_eos": True})
ENDLESS = pb.GenerateRequest(prompt="Hello", stopping={"ignore_eos": True})


async def estimate(running: Running, request: pb.GenerateRequest = HELLO) -> pb.EstimateResponse:
    return await running.generation.Estimate(pb.EstimateRequest(request=request))


class FullEngine(SimulatedEngine):
    """Takes no more than two sequences."""

    def refusal(self, sequences: int) -> ServiceError | None:
        return Overloaded() if self.running + sequences > 2 else None


def full() -> Callable[[Settings], Awaitable[Engine]]:
    return FullEngine.load


async def test_it_tells_what_generate_then_takes(simulated: Running) -> None:
    told = await estimate(simulated)
    reply = await simulated.generation.Generate(HELLO)

    assert told.prompt_tokens == reply.usage.prompt_tokens
    assert told.max_completion_tokens == reply.usage.completion_tokens
    assert (told.admitted, told.HasField("refusal"), told.wait_ms) == (True, False, 0)


async def test_nothing_is_generated(stuck: Running) -> None:
    await estimate(stuck)

    assert stuck.engine.running == 0


async def test_without_max_tokens_it_is_what_the_context_has_room_for(open_service: OpenService) -> None:
    running = await open_service(simulated={"context_length": 100})

    told = await estimate(running, ENDLESS)
    more = await estimate(running, pb.GenerateRequest(prompt="Hello", stopping={"max_tokens": 1000}))

    assert told.prompt_tokens + told.max_completion_tokens == 100
    assert more == told


async def test_a_batch_is_the_sum_of_its_inputs(simulated: Running) -> None:
    prompts = ["Hello", "Once upon a time", "x" * 400]
    alone = [await estimate(simulated, pb.GenerateRequest(prompt=p, stopping={"max_tokens": 5})) for p in prompts]
    batch = pb.Batch(inputs=[pb.BatchInput(prompt=prompt) for prompt in prompts])

    told = await estimate(simulated, pb.GenerateRequest(batch=batch, stopping={"max_tokens": 5}))

    assert told.prompt_tokens == sum(each.prompt_tokens for each in alone)
    assert told.max_completion_tokens == 15


@pytest.mark.parametrize("name", BAD_REQUESTS)
async def test_every_wrong_field_is_named_by_its_path_from_the_estimates_request(simulated: Running, name: str) -> None:
    bad, fields = bad_request(name)

    failure = await failure_of(simulated.generation.Estimate(pb.EstimateRequest(request=bad)))

    assert (failure.code, failure.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
    assert failure.fields == [f"request.{field}" for field in fields]


async def test_a_wrong_input_of_a_batch_is_named_too(simulated: Running) -> None:
    batch = pb.Batch(inputs=[pb.BatchInput(prompt="Hello"), pb.BatchInput(prompt="")])

    failure = await failure_of(
        simulated.generation.Estimate(pb.EstimateRequest(request=pb.GenerateRequest(batch=batch)))
    )

    assert failure.fields == ["request.batch.inputs[1].prompt"]


async def test_without_a_request_it_is_a_wrong_field(simulated: Running) -> None:
    failure = await failure_of(simulated.generation.Estimate(pb.EstimateRequest()))

    assert (failure.code, failure.fields) == (grpc.StatusCode.INVALID_ARGUMENT, ["request"])


@pytest.mark.parametrize("prompt", ["x" * 400, "x" * 1_000_000], ids=["tokenized", "not even tokenized"])
async def test_a_prompt_longer_than_the_context_is_an_error(open_service: OpenService, prompt: str) -> None:
    running = await open_service(simulated={"context_length": 100})

    request = pb.EstimateRequest(request=pb.GenerateRequest(prompt=prompt))
    failure = await failure_of(running.generation.Estimate(request))

    assert (failure.code, failure.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "CONTEXT_LENGTH")
    assert failure.fields == ["request.prompt"]


async def test_what_the_model_cannot_do_is_an_error(open_service: OpenService) -> None:
    running = await open_service(load=without_chat())
    turn = pb.Message(role=pb.ROLE_USER, content=[pb.ContentPart(text="Hello")])
    chat = pb.GenerateRequest(conversation=pb.Conversation(messages=[turn]))

    for request, reason in ((chat, "FEATURE_OFF"), (pb.GenerateRequest(prompt="x", model="other"), "MODEL_NOT_FOUND")):
        failure = await failure_of(running.generation.Estimate(pb.EstimateRequest(request=request)))
        assert failure.reason == reason


async def test_while_loading_it_would_be_refused(open_service: OpenService) -> None:
    running = await open_service(load=HeldLoading(), ready=False)

    told = await estimate(running)

    refusal = failure_in(told.refusal)
    assert not told.admitted
    assert (refusal.code, refusal.reason, refusal.retry_after) == (grpc.StatusCode.UNAVAILABLE, "LOADING", 5)


async def test_while_draining_it_would_be_refused(open_service: OpenService) -> None:
    running = await open_service()
    running.service.lifecycle.draining()

    told = await estimate(running)

    assert not told.admitted
    assert failure_in(told.refusal).reason == "DRAINING"


async def test_with_a_dead_engine_it_would_be_refused(simulated: Running) -> None:
    simulated.engine.kill()

    told = await estimate(simulated)

    assert not told.admitted
    assert failure_in(told.refusal).reason == "ENGINE_DEAD"


async def test_with_a_full_queue_it_would_be_refused_and_is_no_error(open_service: OpenService) -> None:
    running = await open_service(load=full())
    two = pb.Batch(inputs=[pb.BatchInput(prompt="a"), pb.BatchInput(prompt="b")])
    three = pb.Batch(inputs=[*two.inputs, pb.BatchInput(prompt="c")])

    taken = await estimate(running, pb.GenerateRequest(batch=two))
    told = await estimate(running, pb.GenerateRequest(batch=three))

    refusal = failure_in(told.refusal)
    assert taken.admitted
    assert (told.admitted, refusal.reason, refusal.retry_after) == (False, "OVERLOADED", 1)
    assert told.prompt_tokens > 0


async def test_before_anything_has_ended_the_wait_is_not_known(open_service: OpenService) -> None:
    running = await open_service(simulated={"step_time_ms": 60_000, "max_concurrent_sequences": 2})
    calls = [running.generation.Generate(ENDLESS) for _ in range(3)]
    await eventually(lambda: running.engine.running == 3, "all run")

    told = await estimate(running)

    assert told.admitted
    assert not told.HasField("wait_ms")
    for call in calls:
        call.cancel()


async def test_a_deadline_that_generate_could_not_meet_is_its_refusal(open_service: OpenService) -> None:
    running = await open_service(simulated={"step_time_ms": 20, "max_concurrent_sequences": 1})
    await running.generation.Generate(pb.GenerateRequest(prompt="Hello", stopping={"max_tokens": 50}))
    calls = [running.generation.Generate(ENDLESS) for _ in range(3)]
    await eventually(lambda: running.engine.running == 3, "they fill the engine")

    told = await running.generation.Estimate(pb.EstimateRequest(request=HELLO), timeout=1)

    assert failure_in(told.refusal).reason == "DEADLINE"
    for call in calls:
        call.cancel()


async def test_the_wait_grows_with_what_waits(open_service: OpenService) -> None:
    running = await open_service(simulated={"step_time_ms": 20, "max_concurrent_sequences": 1})
    await asyncio.gather(*(running.generation.Generate(HELLO) for _ in range(3)))
    waits = []
    calls = []
    for count in (1, 2, 3):
        calls.append(running.generation.Generate(ENDLESS))
        await eventually(lambda count=count: running.engine.running == count, "it runs")
        waits.append((await estimate(running)).wait_ms)

    # 8 steps of 20 ms each, and what the machine adds.
    assert 160 <= waits[0] < 2000
    assert waits[1:] == [pytest.approx(2 * waits[0], abs=2), pytest.approx(3 * waits[0], abs=3)]
    for call in calls:
        call.cancel()
