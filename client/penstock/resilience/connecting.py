"""Waits until a new channel has its connection, for calls with `timeout.connect`."""

from __future__ import annotations

import asyncio
import contextlib
import threading

import grpc
import grpc.aio

from penstock.calls import AsyncCalls, Calls
from penstock.cancellation import client_closed
from penstock.errors import ConnectTimeout

# Others are settled: READY, or a failure, of which the call itself tells more.
_ON_ITS_WAY = (grpc.ChannelConnectivity.IDLE, grpc.ChannelConnectivity.CONNECTING)


def connect(calls: Calls, limit: float | None, left: float | None) -> None:
    """Wait, the first time that the channel is used.

    Raises ConnectTimeout, unless the call has less time left, and RequestCancelled if the client is closed meanwhile.
    """
    if calls.connected or limit is None:
        return
    settled = threading.Event()

    def changed(state: grpc.ChannelConnectivity | None) -> None:
        if state is grpc.ChannelConnectivity.READY:
            calls.connected = True
        if state not in (None, *_ON_ITS_WAY):
            settled.set()

    calls.settling.add(settled)
    try:
        if not calls.closed:
            calls.channel.subscribe(changed, try_to_connect=True)
            settled.wait(limit if left is None else min(limit, left))
    finally:
        calls.settling.discard(settled)
        calls.channel.unsubscribe(changed)
    if calls.closed:
        raise client_closed(None)
    if not settled.is_set():
        _give_up(limit, left)


async def connect_async(calls: AsyncCalls, limit: float | None, left: float | None) -> None:
    """Wait, the first time that the channel is used.

    Raises ConnectTimeout, unless the call has less time left, and RequestCancelled if the client is closed meanwhile.
    """
    if calls.connected or limit is None:
        return
    settling = asyncio.ensure_future(_settled(calls))
    try:
        # Not wait_for, which before Python 3.12 forgets that its caller was cancelled if both come at once.
        done, _ = await asyncio.wait([settling], timeout=limit if left is None else min(limit, left))
    finally:
        settling.cancel()
    if calls.closed:
        raise client_closed(None)
    if not done:
        _give_up(limit, left)


async def _settled(calls: AsyncCalls) -> None:
    with contextlib.suppress(grpc.aio.UsageError):  # the channel was closed
        while (state := calls.channel.get_state(try_to_connect=True)) in _ON_ITS_WAY:
            await calls.channel.wait_for_state_change(state)
        calls.connected = state is grpc.ChannelConnectivity.READY


def _give_up(limit: float, left: float | None) -> None:
    if left is None or limit <= left:
        raise ConnectTimeout(f"there was no connection within {limit:g} s") from None
