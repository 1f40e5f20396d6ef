"""A server that passes bytes on and counts its connections; also as an HTTP proxy that takes CONNECT."""

from __future__ import annotations

import asyncio

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Relay:
    """To one port of this host, or (without one) to wherever CONNECT says."""

    def __init__(self, port: int | None = None) -> None:
        self.leads_to = port
        self.connections = 0  # open now
        self.changed = asyncio.Condition()
        self.asked: list[str] = []  # what CONNECT said

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        self.target = f"127.0.0.1:{self.port}"

    def stop(self) -> None:
        self._server.close()

    async def has(self, connections: int) -> None:
        """Wait until so many are open."""
        async with self.changed:
            await asyncio.wait_for(self.changed.wait_for(lambda: self.connections == connections), 30)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        place = ("127.0.0.1", self.leads_to) if self.leads_to is not None else await self._connect(reader, writer)
        onwards = await asyncio.open_connection(*place)
        await self._count(1)
        try:
            await asyncio.gather(_copy(reader, onwards[1]), _copy(onwards[0], writer))
        finally:
            await self._count(-1)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[str, int]:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        place = head.split()[1]
        self.asked.append(place)
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        host, port = place.rsplit(":", 1)
        return host, int(port)

    async def _count(self, change: int) -> None:
        async with self.changed:
            self.connections += change
            self.changed.notify_all()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass  # the same as an end
    writer.close()
