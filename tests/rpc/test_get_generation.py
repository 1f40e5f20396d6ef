"""Where a generation is, before its first chunk and after its last one."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Self

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.v1 import generation_pb2 as pb
from penstock_service.engine.base import Job, Receiver
from penstock_service.engine.simulated import SimulatedEngine
from penstock_service.generation_index import queue_positions
from penstock_service.settings import Settings
from tests.conftest import OpenService, Running, eventually
from tests.rpc.error_details import failure_of
from tests.rpc.generation_status import in_phase, status, status_when

SLOW = {"step_time_ms": 20}
PREPARING, QUEUED, PREFILL, DECODING, ENDED = (
    getattr(pb, f"GENERATION_PHASE_{name}") for name in ("PREPARING", "QUEUED", "PREFILL", "DECODING", "ENDED")
)


def request(name: str, tokens: int = 4000, **fields: Any) -> pb.GenerateRequest:
    stopping = {"max_tokens": tokens, "ignore_eos": True}
    return pb.GenerateRequest(prompt="Hello", stopping=stopping, request_id=name, **fields)


async def told(running: Running, **named: str) -> pb.GenerationStatus:
    """The status of a generation that is there."""
    found = await status(running, **named)
    assert found is not None
    return found


class HeldEngine(SimulatedEngine):
    """Takes no job on until `release` is set."""

    release: asyncio.Event

    @classmethod
    async def load(cls, settings: Settings) -> Self:
        engine = await super().load(settings)
        engine.release = asyncio.Event()
        return engine

    async def submit(self, job: Job, receiver: Receiver) -> None:
        await self.release.wait()
        await super().submit(job, receiver)


@pytest.mark.parametrize("method", ["Generate", "StreamGenerate"])
async def test_a_generation_goes_through_its_phases(open_service: OpenService, method: str) -> None:
    load: Callable[[Settings], Awaitable[HeldEngine]] = HeldEngine.load
    running = await open_service(load=load, simulated={"prefill_tokens_per_second": 10, "step_time_ms": 5})
    call = getattr(running.generation, method)(request("order-7", 300, idempotency_key="key-7"))

    preparing = await in_phase(running, PREPARING, request_id="order-7")
    running.engine.release.set()
    seen = [preparing, *[await in_phase(running, phase, request_id="order-7") for phase in (PREFILL, DECODING, ENDED)]]

    assert [each.phase for each in seen] == [PREPARING, PREFILL, DECODING, ENDED]
    assert len({each.id for each in seen}) == 1
    assert [each.completion_tokens for each in seen[:2]] == [0, 0]
    assert 0 < seen[2].completion_tokens < seen[3].completion_tokens == 300
    assert 0 < seen[0].elapsed_ms < seen[1].elapsed_ms < seen[2].elapsed_ms < seen[3].elapsed_ms
    assert await told(running, idempotency_key="key-7") == await told(running, id=seen[0].id) == seen[3]
    call.cancel()


async def test_the_queue_is_told_in_the_order_in_which_it_is_taken(open_service: OpenService) -> None:
    running = await open_service(simulated={**SLOW, "max_concurrent_sequences": 1})
    ended = await running.generation.Generate(request("first", 10))
    assert ended.usage.completion_tokens == 10
    calls = []
    for number, priority in enumerate((0, -1, -1, 1, 1, 0)):  # the second and the third wait in the engine
        calls.append(running.generation.StreamGenerate(request(f"order-{number}", priority=priority)))
        await in_phase(running, QUEUED if number else DECODING, request_id=f"order-{number}")

    waiting = [await told(running, request_id=f"order-{number}") for number in (1, 2, 5, 3, 4)]

    assert running.engine.running == 3
    assert [each.phase for each in waiting] == [QUEUED] * 5
    assert [each.queue_position for each in waiting] == [0, 1, 2, 3, 4]
    waits = [each.wait_ms for each in waiting]
    assert waits == sorted(set(waits))
    calls[5].cancel()
    await status_when(running, lambda found: found is not None and found.queue_position == 2, request_id="order-3")
    for call in calls:
        call.cancel()


async def test_before_anything_has_ended_no_wait_is_told(stuck: Running) -> None:
    call = stuck.generation.StreamGenerate(request("order-7"))
    await eventually(lambda: stuck.engine.running == 1, "it runs")

    begun = await in_phase(stuck, PREFILL, request_id="order-7")

    assert not begun.HasField("wait_ms")
    call.cancel()


async def test_the_latest_of_a_name_is_told(open_service: OpenService) -> None:
    running = await open_service(simulated=SLOW)
    earlier = running.generation.StreamGenerate(request("order-7"))
    first = await earlier.read()
    later = running.generation.StreamGenerate(request("order-7"))
    second = await later.read()

    assert (await told(running, request_id="order-7")).id == second.id
    later.cancel()
    await eventually(lambda: running.engine.running == 1, "the later one has ended")
    assert (await told(running, request_id="order-7")).id == first.id
    earlier.cancel()


async def test_a_plain_generation_that_has_ended_is_remembered(simulated: Running) -> None:
    reply = await simulated.generation.Generate(request("order-7", 10))

    ended = await told(simulated, id=reply.id)

    assert (ended.phase, ended.completion_tokens) == (ENDED, 10)
    assert ended == await told(simulated, request_id="order-7")


async def test_a_batch_is_told_by_its_key_as_one(open_service: OpenService) -> None:
    running = await open_service(simulated=SLOW)
    inputs = {"inputs": [{"prompt": "Hello"}, {"prompt": "Hi"}]}
    sent = pb.GenerateRequest(batch=inputs, idempotency_key="key-7", stopping={"max_tokens": 20, "ignore_eos": True})
    call = running.generation.Generate(sent)
    await eventually(lambda: running.engine.running == 2, "it runs")

    running_one = await in_phase(running, DECODING, idempotency_key="key-7")
    reply = await call

    assert running_one.id == reply.id
    ended = await told(running, idempotency_key="key-7")
    assert (ended.id, ended.phase, ended.completion_tokens) == (reply.id, ENDED, 40)


@pytest.mark.parametrize("field", ["id", "idempotency_key", "request_id"])
async def test_an_empty_name_names_nobodys_generation(stuck: Running, field: str) -> None:
    stuck.generation.Generate(pb.GenerateRequest(prompt="Hello"))  # without a request_id
    await eventually(lambda: stuck.engine.running == 1, "it runs")

    refused = await failure_of(stuck.generation.GetGeneration(pb.GetGenerationRequest(**{field: ""})))

    assert (refused.code, refused.fields) == (grpc.StatusCode.INVALID_ARGUMENT, [field])


@pytest.mark.parametrize("named", [{"id": "x" * 999}, {"idempotency_key": "k"}, {"request_id": "nobody"}])
async def test_what_is_not_there_is_not_found(simulated: Running, named: dict[str, str]) -> None:
    unknown = await failure_of(simulated.generation.GetGeneration(pb.GetGenerationRequest(**named)))

    assert (unknown.code, unknown.reason) == (grpc.StatusCode.NOT_FOUND, "GENERATION_NOT_FOUND")
    unnamed = await failure_of(simulated.generation.GetGeneration(pb.GetGenerationRequest()))
    assert (unnamed.code, unnamed.fields) == (grpc.StatusCode.INVALID_ARGUMENT, ["generation"])


@given(st.lists(st.integers(-2, 2), max_size=20), st.integers(0, 30))
def test_those_who_wait_are_the_last_in_order(priorities: list[int], waiting: int) -> None:
    jobs = [(f"job-{number}", priority) for number, priority in enumerate(priorities)]

    positions = queue_positions(jobs, waiting)

    assert sorted(positions.values()) == list(range(min(waiting, len(jobs))))
    order = [name for name, _ in sorted(jobs, key=lambda job: job[1])]
    assert list(positions) == order[len(order) - len(positions) :]


@pytest.fixture(params=["lean", "public"])
def served(request: pytest.FixtureRequest, real: Running, real_by_public_way: Running) -> Running:
    """Both ways of running requests in vLLM."""
    return real if request.param == "lean" else real_by_public_way


@pytest.mark.real_vllm
@pytest.mark.timeout(600)
@pytest.mark.parametrize("sequences", [1, 2])
async def test_vllm_tells_tokens_while_they_come(served: Running, sequences: int) -> None:
    name = f"order-{sequences}"
    call = served.generation.Generate(request(name, 600, num_sequences=sequences))
    await eventually(lambda: served.engine.running == sequences, "it runs")

    first = await in_phase(served, DECODING, request_id=name)
    await status_when(
        served, lambda found: found and found.completion_tokens > first.completion_tokens, request_id=name
    )
    reply = await call

    ended = await told(served, id=reply.id)
    assert (ended.phase, ended.completion_tokens) == (ENDED, 600 * sequences)


@pytest.mark.real_vllm
@pytest.mark.timeout(600)
async def test_vllm_tells_who_waits(real: Running) -> None:
    places = real.engine.model.max_concurrent_sequences
    calls = [real.generation.StreamGenerate(request(f"crowd-{number}", 900)) for number in range(places + 3)]
    await eventually(lambda: real.engine.running == len(calls), "all are in vLLM")

    last = await in_phase(real, QUEUED, request_id=f"crowd-{places + 2}")

    assert last.queue_position < 3
    for call in calls:
        call.cancel()
    await eventually(lambda: real.engine.running == 0, "all is free")
