"""Holds the port that all front ends open together, so that nobody else can."""

import contextlib
import socket
from collections.abc import Iterator

from penstock_service.configuration import PortTaken


@contextlib.contextmanager
def reserved_port(host: str, port: int) -> Iterator[int]:
    """Yield the port, or a free one for 0, to be opened with SO_REUSEPORT by processes of this user alone.

    The socket that holds it never listens, so the kernel gives it no connection. Raises PortTaken.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        held = socket.socket(family, kind, protocol)
    except OSError as error:
        raise PortTaken("grpc_port", host, port) from error
    with held:
        # Connections of a former server that wait out their time do not count, as for gRPC's own sockets; listeners do.
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            held.bind(address)
        except OSError as error:
            raise PortTaken("grpc_port", host, port) from error
        # Bound alone, now shared: with SO_REUSEPORT from the start, another server's port would have let us in.
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        yield held.getsockname()[1]
