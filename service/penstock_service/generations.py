"""Opens generations: admitted, checked, handed to the engine, and released whatever happens."""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, nullcontext
from functools import partial
from typing import NamedTuple

from penstock.v1.generation_pb2 import GenerateRequest
from penstock.v1.models_pb2 import Model
from penstock_service.adapters import AdapterTable, LoadedAdapter
from penstock_service.admission import Admitted
from penstock_service.batch_inputs import inputs_of
from penstock_service.call import Call
from penstock_service.door import Door
from penstock_service.engine.base import Engine, Job
from penstock_service.errors import InvalidRequest, ServiceError, Violation
from penstock_service.features import check_with_features
from penstock_service.generation import Generation
from penstock_service.generation_index import GenerationIndex
from penstock_service.lifecycle import Lifecycle
from penstock_service.long_conversations import off_loop_if_long
from penstock_service.reading import Reader
from penstock_service.stalls import StallWatch
from penstock_service.stream_reader import ends_where_interrupted
from penstock_service.telemetry import Telemetry


class AdmittedInput(NamedTuple):
    """An input of a batch that was let in."""

    request: GenerateRequest
    admitted: Admitted  # with all of its batch
    tokens: int  # of its prompt, about, which wait until it has a place


class OpenBatch(NamedTuple):
    """A batch that was let in: what answers all of its inputs, and these."""

    model: Model
    adapter: LoadedAdapter | None
    inputs: Sequence[AdmittedInput]


class Generations:
    """The way to the engine, the same for every RPC that generates."""

    def __init__(
        self,
        lifecycle: Lifecycle,
        telemetry: Telemetry,
        stalls: StallWatch,
        most_held_bytes: int,
        adapters: AdapterTable,
        door: Door,
    ) -> None:
        self._lifecycle = lifecycle
        self._telemetry = telemetry
        self._stalls = stalls
        self._most_held_bytes = most_held_bytes
        self._adapters = adapters
        self._door = door
        self.index = GenerationIndex(door.waiting, door.places)

    @asynccontextmanager
    async def open(
        self, request: GenerateRequest, call: Call, reader: Reader, streamed: bool, let_in: AdmittedInput | None = None
    ) -> AsyncIterator[Generation]:
        """A generation in the engine. The block reads it to its end; what it failed with is raised after that.

        An input of a batch was `let_in` with it.
        """
        call.request = request
        with self._lifecycle.call() as engine, self._adapters.using(request.model, engine.model) as adapter:
            if request.WhichOneof("input") == "batch":
                raise InvalidRequest(
                    [Violation("batch", "is for Generate; streams and sessions take one input a call")]
                )
            model = engine.model
            tokens = await self._checked(request, model, not streamed, let_in)
            key, version = (adapter.key, adapter.version) if adapter is not None else (None, None)
            call.model, call.engine, call.request_id = key or model.name, model.engine, request.request_id
            with (
                self._let_in(request, call, engine, tokens, let_in) as admitted,
                self._telemetry.generation(call) as trace_headers,
            ):
                job = Job(call.id, request, call.received, streamed, trace_headers, key, version)
                place = self._door.place(admitted, call, request, tokens, alone=let_in is None)
                generation = Generation(job, engine, reader, self._most_held_bytes, place)
                async with self._running(generation, call, engine, reader):
                    yield generation
                if generation.error is not None:
                    raise self._door.delayed(generation.error, call, engine)

    @asynccontextmanager
    async def batch(self, request: GenerateRequest, call: Call) -> AsyncIterator[OpenBatch]:
        """A batch, all of it or nothing; the model and the adapter that answer it are kept as they are meanwhile.

        Raises what concerns all of its inputs, and Unavailable.
        """
        with self._lifecycle.call() as engine, self._adapters.using(request.model, engine.model) as adapter:
            model = engine.model
            check_with_features(request, model, unary=True)
            inputs = list(inputs_of(request))
            sequences = len(inputs) * (request.num_sequences or 1)
            prompts = await off_loop_if_long(request, lambda: [self._tokens(one, model) for one in inputs])
            with self._door.admitted(call, engine, sequences, prompts, request.priority) as admitted:
                let_in = (AdmittedInput(one, admitted, tokens) for one, tokens in zip(inputs, prompts, strict=True))
                yield OpenBatch(model, adapter, list(let_in))

    async def _checked(self, request: GenerateRequest, model: Model, unary: bool, let_in: AdmittedInput | None) -> int:
        """About how many tokens the prompt has, once all is right. Raises InvalidRequest and FeatureOff."""
        check = partial(check_with_features, request, model, unary)
        if let_in is not None:
            with _waits_no_longer_if_wrong(let_in):
                await off_loop_if_long(request, check, input_of_batch=True)
            return let_in.tokens

        def look() -> int:
            check()
            return self._tokens(request, model)

        return await off_loop_if_long(request, look)

    def _tokens(self, request: GenerateRequest, model: Model) -> int:
        return self._door.prompts.tokens(request, model.context_length)

    def _let_in(
        self, request: GenerateRequest, call: Call, engine: Engine, tokens: int, let_in: AdmittedInput | None
    ) -> AbstractContextManager[Admitted]:
        if let_in is not None:
            return nullcontext(let_in.admitted)
        return self._door.admitted(call, engine, request.num_sequences or 1, [tokens], request.priority)

    @asynccontextmanager
    async def _running(self, generation: Generation, call: Call, engine: Engine, reader: Reader) -> AsyncIterator[None]:
        with (
            self._lifecycle.generation(generation),
            self._stalls.watching(generation),
            self.index.holding(generation, call, engine),
        ):
            try:
                with ends_where_interrupted(reader):
                    call.ends_in_time()
                    await generation.start(call.seconds_left())
                    yield
            finally:
                generation.close()
                call.ended(generation)
                self._door.ended(call, generation)


@contextmanager
def _waits_no_longer_if_wrong(let_in: AdmittedInput) -> Iterator[None]:
    """An input of a batch was let in with its tokens before it was looked at; a wrong one will have no place."""
    try:
        yield
    except ServiceError:
        let_in.admitted.begun(let_in.tokens)
        raise
