"""Several replicas: who takes calls, who is left out, and what their connections live through."""

import asyncio
import gc
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import grpc
import pytest

from penstock.endpoints.endpoint import CROWDED_STREAMS
from penstock.endpoints.lookup import REFRESH_SECONDS
from penstock.endpoints.standing import LONGEST_COOLDOWN_SECONDS
from penstock.events import EndpointEjected, EndpointRestored
from tests.client.pools import Pool
from tests.client.relay import Relay
from tests.client.scripted_server import ScriptedServer

MakePool = Callable[..., Pool]


@pytest.fixture(params=["sync", "async"])
async def make_pool(request: pytest.FixtureRequest) -> AsyncIterator[MakePool]:
    """Makes pools of one flavour, and closes them at the end."""
    async with AsyncExitStack() as made:

        def make(target: Any, **options: Any) -> Pool:
            pool = Pool(request.param, target, **options)
            made.push_async_callback(pool.close)
            return pool

        yield make


@asynccontextmanager
async def serving(**options: Any) -> AsyncIterator[ScriptedServer]:
    server = ScriptedServer()
    await server.start(**options)
    yield server
    await server.stop()


@pytest.fixture
async def other() -> AsyncIterator[ScriptedServer]:
    async with serving() as server:
        yield server


@pytest.fixture
def addresses(monkeypatch: pytest.MonkeyPatch) -> list[ScriptedServer]:
    """What stands behind the name llm.test: the servers that a test puts in here."""
    servers: list[ScriptedServer] = []
    asked = socket.getaddrinfo

    def answer(host: str, *args: Any, **options: Any) -> Any:
        if host != "llm.test":
            return asked(host, *args, **options)
        if not servers:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", server.port)) for server in servers]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    return servers


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110  # a pool tells nobody what it has looked up
            await asyncio.sleep(0.01)


async def test_the_replicas_of_a_list_share_the_calls(
    make_pool: MakePool, server: ScriptedServer, other: ScriptedServer
) -> None:
    pool = make_pool([server.target, other.target])

    asked = [await pool.ask() for _ in range(6)]

    assert sorted(asked) == sorted([server.target, other.target] * 3)
    assert (len(server.requests), len(other.requests)) == (3, 3)


async def test_a_new_call_goes_to_the_replica_with_the_fewest_open(
    make_pool: MakePool, server: ScriptedServer, other: ScriptedServer
) -> None:
    server.block_after = other.block_after = 1
    pool = make_pool([server.target, other.target])
    streams = [pool.stream() for _ in range(4)]

    assert sorted(stream.endpoint for stream in streams) == sorted([server.target, other.target] * 2)
    assert sorted(status.in_flight for status in pool.statuses()) == [2, 2]

    server.release.set()
    other.release.set()
    assert [await stream.rest() for stream in streams] == ["Hello wörld"] * 4
    assert {status.in_flight for status in pool.statuses()} == {0}


async def test_a_call_can_be_kept_off_a_replica(
    make_pool: MakePool, server: ScriptedServer, other: ScriptedServer
) -> None:
    pool = make_pool([server.target, other.target])

    assert {await pool.ask(avoid=[server.target]) for _ in range(4)} == {other.target}


async def test_a_lease_of_a_replica_by_its_name_is_on_that_one(
    make_pool: MakePool, server: ScriptedServer, other: ScriptedServer
) -> None:
    pool = make_pool([server.target, other.target])

    for _ in range(3):
        lease = pool.pool.lease_of(other.target)
        assert lease is not None
        assert lease.endpoint == other.target
    assert pool.pool.lease_of("elsewhere:1") is None


