"""Each limit has an error of its own, which keeps what had come."""

import asyncio
import time
from collections.abc import AsyncIterator

import grpc
import pytest
from google.rpc import error_details_pb2

from penstock import APITimeoutError, ConnectTimeout, FirstTokenTimeout, IdleTimeout, Retry, Timeout
from penstock.v1 import generation_pb2 as pb
from tests.client.conftest import Caller, MakeCaller
from tests.client.script import Failure
from tests.client.scripted_server import ScriptedServer

ONCE = Retry(attempts=1)


@pytest.fixture
async def deaf() -> AsyncIterator[str]:
    """A target that takes connections and says nothing."""
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()


async def test_a_connection_that_does_not_come_is_a_connect_timeout(make_caller: MakeCaller, deaf: str) -> None:
    caller = make_caller(deaf, timeout=Timeout(total=30, connect=0.2))

    with pytest.raises(ConnectTimeout, match=r"0\.2 s"):
        await caller.generate("Once")
    with pytest.raises(ConnectTimeout) as caught:
        await caller.stream("Once").all()

    assert caught.value.partial.text == ""


async def test_a_refused_connection_is_told_before_the_limit(make_caller: MakeCaller, server: ScriptedServer) -> None:
    target = server.target
    await server.stop()
    began = time.monotonic()

    with pytest.raises(Exception, match="onnect") as caught:
        await make_caller(target, timeout=Timeout(connect=20), retry=ONCE).generate("Once")

    assert not isinstance(caught.value, ConnectTimeout)
    assert time.monotonic() - began < 10


async def test_a_limit_on_connecting_does_not_end_calls(make_caller: MakeCaller, server: ScriptedServer) -> None:
    server.block_after = 1
    stream = make_caller(server.target, timeout=Timeout(connect=0.2)).stream("Once")
    await stream.read()
    asyncio.get_running_loop().call_later(0.4, server.release.set)

    assert (await stream.reply()).text == "Hello wörld"


async def test_a_first_chunk_that_does_not_come_is_a_first_token_timeout(
    make_caller: MakeCaller, server: ScriptedServer
) -> None:
    server.block_after = 0
    caller = make_caller(server.target, timeout=Timeout(first_token=0.2))

    with pytest.raises(FirstTokenTimeout, match=r"within 0\.2 s") as caught:
        await caller.stream("Once", request_id="job").all()

    assert (caught.value.partial.text, caught.value.request_id) == ("", "job")
    await asyncio.wait_for(server.cancelled.wait(), 5)
    assert len(server.requests) == 1


async def test_another_replica_is_asked_when_the_first_chunk_does_not_come(
    make_caller: MakeCaller, server: ScriptedServer
) -> None:
    other = ScriptedServer()
    await other.start()
    caller = make_caller([server.target, other.target], timeout=Timeout(first_token=0.3))
    server.block_after = other.block_after = 0

    with pytest.raises(FirstTokenTimeout) as caught:
        await caller.stream("Once").all()

    assert (len(server.requests), len(other.requests)) == (1, 1)
    assert caught.value.attempts == 2
    await other.stop()


async def test_a_next_chunk_that_does_not_come_is_an_idle_timeout_with_what_came(
    make_caller: MakeCaller, server: ScriptedServer
) -> None:
    server.block_after = 1
    caller = make_caller(server.target, timeout=Timeout(first_token=20, idle=0.2))

    with pytest.raises(IdleTimeout, match=r"within 0\.2 s") as caught:
        await caller.stream("Once").all()

    assert caught.value.partial.text == "Hello"
    assert caught.value.resume_token is None
    await asyncio.wait_for(server.cancelled.wait(), 5)


