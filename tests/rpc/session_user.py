"""A caller of one Session, with what came for each of its calls."""

import asyncio
import contextlib
from collections import defaultdict
from typing import Any

import grpc

from penstock.v1 import generation_pb2 as pb
from penstock.v1.mirrors_pb2 import BadRequest, ErrorInfo, RetryInfo
from tests.conftest import Running
from tests.rpc.error_details import Failure, failure_of

CODES = {code.value[0]: code for code in grpc.StatusCode}


class SessionUser:
    """Reads everything as it comes; `async with` gives it up at the end."""

    def __init__(self, running: Running, **options: Any) -> None:
        self.rpc = running.generation.Session(**options)
        self.responses: list[pb.SessionResponse] = []
        self.chunks: dict[int, list[pb.GenerateChunk]] = defaultdict(list)
        self.ends: dict[int, list[pb.CallEnd]] = defaultdict(list)
        self.draining = False
        self._news = asyncio.Condition()

    async def __aenter__(self) -> "SessionUser":
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        self.rpc.cancel()
        with contextlib.suppress(grpc.RpcError, asyncio.CancelledError):
            await self._reading

    async def start(self, call: int, request: pb.GenerateRequest, **envelope: Any) -> None:
        await self.rpc.write(pb.SessionRequest(start=pb.StartCall(call=call, request=request, **envelope)))

    async def cancel(self, call: int) -> None:
        await self.rpc.write(pb.SessionRequest(cancel={"call": call}))

    async def until(self, condition: Any) -> None:
        """Wait until the condition holds or the session is over."""
        async with self._news:
            await self._news.wait_for(lambda: condition() or self._reading.done())
        assert condition(), await self.rpc.code()

    async def outcome(self, call: int) -> pb.CallEnd:
        """How the call ended."""
        await self.until(lambda: self.ends[call])
        (end,) = self.ends[call]
        return end

    async def text(self, call: int) -> str:
        """The text of a call that ended well."""
        end = await self.outcome(call)
        assert not end.HasField("status"), end
        chunks = self.chunks[call]
        assert [chunk.seq for chunk in chunks] == list(range(len(chunks)))
        assert chunks[-1].HasField("usage")
        return "".join(chunk.deltas[0].text for chunk in chunks)

    async def failure(self, call: int) -> Failure:
        """What a call that failed says."""
        status = (await self.outcome(call)).status
        failure = Failure(CODES[status.code], status.message)
        info, bad, retry = ErrorInfo(), BadRequest(), RetryInfo()
        for detail in status.details:
            match detail.type_url.rpartition(".")[2]:
                case "ErrorInfo":
                    info.ParseFromString(detail.value)
                case "BadRequest":
                    bad.ParseFromString(detail.value)
                    failure.fields = [violation.field for violation in bad.field_violations]
                case "RetryInfo":
                    retry.ParseFromString(detail.value)
                    failure.retry_after = retry.retry_delay.ToTimedelta().total_seconds()
        failure.reason, failure.domain = info.reason, info.domain
        return failure

    async def broken(self) -> Failure:
        """With what the session itself failed."""
        with contextlib.suppress(grpc.RpcError):
            await self._reading
        return await failure_of(self.rpc)

    async def _read(self) -> None:
        try:
            while (response := await self.rpc.read()) is not grpc.aio.EOF:
                self._take(response)
                await self._notify()
        finally:
            await self._notify()

    def _take(self, response: pb.SessionResponse) -> None:
        self.responses.append(response)
        self.draining |= response.draining
        for chunk in response.chunks:
            assert not self.ends[chunk.call], "a chunk after its call's end"
            self.chunks[chunk.call].append(chunk.chunk)
        for end in response.ends:
            self.ends[end.call].append(end)

    async def _notify(self) -> None:
        async with self._news:
            self._news.notify_all()
