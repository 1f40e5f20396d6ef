"""Tasks that are asked to stop: what of that ends a call, and what ends with the call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import grpc
import pytest

from penstock import AsyncClient, IdleTimeout, RequestCancelled, Timeout
from penstock.resilience.connecting import connect_async
from tests.client.scripted_server import ScriptedServer


async def in_a_task_that_was_asked_to_stop(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """And went on all the same."""
    waits = asyncio.Event()

    async def go_on() -> None:
        try:
            waits.set()
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await work()

    task = asyncio.create_task(go_on())
    await waits.wait()
    task.cancel()
    await task


@pytest.mark.parametrize("sessions", ["never", "always"])
async def test_a_limit_that_passes_is_told_from_an_earlier_wish_to_stop(server: ScriptedServer, sessions: Any) -> None:
    server.block_after = 1

    async def read() -> None:
        async with AsyncClient(server.target, sessions=sessions, timeout=Timeout(idle=0.05)) as client:
            with pytest.raises(IdleTimeout):
                await client.stream("Once").reply()

    await in_a_task_that_was_asked_to_stop(read)


async def test_a_client_that_closes_is_told_from_an_earlier_wish_to_stop(server: ScriptedServer) -> None:
    server.block_after = 0
    client = AsyncClient(server.target)

    async def ask() -> None:
        with pytest.raises(RequestCancelled, match="the client was closed"):
            await client.generate("Once")

    asking = asyncio.create_task(in_a_task_that_was_asked_to_stop(ask))
    await server.blocked.wait()
    await client.close()

    await asking


async def test_a_new_wish_to_stop_ends_a_call(server: ScriptedServer) -> None:
    server.block_after = 0
    async with AsyncClient(server.target) as client:
        asking = asyncio.create_task(client.generate("Once"))
        await server.blocked.wait()
        asking.cancel()

        with pytest.raises(asyncio.CancelledError):
            await asking


async def test_who_is_asked_to_stop_while_the_connection_comes_about_stops() -> None:
    class Connecting:
        """Is ready at the very moment in which its caller is asked to stop."""

        connected = closed = False
        state = grpc.ChannelConnectivity.CONNECTING

        @property
        def channel(self) -> Connecting:
            return self

        def get_state(self, try_to_connect: bool) -> grpc.ChannelConnectivity:
            return self.state

        async def wait_for_state_change(self, state: grpc.ChannelConnectivity) -> None:
            asyncio.get_running_loop().call_soon(connecting.cancel)
            self.state = grpc.ChannelConnectivity.READY

    calls: Any = Connecting()
    connecting = asyncio.create_task(connect_async(calls, 60, None))

    with pytest.raises(asyncio.CancelledError):
        await connecting