async def test_a_first_chunk_of_a_continuation_that_does_not_come_is_a_first_token_timeout(
    make_caller: MakeCaller, server: ScriptedServer
) -> None:
    server.answers["Tokenize"] = pb.TokenizeResponse(token_ids=[90])
    server.script_texts = {(90,): "Once ", (90, 0): "Once Hello"}
    lost = error_details_pb2.ErrorInfo(reason="GENERATION_NOT_FOUND", domain="penstock")
    server.failures = [Failure(grpc.StatusCode.NOT_FOUND, "there is no such generation", [lost], after=1)]
    stream = make_caller(server.target, timeout=Timeout(first_token=0.5)).stream("Once", resume=True)
    await stream.read()
    await asyncio.sleep(0.6)  # the time for the first chunk is over before the stream breaks
    server.block_after = 0

    with pytest.raises(FirstTokenTimeout) as caught:
        await asyncio.wait_for(stream.all(), 5)

    assert caught.value.partial.text == "Hello"


async def test_a_slow_reader_is_not_an_idle_server(make_caller: MakeCaller, server: ScriptedServer) -> None:
    stream = make_caller(server.target, timeout=Timeout(idle=0.1)).stream("Once")
    await stream.read()

    await asyncio.sleep(0.3)

    assert (await stream.reply()).text == "Hello wörld"


async def test_a_stream_that_keeps_coming_outlasts_its_idle_limit(
    make_caller: MakeCaller, server: ScriptedServer
) -> None:
    server.texts = ["a"] * 4
    stream = make_caller(server.target, timeout=Timeout(idle=0.4)).stream("Once")

    for position in range(1, 4):
        server.release.clear()
        server.block_after = position
        asyncio.get_running_loop().call_later(0.15, server.release.set)
        assert await stream.read() is not None

    assert (await stream.reply()).text == "aaaa"


async def test_the_total_limit_keeps_its_own_error(make_caller: MakeCaller, server: ScriptedServer) -> None:
    server.block_after = 0
    caller = make_caller(server.target, timeout=Timeout(total=0.2, first_token=20))

    with pytest.raises(APITimeoutError) as caught:
        await caller.stream("Once").all()

    assert type(caught.value) is APITimeoutError


async def test_a_tier_names_limits(make_caller: MakeCaller, server: ScriptedServer) -> None:
    server.block_after = 1
    caller = make_caller(server.target, tiers={"chat": Timeout(20, idle=0.2)})

    with pytest.raises(IdleTimeout):
        await caller.stream("Once", tier="chat").all()

    assert server.seconds_left[0] is not None
    assert 15 < server.seconds_left[0] <= 20


async def test_an_unknown_tier_is_refused_before_anything_is_sent(caller: Caller, server: ScriptedServer) -> None:
    with pytest.raises(ValueError, match="tier is 'speed'"):
        await caller.generate("Once", tier="speed")

    assert server.requests == []


async def test_a_call_ends_with_the_call_that_it_is_part_of(caller: Caller, server: ScriptedServer) -> None:
    class Context:
        def time_remaining(self) -> float:
            return 9.0

    await caller.generate("Once", deadline=Context(), timeout=60)
    await caller.generate("Once", deadline=5)

    first, second = server.seconds_left
    assert first is not None
    assert second is not None
    assert first < 10
    assert second < 5.5


async def test_limits_grow_with_what_calls_have_taken(make_caller: MakeCaller, server: ScriptedServer) -> None:
    server.texts = ["a", "b"]
    caller = make_caller(server.target, timeout=Timeout(first_token=0.15), retry=ONCE)
    for _ in range(3):
        server.block_after = None
        for _ in range(7):
            await caller.stream("Once").all()
    server.block_after = 0
    for _ in range(2):
        with pytest.raises(FirstTokenTimeout):  # each counts as one that took longer than its limit
            await caller.stream("Once").all()
    asyncio.get_running_loop().call_later(0.3, server.release.set)

    assert (await caller.stream("Once").reply()).text == "ab"


async def test_limits_stay_as_they_are_if_asked(make_caller: MakeCaller, server: ScriptedServer) -> None:
    caller = make_caller(server.target, timeout=Timeout(first_token=0.15), retry=ONCE, adaptive=False)
    for _ in range(20):
        await caller.stream("Once").all()
    server.block_after = 0

    for _ in range(4):
        with pytest.raises(FirstTokenTimeout, match=r"within 0\.15 s"):
            await caller.stream("Once").all()
