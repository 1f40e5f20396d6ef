"""The endpoints of an asyncio client."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Collection

import grpc
import grpc.aio

from penstock.calls import AsyncCalls
from penstock.channel import Dialer, Security
from penstock.endpoints.endpoint import EndpointStatus
from penstock.endpoints.home import Home
from penstock.endpoints.lease import Lease
from penstock.endpoints.probe import PROBE, PROBE_SECONDS, takes_calls
from penstock.endpoints.settings import PoolSettings
from penstock.endpoints.targets import Address


class AsyncEndpointPool:
    """Made without dialling anything; each process and running event loop that uses it has connections of its own.

    gRPC binds an asyncio channel to its loop for ever. To be used from a running loop: RuntimeError without one.
    """

    def __init__(self, settings: PoolSettings) -> None:
        self._settings = settings
        self._homes: dict[tuple[int, asyncio.AbstractEventLoop], Home[AsyncCalls]] = {}
        self._sleepers: set[asyncio.Future[None]] = set()
        self.closed = False

    async def resolved(self, timeout: float | None = None) -> None:
        """Wait until each name of the target was looked up once, for at most `timeout` seconds.

        Without it, or if that takes longer, calls go through gRPC's own name resolution.
        """
        home = self._home()
        if not home.resolved.done():
            home.look_up()
            await asyncio.wait([asyncio.wrap_future(home.resolved)], timeout=timeout)

    def acquire(self, avoid: Collection[str] = ()) -> Lease[AsyncCalls]:
        """A lease of the endpoint with the fewest calls in flight; of one in `avoid`, or ejected, if there is no other.

        RuntimeError once closed.
        """
        return self._home().acquire(avoid)

    def lease_of(self, endpoint: str) -> Lease[AsyncCalls] | None:
        """A lease of that endpoint, also if it is ejected; None if it is not among the target's (any more)."""
        return self._home().lease_of(endpoint)

    def endpoints(self) -> list[EndpointStatus]:
        """How each endpoint stands; nothing once closed, which a call that ends by that may find out while it asks."""
        home = self._homes.get(_here())
        if home is None and self.closed:
            return []
        return (home or self._home()).statuses()

    async def sleep(self, seconds: float, woken: asyncio.Future[None]) -> None:
        """Until somebody sets `woken`, or closes the pool on this loop."""
        self._sleepers.add(woken)
        try:
            if _here() in self._homes:
                await asyncio.wait([woken], timeout=seconds)
        finally:
            self._sleepers.discard(woken)

    async def close(self) -> None:
        """Close the channels of this process and loop, which ends their open calls. Idempotent."""
        self.closed = True
        self._forget_finished_loops()
        home = self._homes.pop(_here(), None)
        for woken in list(self._sleepers):
            if woken.get_loop() is asyncio.get_running_loop() and not woken.done():
                woken.set_result(None)
        if home is not None:
            await asyncio.gather(*(calls.close() for calls in home.close()))

    def _home(self) -> Home[AsyncCalls]:
        here = _here()
        home = self._homes.get(here)
        if home is None:
            if self.closed:
                raise RuntimeError("this client is closed")
            self._forget_finished_loops()
            home = self._homes.setdefault(here, Home(self._settings, AsyncioIO(self._settings.dialer)))
        return home

    def _forget_finished_loops(self) -> None:
        pid = os.getpid()
        for key in [key for key in list(self._homes) if key[0] == pid and key[1].is_closed()]:
            self._homes.pop(key, None)


def _here() -> tuple[int, asyncio.AbstractEventLoop]:
    return os.getpid(), asyncio.get_running_loop()


class AsyncioIO:
    """Channels of the running loop, and a task for each probe."""

    def __init__(self, dialer: Dialer) -> None:
        self._dialer = dialer
        self._probes: set[asyncio.Task[None]] = set()

    def dial(self, address: Address, security: Security, extra: bool) -> AsyncCalls:
        return AsyncCalls(self._dialer.aio_channel(address, security, extra))

    def probe(self, calls: AsyncCalls, report: Callable[[bool], None]) -> None:
        task = asyncio.get_running_loop().create_task(_probe(calls, report))
        self._probes.add(task)  # loops hold tasks weakly
        task.add_done_callback(self._probes.discard)


async def _probe(calls: AsyncCalls, report: Callable[[bool], None]) -> None:
    try:
        response = await calls.health(PROBE, timeout=PROBE_SECONDS, wait_for_ready=True)
    except grpc.RpcError as error:
        report(takes_calls(error.code(), None))
    except asyncio.CancelledError:
        report(False)
        raise
    else:
        report(takes_calls(grpc.StatusCode.OK, response))
