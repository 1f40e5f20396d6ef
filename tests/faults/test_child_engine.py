"""The engine in a child process: it says what the simulated one says, and what happens to the process is real."""

import asyncio
import contextlib
import signal

import grpc
import pytest

from penstock.v1 import generation_pb2 as pb
from tests.conftest import OpenService, Running, eventually
from tests.faults.child_engine import ChildEngines
from tests.faults.history import Expected
from tests.rpc.error_details import failure_of

SOME = pb.GenerateRequest(prompt="Hello", stopping={"max_tokens": 20}, response={"token_ids": True})
LONG = pb.GenerateRequest(
    prompt="Hello", stopping={"max_tokens": 4000, "ignore_eos": True}, response={"token_ids": True}
)


async def rest_of(stream: grpc.aio.UnaryStreamCall) -> list[pb.GenerateChunk]:
    """What still comes, until the stream ends."""
    chunks: list[pb.GenerateChunk] = []
    with contextlib.suppress(grpc.aio.AioRpcError):
        while (chunk := await stream.read()) is not grpc.aio.EOF:
            chunks.append(chunk)
    return chunks


def tokens_in(chunks: list[pb.GenerateChunk]) -> tuple[int, ...]:
    return tuple(token for chunk in chunks for token in chunk.deltas[0].token_ids)


@pytest.fixture
def engines() -> ChildEngines:
    return ChildEngines()


@pytest.fixture
async def running(open_service: OpenService, engines: ChildEngines) -> Running:
    return await open_service(engines, simulated={"step_time_ms": 5}, engine_restarts=1)


async def test_its_tokens_are_the_function_of_the_request(running: Running, engines: ChildEngines) -> None:
    reply = await running.generation.Generate(SOME)

    expected = Expected.of(SOME, context_length=4096)
    assert tuple(reply.sequences[0].token_ids) == expected.tokens
    assert reply.sequences[0].text == expected.text
    assert (engines.counts.submitted, engines.counts.finished) == (1, 1)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "terminated"])
async def test_its_death_ends_each_stream_with_what_there_is(
    running: Running, engines: ChildEngines, number: signal.Signals
) -> None:
    streams = [running.generation.StreamGenerate(LONG) for _ in range(4)]
    chunks = [[await stream.read()] for stream in streams]
    reading = [asyncio.create_task(rest_of(stream)) for stream in streams]

    engines.loaded[0].process.send_signal(number)

    for stream, begun, rest in zip(streams, chunks, reading, strict=True):
        begun += await rest
        failure = await failure_of(stream)
        assert (failure.code, failure.reason) == (grpc.StatusCode.UNAVAILABLE, "ENGINE_DEAD")
        assert begun[-1].usage.completion_tokens == len(tokens_in(begun))
    await eventually(lambda: len(engines.loaded) == 2, "another engine is there")
    await eventually(lambda: running.service.lifecycle.ready, "it serves again")
    assert (await running.generation.Generate(SOME)).usage.completion_tokens


async def test_a_short_halt_loses_nothing(running: Running, engines: ChildEngines) -> None:
    stream = running.generation.StreamGenerate(SOME)
    first = await stream.read()

    engines.loaded[0].process.send_signal(signal.SIGSTOP)
    rest = asyncio.create_task(rest_of(stream))
    engines.loaded[0].process.send_signal(signal.SIGCONT)

    assert tokens_in([first, *await rest]) == Expected.of(SOME, context_length=4096).tokens
    assert len(engines.loaded) == 1


async def test_closing_it_ends_the_process(open_service: OpenService) -> None:
    engines = ChildEngines()
    running = await open_service(engines)
    running.generation.StreamGenerate(LONG)
    await eventually(lambda: running.engine.running == 1, "it runs")

    await engines.loaded[0].close()

    assert engines.loaded[0].process.returncode is not None
    assert engines.counts.submitted == engines.counts.failed