async def test_a_dead_replica_is_left_out_and_comes_back(
    make_pool: MakePool, server: ScriptedServer, other: ScriptedServer
) -> None:
    pool = make_pool([server.target, other.target])
    await other.stop()
    asked = [await pool.ask_any() for _ in range(6)]

    assert asked.count(None) == 3
    assert (await pool.event(EndpointEjected)).endpoint == other.target
    assert [await pool.ask() for _ in range(6)] == [server.target] * 6

    await other.start(port=other.port)
    pool.now += LONGEST_COOLDOWN_SECONDS
    await pool.ask()  # which has the other one probed
    assert (await pool.event(EndpointRestored)).endpoint == other.target
    assert {await pool.ask() for _ in range(4)} == {server.target, other.target}


async def test_a_replica_that_is_up_and_does_not_serve_stays_out(
    make_pool: MakePool, server: ScriptedServer, other: ScriptedServer
) -> None:
    pool = make_pool([server.target, other.target])
    other.refuse(grpc.StatusCode.UNAVAILABLE, "DRAINING")
    await other.set_health("NOT_SERVING")
    for _ in range(6):
        await pool.ask_any()
    await pool.event(EndpointEjected)

    pool.now += LONGEST_COOLDOWN_SECONDS
    await pool.ask()
    again = await pool.event(EndpointEjected)

    assert (again.endpoint, again.failures) == (other.target, 4)
    assert [await pool.ask() for _ in range(4)] == [server.target] * 4


async def test_the_last_replica_gets_calls_however_often_it_fails(make_pool: MakePool, server: ScriptedServer) -> None:
    pool = make_pool(server.target)
    server.refuse(grpc.StatusCode.UNAVAILABLE, "LOADING")
    assert [await pool.ask_any() for _ in range(8)] == [None] * 8
    server.failure = None

    assert await pool.ask() == server.target
    assert pool.events == []


async def test_each_address_behind_a_name_is_a_replica(
    make_pool: MakePool, server: ScriptedServer, other: ScriptedServer, addresses: list[ScriptedServer]
) -> None:
    addresses += [server, other]
    pool = make_pool("dns:///llm.test:50051")
    await pool.resolved()

    assert {await pool.ask() for _ in range(4)} == {server.target, other.target}


async def test_replicas_that_leave_a_name_finish_their_calls_and_those_that_join_get_new_ones(
    make_pool: MakePool, server: ScriptedServer, other: ScriptedServer, addresses: list[ScriptedServer]
) -> None:
    server.block_after = 1
    addresses.append(server)
    pool = make_pool("dns:///llm.test:50051")
    await pool.resolved()
    stream = pool.stream()
    assert await stream.read() is not None

    addresses[:] = [other]
    pool.now += REFRESH_SECONDS
    pool.pool.acquire().release(None)  # which has the name looked up
    await until(lambda: pool.endpoints() == [other.target])

    assert [await pool.ask() for _ in range(3)] == [other.target] * 3
    server.release.set()
    assert await stream.rest() == " wörld"


async def test_a_failed_call_has_the_name_looked_up_at_once(
    make_pool: MakePool, server: ScriptedServer, other: ScriptedServer, addresses: list[ScriptedServer]
) -> None:
    addresses.append(server)
    pool = make_pool("dns:///llm.test:50051")
    await pool.resolved()
    addresses[:] = [other]
    await server.stop()
    pool.now += 2

    assert await pool.ask_any() is None
    pool.pool.acquire().release(None)
    await until(lambda: pool.endpoints() == [other.target])


async def test_a_name_that_is_not_known_is_a_failed_call_and_may_become_known(
    make_pool: MakePool, server: ScriptedServer, addresses: list[ScriptedServer]
) -> None:
    pool = make_pool("dns:///llm.test:50051")
    await pool.resolved()
    with pytest.raises(grpc.RpcError) as failure:
        await pool.ask()
    assert failure.value.code() is grpc.StatusCode.UNAVAILABLE

    addresses.append(server)
    pool.now += 2
    pool.pool.acquire().release(None)
    await until(lambda: pool.endpoints() == [server.target])
    assert await pool.ask() == server.target


