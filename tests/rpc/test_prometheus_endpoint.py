"""The port of the metrics gives nobody more than a few connections, and none for long."""

import asyncio
import threading
from contextlib import AsyncExitStack, suppress

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


@pytest.mark.parametrize("trickles", [False, True], ids=["silent", "trickling"])
async def test_a_connection_is_closed_after_a_time_whatever_it_says(
    open_service: OpenService, monkeypatch: pytest.MonkeyPatch, trickles: bool
) -> None:
    monkeypatch.setattr(prometheus_endpoint, "MOST_SECONDS", 0.3)
    port = (await open_service(metrics_port=0)).service.metrics_port
    assert port is not None
    async with AsyncExitStack() as stack, asyncio.timeout(30):
        reader, writer = await connected(port, stack)
        closed = asyncio.create_task(reader.read())

        while trickles and not closed.done():
            writer.write(b"G")
            await asyncio.sleep(0.05)

        with suppress(ConnectionError):  # with bytes on their way it is reset
            assert await closed == b""


async def test_without_a_thread_for_a_connection_its_room_is_given_back(
    open_service: OpenService, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = (await open_service(metrics_port=0)).service.metrics_port
    assert port is not None
    with monkeypatch.context() as without:
        without.setattr(threading.Thread, "start", _no_thread)
        for _ in range(2 * MOST_CONNECTIONS):
            assert not await scraped(port)

    assert b"penstock_" in await scraped(port)


def _no_thread(_: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")
