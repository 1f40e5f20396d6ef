"""What is tried again, where, when and how often."""

import asyncio
import time
from dataclasses import replace
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2

from penstock import (
    APIConnectionError,
    APIError,
    APITimeoutError,
    AsyncStream,
    BadRequestError,
    InternalServerError,
    RateLimitError,
    RequestCancelled,
    Retry,
    ServiceUnavailableError,
    StreamInterrupted,
    Timeout,
)
from penstock.v1 import models_pb2
from tests.client.conftest import Caller, MakeCaller
from tests.client.relay import Relay
from tests.client.script import Failure
from tests.client.scripted_server import ScriptedServer
from tests.conftest import eventually

QUICK = Retry(base=0.01)
UNAVAILABLE, EXHAUSTED = grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.fixture
async def other() -> Any:
    """Another replica."""
    replica = ScriptedServer()
    await replica.start()
    yield replica
    await replica.stop()


@pytest.fixture
def quick(make_caller: MakeCaller, server: ScriptedServer) -> Caller:
    return make_caller(server.target, retry=QUICK)


def busy(seconds: float) -> Failure:
    """What a full server says, which will have room so much later."""
    delay = Duration()
    delay.FromNanoseconds(int(seconds * 1e9))
    info = error_details_pb2.ErrorInfo(reason="OVERLOADED", domain="penstock")
    return Failure(EXHAUSTED, "full", [info, error_details_pb2.RetryInfo(retry_delay=delay)])


async def test_a_lost_connection_is_tried_again(quick: Caller, server: ScriptedServer) -> None:
    server.failures = [Failure(UNAVAILABLE, "Socket closed")] * 2

    assert (await quick.generate("Once")).text == "Hello wörld"
    assert len(server.requests) == 3


async def test_a_stream_is_tried_again_before_its_first_chunk(quick: Caller, server: ScriptedServer) -> None:
    server.failures = [Failure(UNAVAILABLE, "Socket closed")] * 2

    chunks = await quick.stream("Once").all()

    assert [chunk.text for chunk in chunks] == ["Hello", " wörld"]
    assert len(server.requests) == 3


async def test_nothing_is_tried_again_after_the_first_chunk(quick: Caller, server: ScriptedServer) -> None:
    server.break_off(after=1)

    with pytest.raises(StreamInterrupted):
        await quick.stream("Once").all()

    assert len(server.requests) == 1


async def test_the_last_error_is_raised_with_the_number_of_attempts(quick: Caller, server: ScriptedServer) -> None:
    server.refuse(UNAVAILABLE, "LOADING")

    with pytest.raises(ServiceUnavailableError) as caught:
        await quick.generate("Once")

    assert caught.value.attempts == 3
    assert len(server.requests) == 3


@pytest.mark.parametrize("method", ["generate", "stream"])
async def test_one_attempt_is_one(make_caller: MakeCaller, server: ScriptedServer, method: str) -> None:
    server.fail(UNAVAILABLE, "Socket closed")
    caller = make_caller(server.target, retry=Retry(attempts=1))

    with pytest.raises(APIConnectionError):
        await (caller.generate("Once") if method == "generate" else caller.stream("Once").all())

    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD"),
        (grpc.StatusCode.NOT_FOUND, "MODEL_NOT_FOUND"),
        (grpc.StatusCode.ALREADY_EXISTS, "KEY_REUSED"),
        (grpc.StatusCode.FAILED_PRECONDITION, "FEATURE_OFF"),
        (grpc.StatusCode.PERMISSION_DENIED, "TENANT"),
        (grpc.StatusCode.UNAUTHENTICATED, "NO_KEY"),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE"),
        (grpc.StatusCode.UNIMPLEMENTED, "NO_SUCH_CALL"),
        (grpc.StatusCode.CANCELLED, "CANCELLED"),
        (grpc.StatusCode.INTERNAL, "INTERNAL"),
        (EXHAUSTED, "SLOW_READER"),
        (EXHAUSTED, "TOO_LARGE"),
    ],
)
async def test_what_would_fail_again_is_not_tried_again(
    quick: Caller, server: ScriptedServer, status: grpc.StatusCode, reason: str
) -> None:
    server.refuse(status, reason)

    with pytest.raises(APIError):
        await quick.generate("Once")

    assert len(server.requests) == 1


