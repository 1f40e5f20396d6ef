"""The server's own deadlines, a default for callers that set none and a longest for all, end every kind of call."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
import pytest
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc

from penstock.v1 import generation_pb2 as pb
from penstock.v1 import models_pb2
from penstock_service.deadlines import Deadline, Deadlines
from penstock_service.settings import Settings, settings_from
from tests.conftest import OpenService, Running, eventually, opened
from tests.faults.h2.connection import STREAM_GENERATE, connected, grpc_headers, grpc_message
from tests.rpc.embedding_engine import EmbeddingEngine
from tests.rpc.error_details import Failure, failure_of
from tests.rpc.session_user import SessionUser
from tests.rpc.test_partial_answers import the_rest

LONG = pb.GenerateRequest(prompt="Hello", stopping={"max_tokens": 4000, "ignore_eos": True})
PACE = {"step_time_ms": 10}
DEFAULT_TEXT = "this server ends calls after 0.25 s unless their callers set a deadline"
LONGEST_TEXT = "this server ends calls after 0.25 s"


class SilentTokenizer(EmbeddingEngine):
    """Never answers what needs no generation."""

    async def _silence(self, *_: object) -> Any:
        await asyncio.Event().wait()

    tokenize = detokenize = demand = embed = _silence


def messages(data: bytes) -> Iterator[pb.GenerateChunk]:
    """Those in the frames of an answer: a byte, four of the length, the message."""
    while data:
        end = 5 + int.from_bytes(data[1:5], "big")
        yield pb.GenerateChunk.FromString(data[5:end])
        data = data[end:]


def flags(*given: str) -> Settings:
    """The settings of a service with these flags."""
    ports = ("--grpc-port=0", "--health-port=0", "--metrics-port=none", "--drain-seconds=0")
    return settings_from(["--engine=simulated", "--simulated.step-time-ms=10", *ports, *given])


LIMITS = {
    "default": (flags("--default-deadline-seconds=0.25"), None, DEFAULT_TEXT),
    "longest": (flags("--max-deadline-seconds=0.25"), 60, LONGEST_TEXT),
    "longest without a deadline": (flags("--max-deadline-seconds=0.25"), None, DEFAULT_TEXT),
}


@pytest.fixture(params=LIMITS.values(), ids=LIMITS)
async def limited(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Running, float | None, str]]:
    """A service with a limit, the deadline that a caller sets, and the sentence that it reads."""
    settings, asked, sentence = request.param
    async with opened(settings) as running:
        yield running, asked, sentence


def is_deadline(failure: Failure, sentence: str) -> bool:
    return (failure.code, failure.reason, failure.text) == (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE", sentence)


async def test_a_unary_call_ends_at_the_servers_limit(limited: tuple[Running, float | None, str]) -> None:
    running, asked, sentence = limited

    assert is_deadline(await failure_of(running.generation.Generate(LONG, timeout=asked)), sentence)

    await eventually(lambda: running.engine.running == 0, "the engine is idle")


async def test_a_stream_ends_there_after_what_there_is(limited: tuple[Running, float | None, str]) -> None:
    running, asked, sentence = limited
    call = running.generation.StreamGenerate(LONG, timeout=asked)

    chunks = await the_rest(call)

    assert is_deadline(await failure_of(call), sentence)
    assert chunks[-1].usage.completion_tokens > 1
    assert not chunks[-1].deltas[0].HasField("finish")
    assert running.engine.running == 0


async def test_a_stream_that_ends_at_its_callers_deadline_has_sent_its_usage_before(simulated: Running) -> None:
    async with connected(simulated.address) as connection:  # gRPC throws away what it gets at that moment
        answers = []
        for _ in range(20):
            headers = grpc_headers(STREAM_GENERATE, ("grpc-timeout", "100m"))
            answers.append(await connection.call(headers, grpc_message(LONG.SerializeToString())))

    told = [answer for answer in answers if "grpc-status-details-bin" in answer.headers]  # or gRPC's server was first
    assert {answer.status for answer in told} == {grpc.StatusCode.DEADLINE_EXCEEDED.value[0]}
    assert all(list(messages(answer.data))[-1].usage.completion_tokens for answer in told)


async def test_a_call_of_a_session_does_the_same(limited: tuple[Running, float | None, str]) -> None:
    running, asked, sentence = limited
    async with SessionUser(running) as user:
        await user.start(1, LONG, **({} if asked is None else {"timeout_ms": 1000 * int(asked)}))

        assert is_deadline(await user.failure(1), sentence)

        assert user.chunks[1][-1].usage.completion_tokens > 1


async def test_a_batch_ends_there_and_so_does_each_of_its_items() -> None:
    batch = pb.GenerateRequest(batch={"inputs": [{"prompt": "Hello"}, {"prompt": "Bye"}]}, stopping=LONG.stopping)
    async with opened(flags("--default-deadline-seconds=0.25")) as running:
        with structlog.testing.capture_logs() as lines:
            assert is_deadline(await failure_of(running.generation.Generate(batch)), DEFAULT_TEXT)

            await eventually(lambda: len(lines) == 3, "all lines are there")
    assert [line["code"] for line in lines] == ["DEADLINE_EXCEEDED"] * 3
    assert [line["deadline_ms"] for line in lines] == pytest.approx([250] * 3, abs=50)
    assert all(line["completion_tokens"] > 1 for line in lines if "batch" in line)


async def test_a_partial_answer_comes_before_it() -> None:
    partial = pb.GenerateRequest(on_deadline=pb.ON_DEADLINE_RETURN_PARTIAL)
    partial.MergeFrom(LONG)
    async with opened(flags("--default-deadline-seconds=0.25")) as running:
        reply = await running.generation.Generate(partial)

    assert reply.sequences[0].finish.reason == pb.FINISH_REASON_DEADLINE
    assert reply.usage.completion_tokens > 1


WITHOUT_GENERATION: dict[str, Any] = {
    "Tokenize": pb.TokenizeRequest(prompt="Hello"),
    "Detokenize": pb.DetokenizeRequest(token_ids={"ids": [1]}),
    "Estimate": pb.EstimateRequest(request={"prompt": "Hello"}),
    "Embed": pb.EmbedRequest(inputs=[{"text": "Hello"}, {"text": "Bye"}]),
}


@pytest.mark.parametrize("method", WITHOUT_GENERATION)
async def test_what_generates_nothing_ends_there_as_well(open_service: OpenService, method: str) -> None:
    running = await open_service(SilentTokenizer.load, default_deadline_seconds=0.25)
    running.engine.model.embeddings = method == "Embed"

    assert is_deadline(await failure_of(getattr(running.generation, method)(WITHOUT_GENERATION[method])), DEFAULT_TEXT)

    assert running.service.lifecycle.running == 0


async def test_a_call_that_still_waits_to_be_read_by_the_engine_ends_there(open_service: OpenService) -> None:
    running = await open_service(
        default_deadline_seconds=0.25, simulated={"step_time_ms": 60_000, "max_concurrent_sequences": 1}
    )

    failures = await asyncio.gather(*(failure_of(running.generation.StreamGenerate(LONG)) for _ in range(2)))

    assert all(is_deadline(failure, DEFAULT_TEXT) for failure in failures)
    assert running.engine.running == 0


async def test_a_resumed_generation_keeps_the_deadline_of_the_call_that_began_it() -> None:
    resumable = pb.GenerateRequest(resumable=True)
    resumable.MergeFrom(LONG)
    async with opened(flags("--default-deadline-seconds=0.25")) as running:
        began = running.generation.StreamGenerate(resumable)
        first = await began.read()
        began.cancel()

        assert is_deadline(
            await failure_of(running.generation.Resume(pb.ResumeRequest(id=first.id, next_seq=1), timeout=60)),
            DEFAULT_TEXT,
        )
        assert running.engine.running == 0


async def test_a_call_that_resumes_ends_at_a_limit_of_its_own_and_the_generation_goes_on(
    open_service: OpenService,
) -> None:
    running = await open_service(default_deadline_seconds=0.25, simulated=PACE)
    resumable = pb.GenerateRequest(resumable=True)
    resumable.MergeFrom(LONG)
    first = await running.generation.StreamGenerate(resumable, timeout=60).read()

    assert is_deadline(await failure_of(running.generation.Resume(pb.ResumeRequest(id=first.id))), DEFAULT_TEXT)

    assert running.engine.running == 1


async def test_a_call_with_a_key_ends_there_with_what_there_is() -> None:
    keyed = pb.GenerateRequest(idempotency_key="order-7")
    keyed.MergeFrom(LONG)
    async with opened(flags("--default-deadline-seconds=0.25")) as running:
        call = running.generation.StreamGenerate(keyed)

        chunks = await the_rest(call)

        assert is_deadline(await failure_of(call), DEFAULT_TEXT)
        assert chunks[-1].usage.completion_tokens > 1


async def test_a_session_and_a_health_watch_outlive_every_limit(open_service: OpenService) -> None:
    running = await open_service(default_deadline_seconds=0.2, max_deadline_seconds=0.2)
    watch = health_pb2_grpc.HealthStub(running.channel).Watch(health_pb2.HealthCheckRequest())
    async with SessionUser(running) as user:
        await user.until(lambda: user.responses)
        await watch.read()
        await failure_of(running.generation.Generate(LONG))  # takes as long as the limit, begun after the two
        await failure_of(running.generation.Generate(LONG))

        await user.start(1, pb.GenerateRequest(prompt="Hello", stopping={"max_tokens": 2}))

        assert await user.text(1)
        assert not watch.done()


async def test_get_model_tells_the_limits(open_service: OpenService) -> None:
    running = await open_service(default_deadline_seconds=7.5, max_deadline_seconds=60)

    model = await running.models.GetModel(models_pb2.GetModelRequest(name="builtin"))

    assert (model.default_deadline_ms, model.max_deadline_ms) == (7500, 60_000)


async def test_the_limits_are_ten_minutes_and_an_hour_unless_the_operator_says() -> None:
    assert Deadlines.of(Settings(engine="simulated")) == (600, 3600)


@pytest.mark.parametrize(
    ("asked", "end"),
    [
        (None, Deadline(110, "this server ends calls after 10 s unless their callers set a deadline")),
        (20, Deadline(120)),
        (60, Deadline(160)),
        (61, Deadline(160, "this server ends calls after 60 s")),
        (0, Deadline(100)),
    ],
)
def test_the_earlier_of_the_callers_deadline_and_the_longest_counts(asked: float | None, end: Deadline) -> None:
    assert Deadlines(10, 60).deadline(asked, now=100) == end


def test_the_default_is_never_above_the_longest() -> None:
    assert Deadlines.of(Settings(engine="simulated", max_deadline_seconds=5)) == (5, 5)
