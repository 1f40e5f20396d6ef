"""What grpc.health.v1 says of the service.

name                                     SERVING
"", penstock.v1.Generation and .Models   while calls are admitted: readiness
"liveness"                               for as long as the process answers

Anybody may ask, without a key, so none of it may cost much. grpc_health's own servicer takes requests as large as the
port does, waits for them without end, and keeps those of watchers for as long as they watch.
"""

import asyncio
import functools
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from penstock_service.answer import Context, grpc_status
from penstock_service.errors import InvalidRequest, Overloaded, ServiceError, Violation
from penstock_service.wire import add_service, end_with, message, readable

HEALTH = health_pb2.DESCRIPTOR.services_by_name["Health"]
READINESS = ("", "penstock.v1.Generation", "penstock.v1.Models")
LIVENESS = "liveness"

MOST_REQUEST_BYTES = 256
MOST_WATCHES = 4096  # of a port
MOST_WATCHES_OF_A_CONNECTION = 16
# A request comes in one packet. One that does not may be as large as the port takes: few at a time, and not for long.
MOST_READ_AT_ONCE = 16
READ_SECONDS = 2.0

Handler = Callable[["HealthServicer", HealthCheckRequest, Context], Awaitable[Any]]


class Health:
    """The statuses by name, for every port that tells them. It begins alive and not ready."""

    def __init__(self) -> None:
        self.statuses = {LIVENESS: HealthCheckResponse.SERVING}
        self.changed = asyncio.Event()  # another one after each change
        self._tell(ready=False)

    def serve_on(self, server: grpc.aio.Server) -> None:
        """Add grpc.health.v1 to a server."""
        servicer = HealthServicer(self)
        add_service(server, HEALTH, servicer, servicer.read)

    async def set_ready(self, ready: bool) -> None:
        """Tell whether calls are admitted; watchers hear of it at once."""
        self._tell(ready)

    def _tell(self, ready: bool) -> None:
        status = HealthCheckResponse.SERVING if ready else HealthCheckResponse.NOT_SERVING
        self.statuses |= dict.fromkeys(READINESS, status)
        self.changed.set()
        self.changed = asyncio.Event()


def _answers(handler: Handler) -> Handler:
    """Make the handler answer what it raises, and what is no small request, with a status."""

    @functools.wraps(handler)
    async def answering(self: "HealthServicer", request: HealthCheckRequest, context: Context) -> Any:
        try:
            _check_size(readable(request))
            return await handler(self, request, context)
        except ServiceError as error:
            await end_with(grpc_status(error), context)

    return answering


def _check_size(request: HealthCheckRequest) -> None:
    if (size := request.ByteSize()) > MOST_REQUEST_BYTES:
        raise InvalidRequest([Violation("request", f"must have at most {MOST_REQUEST_BYTES} bytes, got {size}")])


class HealthServicer:
    """Answers the health checks of one port."""

    def __init__(self, health: Health) -> None:
        self._health = health
        self._turns = asyncio.Semaphore(MOST_READ_AT_ONCE)
        self._watches: Counter[str] = Counter()  # by connection

    async def read(self, context: Context) -> Any:
        """The call's request, see wire.message."""
        async with self._turns:
            return await message(context, READ_SECONDS)

    @_answers
    async def Check(self, request: HealthCheckRequest, context: Context) -> HealthCheckResponse:
        """See grpc.health.v1."""
        if (status := self._health.statuses.get(request.service)) is None:
            await context.abort(grpc.StatusCode.NOT_FOUND)
        return HealthCheckResponse(status=status)

    @_answers
    async def Watch(self, request: HealthCheckRequest, context: Context) -> None:
        """See grpc.health.v1."""
        with self._watching(context.peer()):
            told = None
            while True:
                changed = self._health.changed
                status = self._health.statuses.get(request.service, HealthCheckResponse.SERVICE_UNKNOWN)
                if status != told:
                    await context.write(HealthCheckResponse(status=status))
                    told = status
                await changed.wait()

    @contextmanager
    def _watching(self, connection: str) -> Iterator[None]:
        if self._watches[connection] >= MOST_WATCHES_OF_A_CONNECTION or self._watches.total() >= MOST_WATCHES:
            raise Overloaded("there are as many health watches as the connection, or the port, may have")
        self._watches[connection] += 1
        try:
            yield
        finally:
            self._watches[connection] -= 1
            if not self._watches[connection]:
                del self._watches[connection]
