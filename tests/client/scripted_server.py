"""A real grpc.aio server that answers as its test tells it, and records what it saw."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from penstock.v1 import generation_pb2 as pb
from penstock.v1 import generation_pb2_grpc, models_pb2, models_pb2_grpc

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

    def trailers(self) -> tuple[tuple[str, bytes], ...]:
        if self.raw_details is not None:
            return (("grpc-status-details-bin", self.raw_details),)
        if not self.details:
            return ()
        status = status_pb2.Status(code=self.status.value[0], message=self.message)
        for detail in self.details:
            status.details.add().Pack(detail)
        return (("grpc-status-details-bin", status.SerializeToString()),)


class ScriptedServer:
    """Knobs that a test sets before it calls, and events that it waits for."""

    def __init__(self) -> None:
        self.texts = ["Hello", " wörld"]
        self.finish = pb.Finish(reason=pb.FINISH_REASON_STOP)
        self.failure: Failure | None = None
        self.block_after: int | None = None  # waits for `release` after so many chunks, or before a unary answer
        self.seqs: list[int] | None = None  # sends these numbers instead of 0, 1, 2, ...
        self.without_end = False  # ends with OK but without the finish reason and the usage
        self.usage_apart = False  # sends usage and timings in a chunk of their own

        self.release = asyncio.Event()
        self.blocked = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.cancellations = 0
        self.requests: list[pb.GenerateRequest] = []
        self.metadata: list[dict[str, str | bytes]] = []
        self.seconds_left: list[float | None] = []
        self.peers: set[str] = set()
        self.active = 0
        self.crowd = 0  # sets `crowded` once so many calls are open; a failure waits for that
        self.crowded = asyncio.Event()
        self.health_checked = asyncio.Event()
        self.health = _CountedHealth(self)

    async def start(self) -> None:
        self._server = grpc.aio.server()
        generation_pb2_grpc.add_GenerationServicer_to_server(_Generation(self), self._server)
        models_pb2_grpc.add_ModelsServicer_to_server(_Models(), self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self.health, self._server)
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        self.target = f"127.0.0.1:{self.port}"
        await self._server.start()

    async def stop(self, grace: float = 0) -> None:
        self.release.set()
        await self._server.stop(grace)

    async def set_health(self, status: str, service: str = "") -> None:
        await self.health.set(service, health_pb2.HealthCheckResponse.ServingStatus.Value(status))

    def fail(self, status: grpc.StatusCode, message: str = "", *details: Message, after: int = 0) -> None:
        self.failure = Failure(status, message, details, after=after)

    def refuse(self, status: grpc.StatusCode, reason: str, *details: Message, after: int = 0) -> None:
        """Fail as the Penstock server does: with ErrorInfo of its domain before other details."""
        info = error_details_pb2.ErrorInfo(reason=reason, domain="penstock")
        self.fail(status, f"scripted {reason}", info, *details, after=after)

    def saw(self, request: pb.GenerateRequest, context: Context) -> None:
        self.requests.append(request)
        self.metadata.append(dict(context.invocation_metadata() or ()))
        self.seconds_left.append(context.time_remaining())
        self.peers.add(context.peer())


class _Generation(generation_pb2_grpc.GenerationServicer):
    def __init__(self, script: ScriptedServer) -> None:
        self.script = script

    async def Generate(self, request: pb.GenerateRequest, context: Context) -> pb.GenerateResponse:
        self.script.saw(request, context)
        async with _Recorded(self.script):
            await self._fail(request, context, 0)
            await self._pause(0)
        sequence = pb.Sequence(text="".join(self.script.texts), token_ids=[7, 8], finish=self.script.finish)
        return pb.GenerateResponse(
            id="gen-1",
            model="tiny",
            sequences=[sequence],
            usage=USAGE,
            timings=TIMINGS,
            request_id=request.request_id,
        )

    async def StreamGenerate(  # type: ignore[override]  # the stubs know generators only
        self, request: pb.GenerateRequest, context: Context
    ) -> None:
        self.script.saw(request, context)
        async with _Recorded(self.script):
            for position, chunk in enumerate(_chunks(self.script, request)):
                await self._fail(request, context, position)
                await self._pause(position)
                await context.write(chunk)
            await self._fail(request, context, len(self.script.texts))

    async def _pause(self, position: int) -> None:
        if self.script.block_after == position:
            self.script.blocked.set()
            await self.script.release.wait()

    async def _fail(self, request: pb.GenerateRequest, context: Context, position: int) -> None:
        failure = self.script.failure
        if failure is not None and failure.after == position and failure.only_prompt in (None, request.prompt):
            if self.script.crowd:
                await self.script.crowded.wait()
            await context.abort(failure.status, failure.message, failure.trailers())


class _Recorded:
    def __init__(self, script: ScriptedServer) -> None:
        self.script = script

    async def __aenter__(self) -> None:
        self.script.active += 1
        if self.script.active == self.script.crowd:
            self.script.crowded.set()

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.script.active -= 1
        if kind is not None and issubclass(kind, asyncio.CancelledError):
            self.script.cancellations += 1
            self.script.cancelled.set()


def _chunks(script: ScriptedServer, request: pb.GenerateRequest) -> Iterable[pb.GenerateChunk]:
    seqs = script.seqs or list(range(len(script.texts)))
    chunks = [
        pb.GenerateChunk(seq=seq, deltas=[pb.SequenceDelta(text=text, token_ids=[seq])])
        for seq, text in zip(seqs, script.texts, strict=True)
    ]
    chunks[0].id, chunks[0].model, chunks[0].request_id = "gen-1", "tiny", request.request_id
    if not script.without_end:
        chunks[-1].deltas[0].finish.CopyFrom(script.finish)
        if script.usage_apart:
            chunks.append(pb.GenerateChunk(seq=len(chunks)))
        chunks[-1].usage.CopyFrom(USAGE)
        chunks[-1].timings.CopyFrom(TIMINGS)
    return chunks


class _CountedHealth(health.aio.HealthServicer):  # type: ignore[misc]
    def __init__(self, script: ScriptedServer) -> None:
        super().__init__()
        self.script = script

    async def Check(self, request: health_pb2.HealthCheckRequest, context: Context) -> health_pb2.HealthCheckResponse:
        self.script.health_checked.set()
        return await super().Check(request, context)


class _Models(models_pb2_grpc.ModelsServicer):
    TINY = models_pb2.Model(
        name="tiny", aliases=["prod"], context_length=1024, vocabulary_size=512, chat=True, engine="simulated"
    )

    async def ListModels(
        self, request: models_pb2.ListModelsRequest, context: Context
    ) -> models_pb2.ListModelsResponse:
        return models_pb2.ListModelsResponse(models=[self.TINY])

    async def GetModel(self, request: models_pb2.GetModelRequest, context: Context) -> models_pb2.Model:
        if request.name not in ("tiny", "prod"):
            info = error_details_pb2.ErrorInfo(reason="MODEL_NOT_FOUND", domain="penstock")
            failure = Failure(grpc.StatusCode.NOT_FOUND, "there is no such model", [info])
            await context.abort(failure.status, failure.message, failure.trailers())
        return self.TINY
