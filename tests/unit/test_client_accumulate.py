"""The chunks of a stream fold into the reply that Generate would have given."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.accumulate import Accumulator
from penstock.errors import InternalServerError
from penstock.v1 import generation_pb2 as pb


def chunk(seq: int, text: str = "", index: int = 0) -> pb.GenerateChunk:
    return pb.GenerateChunk(seq=seq, deltas=[pb.SequenceDelta(index=index, text=text)])


def finished(seq: int, *indexes: int) -> pb.GenerateChunk:
    finish = pb.Finish(reason=pb.FINISH_REASON_LENGTH)
    deltas = [pb.SequenceDelta(index=index, finish=finish) for index in indexes or (0,)]
    return pb.GenerateChunk(seq=seq, deltas=deltas, usage=pb.Usage(completion_tokens=2))


@given(st.lists(st.text(max_size=5)), st.data())
def test_the_text_is_the_concatenation_whenever_it_is_asked_for(texts: list[str], data: st.DataObject) -> None:
    received = Accumulator()

    for seq, text in enumerate(texts):
        received.add(chunk(seq, text))
        if data.draw(st.booleans()):
            assert received.text == "".join(texts[: seq + 1])

    assert received.reply().text == "".join(texts)


def test_ids_come_from_the_first_chunk_and_usage_from_the_last() -> None:
    received = Accumulator()
    first = chunk(0, "a")
    first.id, first.model, first.request_id = "gen", "tiny", "job"

    received.add(first)
    received.add(finished(1))

    reply = received.reply()
    assert (reply.id, reply.model, reply.request_id) == ("gen", "tiny", "job")
    assert reply.usage.completion_tokens == 2
    assert reply.finish_reason == "length"
    received.check_complete()


@pytest.mark.parametrize("seqs", [[1], [0, 2], [0, 0], [0, 1, 0]])
def test_a_gap_in_the_numbers_is_the_servers_fault(seqs: list[int]) -> None:
    received = Accumulator()
    for seq in seqs[:-1]:
        received.add(chunk(seq))

    with pytest.raises(InternalServerError, match=f"chunk {seqs[-1]} where chunk {len(seqs) - 1} was due"):
        received.add(chunk(seqs[-1]))


def test_several_sequences_are_kept_apart() -> None:
    received = Accumulator()
    for seq, (index, text) in enumerate([(0, "a"), (1, "b"), (0, "c")]):
        received.add(chunk(seq, text, index))
    received.add(finished(3, 0, 1))

    sequences = received.reply().proto.sequences
    assert [(sequence.index, sequence.text) for sequence in sequences] == [(0, "ac"), (1, "b")]


def test_everything_a_sequence_has_is_put_together() -> None:
    received = Accumulator()
    calls = [pb.ToolCallDelta(index=0, id="c0", name="add", arguments='{"a"')]
    more = [pb.ToolCallDelta(index=1, id="c1", name="now"), pb.ToolCallDelta(index=0, arguments=": 1}")]
    first = pb.SequenceDelta(reasoning="Hm", tool_calls=calls, token_ids=[1], tokens=[pb.TokenInfo(token_id=1)])
    second = pb.SequenceDelta(reasoning="...", tool_calls=more, token_ids=[2], tokens=[pb.TokenInfo(token_id=2)])
    received.add(pb.GenerateChunk(seq=0, deltas=[first]))
    received.add(pb.GenerateChunk(seq=1, deltas=[second]))

    reply = received.reply()

    assert reply.reasoning == "Hm..."
    assert list(reply.tool_calls) == [
        pb.ToolCall(id="c0", name="add", arguments='{"a": 1}'),
        pb.ToolCall(id="c1", name="now"),
    ]
    assert list(reply.token_ids) == [token.token_id for token in reply.tokens] == [1, 2]


def test_what_only_the_first_chunk_has_is_kept() -> None:
    received = Accumulator()
    first = chunk(0, "a")
    first.prompt.add(token_id=7)
    first.settings.num_sequences = 1
    first.adapter.name = "poet"

    received.add(first)
    received.add(finished(1))

    reply = received.reply()
    assert [token.token_id for token in reply.prompt] == [7]
    assert reply.settings == pb.Settings(num_sequences=1)
    assert reply.adapter == pb.AdapterVersion(name="poet")


def test_what_was_not_sent_is_absent() -> None:
    received = Accumulator()
    received.add(chunk(0, "a"))

    reply = received.reply()

    assert (reply.settings, reply.adapter, list(reply.tool_calls), reply.reasoning) == (None, None, [], "")


def test_each_sequence_needs_its_finish_reason() -> None:
    received = Accumulator()
    received.add(chunk(0, "a", index=1))
    received.add(finished(1, 0))

    with pytest.raises(InternalServerError, match="finish reason"):
        received.check_complete()


def test_without_a_finish_reason_it_is_not_complete() -> None:
    received = Accumulator()
    received.add(chunk(0, "a"))

    with pytest.raises(InternalServerError, match="finish reason"):
        received.check_complete()


def test_without_usage_it_is_not_complete() -> None:
    received = Accumulator()
    last = finished(0)
    last.ClearField("usage")
    received.add(last)

    with pytest.raises(InternalServerError, match="usage"):
        received.check_complete()


def test_a_reason_newer_than_this_client_is_unknown() -> None:
    received = Accumulator()
    received.add(pb.GenerateChunk(deltas=[pb.SequenceDelta(finish=pb.Finish(reason=99))]))  # type: ignore[arg-type]

    assert received.reply().finish_reason == "unknown"
