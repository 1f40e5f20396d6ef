"""A stream that broke goes on, on the same replica or on another, without a lost or doubled token."""

import asyncio
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2

from penstock import APIError, Client, IdleTimeout, NotFoundError, Retry, StreamInterrupted, Timeout
from penstock.v1 import generation_pb2 as pb
from tests.client.conftest import AsyncioStream, BlockingStream, Caller, MakeCaller, in_thread
from tests.client.script import Failure
from tests.client.scripted_server import ScriptedServer
from tests.conftest import eventually

QUICK = Retry(base=0.01)


@pytest.fixture
async def other() -> Any:
    """Another replica."""
    replica = ScriptedServer()
    await replica.start()
    yield replica
    await replica.stop()


@pytest.fixture
def resuming(make_caller: MakeCaller, server: ScriptedServer) -> Caller:
    return make_caller(server.target, resume=True, retry=QUICK)


def gone(after: int) -> Failure:
    """What a server says that has the generation no more."""
    info = error_details_pb2.ErrorInfo(reason="GENERATION_NOT_FOUND", domain="penstock")
    return Failure(grpc.StatusCode.NOT_FOUND, "there is no such generation", [info], after=after)


async def test_a_broken_stream_is_read_on_where_it_broke(resuming: Caller, server: ScriptedServer) -> None:
    server.texts = ["One", ", two", ", three", ", four"]
    server.break_off(after=2)

    stream = resuming.stream("Count")
    chunks = await stream.all()

    assert [chunk.text for chunk in chunks] == server.texts
    assert [chunk.seq for chunk in chunks] == [0, 1, 2, 3]
    (resumed,) = server.resumes
    assert (resumed.id, resumed.next_seq) == ("gen-1", 2)
    reply = await stream.reply()
    assert (reply.resumed, reply.continued) == (1, 0)
    assert len(server.requests) == 1


async def test_the_request_says_that_it_may_be_resumed_and_its_tokens_stay_hidden(
    resuming: Caller, server: ScriptedServer
) -> None:
    reply = await resuming.stream("Once").reply()

    request = server.requests[0]
    assert request.resumable
    assert request.idempotency_key
    assert request.response.token_ids
    assert list(reply.token_ids) == []


async def test_tokens_that_were_asked_for_are_shown(resuming: Caller) -> None:
    reply = await resuming.stream("Once", return_token_ids=True).reply()

    assert list(reply.token_ids) == [0, 1]


async def test_every_break_is_survived_as_long_as_chunks_come_between(resuming: Caller, server: ScriptedServer) -> None:
    server.texts = [f" {number}" for number in range(10)]
    for after in range(1, 10):
        server.break_off(after=after)

    reply = await resuming.stream("Count").reply()

    assert reply.text == "".join(server.texts)
    assert reply.resumed == 9


async def test_a_break_after_the_last_chunk_is_no_failure(resuming: Caller, server: ScriptedServer) -> None:
    server.break_off(after=2)

    assert (await resuming.stream("Once").reply()).finish_reason == "stop"
    assert server.resumes == []


async def test_a_stream_that_does_not_resume_is_interrupted(make_caller: MakeCaller, server: ScriptedServer) -> None:
    server.break_off(after=1)

    with pytest.raises(StreamInterrupted) as caught:
        await make_caller(server.target).stream("Once").all()

    assert caught.value.partial.text == "Hello"
    assert caught.value.resume_token is None
    assert server.resumes == []


