"""A real gateway under a real uvicorn, in the test's own event loop."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from penstock_gateway.server import Server
from penstock_gateway.settings import Settings


@asynccontextmanager
async def serve_gateway(**settings: Any) -> AsyncIterator[str]:
    """A gateway with these settings on a free port: its address, such as http://127.0.0.1:45678."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = Server(Settings(**settings))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await serving
