"""What the scripted server does in one call, however the call came."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
from google.protobuf.message import Message
from google.rpc import status_pb2

from penstock.v1 import generation_pb2 as pb
from penstock.v1.mirrors_pb2 import RpcStatus

if TYPE_CHECKING:
    from tests.client.scripted_server import ScriptedServer

    Context = grpc.aio.ServicerContext[Any, Any]

USAGE = pb.Usage(prompt_tokens=3, completion_tokens=2, cached_prompt_tokens=1)
TIMINGS = pb.Timings(time_to_first_token_ms=1.5, generation_time_ms=4.0)


@dataclass
class Failure:
    """A status other than OK, with google.rpc details, after so many chunks."""

    status: grpc.StatusCode
    message: str = ""
    details: Iterable[Message] = ()
    raw_details: bytes | None = None
    after: int = 0
    only_prompt: str | None = None
    metadata: tuple[tuple[str, str], ...] = ()

    def trailers(self) -> tuple[tuple[str, str | bytes], ...]:
        return (*self.metadata, *self.rich())

    def rich(self) -> tuple[tuple[str, bytes], ...]:
        if self.raw_details is not None:
            return (("grpc-status-details-bin", self.raw_details),)
        if not self.details:
            return ()
        status = status_pb2.Status(code=self.status.value[0], message=self.message)
        for detail in self.details:
            status.details.add().Pack(detail)
        return (("grpc-status-details-bin", status.SerializeToString()),)

    async def abort(self, context: Context) -> None:
        await context.abort(self.status, self.message, self.trailers())

    def inside(self) -> RpcStatus:
        """As a message carries it."""
        for _, raw in self.rich():
            return RpcStatus.FromString(raw)
        return RpcStatus(code=self.status.value[0], message=self.message)


async def scripted_chunks(
    script: ScriptedServer, request: pb.GenerateRequest, sent: int = 0
) -> AsyncIterator[pb.GenerateChunk]:
    """What a stream brings, however it travels, after so many chunks. Raises Refused."""
    if script.block_prompt == request.prompt:
        script.blocked.set()
        await script.release.wait()
    try:
        for chunk in list(_chunks(script, request))[sent:]:
            await fail(script, request, sent)
            await pause(script, sent)
            yield chunk
            sent += 1
        await fail(script, request, len(script.texts))
    except Refused:
        if script.counts_failures:
            yield pb.GenerateChunk(seq=sent, usage=USAGE, timings=TIMINGS)
        raise


class Refused(Exception):
    def __init__(self, failure: Failure) -> None:
        super().__init__(failure)
        self.failure = failure


async def pause(script: ScriptedServer, position: int) -> None:
    if script.block_after == position:
        script.blocked.set()
        await script.release.wait()


async def fail(script: ScriptedServer, request: pb.GenerateRequest, position: int) -> None:
    if script.failures and script.failures[0].after == position:
        raise Refused(script.failures.pop(0))
    failure = script.failure
    if failure is not None and failure.after == position and failure.only_prompt in (None, request.prompt):
        if script.crowd:
            await script.crowded.wait()
        raise Refused(failure)


class Recorded:
    def __init__(self, script: ScriptedServer) -> None:
        self.script = script

    async def __aenter__(self) -> None:
        self.script.active += 1
        self.script.most_active = max(self.script.most_active, self.script.active)
        if self.script.active == self.script.crowd:
            self.script.crowded.set()

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.script.active -= 1
        if kind is not None and issubclass(kind, asyncio.CancelledError):
            self.script.cancellations += 1
            self.script.cancelled.set()


def _chunks(script: ScriptedServer, request: pb.GenerateRequest) -> Iterable[pb.GenerateChunk]:
    chunks = _scripted_deltas(script) if script.deltas else _scripted_texts(script)
    chunks[0].MergeFrom(script.first)
    chunks[0].id, chunks[0].model, chunks[0].request_id = "gen-1", "tiny", request.request_id
    if not script.without_end:
        if not script.deltas:
            chunks[-1].deltas[0].finish.CopyFrom(script.finish)
        if script.usage_apart:
            chunks.append(pb.GenerateChunk(seq=len(chunks)))
        chunks[-1].usage.CopyFrom(USAGE)
        chunks[-1].timings.CopyFrom(TIMINGS)
    return chunks


def _scripted_texts(script: ScriptedServer) -> list[pb.GenerateChunk]:
    seqs = script.seqs or list(range(len(script.texts)))
    return [
        pb.GenerateChunk(seq=seq, deltas=[pb.SequenceDelta(text=text, token_ids=[seq])])
        for seq, text in zip(seqs, script.texts, strict=True)
    ]


def _scripted_deltas(script: ScriptedServer) -> list[pb.GenerateChunk]:
    return [pb.GenerateChunk(seq=seq, deltas=deltas) for seq, deltas in enumerate(script.deltas or ())]