async def test_a_lost_generation_goes_on_at_another_replica_from_its_tokens(
    make_caller: MakeCaller, server: ScriptedServer, other: ScriptedServer
) -> None:
    first, second = server, other
    for replica in (first, second):
        replica.texts = ["a", "b", "c", "d"]
        replica.answers["Tokenize"] = pb.TokenizeResponse(token_ids=[90, 91, 92])
        replica.script_texts = {(90, 91, 92): "Once ", (90, 91, 92, 0, 1): "Once ab"}
        replica.failures += [Failure(grpc.StatusCode.UNAVAILABLE, "Socket closed", after=2), gone(2)]
    caller = make_caller([first.target, second.target], resume=True, retry=QUICK)
    stream = caller.stream("Once", max_tokens=6, seed=7, request_id="job")
    await stream.read()
    if second.requests:
        first, second = second, first
    second.failures.clear()

    rest = await stream.all()

    assert [chunk.text for chunk in rest] == ["b", "a", "b", "c", "d"]
    assert [chunk.seq for chunk in rest] == [1, 2, 3, 4, 5]
    assert [chunk.continued for chunk in rest] == [0, 1, 1, 1, 1]
    (request,) = second.requests
    assert list(request.token_ids.ids) == [90, 91, 92, 0, 1]
    assert (request.stopping.max_tokens, request.sampling.seed, request.request_id) == (4, 7, "job")
    assert request.idempotency_key != first.requests[0].idempotency_key
    reply = await stream.reply()
    assert (reply.continued, reply.id) == (1, "gen-1")
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (3, 4)


async def test_text_that_was_held_back_comes_before_the_seam(make_caller: MakeCaller, server: ScriptedServer) -> None:
    server.deltas = [
        [pb.SequenceDelta(text="a", token_ids=[1])],
        [pb.SequenceDelta(text="", token_ids=[2])],
        [pb.SequenceDelta(text="c", token_ids=[3], finish=server.finish)],
    ]
    server.answers["Tokenize"] = pb.TokenizeResponse(token_ids=[90])
    server.script_texts = {(90,): "Once ", (90, 1, 2): "Once a!"}
    server.failures = [Failure(grpc.StatusCode.UNAVAILABLE, "Socket closed", after=2), gone(2)]
    stream = make_caller(server.target, resume=True, retry=QUICK).stream("Once")
    await stream.read()
    await stream.read()
    server.deltas = [[pb.SequenceDelta(text="c", token_ids=[3], finish=server.finish)]]

    rest = await stream.all()

    assert [(chunk.seq, chunk.text) for chunk in rest] == [(2, "!"), (3, "c")]


async def test_a_kept_stream_goes_on_at_a_replica_that_is_new(
    make_caller: MakeCaller, server: ScriptedServer, other: ScriptedServer, tmp_path: Path
) -> None:
    """The first two chunks come from a replica that the next client does not know."""
    server.deltas = [[pb.SequenceDelta(text="a", token_ids=[1])], [pb.SequenceDelta(token_ids=[2])], []]
    await interrupted(make_caller(server.target, state=tmp_path / "state"), server, after=2)
    other.answers["Tokenize"] = pb.TokenizeResponse(token_ids=[90])
    other.script_texts = {(90,): "Once ", (90, 1, 2): "Once a!"}
    other.deltas = [
        [pb.SequenceDelta(text="c", token_ids=[3])],
        [pb.SequenceDelta(text="d", token_ids=[4], finish=server.finish)],
    ]
    other.failures = [Failure(grpc.StatusCode.DEADLINE_EXCEEDED, "too late", after=1)]
    keeper = make_caller(other.target, state=tmp_path / "state")
    (task,) = await keeper.call("tasks.list")

    heard = await resumed_task(keeper, task.id)
    chunks = [await heard.read() for _ in range(2)]
    with pytest.raises(StreamInterrupted):
        await heard.read()

    # The text that was held back is in the stream and in the file.
    assert [(chunk.seq, chunk.text) for chunk in chunks] == [(2, "!"), (3, "c")]
    (task,) = await keeper.call("tasks.list")
    assert (task.next_seq, task.partial.text) == (4, "a!c")

    # Whoever reads on has the whole of it.
    reply = await (await resumed_task(keeper, task.id)).reply()
    assert (reply.text, reply.continued) == ("a!cd", 1)
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (1, 2 + 2)


async def resumed_task(caller: Caller, task_id: str) -> Any:
    stream = await caller.call("tasks.resume", task_id)
    return BlockingStream(stream) if isinstance(caller.client, Client) else AsyncioStream(stream)


