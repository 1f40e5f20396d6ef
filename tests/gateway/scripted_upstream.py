"""A real gRPC server that speaks penstock.v1 and does what a test scripts: answer, fail or hold at a chosen chunk."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import NoReturn

import grpc
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from penstock.accumulate import Accumulator
from penstock.v1 import generation_pb2 as pb
from penstock.v1 import generation_pb2_grpc, models_pb2, models_pb2_grpc

MODEL = "tiny"
SLASHED_MODEL = "meta-llama/Llama-3"
PROMPT_TOKENS = 7
LOAD_TIME_SECONDS = 1_790_000_000


@dataclass(frozen=True)
class Failure:
    """A gRPC status with its google.rpc details."""

    code: grpc.StatusCode
    message: str = "scripted failure"
    reason: str = "SCRIPTED"
    violations: Sequence[tuple[str, str]] = ()
    retry_delay_ms: int | None = None

    def status_details(self) -> bytes:
        status = status_pb2.Status(code=self.code.value[0], message=self.message)
        status.details.add().Pack(error_details_pb2.ErrorInfo(reason=self.reason, domain="penstock"))
        if self.violations:
            bad = error_details_pb2.BadRequest()
            for name, description in self.violations:
                bad.field_violations.add(field=name, description=description)
            status.details.add().Pack(bad)
        if self.retry_delay_ms is not None:
            retry = error_details_pb2.RetryInfo()
            retry.retry_delay.FromMilliseconds(self.retry_delay_ms)
            status.details.add().Pack(retry)
        serialized: bytes = status.SerializeToString()
        return serialized


@dataclass(frozen=True)
class Script:
    """What the next calls meet. `pieces` become one chunk each; `after` of them, `failure` or `hold` takes over."""

    pieces: Sequence[str] = ("Once", " upon", " a time")
    finish: pb.FinishReason = pb.FINISH_REASON_STOP
    deltas: Sequence[pb.SequenceDelta] = ()  # instead of the pieces, one a chunk
    vectors: Sequence[Sequence[float]] = ()
    after: int = 0
    failure: Failure | None = None
    hold: bool = False


@dataclass
class ScriptedUpstream(
    generation_pb2_grpc.GenerationServicer,
    models_pb2_grpc.ModelsServicer,
):
    """The servicers, and what they saw."""

    script: Script = field(default_factory=Script)
    requests: list[pb.GenerateRequest] = field(default_factory=list)
    embedded: list[pb.EmbedRequest] = field(default_factory=list)
    metadata: list[dict[str, str | bytes]] = field(default_factory=list)
    time_remaining: list[float | None] = field(default_factory=list)
    called: asyncio.Event = field(default_factory=asyncio.Event)
    held: asyncio.Event = field(default_factory=asyncio.Event)
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    released: asyncio.Event = field(default_factory=asyncio.Event)
    healthy: health.aio.HealthServicer = field(default_factory=health.aio.HealthServicer)

    async def reset(self) -> None:
        """Forget the last test."""
        await self.set_serving(True)
        self.script = Script()
        self.requests, self.embedded, self.metadata, self.time_remaining = [], [], [], []
        self.called, self.held, self.cancelled, self.released = (asyncio.Event() for _ in range(4))

    async def set_serving(self, serving: bool) -> None:
        """What grpc.health.v1 says."""
        status = health_pb2.HealthCheckResponse
        await self.healthy.set("", status.SERVING if serving else status.NOT_SERVING)

    async def Generate(self, request, context):  # type: ignore[no-untyped-def]
        with self._recorded(request, context):
            return await self._whole(request, context, self.script)

    async def StreamGenerate(self, request, context):  # type: ignore[no-untyped-def, override]
        with self._recorded(request, context):
            await self._pieces(request, context, self.script)

    async def _whole(self, request, context, script: Script) -> pb.GenerateResponse:  # type: ignore[no-untyped-def]
        await self._interfere(script, context)
        return pb.GenerateResponse(
            id="gen-1",
            model=request.model or MODEL,
            sequences=_sequences(script),
            usage=_usage(script),
            request_id=request.request_id,
        )

    async def _pieces(self, request, context, script: Script) -> None:  # type: ignore[no-untyped-def]
        deltas = _deltas(script)
        for seq, delta in enumerate(deltas):
            if seq == script.after:
                await self._interfere(script, context)
            await context.write(self._chunk(request, script, seq, delta, last=seq == len(deltas) - 1))
        if script.after >= len(deltas):
            await self._interfere(script, context)

    async def Embed(self, request, context):  # type: ignore[no-untyped-def]
        with self._recorded(request, context):
            await self._interfere(self.script, context)
        vectors = [pb.Embedding(values=vector, prompt_tokens=2) for vector in self.script.vectors]
        return pb.EmbedResponse(
            id="emb-1",
            model=request.model or MODEL,
            results=[pb.EmbedResult(embedding=vector) for vector in vectors],
            usage=pb.Usage(prompt_tokens=2 * len(vectors)),
            request_id=request.request_id,
        )

    async def ListModels(self, request, context):  # type: ignore[no-untyped-def]
        await self._interfere(self.script, context)
        return models_pb2.ListModelsResponse(models=[_model(MODEL), _model(SLASHED_MODEL)])

    async def GetModel(self, request, context):  # type: ignore[no-untyped-def]
        if request.name not in (MODEL, SLASHED_MODEL):
            message = f"model: there is no model {request.name!r} here"
            await _fail(Failure(grpc.StatusCode.NOT_FOUND, message, "MODEL_NOT_FOUND"), context)
        return _model(request.name)

    @contextmanager
    def _recorded(  # type: ignore[no-untyped-def]
        self, request: pb.GenerateRequest | pb.EmbedRequest, context
    ) -> Iterator[None]:
        if isinstance(request, pb.EmbedRequest):
            self.embedded.append(request)
        else:
            self.requests.append(request)
        self.metadata.append(dict(context.invocation_metadata()))
        self.time_remaining.append(context.time_remaining())
        self.called.set()
        try:
            yield
        except asyncio.CancelledError:
            self.cancelled.set()
            raise

    async def _interfere(self, script: Script, context) -> None:  # type: ignore[no-untyped-def]
        if script.hold:
            self.held.set()
            await self.released.wait()
        if script.failure is not None:
            await _fail(script.failure, context)

    def _chunk(
        self, request: pb.GenerateRequest, script: Script, seq: int, delta: pb.SequenceDelta, last: bool
    ) -> pb.GenerateChunk:
        chunk = pb.GenerateChunk(seq=seq, deltas=[delta])
        if seq == 0:
            chunk.id, chunk.model, chunk.request_id = "gen-1", request.model or MODEL, request.request_id
        if last:
            chunk.deltas[0].finish.reason = script.finish
            chunk.usage.CopyFrom(_usage(script))
        return chunk


async def _fail(failure: Failure, context) -> NoReturn:  # type: ignore[no-untyped-def]
    context.set_trailing_metadata((("grpc-status-details-bin", failure.status_details()),))
    await context.abort(failure.code, failure.message)
    raise AssertionError("abort raises")


def _deltas(script: Script) -> Sequence[pb.SequenceDelta]:
    return script.deltas or [pb.SequenceDelta(text=piece) for piece in script.pieces]


def _sequences(script: Script) -> Sequence[pb.Sequence]:
    """What the stream's deltas come to."""
    received = Accumulator()
    received.add(pb.GenerateChunk(deltas=_deltas(script)))
    (sequence,) = received.reply().proto.sequences
    sequence.finish.reason = script.finish
    return [sequence]


def _usage(script: Script) -> pb.Usage:
    return pb.Usage(prompt_tokens=PROMPT_TOKENS, completion_tokens=len(_deltas(script)))


def _model(name: str) -> models_pb2.Model:
    model = models_pb2.Model(name=name, context_length=1024, chat=True, engine="simulated")
    model.load_time.FromSeconds(LOAD_TIME_SECONDS)
    return model


@asynccontextmanager
async def serve_upstream() -> AsyncIterator[tuple[str, ScriptedUpstream]]:
    """A scripted upstream on a free port: its address and its servicer."""
    server = grpc.aio.server()
    upstream = ScriptedUpstream()  # type: ignore[abstract]  # some RPCs have nothing that the gateway calls
    generation_pb2_grpc.add_GenerationServicer_to_server(upstream, server)
    models_pb2_grpc.add_ModelsServicer_to_server(upstream, server)
    health_pb2_grpc.add_HealthServicer_to_server(upstream.healthy, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}", upstream
    finally:
        await server.stop(None)
