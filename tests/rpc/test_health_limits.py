"""Health is told to everybody, so nobody can make it costly: small requests, soon read, and so many watches."""

from collections.abc import AsyncIterator

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from penstock_service import health
from tests.conftest import OpenService, Running
from tests.faults.h2.connection import connected, grpc_headers, grpc_message
from tests.rpc.error_details import failure_of
from tests.rpc.test_health import NOT_SERVING, SERVING, health_stub, status

CHECK, WATCH = "/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"
INVALID_ARGUMENT, RESOURCE_EXHAUSTED = 3, 8
SERVICE_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
LONG = health_pb2.HealthCheckRequest(service="x" * 1000)


@pytest.fixture
async def stub(simulated: Running) -> AsyncIterator[health_pb2_grpc.HealthStub]:
    async with health_stub(simulated.service.grpc_port) as stub:
        yield stub


@pytest.mark.parametrize("port", ["grpc_port", "health_port", "admin_port"])
async def test_a_long_name_is_refused_on_every_port(open_service: OpenService, port: str) -> None:
    running = await open_service(admin_port=0)
    async with health_stub(getattr(running.service, port)) as stub:
        check, watch = await failure_of(stub.Check(LONG)), await failure_of(stub.Watch(LONG, timeout=10))

    assert check.code is watch.code is grpc.StatusCode.INVALID_ARGUMENT
    assert check.text == watch.text == "request: must have at most 256 bytes, got 1003"


async def test_fields_that_nobody_knows_count_as_well(simulated: Running) -> None:
    unknown = b"\x7a\xe8\x07" + bytes(1000)
    async with connected(simulated.address) as connection:
        answers = [await connection.call(grpc_headers(path), grpc_message(unknown)) for path in (CHECK, WATCH)]

    assert [answer.status for answer in answers] == [INVALID_ARGUMENT] * 2


async def test_the_port_of_health_receives_no_more_than_a_name_needs(simulated: Running) -> None:
    async with connected(f"127.0.0.1:{simulated.service.health_port}") as connection:
        answer = await connection.call(grpc_headers(WATCH), grpc_message(bytes(5000)))

    assert answer.status == RESOURCE_EXHAUSTED


async def test_requests_that_do_not_come_are_given_up_and_hold_nobody_up_for_long(
    simulated: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "READ_SECONDS", 0.2)
    async with connected(simulated.address) as connection:
        halves = [connection.begin(grpc_headers(WATCH)) for _ in range(2 * health.MOST_READ_AT_ONCE)]
        for half in halves:
            connection.send_data(half, grpc_message(b"", length=100), end=False)

        whole = await connection.call(grpc_headers(CHECK), grpc_message(b""))

        assert whole.status == 0
        assert {(await connection.answered(half)).status for half in halves} == {INVALID_ARGUMENT}


async def test_a_connection_has_a_bounded_number_of_watches(stub: health_pb2_grpc.HealthStub) -> None:
    watches = [stub.Watch(health_pb2.HealthCheckRequest()) for _ in range(health.MOST_WATCHES_OF_A_CONNECTION)]
    for watch in watches:
        assert (await watch.read()).status == SERVING

    failure = await failure_of(stub.Watch(health_pb2.HealthCheckRequest(), timeout=10))

    assert (failure.code, failure.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
    assert await status(stub, "") == SERVING


async def test_a_port_has_a_bounded_number_of_watches_and_one_that_ends_makes_room(
    simulated: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "MOST_WATCHES", 2)
    async with connected(simulated.address) as one, connected(simulated.address) as other:
        for connection in (one, other):
            stream = connection.begin(grpc_headers(WATCH))
            connection.send_data(stream, grpc_message(b""))
            await connection.until(lambda connection=connection, stream=stream: stream in connection.answers)
        async with health_stub(simulated.service.grpc_port) as stub:
            refused = await failure_of(stub.Watch(health_pb2.HealthCheckRequest(), timeout=10))
            await other.close()
            while (reply := await _first(stub)) is None:
                pass

    assert refused.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert reply == SERVING


async def _first(stub: health_pb2_grpc.HealthStub) -> int | None:
    watch = stub.Watch(health_pb2.HealthCheckRequest())
    try:
        return int((await watch.read()).status)
    except grpc.aio.AioRpcError:
        return None


async def test_a_watch_of_what_nobody_serves_says_so_and_goes_on(simulated: Running) -> None:
    async with health_stub(simulated.service.health_port) as stub:
        unknown = stub.Watch(health_pb2.HealthCheckRequest(service="penstock.v1.Nothing"))
        known = stub.Watch(health_pb2.HealthCheckRequest(service=""))
        assert [(await watch.read()).status for watch in (unknown, known)] == [SERVICE_UNKNOWN, SERVING]

        await simulated.service.drain(0)

        assert (await known.read()).status == NOT_SERVING
        assert not unknown.done()