async def test_a_kept_stream_stays_kept_if_the_client_is_closed(
    make_caller: MakeCaller, server: ScriptedServer, tmp_path: Path
) -> None:
    keeper = make_caller(server.target, state=tmp_path / "state")
    await interrupted(keeper, server, after=1)
    (task,) = await keeper.call("tasks.list")
    await keeper.close()

    with pytest.raises(RuntimeError, match="closed"):
        await resumed_task(keeper, task.id)

    assert await keeper.call("tasks.list") == [task]
    await keeper.close()


async def test_a_stream_that_cannot_begin_is_over(resuming: Caller) -> None:
    await resuming.close()

    with pytest.raises(RuntimeError, match="closed"):
        resuming.stream("Once")

    assert resuming.client.stats().in_flight == 0


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"stop": ["end"]}, "stop texts"),
        ({"num_sequences": 2}, "several sequences"),
        ({"regex": "a*"}, "its form"),
        ({"messages": [{"role": "user", "content": "Hi"}], "tools": [{"name": "add"}]}, "tools"),
    ],
)
async def test_what_cannot_go_on_elsewhere_is_interrupted_with_what_came(
    resuming: Caller, server: ScriptedServer, options: dict[str, Any], why: str
) -> None:
    server.failures = [Failure(grpc.StatusCode.UNAVAILABLE, "Socket closed", after=1), gone(1)]
    prompt = () if "messages" in options else ("Once",)

    with pytest.raises(StreamInterrupted, match=why) as caught:
        await resuming.stream(*prompt, **options).all()

    assert caught.value.partial.text == "Hello"
    assert isinstance(caught.value.cause, NotFoundError)
    assert caught.value.resume_token is None


async def test_an_error_of_the_generation_itself_is_told_and_not_resumed(
    resuming: Caller, server: ScriptedServer
) -> None:
    server.refuse(grpc.StatusCode.INTERNAL, "INTERNAL", after=1)

    with pytest.raises(StreamInterrupted):
        await resuming.stream("Once").all()

    assert server.resumes == []


async def test_it_is_told_too_when_one_of_several_sequences_has_ended(resuming: Caller, server: ScriptedServer) -> None:
    server.deltas = [
        [pb.SequenceDelta(text="a", finish=server.finish), pb.SequenceDelta(index=1, text="b")],
        [pb.SequenceDelta(index=1, text="c", finish=server.finish)],
    ]
    server.counts_failures = True
    server.refuse(grpc.StatusCode.INTERNAL, "INTERNAL", after=1)

    with pytest.raises(StreamInterrupted, match="scripted INTERNAL"):
        await resuming.stream("Once", num_sequences=2).all()


async def test_a_token_reads_on_what_another_client_began(make_caller: MakeCaller, server: ScriptedServer) -> None:
    server.texts = ["One", ", two", ", three"]
    server.break_off(after=1)
    impatient = make_caller(server.target, resume=True, timeout=Timeout(idle=0.2), retry=QUICK)
    server.block_after = 1
    with pytest.raises(IdleTimeout) as caught:
        await impatient.stream("Count").all()
    server.release.set()
    server.block_after = None

    stream = await resumed(make_caller(server.target), caught.value.resume_token)
    rest = await stream.all()

    assert [chunk.seq for chunk in rest] == [1, 2]
    assert (await stream.reply()).text == ", two, three"


async def test_a_token_is_read_on_by_a_client_that_has_not_looked_up_its_name_yet(
    make_caller: MakeCaller, server: ScriptedServer
) -> None:
    server.texts = ["One", ", two", ", three"]
    token = await interrupted(make_caller(server.target), server, after=1)

    stream = await resumed(make_caller(f"dns:///localhost:{server.port}"), token)

    assert (await stream.reply()).text == ", two, three"


