"""Generate for several inputs: each is a generation of its own, with its own result, log line and metrics."""

import asyncio

from penstock.v1.generation_pb2 import BatchInput, BatchResult, GenerateChunk, GenerateRequest, GenerateResponse, Usage
from penstock_service.answer import settled
from penstock_service.call import Call
from penstock_service.errors import ServiceError
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
    with generations.batch(request) as call.model:
        async with asyncio.TaskGroup() as tasks:
            running = [
                tasks.create_task(_result(request, place, call, generations, telemetry), name="batch input")
                for place in range(len(request.batch.inputs))
            ]
    results = [task.result() for task in running]
    usage = _sum([each.response.usage for each in results if each.HasField("response")])
    return GenerateResponse(id=call.id, model=call.model, results=results, usage=usage, request_id=request.request_id)


async def _result(
    request: GenerateRequest, place: int, whole: Call, generations: Generations, telemetry: Telemetry
) -> BatchResult:
    call = Call(whole.method, whole.seconds_left(), batch=whole.id)

    async def answer() -> GenerateResponse:
        with within(f"batch.inputs[{place}]"):
            return await answer_whole(_alone(request, request.batch.inputs[place], whole.model), call, generations)

    outcome = await settled(telemetry, call, (), answer())
    return (
        BatchResult(status=rpc_status(outcome)) if isinstance(outcome, ServiceError) else BatchResult(response=outcome)
    )


async def answer_whole(request: GenerateRequest, call: Call, generations: Generations) -> GenerateResponse:
    """Answer one input."""
    reader = StreamReader()
    async with generations.open(request, call, reader, streamed=False):
        chunk = await reader.whole()
    return response_of(chunk or GenerateChunk())


def _alone(request: GenerateRequest, one: BatchInput, model: str) -> GenerateRequest:
    alone = GenerateRequest()
    alone.CopyFrom(request)
    alone.model = model
    match one.WhichOneof("input"):
        case "prompt":
            alone.prompt = one.prompt
        case "token_ids":
            alone.token_ids.CopyFrom(one.token_ids)
        case "conversation":
            alone.conversation.CopyFrom(one.conversation)
        case None:
            alone.ClearField("batch")
    return alone


def _sum(usages: list[Usage]) -> Usage:
    total = Usage()
    for usage in usages:
        for field, count in usage.ListFields():
            setattr(total, field.name, getattr(total, field.name) + count)
    return total
