"""Carries out a plan of a session: several calls on one stream, some given up, some late."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import grpc

from penstock.v1 import generation_pb2 as pb
from tests.faults.history import ClientCall, End, traceparent
from tests.faults.paths import Path, end_of, reason_of
from tests.faults.plans import Plan, request_of

_HANG_SECONDS = 60.0
_MOST_CALLS = 16
_CODES = {code.value[0]: code for code in grpc.StatusCode}


class SessionCaller:
    """One session and its calls."""

    def __init__(
        self, plan: Plan, path: Path, begun: Callable[..., ClientCall], ended: Callable[[ClientCall], None]
    ) -> None:
        self._plan = plan
        self._path = path
        self._begun = begun
        self._ended = ended
        self._calls: dict[int, ClientCall] = {}
        self._session = begun("session", path)
        self._rpc = next(path.stubs).Session(metadata=[("traceparent", traceparent(self._session.trace))])

    async def run(self) -> None:
        """Start the calls and read all there is."""
        if self._plan.cancel_after_seconds is not None:
            asyncio.get_running_loop().call_later(self._plan.cancel_after_seconds, self._give_up)
        writing = asyncio.create_task(self._write())
        try:
            async with asyncio.timeout(_HANG_SECONDS):
                await self._read()
        except TimeoutError:
            self._rpc.cancel()
        writing.cancel()
        await asyncio.wait([writing])
        self._end_all()

    def _give_up(self) -> None:
        if not self._rpc.done():
            self._session.cancelled = True
            self._rpc.cancel()

    async def _write(self) -> None:
        rng = self._plan.rng
        try:
            for number in range(1, rng.randint(2, _MOST_CALLS)):
                await self._start(number, request_of(rng))
                await asyncio.sleep(rng.choice((0, 0, 0.005)))
                if rng.random() < 0.1:
                    self._calls[number].cancelled = True
                    await self._rpc.write(pb.SessionRequest(cancel={"call": number}))
            await self._rpc.done_writing()
        except (grpc.RpcError, asyncio.InvalidStateError):
            pass  # the session is over: its reader tells how

    async def _start(self, number: int, request: pb.GenerateRequest) -> None:
        call = self._calls[number] = self._begun("call", self._path, request)
        start = pb.StartCall(call=number, request=request, traceparent=traceparent(call.trace))
        if self._plan.rng.random() < 0.1:
            start.timeout_ms = self._plan.rng.randint(0, 100)
            call.deadline = start.timeout_ms / 1000
        await self._rpc.write(pb.SessionRequest(start=start))

    async def _read(self) -> None:
        try:
            while (response := await self._rpc.read()) is not grpc.aio.EOF:
                self._take(response)
        except (grpc.RpcError, asyncio.CancelledError):
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
        self._session.ends.append(await end_of(self._rpc))

    def _take(self, response: pb.SessionResponse) -> None:
        now = time.monotonic()
        for entry in response.chunks:
            self._calls[entry.call].add(entry.chunk, now)
        for end in response.ends:
            self._calls[end.call].ends.append(_end(end, now))

    def _end_all(self) -> None:
        """Calls that have no end of their own ended with the session, if that failed."""
        for call in self._calls.values():
            if not call.ends and self._session.ends and not self._well:
                call.carrier_broke = True
                call.ends.append(End(time.monotonic(), self._session.ends[0].code))
            self._ended(call)
        self._ended(self._session)

    @property
    def _well(self) -> bool:
        return self._session.ends[0].code is grpc.StatusCode.OK


def _end(end: pb.CallEnd, now: float) -> End:
    if not end.HasField("status"):
        return End(now, grpc.StatusCode.OK)
    status: Any = end.status
    return End(now, _CODES[status.code], reason_of(status.details), status.message)
