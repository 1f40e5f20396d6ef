"""The Generation service: each RPC reads a generation in its own way."""

from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager

from penstock.v1.generation_pb2 import (
    CancelRequest,
    CancelResponse,
    DetokenizeRequest,
    DetokenizeResponse,
    EmbedRequest,
    EmbedResponse,
    EstimateRequest,
    EstimateResponse,
    GenerateRequest,
    GenerateResponse,
    GenerationStatus,
    GetGenerationRequest,
    ResumeRequest,
    TokenizeRequest,
    TokenizeResponse,
)
from penstock.v1.generation_pb2_grpc import GenerationServicer as Servicer
from penstock_service.adapters import AdapterTable
from penstock_service.answer import Context, answers
from penstock_service.batches import answer_batch, answer_whole
from penstock_service.call import Call
from penstock_service.door import Door
from penstock_service.embedding import Embedding
from penstock_service.errors import InvalidRequest, Violation
from penstock_service.estimates import Estimates
from penstock_service.generation_control import GenerationControl
from penstock_service.generations import Generations
from penstock_service.lifecycle import Lifecycle
from penstock_service.pacing import Pace
from penstock_service.reading import Readable, Reader
from penstock_service.recordings import Recordings, outlives_its_connection
from penstock_service.session import Session, SessionTerms
from penstock_service.stream_reader import StreamReader
from penstock_service.telemetry import Telemetry
from penstock_service.tokenization import Tokenization


class GenerationServicer(Servicer):
    """Answers every RPC of Generation."""

    def __init__(
        self,
        generations: Generations,
        recordings: Recordings,
        telemetry: Telemetry,
        pace: Pace,
        terms: SessionTerms,
        lifecycle: Lifecycle,
        adapters: AdapterTable,
        door: Door,
    ) -> None:
        self._generations = generations
        self._recordings = recordings
        self._control = GenerationControl(generations.index, recordings)
        self.telemetry = telemetry
        self.deadlines = terms.deadlines
        self._pace = pace
        self._terms = terms
        self._embedding = Embedding(lifecycle, adapters, door)
        self._tokenization = Tokenization(lifecycle, adapters, door)
        self._estimates = Estimates(lifecycle, adapters, door)

    @answers("penstock.v1.Generation/Generate")
    async def Generate(self, request: GenerateRequest, context: Context, call: Call) -> GenerateResponse:
        """See the contract."""
        if request.idempotency_key:
            return await self._recordings.whole(request, call)
        if request.WhichOneof("input") == "batch":
            return await answer_batch(request, call, self._generations, self.telemetry)
        return await answer_whole(request, call, self._generations)

    # A coroutine that writes, not a generator that yields: grpc.aio does not close a generator whose call ends midway,
    # and the engine would go on generating for nobody.
    @answers("penstock.v1.Generation/StreamGenerate")
    async def StreamGenerate(self, request: GenerateRequest, context: Context, call: Call) -> None:
        """See the contract."""
        # The chunks of a recording have gathered already.
        longest = 0.0 if outlives_its_connection(request) else self._pace.longest(request)
        reader = StreamReader()
        async with self._stream(request, call, reader):
            while (chunk := await reader.next()) is not None:
                await context.write(chunk)
                await reader.gather(self._pace.delay_seconds(longest))

    @answers("penstock.v1.Generation/Session", limited=False)
    async def Session(self, requests: object, context: Context, call: Call) -> None:
        """See the contract."""
        await Session(self._stream, self.telemetry, context, call.id, self._terms).run()

    @answers("penstock.v1.Generation/Resume")
    async def Resume(self, request: ResumeRequest, context: Context, call: Call) -> None:
        """See the contract."""
        if wrong := list(_wrong_in(request)):
            raise InvalidRequest(wrong)
        reader = StreamReader()
        async with self._recordings.resumed(request, call, reader):
            while (chunk := await reader.next()) is not None:
                await context.write(chunk)

    @answers("penstock.v1.Generation/Cancel")
    async def Cancel(self, request: CancelRequest, context: Context, call: Call) -> CancelResponse:
        """See the contract."""
        self._control.cancel(request, call.tenant.name)
        return CancelResponse()

    @answers("penstock.v1.Generation/GetGeneration")
    async def GetGeneration(self, request: GetGenerationRequest, context: Context, call: Call) -> GenerationStatus:
        """See the contract."""
        return self._control.status(request, call.tenant.name)

    @answers("penstock.v1.Generation/Embed")
    async def Embed(self, request: EmbedRequest, context: Context, call: Call) -> EmbedResponse:
        """See the contract."""
        return await self._embedding.embed(request, call)

    @answers("penstock.v1.Generation/Tokenize")
    async def Tokenize(self, request: TokenizeRequest, context: Context, call: Call) -> TokenizeResponse:
        """See the contract."""
        return await self._tokenization.tokenize(request, call)

    @answers("penstock.v1.Generation/Detokenize")
    async def Detokenize(self, request: DetokenizeRequest, context: Context, call: Call) -> DetokenizeResponse:
        """See the contract."""
        return await self._tokenization.detokenize(request, call)

    @answers("penstock.v1.Generation/Estimate")
    async def Estimate(self, request: EstimateRequest, context: Context, call: Call) -> EstimateResponse:
        """See the contract."""
        return await self._estimates.estimate(request, call)

    def _stream(self, request: GenerateRequest, call: Call, reader: Reader) -> AbstractAsyncContextManager[Readable]:
        if outlives_its_connection(request):
            return self._recordings.open(request, call, reader)
        return self._generations.open(request, call, reader, streamed=True)


def _wrong_in(request: ResumeRequest) -> Iterator[Violation]:
    if not request.id:
        yield Violation("id", "is missing")
    if request.next_seq < 0:
        yield Violation("next_seq", f"must be at least 0, got {request.next_seq}")
