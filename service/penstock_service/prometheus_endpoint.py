"""The endpoint that Prometheus scrapes: few connections at a time, none of them for long.

Whoever reaches the port can open connections, and each has a thread of the serving process.
"""

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import REGISTRY, make_wsgi_app
from prometheus_client.registry import Collector

from penstock_service.configuration import PortTaken

MOST_CONNECTIONS = 16
MOST_SECONDS = 10.0


class _Server(ThreadingMixIn, WSGIServer):
    """Closes at once the connections for which it has no room."""

    daemon_threads = True

    def __init__(self, *args: Any) -> None:
        self._room = threading.Semaphore(MOST_CONNECTIONS)
        super().__init__(*args)

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._room.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:  # no thread to be had
            self._room.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        cut = threading.Timer(MOST_SECONDS, _cut, [request])
        try:
            cut.start()
            super().process_request_thread(request, client_address)
        finally:
            cut.cancel()
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A peer that is slow, or gone, is nothing to log."""


def _cut(connection: socket.socket) -> None:
    """End it however busy it is; its thread hears of it."""
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


class _Handler(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Scrapes are not logged."""


def open_prometheus(host: str, port: int, closing: list[Callable[[], object]], registry: Collector = REGISTRY) -> int:
    """Serve what the registry collects on /metrics; return the port. `closing` gets what ends it. Raises PortTaken."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
        server_class: type[_Server] = type("_Server", (_Server,), {"address_family": family})
        server: _Server = make_server(host, port, make_wsgi_app(registry), server_class, _Handler)
    except OSError as error:
        raise PortTaken("metrics_port", host, port) from error
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    closing.append(server.server_close)
    closing.append(server.shutdown)
    return int(server.server_port)
