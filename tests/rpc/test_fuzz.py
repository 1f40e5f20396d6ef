"""Whatever a request says, it gets an answer or a documented status, and the engine lives.

`FUZZ_EXAMPLES=5000 pytest tests/rpc/test_fuzz.py --hypothesis-show-statistics` fuzzes for long, at random, and tells
how often each status came; without it a few hundred examples run, always the same.
"""

import os
from collections.abc import Awaitable, Callable, Sequence

import grpc
import pytest
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st

from penstock.v1 import generation_pb2 as pb
from penstock_service.limit_table import ModelLimits
from tests.conftest import Running, eventually
from tests.rpc.answer_checks import check_sequences
from tests.rpc.error_details import Failure, failure_in, failure_of
from tests.rpc.request_strategies import generate_requests
from tests.rpc.session_user import SessionUser

TIMEOUT_SECONDS = 5
# What the contract has for a server that runs, has room, and is read.
DOCUMENTED = {
    (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD"),
    (grpc.StatusCode.INVALID_ARGUMENT, "CONTEXT_LENGTH"),
    (grpc.StatusCode.NOT_FOUND, "MODEL_NOT_FOUND"),
    (grpc.StatusCode.FAILED_PRECONDITION, "FEATURE_OFF"),
    (grpc.StatusCode.ALREADY_EXISTS, "KEY_REUSED"),
    (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED"),
    (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE"),
    (grpc.StatusCode.DEADLINE_EXCEEDED, ""),  # the caller's own clock was first
}
# Nothing internal belongs into what a caller reads.
INTERNALS = ("Traceback", "site-packages", ".py", " object at 0x", "<class ", "<function ", "pydantic", "vllm")

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "0"))

pytestmark = [pytest.mark.slow, pytest.mark.timeout(0 if EXAMPLES else 900)]

Outcome = Failure | None


def fuzzed(examples: int, shrinks: bool) -> settings:
    """How to run one test; what fails is made small if that does not take minutes."""
    unimportant = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]
    return settings(
        max_examples=EXAMPLES or examples,
        derandomize=not EXAMPLES,
        deadline=None,
        database=None,
        suppress_health_check=unimportant,
        phases=[Phase.generate, Phase.shrink] if shrinks else [Phase.generate],
    )


async def unary(running: Running, request: pb.GenerateRequest) -> Outcome:
    call = running.generation.Generate(request, timeout=TIMEOUT_SECONDS)
    if await call.code() is not grpc.StatusCode.OK:
        return await failure_of(call)
    reply = await call
    for result in reply.results:
        if result.HasField("status"):
            check_failure(failure_in(result.status))
        else:
            check_sequences(request, result.response.sequences, result.response.usage)
    assert len(reply.results) == len(request.batch.inputs)
    if not reply.results:
        check_sequences(request, reply.sequences, reply.usage)
    return None


async def streamed(running: Running, request: pb.GenerateRequest) -> Outcome:
    call = running.generation.StreamGenerate(request, timeout=TIMEOUT_SECONDS)
    chunks: list[pb.GenerateChunk] = []
    try:
        chunks = [chunk async for chunk in call]
    except grpc.RpcError:
        return await failure_of(call)
    check_chunks(request, chunks)
    return None


async def in_a_session(running: Running, request: pb.GenerateRequest) -> Outcome:
    async with SessionUser(running) as user:
        await user.start(1, request, timeout_ms=TIMEOUT_SECONDS * 1000)
        end = await user.outcome(1)
        if end.HasField("status"):
            return await user.failure(1)
        check_chunks(request, user.chunks[1])
        return None


async def estimated(running: Running, request: pb.GenerateRequest) -> Outcome:
    call = running.generation.Estimate(pb.EstimateRequest(request=request), timeout=TIMEOUT_SECONDS)
    if await call.code() is not grpc.StatusCode.OK:
        return await failure_of(call)
    assert (await call).prompt_tokens >= 1
    return None


WAYS: list[Callable[[Running, pb.GenerateRequest], Awaitable[Outcome]]] = [unary, streamed, in_a_session, estimated]


def check_chunks(request: pb.GenerateRequest, chunks: Sequence[pb.GenerateChunk]) -> None:
    """What holds for every stream that ended well."""
    assert [chunk.seq for chunk in chunks] == list(range(len(chunks)))
    sequences: dict[int, pb.Sequence] = {}
    for chunk in chunks:
        for delta in chunk.deltas:
            whole = sequences.setdefault(delta.index, pb.Sequence(index=delta.index))
            assert not whole.HasField("finish"), "a delta after the last one of its sequence"
            whole.text += delta.text
            whole.token_ids.extend(delta.token_ids)
            whole.tokens.extend(delta.tokens)
            if delta.HasField("finish"):
                whole.finish.CopyFrom(delta.finish)
    check_sequences(request, [sequences[index] for index in sorted(sequences)], chunks[-1].usage)


def check_failure(failure: Failure) -> None:
    """What holds for every failure."""
    assert (failure.code, failure.reason) in DOCUMENTED, failure
    assert (failure.code is grpc.StatusCode.INVALID_ARGUMENT) == bool(failure.fields), failure
    assert not [word for word in INTERNALS if word in failure.text], failure


async def ask(running: Running, request: pb.GenerateRequest, way: Callable[..., Awaitable[Outcome]]) -> None:
    """One example."""
    failure = await way(running, request)
    if failure is not None:
        check_failure(failure)
    event(f"{failure.code.name} {failure.reason}" if failure else "OK")
    await eventually(lambda: running.engine.running == 0, "an engine without work")


@fuzzed(300, shrinks=True)
@given(request=generate_requests(ModelLimits(4096, 32_000, 1 << 16), "builtin"), way=st.sampled_from(WAYS))
async def test_the_simulated_engine_takes_anything(
    simulated: Running, request: pb.GenerateRequest, way: Callable[..., Awaitable[Outcome]]
) -> None:
    await ask(simulated, request, way)


@pytest.mark.real_vllm
@fuzzed(150, shrinks=False)
@given(request=generate_requests(ModelLimits(1024, 2048, 1 << 16), "builtin"), way=st.sampled_from(WAYS))
async def test_vllm_takes_anything(
    real: Running, request: pb.GenerateRequest, way: Callable[..., Awaitable[Outcome]]
) -> None:
    await ask(real, request, way)
