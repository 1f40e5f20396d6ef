"""Opens generations: admitted, checked, handed to the engine, and released whatever happens."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from penstock.v1.generation_pb2 import GenerateRequest
from penstock.v1.models_pb2 import Model
from penstock_service.adapters import AdapterTable, LoadedAdapter
from penstock_service.call import Call
from penstock_service.engine.base import Engine, Job
from penstock_service.errors import InvalidRequest, Violation
from penstock_service.features import check_features
from penstock_service.generation import Generation
from penstock_service.generation_index import GenerationIndex
from penstock_service.lifecycle import Lifecycle
from penstock_service.limits import ModelLimits, check
from penstock_service.reading import Reader
from penstock_service.stalls import StallWatch
from penstock_service.stream_reader import ends_where_interrupted
from penstock_service.telemetry import Telemetry
from penstock_service.waiting import WaitEstimator


class Generations:
    """The door to the engine, the same for every RPC."""

    def __init__(
        self,
        lifecycle: Lifecycle,
        telemetry: Telemetry,
        stalls: StallWatch,
        most_held_bytes: int,
        adapters: AdapterTable,
    ) -> None:
        self._lifecycle = lifecycle
        self._telemetry = telemetry
        self._stalls = stalls
        self._most_held_bytes = most_held_bytes
        self._adapters = adapters
        self.waiting = WaitEstimator()
        self.index = GenerationIndex(self.waiting)

    @asynccontextmanager
    async def open(
        self, request: GenerateRequest, call: Call, reader: Reader, streamed: bool
    ) -> AsyncIterator[Generation]:
        """A generation in the engine. The block reads it to its end; what it failed with is raised after that."""
        call.request = request
        with self._lifecycle.call() as engine, self._adapters.using(request.model, engine.model) as adapter:
            if request.WhichOneof("input") == "batch":
                raise InvalidRequest(
                    [Violation("batch", "is for Generate; streams and sessions take one input a call")]
                )
            model = engine.model
            check(request, ModelLimits.of(model), unary=not streamed)
            check_features(request, model)
            key, version = (adapter.key, adapter.version) if adapter is not None else (None, None)
            call.model, call.engine, call.request_id = key or model.name, model.engine, request.request_id
            with self._telemetry.generation(call) as trace_headers:
                job = Job(call.id, request, call.received, streamed, trace_headers, key, version)
                generation = Generation(job, engine, reader, self._most_held_bytes)
                async with self._running(generation, call, engine, reader):
                    yield generation
                if generation.error is not None:
                    raise generation.error

    @contextmanager
    def batch(self, request: GenerateRequest) -> Iterator[tuple[Model, LoadedAdapter | None]]:
        """The model and the adapter that answer every input of a batch, kept as they are meanwhile.

        Raises what concerns all of them, and Unavailable.
        """
        with self._lifecycle.call() as engine, self._adapters.using(request.model, engine.model) as adapter:
            check(request, ModelLimits.of(engine.model), unary=True)
            check_features(request, engine.model)
            yield engine.model, adapter

    @asynccontextmanager
    async def _running(self, generation: Generation, call: Call, engine: Engine, reader: Reader) -> AsyncIterator[None]:
        with (
            self._lifecycle.generation(generation),
            self._stalls.watching(generation),
            self.index.holding(generation, call, engine),
        ):
            try:
                with ends_where_interrupted(reader):
                    await generation.start(call.seconds_left())
                    yield
            finally:
                generation.close()
                call.ended(generation)
                self.waiting.ended(generation.timings)
