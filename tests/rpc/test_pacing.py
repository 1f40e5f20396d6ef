"""A busy server sends fewer, larger messages, and loses nothing."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from penstock.v1 import generation_pb2 as pb
from tests.conftest import OpenService, Running


def request(**response: int) -> pb.GenerateRequest:
    stopping = {"max_tokens": 50, "ignore_eos": True}
    return pb.GenerateRequest(prompt="Hello", stopping=stopping, response=response)


async def chunks_of(running: Running, sent: pb.GenerateRequest) -> list[pb.GenerateChunk]:
    return [chunk async for chunk in running.generation.StreamGenerate(sent)]


@asynccontextmanager
async def busy_loop() -> AsyncIterator[None]:
    """Other work that leaves this event loop 1 of every 20 ms."""

    async def work() -> None:
        while True:
            time.sleep(0.019)  # noqa: ASYNC251 - blocking the loop is the point
            await asyncio.sleep(0.001)

    working = asyncio.create_task(work())
    await asyncio.sleep(0.2)
    yield
    working.cancel()


async def test_chunks_gather_while_the_server_is_busy_and_the_text_stays_the_same(open_service: OpenService) -> None:
    running = await open_service(max_delay_ms=100)
    async with busy_loop():
        gathered = await chunks_of(running, request())
        at_once = await chunks_of(running, request(max_delay_ms=0))

    assert len(gathered) < len(at_once) / 2
    texts = ["".join(chunk.deltas[0].text for chunk in chunks) for chunks in (gathered, at_once)]
    assert texts[0] == texts[1]
    for chunks in (gathered, at_once):
        assert [chunk.seq for chunk in chunks] == list(range(len(chunks)))
        assert chunks[-1].timings.chunk_count == len(chunks)
        assert chunks[-1].usage.completion_tokens == 50


async def test_a_partial_answer_does_not_wait_for_more(open_service: OpenService) -> None:
    running = await open_service(simulated={"step_time_ms": 5})
    asked = pb.GenerateRequest(
        prompt="Hello",
        stopping={"max_tokens": 4000, "ignore_eos": True},
        response={"max_delay_ms": 1000},
        on_deadline=pb.ON_DEADLINE_RETURN_PARTIAL,
    )
    async with busy_loop():
        chunks = [chunk async for chunk in running.generation.StreamGenerate(asked, timeout=1.5)]

    assert chunks[-1].deltas[0].finish.reason == pb.FINISH_REASON_DEADLINE


async def test_a_unary_reply_has_no_chunk_count(simulated: Running) -> None:
    reply = await simulated.generation.Generate(request())

    assert not reply.timings.HasField("chunk_count")