async def test_an_internal_error_is_tried_again_once_and_only_with_a_key(quick: Caller, server: ScriptedServer) -> None:
    server.refuse(grpc.StatusCode.INTERNAL, "INTERNAL")

    with pytest.raises(InternalServerError):
        await quick.generate("Once", idempotency_key="job-1")

    assert [request.idempotency_key for request in server.requests] == ["job-1"] * 2


async def test_aborted_calls_are_tried_again(quick: Caller, server: ScriptedServer) -> None:
    server.failures = [Failure(grpc.StatusCode.ABORTED, "try again")]

    assert (await quick.generate("Once")).text == "Hello wörld"


async def test_a_full_server_is_asked_again_when_it_says(quick: Caller, server: ScriptedServer) -> None:
    server.failures = [busy(0.15)]
    began = time.monotonic()

    assert (await quick.generate("Once")).text == "Hello wörld"
    assert time.monotonic() - began >= 0.15


@pytest.mark.parametrize("options", [{"timeout": 1.0}, {}])
async def test_a_server_that_asks_for_more_patience_than_there_is_gets_none(
    quick: Caller, server: ScriptedServer, options: dict[str, Any]
) -> None:
    server.failures = [busy(2 if options else 121)]

    with pytest.raises(RateLimitError) as caught:
        await quick.generate("Once", **options)

    assert caught.value.retry_after == (2 if options else 121)
    assert len(server.requests) == 1


async def test_a_negative_pushback_forbids_retries(quick: Caller, server: ScriptedServer) -> None:
    server.failures = [Failure(UNAVAILABLE, "go away", metadata=(("grpc-retry-pushback-ms", "-1"),))]

    with pytest.raises(APIConnectionError):
        await quick.generate("Once")

    assert len(server.requests) == 1


@pytest.mark.parametrize("method", ["generate", "stream"])
async def test_another_replica_is_asked_first_and_at_once(
    make_caller: MakeCaller, server: ScriptedServer, other: ScriptedServer, method: str
) -> None:
    for replica in (server, other):
        replica.refuse(UNAVAILABLE, "DRAINING")
    caller = make_caller([server.target, other.target], retry=Retry(attempts=2, base=60, cap=60))

    with pytest.raises(ServiceUnavailableError):
        await (caller.generate("Once") if method == "generate" else caller.stream("Once").all())

    assert (len(server.requests), len(other.requests)) == (1, 1)


@pytest.mark.parametrize("method", ["generate", "stream"])
async def test_a_replica_that_is_left_out_is_not_one_that_was_not_tried(
    make_caller: MakeCaller, server: ScriptedServer, other: ScriptedServer, method: str
) -> None:
    caller = make_caller([server.target, other.target])
    ejected: list[Any] = []
    delays: list[float] = []
    caller.client.on("eject", ejected.append)
    await other.stop()
    while not ejected:
        await caller.generate("Once")
    caller.client.on("retry", lambda event: delays.append(event.delay))
    server.failures = [replace(busy(0.05), status=UNAVAILABLE)]

    await (caller.generate("Once") if method == "generate" else caller.stream("Once").all())

    assert delays == [0.05]


async def test_behind_a_balancer_the_server_after_a_leaving_one_is_reached_by_a_new_connection(
    make_caller: MakeCaller, server: ScriptedServer, other: ScriptedServer
) -> None:
    balancer = Relay(server.port)
    await balancer.start()
    caller = make_caller(balancer.target, retry=Retry(base=0.01))
    delays: list[float] = []
    caller.client.on("retry", lambda event: delays.append(event.delay))
    await caller.generate("Once")
    server.refuse(UNAVAILABLE, "DRAINING", error_details_pb2.RetryInfo())  # at once, elsewhere
    balancer.leads_to = other.port

    await caller.generate("Once")

    assert len(other.requests) == 1
    assert all(delay > 0 for delay in delays)
    balancer.stop()


