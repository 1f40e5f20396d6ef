"""What is particular to streams that share a session; that they are streams like any others is tested with those."""

import asyncio
import gc

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2 as rpc

from penstock import (
    APIConnectionError,
    APIError,
    APITimeoutError,
    AsyncClient,
    RateLimitError,
    Retry,
    Stream,
    StreamInterrupted,
)
from penstock.sessions.inbox import Inbox
from penstock.v1 import generation_pb2 as pb
from tests.client.conftest import Caller, MakeCaller, in_thread
from tests.client.scripted_server import ScriptedServer

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def transport() -> dict[str, str]:
    return {"sessions": "always"}


@pytest.fixture
def stuck(server: ScriptedServer) -> ScriptedServer:
    """The server sends one chunk of each call and waits."""
    server.block_after = 1
    return server


async def seen(event: asyncio.Event) -> None:
    await asyncio.wait_for(event.wait(), 5)


async def seen_calls(server: ScriptedServer, count: int) -> None:
    await seen(server.session_opened)
    session = server.sessions[0]
    while len(session.numbers) < count:
        session.news.clear()
        await seen(session.news)


async def test_many_streams_share_one_session_and_each_gets_its_own_answer(
    caller: Caller, stuck: ScriptedServer
) -> None:
    streams = [caller.stream("Once", request_id=f"job-{i}") for i in range(8)]
    await asyncio.gather(*(stream.read() for stream in streams))

    stuck.release.set()
    replies = await asyncio.gather(*(stream.reply() for stream in streams))

    assert [reply.text for reply in replies] == ["Hello wörld"] * 8
    assert [reply.request_id for reply in replies] == [f"job-{i}" for i in range(8)]
    assert stuck.sessions_opened == 1
    assert stuck.sessions[0].numbers == list(range(1, 9))


async def test_one_message_can_bring_something_to_several_calls(caller: Caller, server: ScriptedServer) -> None:
    server.block_after = 0
    streams = [caller.stream("Once") for _ in range(3)]
    await seen_calls(server, 3)

    server.sessions[0].send(
        pb.SessionResponse(
            chunks=[
                pb.CallChunk(call=call, chunk=pb.GenerateChunk(deltas=[pb.SequenceDelta(text=f"for {call}")]))
                for call in (3, 1, 2)
            ]
        )
    )

    received = await asyncio.gather(*(stream.read() for stream in streams))
    assert [chunk.text for chunk in received if chunk] == ["for 1", "for 2", "for 3"]


async def test_a_caller_that_does_not_read_holds_up_nobody_and_is_ended_at_the_bound(
    caller: Caller, server: ScriptedServer
) -> None:
    server.block_after = 0
    slow, quick = caller.stream("Once"), caller.stream("Once")
    await seen_calls(server, 2)

    for seq in range(300):
        chunk = pb.GenerateChunk(seq=seq, deltas=[pb.SequenceDelta(text="x" * 1024)])
        server.sessions[0].send(pb.SessionResponse(chunks=[pb.CallChunk(call=1, chunk=chunk)]))
    await seen(server.cancelled)
    server.release.set()
    reply = await quick.reply()

    assert reply.text == "Hello wörld"
    with pytest.raises(StreamInterrupted) as caught:
        await slow.all()
    assert isinstance(caught.value.cause, RateLimitError)
    assert (caught.value.reason, caught.value.retry_after) == ("SLOW_READER", None)
    kept_kib = len(caught.value.partial.text) // 1024
    assert 250 < kept_kib < 260
    assert server.sessions[0].cancelled == [1]


