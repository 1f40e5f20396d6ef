"""Sessions without I/O: whose chunks are whose, which session takes a call, and which streams ride at all."""

from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.arguments import ArgumentTypeError, ArgumentValueError
from penstock.call_options import Pairs
from penstock.errors import RateLimitError, RequestCancelled
from penstock.sessions.endings import cancelled, completed, slow_reader
from penstock.sessions.inbox import MOST_UNREAD_BYTES, Inbox
from penstock.sessions.multiplexer import Multiplexer
from penstock.sessions.riding import MOST_REQUEST_BYTES, Riding, start_message
from penstock.sessions.roster import CROWDED, FULL, Roster
from penstock.v1 import generation_pb2 as pb
from penstock.v1.mirrors_pb2 import RpcStatus


def started(multiplexer: Multiplexer[Inbox], calls: int) -> list[Inbox]:
    inboxes = [Inbox() for _ in range(calls)]
    assert all(multiplexer.start(inbox) for inbox in inboxes)
    return inboxes


def chunks(*pieces: tuple[int, str]) -> pb.SessionResponse:
    return pb.SessionResponse(chunks=[pb.CallChunk(call=call, chunk=a_chunk(text)) for call, text in pieces])


def a_chunk(text: str) -> pb.GenerateChunk:
    return pb.GenerateChunk(deltas=[pb.SequenceDelta(text=text)])


def texts(inbox: Inbox) -> list[str]:
    return [chunk.deltas[0].text for chunk in inbox.unread]


def test_calls_are_numbered_from_one() -> None:
    assert [inbox.number for inbox in started(Multiplexer(), 3)] == [1, 2, 3]


def test_each_call_gets_its_chunks_in_order_and_the_others_nothing() -> None:
    multiplexer: Multiplexer[Inbox] = Multiplexer()
    first, second, third = started(multiplexer, 3)

    news = [multiplexer.receive(chunks((1, "a"), (2, "b"))), multiplexer.receive(chunks((1, "c")))]

    assert [texts(inbox) for inbox in (first, second, third)] == [["a", "c"], ["b"], []]
    assert [each.inboxes for each in news] == [[first, second], [first]]


def test_an_end_comes_after_the_chunks_of_its_message_and_only_once() -> None:
    multiplexer: Multiplexer[Inbox] = Multiplexer()
    (call,) = started(multiplexer, 1)
    message = chunks((1, "a"))
    message.ends.add(call=1)

    multiplexer.receive(message)
    late = multiplexer.receive(chunks((1, "late")))
    multiplexer.receive(pb.SessionResponse(ends=[pb.CallEnd(call=1, status=RpcStatus(code=13))]))

    assert texts(call) == ["a"]
    assert call.ending is completed
    assert late.inboxes == []


def test_what_comes_for_a_dropped_call_is_passed_over() -> None:
    multiplexer: Multiplexer[Inbox] = Multiplexer()
    (call,) = started(multiplexer, 1)

    assert multiplexer.drop(call)
    assert not multiplexer.drop(call)

    assert multiplexer.receive(chunks((1, "a"))).inboxes == []
    assert len(multiplexer) == 0


def test_the_first_ending_counts() -> None:
    inbox = Inbox()

    inbox.end(cancelled)
    inbox.end(slow_reader)

    assert inbox.ending is cancelled


def test_a_session_that_ends_leaves_its_calls_to_be_ended_and_takes_no_more() -> None:
    multiplexer: Multiplexer[Inbox] = Multiplexer()
    calls = started(multiplexer, 2)

    assert multiplexer.end(cancelled) == calls

    assert len(multiplexer) == 0
    assert not multiplexer.start(Inbox())


def test_a_draining_session_finishes_with_its_last_call() -> None:
    multiplexer: Multiplexer[Inbox] = Multiplexer()
    started(multiplexer, 1)

    multiplexer.receive(pb.SessionResponse(draining=True))

    assert not multiplexer.start(Inbox())
    assert not multiplexer.finished
    multiplexer.receive(pb.SessionResponse(ends=[pb.CallEnd(call=1)]))
    assert multiplexer.finished


def test_the_server_is_known_from_the_first_message_on() -> None:
    multiplexer: Multiplexer[Inbox] = Multiplexer()
    assert multiplexer.server_id is None

    multiplexer.receive(pb.SessionResponse(server_id="a"))
    multiplexer.receive(pb.SessionResponse())

    assert multiplexer.server_id == "a"


