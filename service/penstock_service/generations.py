"""Opens generations: admitted, checked, handed to the engine, and released whatever happens."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from penstock.v1.generation_pb2 import GenerateRequest
from penstock.v1.models_pb2 import Model
from penstock_service.call import Call
from penstock_service.engine.base import Job
from penstock_service.errors import FeatureOff
from penstock_service.generation import Generation, Reader
from penstock_service.lifecycle import Lifecycle
from penstock_service.limits import ModelLimits, check
from penstock_service.models import find_model
from penstock_service.stalls import StallWatch
from penstock_service.telemetry import Telemetry


class Generations:
    """The door to the engine, the same for every RPC."""

    def __init__(self, lifecycle: Lifecycle, telemetry: Telemetry, stalls: StallWatch, most_held_bytes: int) -> None:
        self._lifecycle = lifecycle
        self._telemetry = telemetry
        self._stalls = stalls
        self._most_held_bytes = most_held_bytes

    @asynccontextmanager
    async def open(
        self, request: GenerateRequest, call: Call, reader: Reader, streamed: bool
    ) -> AsyncIterator[Generation]:
        """A generation in the engine. The block reads it to its end; what it failed with is raised after that."""
        call.request = request
        with self._lifecycle.call() as engine:
            model = find_model(request.model, [engine.model])
            check(request, ModelLimits.of(model))
            _check_features(request, model)
            call.model, call.engine, call.request_id = model.name, model.engine, request.request_id
            with self._telemetry.generation(call) as trace_headers:
                job = Job(call.id, request, call.received, streamed, trace_headers)
                generation = Generation(job, engine, reader, self._most_held_bytes)
                async with self._running(generation, call, reader):
                    yield generation
                if generation.error is not None:
                    raise generation.error

    @asynccontextmanager
    async def _running(self, generation: Generation, call: Call, reader: Reader) -> AsyncIterator[None]:
        with self._lifecycle.generation(generation), self._stalls.watching(generation):
            try:
                await generation.start(call.seconds_left())
                yield
            except asyncio.CancelledError:
                if not reader.interrupted:
                    raise
                _take_back_cancellation()
            finally:
                generation.close()
                call.ended(generation)


def _take_back_cancellation() -> None:
    task = asyncio.current_task()
    if task is not None:
        task.uncancel()


def _check_features(request: GenerateRequest, model: Model) -> None:
    if request.WhichOneof("input") == "conversation" and not model.chat:
        raise FeatureOff(f"conversation: model {model.name!r} has no chat template; send a prompt instead")
