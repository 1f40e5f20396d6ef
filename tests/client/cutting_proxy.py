"""A proxy between a client and a server that cuts connections where its test says, as a network does."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable

PIECE_BYTES = 1 << 16


class CuttingProxy:
    """`cuts` says for each connection after how many bytes from the server it is cut; None and the end: never."""

    def __init__(self, upstream: str, cuts: Iterable[int | None] = ()) -> None:
        self._host, _, port = upstream.rpartition(":")
        self._port = int(port)
        self._cuts = iter(cuts)
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._left: int | None = None
        self.cut_off = 0  # how often something was cut
        self.passed = 0  # bytes from the server

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.target = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def cut(self) -> None:
        """Cut all connections now."""
        self.cut_off += len(self._open)
        for writer in list(self._open):
            writer.transport.abort()

    def cut_after(self, size: int) -> None:
        """Pass `size` more bytes from the server, then cut all connections, once."""
        self._left = size

    async def __aenter__(self) -> CuttingProxy:
        await self.start()
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self.stop()

    async def kill(self) -> None:
        """Cut all connections and take no more: the server is gone."""
        self._server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    stop = kill

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._connected(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            upstream_reader, upstream_writer = await asyncio.open_connection(self._host, self._port)
        except OSError:
            writer.transport.abort()
            return
        self._open.add(writer)
        there = asyncio.create_task(self._carry_up(reader, upstream_writer))
        try:
            await self._carry_down(upstream_reader, writer, next(self._cuts, None))
        finally:
            there.cancel()
            self._open.discard(writer)
            for each in (writer, upstream_writer):
                each.transport.abort()

    async def _carry_up(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(PIECE_BYTES):
                sink.write(data)
                await sink.drain()

    async def _carry_down(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, most: int | None) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(PIECE_BYTES):
                limits = [limit for limit in (most, self._left) if limit is not None]
                piece = data[: min(limits, default=len(data))]
                self.passed += len(piece)
                most = None if most is None else most - len(piece)
                self._left = None if self._left is None else self._left - len(piece)
                sink.write(piece)
                await sink.drain()
                if most == 0:
                    self.cut_off += 1
                    return
                if self._left == 0:
                    self._left = None
                    self.cut()
                    return
