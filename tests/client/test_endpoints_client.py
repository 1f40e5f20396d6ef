"""What a caller of the client sees of replicas, connections and keys."""

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest

from tests.client.conftest import Caller, MakeCaller
from tests.client.scripted_server import ScriptedServer


@pytest.fixture
async def other() -> AsyncIterator[ScriptedServer]:
    server = ScriptedServer()
    await server.start()
    yield server
    await server.stop()


async def test_calls_and_streams_are_shared_by_the_replicas(
    make_caller: MakeCaller, server: ScriptedServer, other: ScriptedServer
) -> None:
    caller = make_caller([server.target, other.target])

    for _ in range(3):
        await caller.generate("Once")
        assert [chunk.text for chunk in await caller.stream("Once").all()] == ["Hello", " wörld"]

    assert (len(server.requests), len(other.requests)) == (3, 3)


async def test_a_name_leads_to_the_server_behind_it(make_caller: MakeCaller, server: ScriptedServer) -> None:
    caller = make_caller(f"dns:///localhost:{server.port}")

    assert (await caller.generate("Once")).text == "Hello wörld"
    assert await caller.health() == "SERVING"


async def test_callers_do_not_notice_a_dead_replica(
    make_caller: MakeCaller, server: ScriptedServer, other: ScriptedServer
) -> None:
    await other.stop()
    caller = make_caller([server.target, other.target])

    texts = [(await caller.generate("Once")).text for _ in range(8)]
    texts += ["".join([chunk.text for chunk in await caller.stream("Once").all()]) for _ in range(8)]

    assert set(texts) == {"Hello wörld"}


@pytest.mark.parametrize("sessions", ["never", "auto"])
async def test_more_streams_than_a_connection_may_have_all_start(make_caller: MakeCaller, sessions: str) -> None:
    server = ScriptedServer()
    await server.start(options=[("grpc.max_concurrent_streams", 100)])
    server.block_after, server.crowd = 1, 150
    caller = make_caller(server.target, sessions=sessions)
    streams = [caller.stream("Once") for _ in range(150)]

    first = [await stream.read() for stream in streams]
    await asyncio.wait_for(server.crowded.wait(), 30)

    assert None not in first
    assert len(server.peers) <= 2
    for stream in streams:
        await stream.close()
    await server.stop()


async def test_an_api_key_is_sent_with_every_kind_of_call(make_caller: MakeCaller, server: ScriptedServer) -> None:
    caller = make_caller(server.target, api_key="secret", metadata={"x-team": "a"})

    await caller.generate("Once")
    await caller.stream("Once").all()

    assert [(sent["authorization"], sent["x-team"]) for sent in server.metadata] == [("Bearer secret", "a")] * 2


async def test_a_call_may_have_another_key(make_caller: MakeCaller, server: ScriptedServer) -> None:
    caller = make_caller(server.target, api_key="secret")

    await caller.generate("Once", metadata={"authorization": "Bearer other"})

    assert server.metadata[0]["authorization"] == "Bearer other"


async def test_an_api_key_is_in_no_text_about_the_client(
    make_caller: MakeCaller, server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    caller: Caller = make_caller(server.target, api_key="secret-key")
    server.fail(grpc.StatusCode.UNAUTHENTICATED, "no such key")

    with pytest.raises(Exception, match="no such key") as caught:
        await caller.generate("Once")

    assert "secret-key" not in f"{caller.client!r} {caught.value!r} {caught.value} {caplog.text}"
