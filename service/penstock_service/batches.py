"""Generate for several inputs: each is a generation of its own, with its own result, log line and metrics."""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from penstock.v1.generation_pb2 import BatchResult, GenerateChunk, GenerateRequest, GenerateResponse, Usage
from penstock_service.answer import settled
from penstock_service.call import Call
from penstock_service.errors import DeadlineExceeded, Overloaded, ServiceError, Unavailable
from penstock_service.field_paths import within
from penstock_service.generations import AdmittedInput, Generations
from penstock_service.rpc_status import rpc_status
from penstock_service.stream_reader import StreamReader
from penstock_service.telemetry import Telemetry
from penstock_service.whole_answer import response_of


async def answer_batch(
    request: GenerateRequest, call: Call, generations: Generations, telemetry: Telemetry
) -> GenerateResponse:
    """Answer every input of the batch. Raises what concerns all of them; what concerns one is in its result."""
    async with generations.batch(request, call) as (model, adapter, inputs):
        call.model = adapter.key if adapter is not None else model.name
        answering = _Answering(call, generations, telemetry)
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(answering.outcome(one, place)) for place, one in enumerate(inputs)]
    outcomes = [task.result() for task in running]
    _raise_of_the_call(outcomes)
    answers = [outcome for outcome in outcomes if isinstance(outcome, GenerateResponse)]
    return GenerateResponse(
        id=call.id,
        model=model.name,
        results=[_result(outcome) for outcome in outcomes],
        usage=_sum([answer.usage for answer in answers]),
        request_id=request.request_id,
        adapter=adapter.version if adapter is not None else None,
    )


class _Answering(NamedTuple):
    """What the inputs of one batch have in common."""

    whole: Call
    generations: Generations
    telemetry: Telemetry

    async def outcome(self, one: AdmittedInput, place: int) -> GenerateResponse | ServiceError:
        call = Call(self.whole.method, self.whole.deadline, self.whole.tenant, batch=self.whole.id)
        one.request.model = self.whole.model

        async def answer() -> GenerateResponse:
            with within(f"batch.inputs[{place}]"):
                return await answer_whole(one.request, call, self.generations, one)

        return await settled(self.telemetry, call, self.telemetry.trace_headers().items(), answer())


def _raise_of_the_call(outcomes: Sequence[GenerateResponse | ServiceError]) -> None:
    """Raise what is no input's own: the deadline, and what sends the caller to another replica or a later moment."""
    for outcome in outcomes:
        if isinstance(outcome, Unavailable | DeadlineExceeded):
            raise outcome
    if isinstance(outcomes[0], Overloaded) and all(isinstance(outcome, Overloaded) for outcome in outcomes):
        raise outcomes[0]


def _result(outcome: GenerateResponse | ServiceError) -> BatchResult:
    if isinstance(outcome, ServiceError):
        return BatchResult(status=rpc_status(outcome))
    return BatchResult(response=outcome)


async def answer_whole(
    request: GenerateRequest, call: Call, generations: Generations, let_in: AdmittedInput | None = None
) -> GenerateResponse:
    """Answer one input, which may have been `let_in` with its batch."""
    return response_of(await answer_in_one_chunk(request, call, generations, let_in))


async def answer_in_one_chunk(
    request: GenerateRequest, call: Call, generations: Generations, let_in: AdmittedInput | None = None
) -> GenerateChunk:
    """The same with a single chunk."""
    reader = StreamReader()
    async with generations.open(request, call, reader, streamed=False, let_in=let_in):
        chunk = await reader.whole()
    return chunk or GenerateChunk()


def _sum(usages: list[Usage]) -> Usage:
    total = Usage()
    for usage in usages:
        for field, count in usage.ListFields():
            setattr(total, field.name, getattr(total, field.name) + count)
    return total
