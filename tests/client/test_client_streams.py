"""Leaving a stream ends its generation, and a failure keeps what had arrived."""

import asyncio
import gc
import logging
from typing import Any

import grpc
import pytest

from penstock import APITimeoutError, AsyncClient, InternalServerError, RequestCancelled, StreamInterrupted
from penstock.endpoints.settings import MAX_CHANNELS
from penstock.v1 import generation_pb2 as pb
from tests.client.conftest import AsyncioCaller, BlockingCaller, Caller, MakeCaller, in_thread
from tests.client.scripted_server import ScriptedServer


@pytest.fixture
def stuck(server: ScriptedServer) -> ScriptedServer:
    """The server sends one chunk and waits."""
    server.block_after = 1
    return server


async def seen(event: asyncio.Event) -> None:
    await asyncio.wait_for(event.wait(), 5)


async def test_leaving_a_bare_loop_cancels(caller: Caller, stuck: ScriptedServer) -> None:
    stream = caller.stream("Once")

    chunk = await stream.first_of_loop()

    assert chunk.text == "Hello"
    await seen(stuck.cancelled)


async def test_leaving_a_with_block_cancels(caller: Caller, stuck: ScriptedServer) -> None:
    await caller.stream("Once").first_of_with()

    await seen(stuck.cancelled)


async def test_closing_cancels_and_closing_again_is_fine(caller: Caller, stuck: ScriptedServer) -> None:
    stream = caller.stream("Once")
    await stream.read()

    await stream.close()
    await stream.close()

    await seen(stuck.cancelled)
    assert await stream.read() is None
    with pytest.raises(RequestCancelled):
        await stream.reply()


async def test_closing_after_the_end_changes_nothing(caller: Caller, server: ScriptedServer) -> None:
    stream = caller.stream("Once")
    await stream.all()

    await stream.close()

    assert (await stream.reply()).text == "Hello wörld"
    assert not server.cancellations


async def test_closing_wakes_the_reader(caller: Caller, stuck: ScriptedServer) -> None:
    stream = caller.stream("Once")
    await stream.read()
    reading = asyncio.create_task(stream.read())
    await stuck.blocked.wait()

    await stream.close()

    (outcome,) = await asyncio.gather(asyncio.wait_for(reading, 5), return_exceptions=True)
    assert outcome is None or isinstance(outcome, RequestCancelled)  # None if it had not begun to wait yet


async def test_closing_the_client_interrupts_its_streams(caller: Caller, stuck: ScriptedServer) -> None:
    stream = caller.stream("Once")
    await stream.read()
    reading = asyncio.create_task(stream.read())
    await stuck.blocked.wait()

    await caller.close()

    with pytest.raises(StreamInterrupted) as caught:
        await asyncio.wait_for(reading, 5)
    assert isinstance(caught.value.cause, RequestCancelled)
    assert caught.value.partial.text == "Hello"


