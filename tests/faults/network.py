"""A bad network: toxiproxy between the callers and the server, driven by its HTTP API."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.programs import find_program

# Callers come back later than the network does: they wait before they connect again, and connect in their turn.
AFTERMATH_SECONDS = 3.0


class Proxy:
    """One path to the server."""

    def __init__(self, api: httpx.AsyncClient, name: str, address: str) -> None:
        self.name = name
        self.address = address
        self._api = api
        self._disturbed = False
        self._healed = -math.inf

    def was_disturbed_since(self, moment: float) -> bool:
        """Whether a disturbance, or what it leaves for a while, fell into the time from then on until now."""
        return self._disturbed or self._healed + AFTERMATH_SECONDS > moment

    async def add(self, toxic: str, stream: str, **attributes: int) -> None:
        """Begin to disturb: connections that are open, and further ones."""
        self._disturbed = True
        body = {"name": f"{toxic} {stream}", "type": toxic, "stream": stream, "attributes": attributes}
        (await self._api.post(f"/proxies/{self.name}/toxics", json=body)).raise_for_status()

    async def down(self) -> None:
        """Cut all connections and take none."""
        self._disturbed = True
        (await self._api.post(f"/proxies/{self.name}", json={"enabled": False})).raise_for_status()

    async def heal(self) -> None:
        """Take every disturbance away. What lies in connections that were disturbed may be lost: they are cut."""
        path = f"/proxies/{self.name}"
        state: Mapping[str, Any] = (await self._api.get(path)).json()
        for toxic in state["toxics"]:
            await self._api.delete(f"{path}/toxics/{toxic['name']}")
        if state["toxics"]:
            await self.down()
        (await self._api.post(path, json={"enabled": True})).raise_for_status()
        if self._disturbed:
            self._disturbed, self._healed = False, time.monotonic()


@asynccontextmanager
async def proxies(upstream: str, count: int) -> AsyncIterator[list[Proxy]]:
    """So many healthy proxies to `upstream`."""
    program = find_program("toxiproxy-server")
    if program is None:
        raise FileNotFoundError("toxiproxy-server is not here: requirements/programs installs it")
    async with _running(program) as port, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as api:
        await _answers(api)
        yield [await _made(api, f"proxy{number}", upstream) for number in range(count)]


async def _made(api: httpx.AsyncClient, name: str, upstream: str) -> Proxy:
    body = {"name": name, "listen": "127.0.0.1:0", "upstream": upstream, "enabled": True}
    answer = (await api.post("/proxies", json=body)).raise_for_status()
    return Proxy(api, name, answer.json()["listen"])


async def _answers(api: httpx.AsyncClient) -> None:
    async with asyncio.timeout(20):
        while True:
            with contextlib.suppress(httpx.TransportError):
                await api.get("/version")
                return
            await asyncio.sleep(0.05)


@asynccontextmanager
async def _running(program: Path) -> AsyncIterator[int]:
    """The program on a port that was free a moment ago: it cannot tell which one it takes of its own."""
    taken = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port: int = taken.sockets[0].getsockname()[1]
    taken.close()
    await taken.wait_closed()
    nowhere = asyncio.subprocess.DEVNULL
    arguments = ["-host", "127.0.0.1", "-port", str(port)]
    process = await asyncio.create_subprocess_exec(program, *arguments, stdout=nowhere, stderr=nowhere)
    try:
        yield port
    finally:
        process.kill()
        await process.wait()
