"""Runs gRPC servers, and notices one that ends unasked: grpc.aio would leave a process without it that looks alive."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import NoReturn

import grpc

from penstock_service.failures import ServiceFailed

# Long enough for watchers to receive the last health status before their streams are closed.
CLOSING_SECONDS = 0.5


class ServerLost(ServiceFailed):
    """A gRPC server has ended, and nobody told it to."""


class Servers:
    """The servers of a process."""

    def __init__(self) -> None:
        self._lost = asyncio.Event()
        self._name = ""  # of the first that was lost
        self._stopped: set[grpc.aio.Server] = set()

    @contextlib.asynccontextmanager
    async def running(self, server: grpc.aio.Server, name: str) -> AsyncIterator[None]:
        """Serve while the block runs; `name` is for `failure` to tell."""
        await server.start()
        watching = asyncio.create_task(self._watch(server, name), name=f"watch the server of {name}")
        try:
            yield
        finally:
            self._stopped.add(server)
            await server.stop(CLOSING_SECONDS)
            await watching  # to cancel it would cancel what gRPC tells the end with

    async def failure(self) -> NoReturn:
        """Return never; raise ServerLost once a server has ended unasked."""
        await self._lost.wait()
        raise ServerLost(f"the gRPC server of {self._name} has ended by itself")

    async def _watch(self, server: grpc.aio.Server, name: str) -> None:
        with contextlib.suppress(Exception):  # of a crash the cause, which may quote a caller
            await server.wait_for_termination()
        if server not in self._stopped:
            self._name = self._name or name
            self._lost.set()
