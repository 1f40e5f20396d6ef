"""Waits until a new channel has its connection, for calls with `timeout.connect`."""

from __future__ import annotations

import asyncio
import threading

import grpc

from penstock.calls import AsyncCalls, Calls
from penstock.errors import ConnectTimeout

# Others are settled: READY, or a failure, of which the call itself tells more.
_ON_ITS_WAY = (grpc.ChannelConnectivity.IDLE, grpc.ChannelConnectivity.CONNECTING)


def connect(calls: Calls, limit: float | None, left: float | None) -> None:
    """Wait, the first time that the channel is used. Raises ConnectTimeout, unless the call has less time left."""
    if calls.connected or limit is None:
        return
    settled = threading.Event()

    def changed(state: grpc.ChannelConnectivity | None) -> None:
        if state is grpc.ChannelConnectivity.READY:
            calls.connected = True
        if state not in (None, *_ON_ITS_WAY):
            settled.set()

    calls.channel.subscribe(changed, try_to_connect=True)
    try:
        if not settled.wait(limit if left is None else min(limit, left)):
            _give_up(limit, left)
    finally:
        calls.channel.unsubscribe(changed)


async def connect_async(calls: AsyncCalls, limit: float | None, left: float | None) -> None:
    """Wait, the first time that the channel is used. Raises ConnectTimeout, unless the call has less time left."""
    if calls.connected or limit is None:
        return
    try:
        await asyncio.wait_for(_settled(calls), limit if left is None else min(limit, left))
    except asyncio.TimeoutError:
        _give_up(limit, left)


async def _settled(calls: AsyncCalls) -> None:
    while (state := calls.channel.get_state(try_to_connect=True)) in _ON_ITS_WAY:
        await calls.channel.wait_for_state_change(state)
    calls.connected = state is grpc.ChannelConnectivity.READY


def _give_up(limit: float, left: float | None) -> None:
    if left is None or limit <= left:
        raise ConnectTimeout(f"there was no connection within {limit:g} s") from None