async def test_all_attempts_share_one_deadline(make_caller: MakeCaller, server: ScriptedServer) -> None:
    server.fail(UNAVAILABLE, "Socket closed")
    caller = make_caller(server.target, retry=Retry(attempts=50, base=0.4, cap=0.4, budget=None))
    began = time.monotonic()

    with pytest.raises(APIConnectionError):
        await caller.generate("Once", timeout=1)

    assert time.monotonic() - began < 1.2


async def test_a_silent_server_takes_the_whole_time_once(make_caller: MakeCaller, server: ScriptedServer) -> None:
    server.block_after = 0
    caller = make_caller(server.target, retry=Retry(attempts=6))
    began = time.monotonic()

    with pytest.raises(APITimeoutError):
        await caller.generate("Once", timeout=1)

    assert time.monotonic() - began < 1.2
    assert len(server.requests) == 1


async def test_later_attempts_have_what_is_left_of_the_time(make_caller: MakeCaller, server: ScriptedServer) -> None:
    server.failures = [busy(0.3)]

    await make_caller(server.target).stream("Once", timeout=5).all()

    first, second = server.seconds_left
    assert first is not None
    assert second is not None
    assert second < first - 0.25


async def test_many_failures_use_up_the_budget(make_caller: MakeCaller, server: ScriptedServer) -> None:
    server.fail(UNAVAILABLE, "Socket closed")
    caller = make_caller(server.target, retry=Retry(base=0, attempts=3))

    for _ in range(10):
        with pytest.raises(APIConnectionError):
            await caller.generate("Once")

    assert len(server.requests) == 13  # the fifth failure leaves half of the ten


async def test_a_key_is_the_same_in_all_attempts(quick: Caller, server: ScriptedServer) -> None:
    server.failures = [Failure(UNAVAILABLE, "Socket closed")] * 2

    await quick.stream("Once", resume=True).reply()

    assert len({request.idempotency_key for request in server.requests}) == 1
    assert server.requests[0].idempotency_key


async def test_an_alias_is_switched_again_only_if_nothing_has_run(quick: Caller, server: ScriptedServer) -> None:
    server.answers["SetAlias"] = models_pb2.SetAliasResponse()
    server.fail(UNAVAILABLE, "Socket closed")
    with pytest.raises(APIConnectionError):
        await quick.call("models.set_alias", "prod", "tiny")
    broken = len(server.asked)

    server.refuse(UNAVAILABLE, "LOADING")
    with pytest.raises(ServiceUnavailableError):
        await quick.call("models.set_alias", "prod", "tiny")

    assert (broken, len(server.asked) - broken) == (1, 3)


async def test_a_call_may_have_a_policy_of_its_own(quick: Caller, server: ScriptedServer) -> None:
    server.fail(UNAVAILABLE, "Socket closed")

    with pytest.raises(APIConnectionError):
        await quick.generate("Once", retry=Retry(attempts=1))

    assert len(server.requests) == 1


async def test_a_copy_with_options_has_its_own_policy_and_shares_the_rest(
    make_caller: MakeCaller, server: ScriptedServer
) -> None:
    caller = make_caller(server.target)
    caller.client = caller.client.with_options(retry=Retry(attempts=1), timeout=Timeout(7))
    server.failures = [Failure(UNAVAILABLE, "Socket closed")]

    with pytest.raises(APIConnectionError):
        await caller.generate("Once")

    assert server.seconds_left[0] is not None
    assert server.seconds_left[0] < 7.5