@pytest.mark.parametrize("flavour", [BlockingCaller, AsyncioCaller])
async def test_dropping_a_stream_cancels_and_warns(
    flavour: type[Caller], transport: dict[str, str], stuck: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    caller = flavour(stuck.target, **transport)
    stream = caller.stream("Once")
    await stream.read()

    with caplog.at_level(logging.WARNING, "penstock"):
        del stream
        gc.collect()
        await seen(stuck.cancelled)

    assert "dropped before its end" in caplog.text
    await caller.close()


async def test_an_error_after_output_has_exactly_what_arrived(caller: Caller, server: ScriptedServer) -> None:
    server.texts = ["One", ", two", ", three"]
    server.refuse(grpc.StatusCode.INTERNAL, "INTERNAL", after=2)
    stream = caller.stream("Count", request_id="job")

    with pytest.raises(StreamInterrupted) as caught:
        await stream.all()

    error = caught.value
    assert error.partial.text == "One, two"
    assert list(error.partial.token_ids) == [0, 1]
    assert error.partial.finish_reason is None
    assert error.partial.id == "gen-1"
    assert isinstance(error.cause, InternalServerError)
    assert (error.status, error.reason, error.http_status) == (grpc.StatusCode.INTERNAL, "INTERNAL", 500)
    assert error.request_id == "job"
    with pytest.raises(StreamInterrupted):
        await stream.reply()


async def test_the_partial_reply_of_a_failed_stream_has_what_the_server_counted_and_measured(
    caller: Caller, server: ScriptedServer
) -> None:
    server.counts_failures = True
    server.refuse(grpc.StatusCode.INTERNAL, "INTERNAL", after=1)

    with pytest.raises(StreamInterrupted) as caught:
        await caller.stream("Once").all()

    partial = caught.value.partial
    assert (partial.text, partial.finish_reason) == ("Hello", None)
    assert partial.usage.prompt_tokens == 3
    assert partial.timings.time_to_first_token_ms == 1.5


async def test_a_deadline_that_the_server_foresaw_is_a_finish_reason(caller: Caller, server: ScriptedServer) -> None:
    server.finish = pb.Finish(reason=pb.FINISH_REASON_DEADLINE)

    reply = await caller.stream("Once", timeout=20, on_deadline="return_partial", priority=-2).reply()
    answer = await caller.chat(messages=[{"role": "user", "content": "Hi"}])

    assert reply.finish_reason == "deadline"
    assert answer.choices[0].finish_reason == "length"
    assert server.requests[0].on_deadline == pb.ON_DEADLINE_RETURN_PARTIAL
    assert server.requests[0].priority == -2


async def test_the_deadline_includes_connecting(make_caller: MakeCaller) -> None:
    deaf = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = deaf.sockets[0].getsockname()[1]

    with pytest.raises(APITimeoutError):
        await asyncio.wait_for(make_caller(f"127.0.0.1:{port}").stream("Once", timeout=0.3).all(), 5)

    deaf.close()


async def test_an_error_before_output_is_what_generate_raises(caller: Caller, server: ScriptedServer) -> None:
    server.refuse(grpc.StatusCode.INTERNAL, "INTERNAL")

    with pytest.raises(InternalServerError) as caught:
        await caller.stream("Once").all()

    assert caught.value.reason == "INTERNAL"


async def test_the_deadline_covers_the_whole_stream(caller: Caller, stuck: ScriptedServer) -> None:
    stream = caller.stream("Once", timeout=0.3)

    with pytest.raises(StreamInterrupted) as caught:
        await stream.all()

    assert isinstance(caught.value.cause, APITimeoutError)
    assert caught.value.partial.text == "Hello"
    await seen(stuck.cancelled)


async def test_a_gap_in_the_numbers_interrupts_and_cancels(caller: Caller, server: ScriptedServer) -> None:
    server.texts = ["a", "b", "c"]
    server.seqs = [0, 2, 3]
    server.block_after = 2
    stream = caller.stream("Once")

    with pytest.raises(StreamInterrupted, match="chunk 2 where chunk 1 was due") as caught:
        await stream.all()

    assert caught.value.partial.text == "a"
    await seen(server.cancelled)


async def test_cancelling_the_callers_task_cancels_the_call_and_passes(
    transport: dict[str, Any], stuck: ScriptedServer
) -> None:
    async with AsyncClient(stuck.target, **transport) as client:

        async def consume() -> None:
            async for _ in client.stream("Once"):
                pass

        task = asyncio.create_task(consume())
        await stuck.blocked.wait()

        task.cancel()

        with pytest.raises(asyncio.CancelledError):
            await task
        await seen(stuck.cancelled)


async def test_cancelling_a_waiting_generate_cancels_the_call_and_passes(server: ScriptedServer) -> None:
    server.block_after = 0
    async with AsyncClient(server.target) as client:
        task = asyncio.create_task(client.generate("Once"))
        await server.blocked.wait()

        task.cancel()

        with pytest.raises(asyncio.CancelledError):
            await task
        await seen(server.cancelled)


async def test_a_thousand_streams_at_once_over_one_client(transport: dict[str, Any], server: ScriptedServer) -> None:
    server.block_after = 1
    server.crowd = 1_000
    async with AsyncClient(server.target, **transport) as client:

        async def one() -> str:
            return (await client.stream("Once").reply()).text

        tasks = [asyncio.create_task(one()) for _ in range(1_000)]
        await asyncio.wait_for(server.crowded.wait(), 60)
        server.release.set()
        texts = await asyncio.gather(*tasks)

    assert texts == ["Hello wörld"] * 1_000
    assert len(server.peers) <= (1 if transport["sessions"] == "always" else MAX_CHANNELS)


async def test_many_blocking_streams_share_a_client(transport: dict[str, str], server: ScriptedServer) -> None:
    caller = BlockingCaller(server.target, **transport)

    streams = await asyncio.gather(*(in_thread(caller.client.stream, "Once") for _ in range(50)))
    texts = await asyncio.gather(*(in_thread(lambda s: s.reply().text, stream) for stream in streams))

    assert texts == ["Hello wörld"] * 50
    await caller.close()