async def test_a_replica_that_left_is_disconnected_after_its_last_call(
    make_pool: MakePool, server: ScriptedServer, other: ScriptedServer, addresses: list[Any]
) -> None:
    server.block_after = 1
    relay = Relay(server.port)
    await relay.start()
    addresses.append(relay)
    pool = make_pool("dns:///llm.test:50051")
    await pool.resolved()
    stream = pool.stream()
    await stream.read()
    await relay.has(connections=1)

    addresses[:] = [other]
    pool.now += REFRESH_SECONDS
    pool.pool.acquire().release(None)
    await until(lambda: pool.endpoints() == [other.target])
    server.release.set()
    await stream.rest()

    del stream
    gc.collect()  # grpcio 1.83's asyncio channels are in cycles with their calls
    await relay.has(connections=0)
    relay.stop()


@pytest.mark.parametrize(("count", "connections"), [(150, 2), (350, 4)])
async def test_more_streams_than_a_connection_may_have_all_start(
    make_pool: MakePool, count: int, connections: int
) -> None:
    async with serving(options=[("grpc.max_concurrent_streams", 100)]) as server:
        server.block_after, server.crowd = 1, count
        pool = make_pool(server.target)
        streams = [pool.stream() for _ in range(count)]

        await asyncio.wait_for(server.crowded.wait(), 30)

        assert len(server.peers) == connections
        assert [status.channels for status in pool.statuses()] == [connections]
        server.release.set()
        assert [await stream.rest() for stream in streams] == ["Hello wörld"] * count


async def test_streams_that_share_one_are_no_reason_for_another_connection(
    make_pool: MakePool, server: ScriptedServer
) -> None:
    pool = make_pool(server.target)
    for _ in range(3 * CROWDED_STREAMS):
        pool.pool.acquire().share_stream()

    (status,) = pool.statuses()

    assert (status.in_flight, status.channels) == (3 * CROWDED_STREAMS, 1)


async def test_a_connection_that_the_server_ends_for_its_age_costs_neither_calls_nor_standing(
    make_pool: MakePool,
) -> None:
    ages = [("grpc.max_connection_age_ms", 1000), ("grpc.max_connection_age_grace_ms", 60_000)]
    async with serving(options=ages) as server:
        server.block_after = 1
        pool = make_pool([server.target, "127.0.0.1:1"])
        lone = {"avoid": ["127.0.0.1:1"]}
        stream = pool.stream(**lone)
        await stream.read()
        server.block_after = None

        while len(server.peers) < 3:  # the first connection went away, and so did the second
            assert await pool.ask(**lone) == server.target
        server.release.set()

        assert await stream.rest() == " wörld"
        assert {status.failures for status in pool.statuses()} == {0}


async def test_a_closed_pool_gives_no_leases(make_pool: MakePool, server: ScriptedServer) -> None:
    pool = make_pool(server.target)
    await pool.ask()
    await pool.close()

    with pytest.raises(RuntimeError, match="closed"):
        pool.pool.acquire()
    assert pool.statuses() == []


async def test_closing_ends_the_calls_on_every_connection(make_pool: MakePool, server: ScriptedServer) -> None:
    server.block_after, server.crowd = 1, CROWDED_STREAMS + 1
    pool = make_pool(server.target)
    streams = [pool.stream() for _ in range(CROWDED_STREAMS + 1)]
    await asyncio.wait_for(server.crowded.wait(), 30)

    await pool.close()

    await until(lambda: server.cancellations == len(streams))


@pytest.mark.parametrize("scheme", ["", "http://"])
async def test_a_proxy_is_used_where_it_is_asked_for(make_pool: MakePool, server: ScriptedServer, scheme: str) -> None:
    proxy = Relay()
    await proxy.start()
    pool = make_pool(server.target, proxy=scheme + proxy.target)

    assert await pool.ask() == server.target
    assert proxy.asked == [server.target]

    await pool.close()
    proxy.stop()
