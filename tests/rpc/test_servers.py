"""No server ends unnoticed: what callers send ends none, and one that ends all the same ends the service."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from penstock_service.serving import ServerLost, Servers
from tests.conftest import OpenService
from tests.faults.h2.connection import connected, grpc_headers, grpc_message

CHECK = "/grpc.health.v1.Health/Check"
PORTS = ["grpc_port", "health_port", "admin_port"]
UNKNOWN, UNIMPLEMENTED = 2, 12


@pytest.fixture
async def servers(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[Any]]:
    """Every server that is made, in the order of their making."""
    made, make = [], grpc.aio.server

    def making(*args: Any, **options: Any) -> Any:
        made.append(make(*args, **options))
        return made[-1]

    monkeypatch.setattr(grpc.aio, "server", making)
    yield made
    made.clear()


@pytest.mark.parametrize("port", PORTS)
async def test_a_method_whose_name_is_no_text_ends_no_server(open_service: OpenService, port: str) -> None:
    running = await open_service(admin_port=0)
    async with connected(f"127.0.0.1:{getattr(running.service, port)}") as connection:
        for path in (b"/x\xff", b"\xff", b"/grpc.health.v1.Health/\xc3\x28"):
            headers = [(name.encode(), text.encode()) for name, text in grpc_headers("", without=":path")]
            answer = await connection.call([(b":path", path), *headers], grpc_message(b""))
            assert answer.status in (UNKNOWN, UNIMPLEMENTED)

        assert (await connection.call(grpc_headers(CHECK), grpc_message(b""))).status == 0


@pytest.mark.parametrize(("place", "port"), [(0, "health_port"), (1, "grpc_port"), (2, "admin_port")])
async def test_the_service_fails_when_one_of_its_servers_ends_by_itself(
    servers: list[Any], open_service: OpenService, place: int, port: str
) -> None:
    running = await open_service(admin_port=0)
    failing = asyncio.create_task(running.service.failure())

    await servers[place].stop(None)

    with pytest.raises(ServerLost, match=f"the gRPC server of {port} has ended by itself"):
        async with asyncio.timeout(10):
            await failing


async def test_a_server_that_is_stopped_is_not_lost() -> None:
    servers = Servers()
    failing = asyncio.create_task(servers.failure())
    async with servers.running(grpc.aio.server(), "grpc_port"):
        pass

    assert not failing.done()
    failing.cancel()
