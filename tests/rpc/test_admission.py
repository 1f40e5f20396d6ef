"""Calls for which there is no room are refused at once, and whatever ends a call, its room is free again."""

import asyncio
import urllib.request
from collections.abc import AsyncIterator

import grpc
import pytest

from penstock.v1 import generation_pb2 as pb
from penstock_service.engine.simulated import SimulatedEngine
from penstock_service.errors import Unavailable
from penstock_service.settings import Settings
from tests.conftest import OpenService, Running, eventually
from tests.faults.faulty_engine import faulty
from tests.rpc.embedding_engine import EmbeddingEngine
from tests.rpc.error_details import failure_in, failure_of
from tests.rpc.full_service import (
    NEVER,
    QUEUED,
    CountingEngine,
    batch,
    full,
    one_after_another,
    pushback_of,
    request,
)
from tests.rpc.generation_status import in_phase

GAUGES = ("running", "waiting", "queued_tokens")


@pytest.fixture
async def busy(open_service: OpenService) -> AsyncIterator[Running]:
    """A service that has no room."""
    running, calls = await full(open_service)
    yield running
    for call in calls:
        call.cancel()


def each_way(running: Running, sent: pb.GenerateRequest) -> list[grpc.aio.Call]:
    return [running.generation.Generate(sent), running.generation.StreamGenerate(sent)]


