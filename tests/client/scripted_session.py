"""The server's side of a session: every call of it runs the script of a stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

from penstock.v1 import generation_pb2 as pb
from penstock.v1.mirrors_pb2 import RpcStatus
from tests.client.script import Failure, Recorded, Refused, scripted_chunks

if TYPE_CHECKING:
    from tests.client.scripted_server import ScriptedServer

CANCELLED = RpcStatus(code=grpc.StatusCode.CANCELLED.value[0], message="the call was cancelled")


class ScriptedSession:
    """One open session: what came, and knobs for what only a session can do."""

    def __init__(self, script: ScriptedServer, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        self.script = script
        self.context = context
        self.numbers: list[int] = []  # of the calls that were started
        self.cancelled: list[int] = []  # as CancelCall asked
        self.half_closed = asyncio.Event()
        self.over = asyncio.Event()
        self.news = asyncio.Event()  # a message came
        self._calls: dict[int, asyncio.Task[None]] = {}
        self._outgoing: asyncio.Queue[pb.SessionResponse | None] = asyncio.Queue()
        self._broken: asyncio.Future[Failure | None] = asyncio.get_running_loop().create_future()

    async def serve(self, requests: AsyncIterator[pb.SessionRequest]) -> None:
        self.script.sessions.append(self)
        self.script.sessions_opened += 1
        self.script.session_opened.set()
        reading, writing = asyncio.create_task(self._read(requests)), asyncio.create_task(self._write())
        try:
            ends: list[asyncio.Future[Any]] = [writing, self._broken]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            failure = self._broken.result() if self._broken.done() else None
            if failure is not None:
                await failure.abort(self.context)
        finally:
            self.script.sessions.remove(self)
            self.over.set()
            for task in (reading, writing, *self._calls.values()):
                task.cancel()

    async def _read(self, requests: AsyncIterator[pb.SessionRequest]) -> None:
        if self.script.server_id is not None:
            self.send(pb.SessionResponse(server_id=self.script.server_id))
        async for message in requests:
            self._take(message)
        self.half_closed.set()
        await asyncio.gather(*self._calls.values())
        self._outgoing.put_nowait(None)

    def send(self, response: pb.SessionResponse) -> None:
        """By one writer: a write that is cancelled, as its call can be, would leave gRPC unable to write another."""
        self._outgoing.put_nowait(response)

    async def _write(self) -> None:
        while (response := await self._outgoing.get()) is not None:
            await self.context.write(response)

    def break_off(self, status: grpc.StatusCode, message: str = "") -> None:
        """End the session with a status, whatever its calls do."""
        self._broken.set_result(Failure(status, message))

    def end(self) -> None:
        """End the session with OK, whatever its calls do."""
        self._broken.set_result(None)

    def _take(self, message: pb.SessionRequest) -> None:
        self.news.set()
        if message.HasField("start"):
            number = message.start.call
            self.numbers.append(number)
            self._calls[number] = asyncio.create_task(self._run(message.start))
        else:
            self.cancelled.append(message.cancel.call)
            if message.cancel.call in self._calls:
                self._calls[message.cancel.call].cancel()

    async def _run(self, start: pb.StartCall) -> None:
        end = pb.CallEnd(call=start.call)
        try:
            await self._answer(start, end)
        except asyncio.CancelledError:
            end.status.CopyFrom(CANCELLED)
        del self._calls[start.call]
        self.send(pb.SessionResponse(ends=[end]))

    async def _answer(self, start: pb.StartCall, end: pb.CallEnd) -> None:
        self.script.saw(start.request, self.context, start)
        async with Recorded(self.script):
            try:
                async for chunk in scripted_chunks(self.script, start.request):
                    piece = pb.CallChunk(call=start.call, chunk=chunk)
                    self.send(pb.SessionResponse(chunks=[piece]))
            except Refused as refused:
                end.status.CopyFrom(refused.failure.inside())
