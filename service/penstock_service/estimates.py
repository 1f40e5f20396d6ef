"""Answers Estimate: what a request would need, and whether and when the engine would take it."""

import math
from collections.abc import Iterator
from typing import NamedTuple

from penstock.v1.generation_pb2 import EstimateRequest, EstimateResponse, GenerateRequest
from penstock.v1.models_pb2 import Model
from penstock_service.adapters import AdapterTable
from penstock_service.call import Call
from penstock_service.engine.base import Engine
from penstock_service.errors import InvalidRequest, Unavailable, Violation
from penstock_service.features import check_features
from penstock_service.field_paths import within
from penstock_service.lifecycle import Lifecycle
from penstock_service.limits import ModelLimits, check
from penstock_service.rpc_status import rpc_status
from penstock_service.waiting import WaitEstimator


class Need(NamedTuple):
    """What a request would take, over all its inputs."""

    prompt_tokens: int
    completion_tokens: int
    sequences: int


class Estimates:
    """Estimate."""

    def __init__(self, lifecycle: Lifecycle, adapters: AdapterTable, waiting: WaitEstimator) -> None:
        self._lifecycle = lifecycle
        self._adapters = adapters
        self._waiting = waiting

    async def estimate(self, request: EstimateRequest, call: Call) -> EstimateResponse:
        """See the contract. While no engine serves, the answer tells that and nothing else."""
        if not request.HasField("request"):
            raise InvalidRequest([Violation("request", "is missing")])
        try:
            with self._lifecycle.call() as engine, within("request"):
                model = engine.model
                self._adapters.resolve(request.request.model, model)
                call.model, call.engine = model.name, model.engine
                return self._response(await _need(request.request, engine, model), engine)
        except Unavailable as refusal:
            return EstimateResponse(admitted=False, refusal=rpc_status(refusal))

    def _response(self, need: Need, engine: Engine) -> EstimateResponse:
        refusal = engine.refusal(need.sequences)
        wait = self._waiting.wait_ms(engine.running, engine.model.max_concurrent_sequences)
        return EstimateResponse(
            prompt_tokens=need.prompt_tokens,
            max_completion_tokens=need.completion_tokens,
            admitted=refusal is None,
            refusal=rpc_status(refusal) if refusal is not None else None,
            wait_ms=math.ceil(wait) if wait is not None else None,
        )


async def _need(request: GenerateRequest, engine: Engine, model: Model) -> Need:
    limits = ModelLimits.of(model)
    check(request, limits)
    check_features(request, model)
    if request.WhichOneof("input") != "batch":
        return await _need_of_one(request, engine)
    needs = []
    for position, one in enumerate(_inputs(request)):
        with within(f"batch.inputs[{position}]"):
            check(one, limits)
            check_features(one, model)
            needs.append(await _need_of_one(one, engine))
    return Need(*map(sum, zip(*needs, strict=True)))


async def _need_of_one(request: GenerateRequest, engine: Engine) -> Need:
    sequences = request.num_sequences or 1
    demand = await engine.demand(request)
    return Need(demand.prompt_tokens, sequences * demand.most_completion_tokens, sequences)


def _inputs(request: GenerateRequest) -> Iterator[GenerateRequest]:
    """A request for each input of the batch."""
    shared = GenerateRequest()
    shared.CopyFrom(request)
    shared.ClearField("batch")
    for given in request.batch.inputs:
        one = GenerateRequest()
        one.CopyFrom(shared)
        one.MergeFromString(given.SerializeToString())  # BatchInput has the numbers of GenerateRequest's input
        yield one
