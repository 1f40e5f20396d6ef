"""Both flavours of the pool behind one asyncio face, each call on a lease of its own, without retries."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import grpc
import grpc.aio

from penstock.calls import AsyncCalls, Calls
from penstock.channel import Dialer
from penstock.endpoints.asyncio_pool import AsyncEndpointPool
from penstock.endpoints.endpoint import EndpointStatus
from penstock.endpoints.lease import Lease
from penstock.endpoints.pool import EndpointPool
from penstock.endpoints.settings import PoolSettings
from penstock.endpoints.targets import parse_targets
from penstock.events import Event
from penstock.v1.generation_pb2 import GenerateChunk, GenerateRequest
from tests.client.conftest import in_thread

REQUEST = GenerateRequest(prompt="Once")


class Pool:
    """A pool with a clock that a test moves, and the events that it told."""

    def __init__(self, flavour: str, target: str | Sequence[str], **dialer: Any) -> None:
        self.now = 0.0
        self.events: list[Event] = []
        self._loop = asyncio.get_running_loop()
        self._told = asyncio.Condition()
        settings = PoolSettings(parse_targets(target), Dialer(**dialer), emit=self._tell, clock=lambda: self.now)
        self.pool = EndpointPool(settings) if flavour == "sync" else AsyncEndpointPool(settings)

    async def resolved(self) -> None:
        if isinstance(self.pool, EndpointPool):
            await in_thread(self.pool.resolved, 30)
        else:
            await self.pool.resolved(30)

    async def ask(self, avoid: Sequence[str] = ()) -> str:
        """Make a call, and tell the endpoint that answered. Raises grpc.RpcError."""
        lease = self.pool.acquire(avoid)
        try:
            if isinstance(self.pool, EndpointPool):
                await in_thread(cast("Calls", lease.calls).generate, REQUEST, timeout=30)
            else:
                await cast("AsyncCalls", lease.calls).generate(REQUEST, timeout=30)
        except grpc.RpcError:
            lease.release(failed=True)
            raise
        lease.release(failed=False)
        return lease.endpoint

    async def ask_any(self) -> str | None:
        """Make a call; None if it failed."""
        try:
            return await self.ask()
        except grpc.RpcError:
            return None

    def stream(self, avoid: Sequence[str] = ()) -> PoolStream:
        return PoolStream(self.pool.acquire(avoid))

    async def event(self, kind: type[Event]) -> Any:
        """The next event of that kind, which is taken from the list."""
        async with self._told:
            await asyncio.wait_for(self._told.wait_for(lambda: self._first(kind) is not None), 30)
            event = self._first(kind)
            self.events.remove(cast("Event", event))
            return event

    def endpoints(self) -> list[str]:
        return [status.endpoint for status in self.statuses()]

    def statuses(self) -> list[EndpointStatus]:
        return self.pool.endpoints()

    async def close(self) -> None:
        if isinstance(self.pool, EndpointPool):
            await in_thread(self.pool.close)
        else:
            await self.pool.close()

    def _first(self, kind: type[Event]) -> Event | None:
        return next((event for event in self.events if isinstance(event, kind)), None)

    def _tell(self, event: Event) -> None:
        """In any thread."""

        async def tell() -> None:
            async with self._told:
                self.events.append(event)
                self._told.notify_all()

        asyncio.run_coroutine_threadsafe(tell(), self._loop)


class PoolStream:
    """A stream on a lease."""

    def __init__(self, lease: Lease[Any]) -> None:
        self._lease: Lease[Any] | None = lease
        self.endpoint = lease.endpoint
        self._call = lease.calls.stream_generate(REQUEST, timeout=60)

    async def read(self) -> GenerateChunk | None:
        """The next chunk; None after the last, which ends the lease."""
        assert self._lease is not None
        if isinstance(self._call, grpc.aio.Call):
            chunk = await cast("Any", self._call).read()
        else:
            chunk = await in_thread(next, self._call, None)
        if isinstance(chunk, GenerateChunk):
            return chunk
        self._lease.release(failed=False)
        self._lease = None
        return None

    async def rest(self) -> str:
        texts = []
        while (chunk := await self.read()) is not None:
            texts.append(chunk.deltas[0].text)
        return "".join(texts)
