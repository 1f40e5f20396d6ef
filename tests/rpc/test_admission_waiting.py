"""Calls that find the engine full wait before it, in time, and whoever leaves has cost it nothing."""

import asyncio
from typing import Any

import grpc
import pytest

from penstock.v1 import generation_pb2 as pb
from tests.conftest import OpenService, Running, eventually
from tests.rpc.error_details import failure_of
from tests.rpc.full_service import (
    COUNTING,
    first_to_end,
    full,
    one_after_another,
    request,
)
from tests.rpc.generation_status import in_phase, status


async def measured(open_service: OpenService, **settings: Any) -> Running:
    """A service with one place that has measured its pace: some 0.3 s for each."""
    simulated = {"step_time_ms": 10, "max_concurrent_sequences": 1}
    running = await open_service(load=COUNTING, simulated=simulated, **settings)
    await running.generation.Generate(request(tokens=30))
    return running


async def test_a_deadline_that_cannot_be_met_is_refused_at_once(open_service: OpenService) -> None:
    running = await measured(open_service)
    calls = await one_after_another(running, 4)

    failure = await failure_of(running.generation.Generate(request(tokens=1, request_id="late"), timeout=0.8))

    assert (failure.code, failure.reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE")
    assert "by prediction" in failure.text
    assert "late" not in running.engine.submitted
    for call in calls:
        call.cancel()


async def test_a_wait_longer_than_the_operator_allows_is_refused(open_service: OpenService) -> None:
    running = await measured(open_service, max_wait_seconds=1)

    calls = [running.generation.Generate(request()) for _ in range(10)]
    failure = await failure_of(await first_to_end(calls))

    assert failure.reason == "OVERLOADED"
    assert "max_wait_seconds is 1" in failure.text
    for call in calls:
        call.cancel()


async def test_a_deadline_that_passes_while_it_waits_never_reaches_the_engine(open_service: OpenService) -> None:
    running, calls = await full(open_service, room=1)

    late = running.generation.Generate(request(request_id="late", on_deadline=pb.ON_DEADLINE_RETURN_PARTIAL), timeout=1)
    reply = await late

    assert reply.sequences[0].finish.reason == pb.FINISH_REASON_DEADLINE
    assert (await status(running, request_id="late")).phase == pb.GENERATION_PHASE_ENDED
    for call in calls:
        call.cancel()
    await eventually(lambda: running.engine.running == 0, "all has ended")
    assert "late" not in running.engine.submitted


@pytest.mark.parametrize("leave", ["cancel", "Cancel"])
async def test_who_leaves_the_queue_never_reaches_the_engine(open_service: OpenService, leave: str) -> None:
    running, calls = await full(open_service)
    waiting = await status(running, request_id="3")
    assert waiting is not None

    if leave == "cancel":
        calls[3].cancel()
    else:
        await running.generation.Cancel(pb.CancelRequest(id=waiting.id))
    ended = pb.GENERATION_PHASE_ENDED
    await in_phase(running, ended, request_id="3")
    calls[0].cancel()

    await eventually(lambda: len(running.engine.submitted) == 4, "the next one goes on")
    assert running.engine.submitted == ["0", "1", "2", "4"]
    for call in calls:
        call.cancel()


async def test_a_drain_ends_those_who_wait_without_handing_them_over(open_service: OpenService) -> None:
    running, calls = await full(open_service)

    await running.service.drain(0)

    failures = [await failure_of(call) for call in calls]
    assert {failure.reason for failure in failures} == {"DRAINING"}
    assert running.engine.submitted == ["0", "1", "2"]


async def test_those_who_wait_hear_of_the_engines_death(open_service: OpenService) -> None:
    running, calls = await full(open_service)

    running.engine.kill()

    assert {(await failure_of(call)).code for call in calls} == {grpc.StatusCode.UNAVAILABLE}


async def test_the_time_in_the_queue_is_told(open_service: OpenService) -> None:
    running = await open_service(simulated={"step_time_ms": 5, "max_concurrent_sequences": 1})

    replies = await asyncio.gather(*(running.generation.Generate(request(tokens=20)) for _ in range(6)))

    queued = sorted(reply.timings.queue_time_ms for reply in replies)
    assert queued[-1] > 4 * 19 * 5
    assert all(reply.timings.queue_time_ms < reply.timings.time_to_first_token_ms for reply in replies)
