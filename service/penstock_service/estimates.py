"""Answers Estimate: what a request would need, and whether and when the engine would take it."""

import math
from functools import partial
from typing import NamedTuple

from penstock.v1.generation_pb2 import EstimateRequest, EstimateResponse, GenerateRequest
from penstock.v1.models_pb2 import Model
from penstock_service.adapters import AdapterTable
from penstock_service.batch_inputs import inputs_of
from penstock_service.call import Call
from penstock_service.door import Door, asked_by
from penstock_service.engine.base import Engine
from penstock_service.errors import InvalidRequest, Overloaded, QuotaExceeded, Unavailable, Violation
from penstock_service.features import check_with_features
from penstock_service.field_paths import within
from penstock_service.lifecycle import Lifecycle
from penstock_service.long_conversations import off_loop_if_long
from penstock_service.rpc_status import rpc_status


class Need(NamedTuple):
    """What a request would take, over all its inputs."""

    prompts: list[int]  # tokens of each
    completion_tokens: int
    sequences: int


class Estimates:
    """Estimate."""

    def __init__(self, lifecycle: Lifecycle, adapters: AdapterTable, door: Door) -> None:
        self._lifecycle = lifecycle
        self._adapters = adapters
        self._door = door

    async def estimate(self, request: EstimateRequest, call: Call) -> EstimateResponse:
        """See the contract. While no engine serves, or the quota is used up, the answer tells that and nothing else."""
        if not request.HasField("request"):
            raise InvalidRequest([Violation("request", "is missing")])
        try:
            with self._lifecycle.call() as engine, self._door.reading(call), within("request"):
                model = engine.model
                self._adapters.resolve(request.request.model, model)
                call.model, call.engine = model.name, model.engine
                need = await _need(request.request, engine, model)
                return self._response(need, request.request.priority, call, engine)
        except (Unavailable, Overloaded) as refusal:
            return EstimateResponse(admitted=False, refusal=rpc_status(refusal))
        except QuotaExceeded:
            if (generates := self._door.quota_refusal(call)) is None:
                raise  # too many that read prompts at a time, of which Generate is none
            return EstimateResponse(admitted=False, refusal=rpc_status(generates))

    def _response(self, need: Need, priority: int, call: Call, engine: Engine) -> EstimateResponse:
        asked = asked_by(call, engine.model, need.sequences, need.prompts)
        outlook, refusal = self._door.prospect(engine, call, asked, priority)
        refusal, wait = refusal or engine.refusal(need.sequences), outlook.wait
        return EstimateResponse(
            prompt_tokens=asked.tokens,
            max_completion_tokens=need.completion_tokens,
            admitted=refusal is None,
            refusal=rpc_status(refusal) if refusal is not None else None,
            wait_ms=math.ceil(1000 * wait) if wait is not None else None,
        )


async def _need(request: GenerateRequest, engine: Engine, model: Model) -> Need:
    await off_loop_if_long(request, lambda: check_with_features(request, model))
    if request.WhichOneof("input") != "batch":
        return await _need_of_one(request, engine)
    needs = []
    for position, one in enumerate(inputs_of(request)):
        with within(f"batch.inputs[{position}]"):
            await off_loop_if_long(one, partial(check_with_features, one, model), input_of_batch=True)
            needs.append(await _need_of_one(one, engine))
    return Need(
        [tokens for need in needs for tokens in need.prompts],
        sum(need.completion_tokens for need in needs),
        sum(need.sequences for need in needs),
    )


async def _need_of_one(request: GenerateRequest, engine: Engine) -> Need:
    sequences = request.num_sequences or 1
    demand = await engine.demand(request)
    return Need([demand.prompt_tokens], sequences * demand.most_completion_tokens, sequences)