async def test_a_bad_request_says_so_at_once(quick: Caller, server: ScriptedServer) -> None:
    server.refuse(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")

    with pytest.raises(BadRequestError) as caught:
        await quick.stream("Once").all()

    assert caught.value.attempts == 1


async def test_a_late_first_chunk_gets_a_rival_and_the_faster_one_wins(
    make_caller: MakeCaller, server: ScriptedServer, other: ScriptedServer
) -> None:
    caller = make_caller([server.target, other.target], retry=Retry(hedge=0.1))
    server.block_after = other.block_after = 0
    reading = asyncio.create_task(caller.stream("Once").all())
    await eventually(lambda: bool(server.requests or other.requests), "a replica is asked")
    first, second = (server, other) if server.requests else (other, server)
    await asyncio.wait_for(second.blocked.wait(), 5)

    second.release.set()
    chunks = await asyncio.wait_for(reading, 5)

    assert [chunk.text for chunk in chunks] == ["Hello", " wörld"]
    await asyncio.wait_for(first.cancelled.wait(), 5)
    assert not second.cancellations


async def test_a_first_chunk_in_time_has_no_rival(
    make_caller: MakeCaller, server: ScriptedServer, other: ScriptedServer
) -> None:
    caller = make_caller([server.target, other.target], retry=Retry(hedge=20))

    await caller.stream("Once").all()

    assert len(server.requests) + len(other.requests) == 1


@pytest.mark.parametrize("options", [{"num_sequences": 2}, {"retry": Retry()}])
async def test_no_rival_is_sent_for_several_sequences_or_unasked(
    make_caller: MakeCaller, server: ScriptedServer, other: ScriptedServer, options: dict[str, Any]
) -> None:
    caller = make_caller([server.target, other.target], retry=Retry(hedge=0.01))
    server.block_after = other.block_after = 0
    for replica in (server, other):
        asyncio.get_running_loop().call_later(0.2, replica.release.set)

    await caller.stream("Once", **options).all()

    assert len(server.requests) + len(other.requests) == 1


async def test_a_single_replica_has_no_rival(make_caller: MakeCaller, server: ScriptedServer) -> None:
    server.block_after = 0
    asyncio.get_running_loop().call_later(0.1, server.release.set)

    await make_caller(server.target, retry=Retry(hedge=0.01)).stream("Once").all()

    assert len(server.requests) == 1


async def test_a_rival_that_fails_leaves_the_first(
    make_caller: MakeCaller, server: ScriptedServer, other: ScriptedServer
) -> None:
    caller = make_caller([server.target, other.target], retry=Retry(hedge=0.05))
    server.block_after = other.block_after = 0
    reading = asyncio.create_task(caller.stream("Once").all())
    await eventually(lambda: bool(server.requests or other.requests), "a replica is asked")
    first, rival = (server, other) if server.requests else (other, server)
    rival.refuse(UNAVAILABLE, "LOADING")
    await eventually(lambda: bool(rival.requests), "the rival is asked")

    first.release.set()

    assert len(await asyncio.wait_for(reading, 5)) == 2


async def test_leaving_a_hedged_stream_ends_both(
    make_caller: MakeCaller, server: ScriptedServer, other: ScriptedServer
) -> None:
    server.block_after = other.block_after = 0
    stream = make_caller([server.target, other.target], retry=Retry(hedge=0.05)).stream("Once")
    reading = asyncio.create_task(stream.all())
    await asyncio.gather(*(asyncio.wait_for(replica.blocked.wait(), 5) for replica in (server, other)))

    await stream.close()

    await asyncio.gather(*(asyncio.wait_for(replica.cancelled.wait(), 5) for replica in (server, other)))
    await asyncio.gather(reading, return_exceptions=True)


async def test_a_hedged_stream_that_is_left_while_the_copy_is_sent_ends_both(
    make_caller: MakeCaller, server: ScriptedServer, other: ScriptedServer
) -> None:
    server.block_after = other.block_after = 0
    caller = make_caller([server.target, other.target], retry=Retry(hedge=0.05))
    stream = caller.stream("Once")
    leave = stream.stream.cancel if isinstance(stream.stream, AsyncStream) else stream.stream.close
    caller.client.on("hedge", lambda _: leave())

    with pytest.raises(RequestCancelled):
        await asyncio.wait_for(stream.read(), 5)

    await eventually(lambda: server.active == other.active == 0, "both calls are over")
