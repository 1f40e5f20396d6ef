"""A real grpc.aio server that answers as its test tells it, and records what it saw."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import Message
from google.rpc import error_details_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from penstock.v1 import generation_pb2 as pb
from penstock.v1 import generation_pb2_grpc, models_pb2, models_pb2_grpc
from tests.client.script import TIMINGS, USAGE, Failure, Recorded, Refused, fail, pause, scripted_chunks
from tests.client.scripted_session import ScriptedSession

Context = grpc.aio.ServicerContext[Any, Any]

TRACE_KEYS = ("traceparent", "tracestate")


class ScriptedServer:
    """Knobs that a test sets before it calls, and events that it waits for."""

    def __init__(self) -> None:
        self.texts = ["Hello", " wörld"]
        self.deltas: list[list[pb.SequenceDelta]] | None = None  # sends these, a list a chunk, instead of the texts
        self.first = pb.GenerateChunk()  # what the first chunk has besides
        self.answers: dict[str, Message] = {}  # what unary calls return, by the RPC's name
        self.tiny = models_pb2.Model(
            name="tiny", aliases=["prod"], context_length=1024, vocabulary_size=512, chat=True, engine="simulated"
        )
        self.script_texts: dict[tuple[int, ...], str] = {}  # what Detokenize says of tokens
        self.asked: list[Message] = []  # of the unary calls other than Generate
        self.models_asked = 0  # how often ListModels and GetModel were
        self.models_told = asyncio.Event()  # they wait for it
        self.models_told.set()
        self.finish = pb.Finish(reason=pb.FINISH_REASON_STOP)
        self.failure: Failure | None = None
        self.failures: list[Failure] = []  # each happens once, in this order, and before `failure`
        self.block_after: int | None = None  # waits for `release` after so many chunks, or before a unary answer
        self.block_prompt: str | None = None  # a stream with this prompt waits for `release` before its first chunk
        self.seqs: list[int] | None = None  # sends these numbers instead of 0, 1, 2, ...
        self.without_end = False  # ends with OK but without the finish reason and the usage
        self.usage_apart = False  # sends usage and timings in a chunk of their own
        self.counts_failures = False  # sends usage and timings before a failure
        self.without_sessions = False  # is older than the Session RPC
        self.server_id: str | None = "one"  # None sends no first message by itself
        self.sessions: list[ScriptedSession] = []  # the open ones, the newest last
        self.sessions_opened = 0
        self.session_opened = asyncio.Event()
        self.sessions_refused = 0

        self.release = asyncio.Event()
        self.blocked = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.cancellations = 0
        self.requests: list[pb.GenerateRequest] = []
        self.metadata: list[dict[str, str | bytes]] = []
        self.seconds_left: list[float | None] = []
        self.peers: set[str] = set()
        self.certified_callers: list[str] = []  # the common names in the certificates of callers that have one
        self.active = 0
        self.most_active = 0
        self.crowd = 0  # sets `crowded` once so many calls are open; a failure waits for that
        self.crowded = asyncio.Event()
        self.resumes: list[pb.ResumeRequest] = []
        self.cancel_asked: asyncio.Queue[pb.CancelRequest] = asyncio.Queue()
        self.health_checked = asyncio.Event()
        self.health = _CountedHealth(self)

    async def start(
        self,
        port: int = 0,
        options: Sequence[tuple[str, int]] = (),
        credentials: grpc.ServerCredentials | None = None,
    ) -> None:
        """`port` 0 is a free one."""
        self._server = grpc.aio.server(options=options)
        generation_pb2_grpc.add_GenerationServicer_to_server(_Generation(self), self._server)
        models_pb2_grpc.add_ModelsServicer_to_server(_Models(self), self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self.health, self._server)
        place = f"127.0.0.1:{port}"
        self.port = (
            self._server.add_insecure_port(place)
            if credentials is None
            else self._server.add_secure_port(place, credentials)
        )
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

    def break_off(self, *, after: int) -> None:
        """Once, after so many chunks, end a stream as a broken connection does."""
        self.failures.append(Failure(grpc.StatusCode.UNAVAILABLE, "Socket closed", after=after))

    async def answer(self, rpc: str, request: Message, context: Context) -> Any:
        """What a unary call other than Generate returns: what `answers` has for it, or the script's failure."""
        self.asked.append(request)
        self.seconds_left.append(context.time_remaining())
        self.metadata.append(dict(context.invocation_metadata() or ()))
        if self.failure is not None:
            await self.failure.abort(context)
        return self.answers[rpc]

    def saw(self, request: pb.GenerateRequest, context: Context, start: pb.StartCall | None = None) -> None:
        """A call came: by itself, or with `start` in the session that has the context."""
        self.requests.append(request)
        metadata = dict(context.invocation_metadata() or ())
        if start is None:
            self.seconds_left.append(context.time_remaining())
        else:
            metadata.update((key, getattr(start, key)) for key in TRACE_KEYS if getattr(start, key))
            self.seconds_left.append(start.timeout_ms / 1000 if start.HasField("timeout_ms") else None)
        self.metadata.append(metadata)
        self.peers.add(context.peer())
        self.certified_callers += [name.decode() for name in context.auth_context().get("x509_common_name", ())]