async def test_a_refusal_says_what_is_full_and_when_to_come_again(busy: Running) -> None:
    for call in each_way(busy, request()):
        failure = await failure_of(call)
        assert (failure.code, failure.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
        assert failure.text == "5 sequences run or wait, of 5 at most, and the call has 1"
        assert failure.retry_after is not None
        assert int(await pushback_of(call) or 0) == pytest.approx(1000 * failure.retry_after, abs=1)


async def test_a_sessions_call_is_refused_alone(busy: Running) -> None:
    session = busy.generation.Session()
    await session.write(pb.SessionRequest(start=pb.StartCall(call=1, request=request())))

    while not (response := await session.read()).ends:
        pass

    refusal = failure_in(response.ends[0].status)
    assert (refusal.reason, refusal.code) == ("OVERLOADED", grpc.StatusCode.RESOURCE_EXHAUSTED)
    session.cancel()


async def test_nothing_is_tokenized_for_a_call_that_is_refused_or_waits(busy: Running) -> None:
    await failure_of(busy.generation.Generate(request()))

    assert busy.engine.submitted == ["0", "1", "2"]


async def test_two_who_are_refused_are_told_different_moments(busy: Running) -> None:
    failures = [await failure_of(call) for call in each_way(busy, request())]

    assert failures[0].retry_after != failures[1].retry_after


async def test_a_batch_is_let_in_whole_or_not_at_all(open_service: OpenService) -> None:
    pace = {"step_time_ms": 60_000, "max_concurrent_sequences": 2}
    running = await open_service(simulated=pace, max_admitted_sequences=3)
    calls = [running.generation.Generate(request()) for _ in range(2)]
    await eventually(lambda: running.engine.running == 2, "they run")

    failure = await failure_of(running.generation.Generate(batch("a", "b")))

    assert failure.text == "2 sequences run or wait, of 3 at most, and the call has 2"
    for call in calls:
        call.cancel()


async def test_a_batch_larger_than_the_limit_gets_in_beside_others(open_service: OpenService) -> None:
    pace = {"step_time_ms": 1, "max_concurrent_sequences": 2}
    running = await open_service(simulated=pace, max_admitted_sequences=4)
    other = running.generation.Generate(request())
    await eventually(lambda: running.engine.running == 1, "it runs")

    reply = await running.generation.Generate(batch(*"abcdefgh", tokens=2))

    assert [result.response.usage.completion_tokens for result in reply.results] == [2] * 8
    other.cancel()


async def test_each_of_several_sequences_counts(open_service: OpenService) -> None:
    async def of_many_sequences(settings: Settings) -> SimulatedEngine:
        engine = await SimulatedEngine.load(settings)
        engine.model.engine = "vllm"  # of the simulated one nobody may ask for more than one sequence
        return engine

    running = await open_service(load=of_many_sequences, simulated=NEVER, max_admitted_sequences=4)
    call = running.generation.StreamGenerate(request(num_sequences=3))
    await eventually(lambda: running.engine.running == 1, "it runs")

    failure = await failure_of(running.generation.Generate(request(num_sequences=2)))

    assert failure.text == "3 sequences run or wait, of 4 at most, and the call has 2"
    call.cancel()


async def test_waiting_prompts_have_a_limit_of_their_own(open_service: OpenService) -> None:
    running = await open_service(simulated=NEVER, max_queued_tokens=1000)
    calls = await one_after_another(running, 4, prompt="word " * 600)

    failure = await failure_of(running.generation.Generate(request(prompt="word " * 600)))

    assert failure.text == "750 prompt tokens wait, of 1000 at most, and the call has about 750"
    for call in calls:
        call.cancel()


async def test_a_wrong_input_of_a_batch_does_not_wait(open_service: OpenService) -> None:
    running = await open_service(simulated=NEVER, max_queued_tokens=1000, metrics_port=0)
    wrong = {"token_ids": {"ids": [2**31 - 1] * 600}}
    sent = pb.GenerateRequest(batch={"inputs": [{"prompt": "Hello"}, wrong]}, stopping={"max_tokens": 8})
    call = running.generation.Generate(sent)
    await eventually(lambda: running.engine.running == 1, "the right one has its place")

    assert (await admission_metrics(running))["penstock_admission_queued_tokens"] == "0.0"
    call.cancel()


async def test_embed_goes_through_the_same_door(open_service: OpenService) -> None:
    running = await open_service(load=EmbeddingEngine.load, max_admitted_sequences=5)
    running.engine.hold = asyncio.Event()
    inputs = [pb.EmbedInput(text=text) for text in "abc"]
    call = running.generation.Embed(pb.EmbedRequest(inputs=inputs))
    await eventually(lambda: running.engine.embedding == 3, "it runs")

    failure = await failure_of(running.generation.Embed(pb.EmbedRequest(inputs=inputs)))
    running.engine.hold.set()
    await call

    assert failure.text == "3 sequences run or wait, of 5 at most, and the call has 3"
    assert await running.generation.Embed(pb.EmbedRequest(inputs=inputs))


async def test_what_waits_and_what_is_refused_is_measured(open_service: OpenService) -> None:
    running, calls = await full(open_service, metrics_port=0)
    await failure_of(running.generation.Generate(request()))

    told = await admission_metrics(running)

    assert told["penstock_admission_running"] == "3.0"
    assert told["penstock_admission_waiting"] == "2.0"
    assert told["penstock_admission_queued_tokens"] == "2.0"
    assert told["penstock_admission_refused_total"] == "1.0"
    for call in calls:
        call.cancel()


async def admission_metrics(running: Running) -> dict[str, str]:
    lines = (await asyncio.to_thread(scrape, running.service.metrics_port)).splitlines()
    return {line.split("{")[0]: line.split()[-1] for line in lines if line.startswith("penstock_admission")}


def scrape(port: int | None) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as reply:
        return str(reply.read().decode())


async def test_estimate_tells_what_would_happen(busy: Running) -> None:
    told = await busy.generation.Estimate(pb.EstimateRequest(request=request()))
    failure = await failure_of(busy.generation.Generate(request()))

    refusal = failure_in(told.refusal)
    assert not told.admitted
    assert (refusal.code, refusal.reason, refusal.text) == (failure.code, failure.reason, failure.text)


async def test_what_needs_no_engine_is_answered_when_there_is_no_room(busy: Running) -> None:
    tokens = await busy.generation.Tokenize(pb.TokenizeRequest(prompt="Hello"))

    assert tokens.token_ids


@pytest.mark.parametrize(
    ("way", "code"),
    [
        ("ends", grpc.StatusCode.OK),
        ("cancelled", grpc.StatusCode.CANCELLED),
        ("refused by the engine", grpc.StatusCode.UNAVAILABLE),
        ("deadline", grpc.StatusCode.DEADLINE_EXCEEDED),
    ],
)
async def test_whatever_ends_a_call_its_room_is_free_again(
    open_service: OpenService, way: str, code: grpc.StatusCode
) -> None:
    load = faulty(Unavailable("ENGINE_DEAD")) if way == "refused by the engine" else CountingEngine.load
    slow = {"step_time_ms": 1 if way == "ends" else 60_000}
    running = await open_service(load=load, simulated=slow, max_admitted_sequences=2, metrics_port=0)

    for _ in range(5):
        call = running.generation.Generate(batch("a", "b", tokens=3), timeout=0.3 if way == "deadline" else 60)
        if way == "cancelled":
            await eventually(lambda: running.engine.running == 2, "it runs")
            call.cancel()
        assert await call.code() is code
        await eventually(lambda: running.service.lifecycle.running == 0, "the handler ends")
        await nothing_is_held(running)


async def test_whatever_ends_a_session_the_room_of_its_calls_is_free_again(open_service: OpenService) -> None:
    running = await open_service(simulated=NEVER, max_admitted_sequences=5, metrics_port=0)
    session = running.generation.Session()
    for number in range(1, 6):  # one runs, two wait in the engine and two before it
        await session.write(pb.SessionRequest(start=pb.StartCall(call=number, request=request(request_id=str(number)))))
    await in_phase(running, QUEUED, request_id="5")

    session.cancel()

    await nothing_is_held(running)
    calls = await one_after_another(running, 5)
    for call in calls:
        call.cancel()


async def test_a_dead_engine_leaves_no_place_taken(open_service: OpenService) -> None:
    running, calls = await full(open_service, metrics_port=0)

    running.engine.kill()

    for call in calls:
        await call.code()
    await nothing_is_held(running)


async def test_a_call_without_time_is_not_handed_to_the_engine(open_service: OpenService) -> None:
    running = await open_service(load=CountingEngine.load)
    partial = request(on_deadline=pb.ON_DEADLINE_RETURN_PARTIAL)

    call = running.generation.Generate(partial, timeout=0.015)  # less than the margin for the way back
    await call.code()

    assert running.engine.submitted == []


async def nothing_is_held(running: Running) -> None:
    """Wait until no place is taken, nobody waits, and no prompt does."""
    async with asyncio.timeout(20):
        while True:
            told = await admission_metrics(running)
            if all(told[f"penstock_admission_{name}"] == "0.0" for name in GAUGES):
                return
