"""Runs the gateway under uvicorn until a signal ends it."""

import asyncio
import math
import signal
import socket
import sys
from types import FrameType

import structlog
import uvicorn

from penstock_gateway.app import create_app
from penstock_gateway.drain import Drain
from penstock_gateway.request_head import BoundedHeads
from penstock_gateway.settings import Settings
from penstock_service.configuration import ConfigurationError

# Longer than the 5 s of httpx's pool and the 60 s of common balancers: who reuses a connection should be the one who
# closes it, or a request meets a connection that is just going away.
KEEP_ALIVE_SECONDS = 75
LAST_WORDS_SECONDS = 2  # for the last words of interrupted requests to reach slow callers

log = structlog.get_logger("penstock.gateway")


def listen(settings: Settings) -> socket.socket:
    """The socket to serve on. Raises ConfigurationError if there can be none."""
    address = (settings.host, settings.port)
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server(address, family=family)
    except OSError as error:
        raise ConfigurationError(f"port: cannot listen on {settings.host}:{settings.port}: {error.strerror}") from error


class Server(uvicorn.Server):
    """The gateway under uvicorn."""

    def __init__(self, settings: Settings) -> None:
        self._drain = Drain()
        self._drain_seconds = settings.drain_seconds
        super().__init__(_uvicorn_config(settings, self._drain))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no more connections, and wait for running requests until the drain's end."""
        ending = asyncio.get_running_loop().call_later(self._drain_seconds, self._drain.end)
        await super().shutdown(sockets)
        ending.cancel()


def _uvicorn_config(settings: Settings, drain: Drain) -> uvicorn.Config:
    return uvicorn.Config(
        create_app(settings, drain),
        http=BoundedHeads,  # httptools sets no limit to a request's headers
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=math.ceil(settings.drain_seconds) + LAST_WORDS_SECONDS,
    )


def run(settings: Settings, listener: socket.socket) -> None:
    """Serve until SIGTERM or SIGINT, then let running requests finish within `drain_seconds`."""
    for ending in (signal.SIGTERM, signal.SIGINT):
        signal.signal(ending, _exit)  # uvicorn handles it first, and raises it again when it has shut down
    host, port, *_ = listener.getsockname()
    log.info("listening", host=host, port=port, upstream=settings.upstream)
    Server(settings).run(sockets=[listener])


def _exit(number: int, frame: FrameType | None) -> None:
    sys.exit(0)
