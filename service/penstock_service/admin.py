"""The admin port: Operations, health and reflection on a server of their own, for operators and routers."""

import contextlib
from collections.abc import AsyncIterator

import grpc

from penstock.v1 import operations_pb2
from penstock_service import reflection
from penstock_service.authentication import Authentication
from penstock_service.binding import beyond_loopback
from penstock_service.channel_options import side_channel_options
from penstock_service.configuration import ConfigurationError
from penstock_service.health import HEALTH
from penstock_service.identity import Identity
from penstock_service.operations import Operated, OperationsServicer
from penstock_service.refused_calls import RefusedCalls
from penstock_service.server import open_port
from penstock_service.serving import Servers
from penstock_service.settings import Settings
from penstock_service.telemetry import Telemetry
from penstock_service.tls import server_credentials
from penstock_service.wire import add_service

_OPERATIONS = operations_pb2.DESCRIPTOR.services_by_name["Operations"]


@contextlib.asynccontextmanager
async def admin_endpoint(operated: Operated, telemetry: Telemetry, servers: Servers) -> AsyncIterator[int | None]:
    """Serve Operations while the block runs, if the settings have a port for it; yield that.

    Raises PortTaken, and ConfigurationError for a port beyond loopback that nobody would need a key for.
    """
    settings = operated.settings
    if settings.admin_port is None:
        yield None
        return
    guards = [_guard(settings, telemetry)]
    server = grpc.aio.server(options=side_channel_options(settings), interceptors=guards)
    servicer = OperationsServicer(operated, telemetry)
    add_service(server, _OPERATIONS, servicer)
    operated.health.serve_on(server)
    if settings.reflection:
        reflection.enable(server, _OPERATIONS.full_name, HEALTH.full_name)
    port = open_port(server, "admin_port", settings.admin_host, settings.admin_port, server_credentials(settings))
    async with servers.running(server, "admin_port"):
        try:
            yield port
        finally:
            servicer.close()


def _guard(settings: Settings, telemetry: Telemetry) -> Authentication:
    """On loopback without admin keys anybody of this machine is an admin; everywhere else only a key makes one."""
    identity = Identity.of(settings)
    beyond = beyond_loopback(settings.admin_host)
    if beyond and not identity.has_admins:
        raise ConfigurationError(
            f"admin_host is {settings.admin_host!r}, which others than this machine may reach: "
            "give keys in the [admin] table of identity_file"
        )
    return Authentication.of_admins(identity, RefusedCalls(telemetry.refused), always=beyond)
