"""Answers Embed: every input by itself, many at a time."""

import asyncio
import time
from collections.abc import Iterable, Sequence

import structlog

from penstock.v1.generation_pb2 import Embedding as Vector
from penstock.v1.generation_pb2 import EmbedInput, EmbedRequest, EmbedResponse, EmbedResult, Usage
from penstock_service.adapters import AdapterTable
from penstock_service.admission import Admitted
from penstock_service.call import Call
from penstock_service.door import Door
from penstock_service.embedding_limits import check_embedding, check_input
from penstock_service.engine.base import Embedded, Embedder, Engine
from penstock_service.engine_places import PlaceNeed
from penstock_service.errors import FeatureOff, InternalError, Overloaded, ServiceError, Unavailable
from penstock_service.field_paths import within
from penstock_service.lifecycle import Lifecycle
from penstock_service.limits import ModelLimits
from penstock_service.rpc_status import rpc_status

log = structlog.get_logger()

# Of one call in the engine: enough to fill its steps, and few enough that the inputs of other calls come in between.
_MOST_AT_ONCE = 16


class Embedding:
    """Embed."""

    def __init__(self, lifecycle: Lifecycle, adapters: AdapterTable, door: Door) -> None:
        self._lifecycle = lifecycle
        self._adapters = adapters
        self._door = door

    async def embed(self, request: EmbedRequest, call: Call) -> EmbedResponse:
        """See the contract."""
        with self._lifecycle.call() as engine, self._adapters.using(request.model, engine.model) as adapter:
            model, limits = engine.model, ModelLimits.of(engine.model)
            check_embedding(request, limits)
            if not model.embeddings:
                raise FeatureOff(f"model: {model.name!r} generates text and embeds none; call Generate")
            call.model, call.engine, call.request_id = model.name, model.engine, request.request_id
            embedder = engine.embedder(request, None if adapter is None else adapter.key)
            tokens = [self._door.prompts.tokens_to_embed(given, model.context_length) for given in request.inputs]
            with self._door.admitted(call, engine, min(len(tokens), _MOST_AT_ONCE), tokens) as admitted:
                inputs = _Inputs(embedder, limits, call, self._door, admitted)
                outcomes = await inputs.outcomes(request.inputs, tokens)
            _raise_of_the_server(outcomes, self._door, call, engine)
        call.usage = Usage(prompt_tokens=sum(each.prompt_tokens for each in outcomes if isinstance(each, Embedded)))
        return EmbedResponse(
            id=call.id,
            model=model.name,
            results=[_result(outcome) for outcome in outcomes],
            usage=call.usage,
            request_id=request.request_id,
        )


class _Inputs:
    """The inputs of one call on their way through the engine."""

    def __init__(self, embedder: Embedder, limits: ModelLimits, call: Call, door: Door, admitted: Admitted) -> None:
        self._embedder = embedder
        self._limits = limits
        self._call = call
        self._door = door
        self._admitted = admitted
        self._room = asyncio.Semaphore(_MOST_AT_ONCE)

    async def outcomes(self, inputs: Iterable[EmbedInput], tokens: Iterable[int]) -> list[Embedded | ServiceError]:
        """The vector of each input, or the error that its caller is to see. Cancelled, it leaves nothing behind."""
        async with asyncio.TaskGroup() as tasks:
            running = [
                tasks.create_task(self._outcome(position, given, count), name="embed input")
                for position, (given, count) in enumerate(zip(inputs, tokens, strict=True))
            ]
        return [task.result() for task in running]

    async def _outcome(self, position: int, given: EmbedInput, tokens: int) -> Embedded | ServiceError:
        need = PlaceNeed(f"{self._call.id}-{position}", 1, tokens, tokens)
        place = self._door.place_for(self._admitted, need)
        try:
            with within(f"inputs[{position}]"):
                check_input(given, self._limits)
                async with self._room, place:
                    return await self._embedded(given, need)
        except ServiceError as error:
            return error
        except Exception as error:
            log.error("internal error", id=self._call.id, input=position, exc_info=error)
            return InternalError(self._call.id)
        finally:
            place.release()  # its tokens wait no longer either, wherever it ended

    async def _embedded(self, given: EmbedInput, need: PlaceNeed) -> Embedded:
        """The vector of one that has its place, charged however the call ends."""
        begun = time.monotonic()
        try:
            embedded = await self._embedder.embed(given, need.id)
        except asyncio.CancelledError:
            self._door.charge(self._call, need.tokens)  # the engine was at it, and tells no more
            raise
        self._door.waiting.held(1000 * (time.monotonic() - begun))
        self._door.charge(self._call, embedded.prompt_tokens)
        return embedded


def _raise_of_the_server(outcomes: Sequence[Embedded | ServiceError], door: Door, call: Call, engine: Engine) -> None:
    """Raise what is no input's own: the caller's next try then belongs to another replica, or to a later moment."""
    for outcome in outcomes:
        if isinstance(outcome, Unavailable):
            raise outcome
    if isinstance(outcomes[0], Overloaded) and all(isinstance(outcome, Overloaded) for outcome in outcomes):
        raise door.delayed(outcomes[0], call, engine)


def _result(outcome: Embedded | ServiceError) -> EmbedResult:
    if isinstance(outcome, ServiceError):
        return EmbedResult(status=rpc_status(outcome))
    return EmbedResult(embedding=Vector(values=outcome.values, prompt_tokens=outcome.prompt_tokens))