class _Generation(generation_pb2_grpc.GenerationServicer):
    def __init__(self, script: ScriptedServer) -> None:
        self.script = script

    async def Generate(self, request: pb.GenerateRequest, context: Context) -> pb.GenerateResponse:
        self.script.saw(request, context)
        async with Recorded(self.script):
            try:
                await fail(self.script, request, 0)
            except Refused as refused:
                await refused.failure.abort(context)
            await pause(self.script, 0)
        if "Generate" in self.script.answers:
            return self.script.answers["Generate"]  # type: ignore[return-value]
        sequence = pb.Sequence(text="".join(self.script.texts), token_ids=[7, 8], finish=self.script.finish)
        return pb.GenerateResponse(
            id="gen-1",
            model="tiny",
            sequences=[sequence],
            usage=USAGE,
            timings=TIMINGS,
            request_id=request.request_id,
        )

    async def Embed(self, request: pb.EmbedRequest, context: Context) -> Any:
        return await self.script.answer("Embed", request, context)

    async def Tokenize(self, request: pb.TokenizeRequest, context: Context) -> Any:
        return await self.script.answer("Tokenize", request, context)

    async def Detokenize(self, request: pb.DetokenizeRequest, context: Context) -> Any:
        text = self.script.script_texts.get(tuple(request.token_ids.ids))
        if text is not None:
            return pb.DetokenizeResponse(text=text)
        return await self.script.answer("Detokenize", request, context)

    async def Estimate(self, request: pb.EstimateRequest, context: Context) -> Any:
        return await self.script.answer("Estimate", request, context)

    async def GetGeneration(self, request: pb.GetGenerationRequest, context: Context) -> Any:
        return await self.script.answer("GetGeneration", request, context)

    async def StreamGenerate(  # type: ignore[override]  # the stubs know generators only
        self, request: pb.GenerateRequest, context: Context
    ) -> None:
        self.script.saw(request, context)
        async with Recorded(self.script):
            try:
                async for chunk in scripted_chunks(self.script, request):
                    await context.write(chunk)
            except Refused as refused:
                await refused.failure.abort(context)

    async def Resume(  # type: ignore[override]  # the stubs know generators only
        self, request: pb.ResumeRequest, context: Context
    ) -> None:
        self.script.resumes.append(request)
        async with Recorded(self.script):
            try:
                async for chunk in scripted_chunks(self.script, self.script.requests[-1], request.next_seq):
                    await context.write(chunk)
            except Refused as refused:
                await refused.failure.abort(context)

    async def Cancel(self, request: pb.CancelRequest, context: Context) -> pb.CancelResponse:
        self.script.cancel_asked.put_nowait(request)
        return pb.CancelResponse()

    async def Session(  # type: ignore[override]  # the stubs know generators only
        self, requests: AsyncIterator[pb.SessionRequest], context: Context
    ) -> None:
        if self.script.without_sessions:
            self.script.sessions_refused += 1
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, "Method not found!")
        await ScriptedSession(self.script, context).serve(requests)


class _CountedHealth(health.aio.HealthServicer):  # type: ignore[misc]
    def __init__(self, script: ScriptedServer) -> None:
        super().__init__()
        self.script = script

    async def Check(self, request: health_pb2.HealthCheckRequest, context: Context) -> health_pb2.HealthCheckResponse:
        self.script.health_checked.set()
        return await super().Check(request, context)


class _Models(models_pb2_grpc.ModelsServicer):
    def __init__(self, script: ScriptedServer) -> None:
        self.script = script

    async def LoadAdapter(self, request: models_pb2.LoadAdapterRequest, context: Context) -> Any:
        return await self.script.answer("LoadAdapter", request, context)

    async def UnloadAdapter(self, request: models_pb2.UnloadAdapterRequest, context: Context) -> Any:
        return await self.script.answer("UnloadAdapter", request, context)

    async def SetAlias(self, request: models_pb2.SetAliasRequest, context: Context) -> Any:
        return await self.script.answer("SetAlias", request, context)

    async def ListModels(
        self, request: models_pb2.ListModelsRequest, context: Context
    ) -> models_pb2.ListModelsResponse:
        self.script.models_asked += 1
        await self.script.models_told.wait()
        return models_pb2.ListModelsResponse(models=[self.script.tiny])

    async def GetModel(self, request: models_pb2.GetModelRequest, context: Context) -> models_pb2.Model:
        self.script.models_asked += 1
        await self.script.models_told.wait()
        if request.name not in ("tiny", "prod"):
            info = error_details_pb2.ErrorInfo(reason="MODEL_NOT_FOUND", domain="penstock")
            await Failure(grpc.StatusCode.NOT_FOUND, "there is no such model", [info]).abort(context)
        return self.script.tiny
