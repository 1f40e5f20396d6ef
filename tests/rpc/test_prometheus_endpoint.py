"""The port of the metrics gives nobody more than a few connections, and none for long."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from penstock_service import prometheus_endpoint
from penstock_service.prometheus_endpoint import MOST_CONNECTIONS
from tests.conftest import OpenService

SCRAPE = b"GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n"


async def connected(port: int, stack: AsyncExitStack) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    stack.callback(writer.close)
    return reader, writer


async def scraped(port: int) -> bytes:
    """What a scrape gets, nothing if the connection is closed at once."""
    async with AsyncExitStack() as stack:
        reader, writer = await connected(port, stack)
        writer.write(SCRAPE)
        try:
            return await reader.read()
        except ConnectionError:
            return b""


async def test_connections_beyond_the_limit_are_closed_and_those_that_end_make_room(open_service: OpenService) -> None:
    port = (await open_service(metrics_port=0)).service.metrics_port
    assert port is not None
    async with AsyncExitStack() as stack:
        for _ in range(MOST_CONNECTIONS):
            await connected(port, stack)

        while await scraped(port):  # until the last of them has its thread
            pass
    async with asyncio.timeout(30):
        while b"penstock_" not in await scraped(port):
            pass


async def test_a_connection_that_says_nothing_is_closed(
    open_service: OpenService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prometheus_endpoint._Handler, "timeout", 0.2)
    port = (await open_service(metrics_port=0)).service.metrics_port
    assert port is not None
    async with AsyncExitStack() as stack, asyncio.timeout(30):
        reader, _ = await connected(port, stack)

        assert await reader.read() == b""
