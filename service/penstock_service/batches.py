"""Generate for several inputs: each is a generation of its own, with its own result, log line and metrics."""

import asyncio
from collections.abc import Sequence

from penstock.v1.generation_pb2 import BatchInput, BatchResult, GenerateChunk, GenerateRequest, GenerateResponse, Usage
from penstock_service.answer import settled
from penstock_service.call import Call
from penstock_service.errors import DeadlineExceeded, Overloaded, ServiceError, Unavailable
from penstock_service.field_paths import within
from penstock_service.generations import Generations
from penstock_service.rpc_status import rpc_status
from penstock_service.stream_reader import StreamReader
from penstock_service.telemetry import Telemetry
from penstock_service.whole_answer import response_of


async def answer_batch(
    request: GenerateRequest, call: Call, generations: Generations, telemetry: Telemetry
) -> GenerateResponse:
    """Answer every input of the batch. Raises what concerns all of them; what concerns one is in its result."""
    with generations.batch(request) as (model, adapter):
        call.model = adapter.key if adapter is not None else model.name
        shared = GenerateRequest()
        shared.CopyFrom(request)
        shared.ClearField("batch")  # an input must not hold the others
        shared.ClearField("idempotency_key")  # which names all of them together
        async with asyncio.TaskGroup() as tasks:
            running = [
                tasks.create_task(_outcome(_alone(shared, one, call.model), place, call, generations, telemetry))
                for place, one in enumerate(request.batch.inputs)
            ]
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


async def _outcome(
    alone: GenerateRequest, place: int, whole: Call, generations: Generations, telemetry: Telemetry
) -> GenerateResponse | ServiceError:
    call = Call(whole.method, whole.seconds_left(), batch=whole.id)

    async def answer() -> GenerateResponse:
        with within(f"batch.inputs[{place}]"):
            return await answer_whole(alone, call, generations)

    return await settled(telemetry, call, (), answer())


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


async def answer_whole(request: GenerateRequest, call: Call, generations: Generations) -> GenerateResponse:
    """Answer one input."""
    return response_of(await answer_in_one_chunk(request, call, generations))


async def answer_in_one_chunk(request: GenerateRequest, call: Call, generations: Generations) -> GenerateChunk:
    """Answer one input with a single chunk."""
    reader = StreamReader()
    async with generations.open(request, call, reader, streamed=False):
        chunk = await reader.whole()
    return chunk or GenerateChunk()


def _alone(shared: GenerateRequest, one: BatchInput, model: str) -> GenerateRequest:
    alone = GenerateRequest()
    alone.CopyFrom(shared)
    alone.model = model
    match one.WhichOneof("input"):
        case "prompt":
            alone.prompt = one.prompt
        case "token_ids":
            alone.token_ids.CopyFrom(one.token_ids)
        case "conversation":
            alone.conversation.CopyFrom(one.conversation)
    return alone


def _sum(usages: list[Usage]) -> Usage:
    total = Usage()
    for usage in usages:
        for field, count in usage.ListFields():
            setattr(total, field.name, getattr(total, field.name) + count)
    return total
