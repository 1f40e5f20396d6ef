"""The Generation service: each RPC reads a generation in its own way."""

from penstock.v1.generation_pb2 import GenerateChunk, GenerateRequest, GenerateResponse, Sequence
from penstock.v1.generation_pb2_grpc import GenerationServicer as Servicer
from penstock_service.answer import Context, answers
from penstock_service.call import Call
from penstock_service.generations import Generations
from penstock_service.pacing import Pace
from penstock_service.session import Session, SessionTerms
from penstock_service.stream_reader import StreamReader
from penstock_service.telemetry import Telemetry


class GenerationServicer(Servicer):
    """Answers Generate, StreamGenerate and Session."""

    def __init__(self, generations: Generations, telemetry: Telemetry, pace: Pace, terms: SessionTerms) -> None:
        self._generations = generations
        self.telemetry = telemetry
        self._pace = pace
        self._terms = terms

    @answers("penstock.v1.Generation/Generate")
    async def Generate(self, request: GenerateRequest, context: Context, call: Call) -> GenerateResponse:
        """See the contract."""
        reader = StreamReader()
        async with self._generations.open(request, call, reader, streamed=False):
            chunk = await reader.whole()
        return _whole(chunk or GenerateChunk())

    # A coroutine that writes, not a generator that yields: grpc.aio does not close a generator whose call ends midway,
    # and the engine would go on generating for nobody.
    @answers("penstock.v1.Generation/StreamGenerate")
    async def StreamGenerate(self, request: GenerateRequest, context: Context, call: Call) -> None:
        """See the contract."""
        longest = self._pace.longest(request)
        reader = StreamReader()
        async with self._generations.open(request, call, reader, streamed=True):
            while (chunk := await reader.next()) is not None:
                await context.write(chunk)
                await reader.gather(self._pace.delay_seconds(longest))

    @answers("penstock.v1.Generation/Session")
    async def Session(self, requests: object, context: Context, call: Call) -> None:
        """See the contract."""
        await Session(self._generations, self.telemetry, context, call.id, self._terms).run()


def _whole(chunk: GenerateChunk) -> GenerateResponse:
    return GenerateResponse(
        id=chunk.id,
        model=chunk.model,
        sequences=[
            Sequence(index=delta.index, text=delta.text, token_ids=delta.token_ids, finish=delta.finish)
            for delta in chunk.deltas
        ],
        usage=chunk.usage,
        timings=chunk.timings,
        request_id=chunk.request_id,
    )