def test_a_call_that_nobody_reads_ends_at_the_bound_and_keeps_what_had_come() -> None:
    multiplexer: Multiplexer[Inbox] = Multiplexer()
    slow, other = started(multiplexer, 2)
    text = "x" * 1024

    news = [multiplexer.receive(chunks((1, text), (2, "y"))) for _ in range(MOST_UNREAD_BYTES // 1024 + 8)]

    assert [call for each in news for call in each.overflown] == [slow]
    assert slow.ending is slow_reader
    assert MOST_UNREAD_BYTES - 2048 < sum(map(len, texts(slow))) < MOST_UNREAD_BYTES + 2048
    assert other.ending is None
    assert len(multiplexer) == 1


@given(st.integers(1, 200))
def test_a_call_that_is_read_behind_time_goes_on_for_ever(behind: int) -> None:
    multiplexer: Multiplexer[Inbox] = Multiplexer()
    (call,) = started(multiplexer, 1)
    message = chunks((1, "x" * 1024))

    for count in range(1_000):
        assert multiplexer.receive(message).overflown == []
        if count >= behind:
            call.unread.popleft()

    assert call.ending is None


def test_the_error_of_a_slow_reader_is_the_servers() -> None:
    error = slow_reader("job")

    assert isinstance(error, RateLimitError)
    assert (error.reason, error.retry_after, error.request_id) == ("SLOW_READER", None, "job")
    assert error.status is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert isinstance(cancelled(None), RequestCancelled)


@dataclass(eq=False)
class FakeSession:
    open_calls: int = 0
    server_id: str | None = "a"
    takes_calls: bool = True
    over: bool = False


def roster(*sessions: FakeSession) -> Roster[FakeSession]:
    made: Roster[FakeSession] = Roster()
    for session in sessions:
        made.sessions.append(session)
        made.choose()
    return made


def test_without_a_session_one_is_opened() -> None:
    assert roster().choose() is None


def test_the_session_with_the_fewest_calls_takes_the_next_one() -> None:
    few, fewer = FakeSession(3, "a"), FakeSession(2, "b")

    assert roster(few, fewer, FakeSession(1, "c", takes_calls=False)).choose() is fewer


def test_crowded_sessions_are_joined_by_another_while_that_brings_new_servers() -> None:
    first, second = FakeSession(CROWDED, "a"), FakeSession(CROWDED, "b")

    assert roster(first).choose() is None
    assert roster(first, second).choose() is None
    second.open_calls = CROWDED - 1
    assert roster(first, second).choose() is second


def test_two_are_not_opened_at_a_time() -> None:
    connecting = FakeSession(CROWDED, None)

    assert roster(connecting).choose() is connecting


def test_a_second_session_to_a_server_takes_calls_only_when_the_first_is_full_and_is_the_last() -> None:
    first, double = FakeSession(CROWDED, "a"), FakeSession(0, "a")
    sessions = roster(first, double)

    assert sessions.choose() is first
    first.open_calls = FULL
    assert sessions.choose() is double
    double.open_calls = FULL
    assert sessions.choose() is None


def test_after_a_session_has_ended_another_server_is_looked_for_once_more() -> None:
    first, other, double = FakeSession(CROWDED, "a"), FakeSession(CROWDED, "b"), FakeSession(CROWDED, "a")
    sessions = roster(first, other, double)
    assert sessions.choose() is not None

    other.over = True

    assert sessions.choose() is None
    assert sessions.sessions == [first, double]


def test_draining_sessions_take_nothing() -> None:
    assert roster(FakeSession(1, "a", takes_calls=False)).choose() is None


REQUEST = pb.GenerateRequest(prompt="Once")


@pytest.mark.parametrize(
    ("sessions", "others_open", "rides"),
    [("never", 99, False), ("always", 0, True), ("auto", 0, False), ("auto", 1, False), ("auto", 2, True)],
)
def test_a_stream_rides_once_two_others_are_open_unless_told_otherwise(
    sessions: str, others_open: int, rides: bool
) -> None:
    assert Riding(sessions, ()).suits(REQUEST, (), others_open) is rides  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("metadata", "rides"),
    [
        ((("tenant", "a"),), True),
        ((("tenant", "a"), ("traceparent", "00-1"), ("tracestate", "k=v")), True),
        ((("tenant", "b"),), False),
        ((("tenant", "a"), ("x-own", "1")), False),
    ],
)
def test_a_stream_with_metadata_of_its_own_does_not_ride_unless_it_is_its_trace(metadata: Pairs, rides: bool) -> None:
    assert Riding("always", (("tenant", "a"),)).suits(REQUEST, metadata, 0) is rides


def test_a_request_that_could_be_too_large_for_the_server_does_not_ride() -> None:
    large = pb.GenerateRequest(prompt="x" * MOST_REQUEST_BYTES)

    assert not Riding("always", ()).suits(large, (), 0)


@pytest.mark.parametrize("field", [{"resumable": True}, {"idempotency_key": "job"}])
def test_a_stream_that_outlives_its_connection_does_not_ride(field: Any) -> None:
    assert not Riding("always", ()).suits(pb.GenerateRequest(prompt="Once", **field), (), 9)


def test_the_choice_is_one_of_three() -> None:
    with pytest.raises(ArgumentValueError, match="sessions is 'often'; it must be one of auto, always, never"):
        Riding("often", ())  # type: ignore[arg-type]
    with pytest.raises(ArgumentTypeError, match="sessions must be a str, not bool"):
        Riding(True, ())  # type: ignore[arg-type]


@pytest.mark.parametrize(("timeout", "milliseconds"), [(1.5, 1500), (0.0001, 1), (2.0001, 2001), (0, 0), (-3, 0)])
def test_the_deadline_is_rounded_up_and_a_past_one_is_zero(timeout: float, milliseconds: int) -> None:
    start = start_message(REQUEST, timeout, ()).start

    assert start.HasField("timeout_ms")
    assert start.timeout_ms == milliseconds


def test_without_a_deadline_none_is_sent_and_the_trace_has_fields_of_its_own() -> None:
    start = start_message(REQUEST, None, (("tenant", "a"), ("traceparent", "00-1"), ("tracestate", "k=v"))).start

    assert not start.HasField("timeout_ms")
    assert (start.traceparent, start.tracestate) == ("00-1", "k=v")
    assert start.request == REQUEST