@pytest.mark.parametrize("asked", [True, False])
async def test_a_token_shows_the_token_ids_of_a_stream_that_had_asked_for_them(
    make_caller: MakeCaller, server: ScriptedServer, asked: bool
) -> None:
    token = await interrupted(make_caller(server.target), server, after=1, return_token_ids=asked)

    stream = await resumed(make_caller(server.target), token)

    assert list((await stream.reply()).token_ids) == ([1] if asked else [])


async def interrupted(caller: Caller, server: ScriptedServer, after: int, **options: Any) -> str | None:
    """The token of a stream that broke off after so many chunks."""
    server.fail(grpc.StatusCode.DEADLINE_EXCEEDED, "too late", after=after)
    with pytest.raises(StreamInterrupted) as caught:
        await caller.stream("Once", resume=True, **options).all()
    server.failure = None
    return caught.value.resume_token


async def resumed(caller: Caller, token: Any) -> Any:
    if isinstance(caller.client, Client):
        return BlockingStream(await in_thread(caller.client.resume, token))
    return AsyncioStream(caller.client.resume(token))


@pytest.mark.parametrize("token", ["", "x", "eyJub3QiOiAib3VycyJ9", "ä"])
async def test_what_is_no_token_is_refused(caller: Caller, token: str) -> None:
    with pytest.raises(ValueError, match="resume_token"):
        await resumed(caller, token)


async def test_leaving_a_resumable_stream_cancels_its_generation(resuming: Caller, server: ScriptedServer) -> None:
    server.block_after = 1
    stream = resuming.stream("Once")
    await stream.read()

    await stream.close()

    asked = await asyncio.wait_for(server.cancel_asked.get(), 5)
    assert asked.id == "gen-1"


async def test_leaving_before_the_first_chunk_cancels_by_the_key(resuming: Caller, server: ScriptedServer) -> None:
    server.block_after = 0
    stream = resuming.stream("Once")
    await asyncio.wait_for(server.blocked.wait(), 5)

    await stream.close()

    asked = await asyncio.wait_for(server.cancel_asked.get(), 5)
    assert asked.idempotency_key == server.requests[0].idempotency_key


async def test_closing_the_client_at_once_still_sends_the_cancel(resuming: Caller, server: ScriptedServer) -> None:
    server.block_after = 1
    stream = resuming.stream("Once")
    await stream.read()

    await stream.close()
    await resuming.close()

    assert server.cancel_asked.qsize() == 1


async def test_closing_the_client_cancels_the_generations_of_its_open_streams(
    resuming: Caller, server: ScriptedServer
) -> None:
    server.block_after = 1
    stream = resuming.stream("Once")
    await stream.read()
    reading = asyncio.create_task(stream.read())

    await resuming.close()

    assert server.cancel_asked.qsize() == 1
    await asyncio.gather(reading, return_exceptions=True)


async def test_leaving_while_the_connection_is_broken_still_sends_the_cancel(
    make_caller: MakeCaller, server: ScriptedServer
) -> None:
    server.failures = [Failure(grpc.StatusCode.UNAVAILABLE, "Socket closed", after=1)] * 50
    stream = make_caller(server.target, resume=True, retry=Retry(base=20, cap=20)).stream("Once")
    await stream.read()
    reading = asyncio.create_task(stream.read())
    await eventually(lambda: bool(server.resumes), "the stream is asked for again")
    await eventually(lambda: server.active == 0, "the stream waits before it asks once more")

    await stream.close()

    asked = await asyncio.wait_for(server.cancel_asked.get(), 5)
    assert asked.id == "gen-1"
    await asyncio.gather(reading, return_exceptions=True)


async def test_an_interrupted_stream_is_not_cancelled_so_that_it_can_be_resumed(
    make_caller: MakeCaller, server: ScriptedServer
) -> None:
    server.block_after = 1
    caller = make_caller(server.target, resume=True, timeout=Timeout(idle=0.1))

    with pytest.raises(APIError):
        await caller.stream("Once").all()
    await caller.close()

    assert server.cancel_asked.empty()
