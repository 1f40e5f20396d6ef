"""The Generation service: admit, check, generate, write."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

from penstock.v1.generation_pb2 import GenerateChunk, GenerateRequest, GenerateResponse, Sequence
from penstock.v1.generation_pb2_grpc import GenerationServicer as Servicer
from penstock.v1.models_pb2 import Model
from penstock_service.answer import Context, answers
from penstock_service.call import Call
from penstock_service.engine.base import Generation
from penstock_service.errors import FeatureOff
from penstock_service.lifecycle import Lifecycle
from penstock_service.limits import ModelLimits, check
from penstock_service.models import find_model
from penstock_service.pacing import LoopLag, delay_seconds
from penstock_service.telemetry import Telemetry


class GenerationServicer(Servicer):
    """Answers Generate and StreamGenerate from the lifecycle's engine.

    A stream's chunks wait for each other for up to `max_delay_ms` while the event loop is late by `lag`.
    """

    def __init__(self, lifecycle: Lifecycle, telemetry: Telemetry, lag: LoopLag, max_delay_ms: int) -> None:
        self._lifecycle = lifecycle
        self.telemetry = telemetry
        self._lag = lag
        self._max_delay_ms = max_delay_ms

    @answers("penstock.v1.Generation/Generate")
    async def Generate(self, request: GenerateRequest, context: Context, call: Call) -> GenerateResponse:
        """See the contract."""
        async with self._generation(request, call, streamed=False) as chunks:
            (chunk,) = [chunk async for chunk in chunks]
            call.finished(chunk)
        return _whole(chunk)

    # A coroutine that writes, not a generator that yields: grpc.aio does not close a generator whose call ends midway,
    # and the engine would go on generating for nobody.
    @answers("penstock.v1.Generation/StreamGenerate")
    async def StreamGenerate(self, request: GenerateRequest, context: Context, call: Call) -> None:
        """See the contract."""
        given = request.response.HasField("max_delay_ms")
        longest = (request.response.max_delay_ms if given else self._max_delay_ms) / 1000
        async with self._generation(request, call, streamed=True) as chunks:
            async for chunk in chunks:
                await context.write(chunk)
                delay = delay_seconds(self._lag.seconds, longest)
                if delay and not chunk.HasField("usage"):
                    await asyncio.sleep(delay)  # the engine gathers meanwhile
            call.finished(chunk)

    @asynccontextmanager
    async def _generation(
        self, request: GenerateRequest, call: Call, streamed: bool
    ) -> AsyncIterator[AsyncIterator[GenerateChunk]]:
        call.request = request
        with self._lifecycle.call() as engine:
            model = find_model(request.model, [engine.model])
            check(request, ModelLimits.of(model))
            _check_features(request, model)
            call.model, call.engine, call.request_id = model.name, model.engine, request.request_id
            with self.telemetry.generation(call) as trace_headers:
                generation = Generation(call.id, request, call.received, streamed, trace_headers)
                async with aclosing(engine.generate(generation)) as chunks:
                    yield chunks


def _check_features(request: GenerateRequest, model: Model) -> None:
    if request.WhichOneof("input") == "conversation" and not model.chat:
        raise FeatureOff(f"conversation: model {model.name!r} has no chat template; send a prompt instead")


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