async def test_a_session_that_breaks_interrupts_what_had_begun_and_the_rest_begins_anew_on_another(
    caller: Caller, stuck: ScriptedServer
) -> None:
    begun = caller.stream("Once")
    await begun.read()
    stuck.block_after = 0
    silent = caller.stream("Once")
    await seen_calls(stuck, 2)

    stuck.sessions[0].break_off(grpc.StatusCode.UNAVAILABLE, "Socket closed")

    with pytest.raises(StreamInterrupted) as interrupted:
        await begun.all()
    assert type(interrupted.value.cause) is APIConnectionError
    assert interrupted.value.partial.text == "Hello"
    stuck.release.set()
    assert (await silent.reply()).text == "Hello wörld"
    assert stuck.sessions_opened == 2


async def test_a_session_that_forgets_its_calls_fails_them(caller: Caller, stuck: ScriptedServer) -> None:
    stream = caller.stream("Once")
    await stream.read()

    stuck.sessions[0].end()

    with pytest.raises(StreamInterrupted, match="ended the session before the call"):
        await stream.all()


async def test_a_draining_session_takes_no_call_and_is_half_closed_after_its_last(
    caller: Caller, stuck: ScriptedServer
) -> None:
    stuck.seqs = [0, 2]
    staying = caller.stream("Once")
    await staying.read()
    session = stuck.sessions[0]
    session.send(pb.SessionResponse(chunks=[pb.CallChunk(call=1, chunk=pb.GenerateChunk(seq=1))], draining=True))
    await staying.read()

    other = caller.stream("Once")
    await other.read()

    assert stuck.sessions_opened == 2
    assert session.numbers == [1]
    assert not session.half_closed.is_set()
    stuck.release.set()
    assert (await staying.reply()).text == "Hello wörld"
    await seen(session.half_closed)


@pytest.mark.parametrize("streams", [1, 5])
async def test_a_server_without_sessions_gets_the_calls_as_streams_and_is_not_asked_for_ever(
    caller: Caller, server: ScriptedServer, streams: int
) -> None:
    server.without_sessions = True

    begun = [caller.stream("Once", timeout=50, metadata={"traceparent": TRACE}) for _ in range(streams)]
    texts = [(await stream.reply()).text for stream in begun]
    # grpc.aio can lose the first refusal's status, when several calls were just being written.
    texts.append((await caller.stream("Once").reply()).text)
    refused = server.sessions_refused
    texts.append((await caller.stream("Once").reply()).text)

    assert texts == ["Hello wörld"] * (streams + 2)
    assert 1 <= refused <= 2
    assert server.sessions_refused == refused
    assert len(server.requests) == streams + 2
    assert all(seconds is not None and 10 < seconds < 50 for seconds in server.seconds_left[:streams])
    assert server.metadata[0]["traceparent"] == TRACE


async def test_a_server_without_sessions_still_sees_streams_end_early(caller: Caller, stuck: ScriptedServer) -> None:
    stuck.without_sessions = True
    stream = caller.stream("Once")
    await stream.read()

    await stream.close()

    await seen(stuck.cancelled)


async def test_without_being_told_a_stream_rides_once_two_others_are_open(
    make_caller: MakeCaller, stuck: ScriptedServer
) -> None:
    caller = make_caller(stuck.target, sessions="auto")
    streams = [caller.stream("Once") for _ in range(4)]
    await asyncio.gather(*(stream.read() for stream in streams))

    assert stuck.sessions_opened == 1
    assert stuck.sessions[0].numbers == [1, 2]

    for stream in streams:
        await stream.close()
    await caller.stream("Once").read()
    assert stuck.sessions[0].numbers == [1, 2]


async def test_unary_calls_never_ride(caller: Caller, server: ScriptedServer) -> None:
    await caller.generate("Once")

    assert not server.sessions_opened


async def test_a_stream_with_metadata_of_its_own_has_an_rpc_of_its_own(
    make_caller: MakeCaller, server: ScriptedServer
) -> None:
    caller = make_caller(server.target, metadata={"tenant": "a"})

    await caller.stream("Once", metadata={"x-own": "1"}).reply()
    before = server.sessions_opened
    await caller.stream("Once", metadata={"traceparent": TRACE, "tracestate": "k=v"}).reply()

    assert (before, server.sessions_opened) == (0, 1)
    assert server.metadata[0]["x-own"] == "1"
    assert {"tenant": "a", "traceparent": TRACE, "tracestate": "k=v"}.items() <= server.metadata[1].items()


async def test_the_deadline_is_told_to_the_server_and_kept_without_it(caller: Caller, server: ScriptedServer) -> None:
    server.block_after = 0
    server.server_id = None  # not a word comes

    with pytest.raises(APITimeoutError) as caught:
        await caller.stream("Once", timeout=0.2, request_id="slow").all()

    assert str(caught.value) == "Deadline Exceeded"
    assert (caught.value.status, caught.value.request_id) == (grpc.StatusCode.DEADLINE_EXCEEDED, "slow")
    assert server.seconds_left == [pytest.approx(0.2, abs=0.01)]
    await seen(server.cancelled)


async def test_an_unread_streams_deadline_ends_it_at_the_server_too(stuck: ScriptedServer) -> None:
    async with AsyncClient(stuck.target, sessions="always") as client:
        stream = client.stream("Once", timeout=0.2)

        await seen(stuck.cancelled)

        with pytest.raises(StreamInterrupted):
            await stream.reply()


async def test_an_error_is_the_same_over_a_session_as_over_a_stream(
    make_caller: MakeCaller, server: ScriptedServer
) -> None:
    retry = rpc.RetryInfo(retry_delay=Duration(seconds=2))
    server.refuse(grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED", retry)

    once = Retry(attempts=1)
    errors = [await failure(make_caller(server.target, sessions=each, retry=once)) for each in ("never", "always")]

    apart, shared = ((type(e), str(e), e.status, e.reason, e.details, e.retry_after, e.request_id) for e in errors)
    assert apart == shared
    assert errors[0].retry_after == 2


async def failure(caller: Caller) -> APIError:
    with pytest.raises(APIError) as caught:
        await caller.stream("Once", request_id="job").all()
    return caught.value


async def test_sessions_to_several_replicas_share_the_calls(make_caller: MakeCaller, server: ScriptedServer) -> None:
    other = ScriptedServer()
    other.server_id = "two"
    await other.start()
    caller = make_caller(f"ipv4:127.0.0.1:{server.port},127.0.0.1:{other.port}")
    while not (server.requests and other.requests):  # until both are connected
        await caller.generate("Once")
    server.block_after = other.block_after = 1

    streams = []
    for _ in range(32):
        streams.append(caller.stream("Once"))
        await streams[-1].read()

    assert sorted([server.sessions_opened, other.sessions_opened]) == [1, 2]
    assert abs(server.active - other.active) <= 2
    for stream in streams:
        await stream.close()
    await caller.close()
    await other.stop()


async def test_thousands_of_cancelled_streams_leave_nothing_behind(caller: Caller, stuck: ScriptedServer) -> None:
    gc.collect()
    before = inboxes()
    await caller.stream("Once").first_of_with()
    session = stuck.sessions[0]

    for _ in range(2_000):
        await caller.stream("Once").close()
    while len(session.cancelled) < 2_001:
        session.news.clear()
        await seen(session.news)

    gc.collect()
    assert inboxes() <= before  # those of other tests may go meanwhile
    assert stuck.sessions == [session]


def inboxes() -> int:
    return sum(issubclass(type(thing), Inbox) for thing in gc.get_objects())


async def test_a_client_that_is_dropped_ends_its_sessions(make_caller: MakeCaller, server: ScriptedServer) -> None:
    client = type(make_caller(server.target).client)(server.target, sessions="always")
    stream = client.stream("Once")
    await (in_thread(stream.reply) if isinstance(stream, Stream) else stream.reply())
    over = server.sessions[0].over

    del client, stream
    gc.collect()

    await seen(over)
