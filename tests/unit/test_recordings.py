"""What is kept of generations for their readers: within its budget, without a gap, and not at a keen reader's cost."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.v1 import generation_pb2 as pb
from penstock_service.call import Call
from penstock_service.errors import Cancelled, SlowReader
from penstock_service.follower import Follower
from penstock_service.kept_recordings import KeptRecordings
from penstock_service.reading import Readable
from penstock_service.recording import Recording
from penstock_service.tenant import Tenant, caller

EACH, ALL = 8192, 32_768


class RecordingReader:
    """A reader that reads when it is told to."""

    interrupted = False

    def __init__(self) -> None:
        self.announced = self.interrupts = 0

    def opened(self, generation: Readable) -> None:
        self.generation = generation

    def news(self) -> None:
        self.announced += 1

    def interrupt(self) -> None:
        self.interrupts += 1

    def read(self) -> list[int]:
        seqs = []
        while self.generation.readable:
            chunk = pb.GenerateChunk()
            self.generation.take(chunk)
            seqs.append(chunk.seq)
        return seqs


def recording() -> Recording:
    return Recording(Call("penstock.v1.Generation/StreamGenerate", None), b"", batch=False)


def recording_of(tenant: str) -> Recording:
    token = caller.set(Tenant(tenant))
    try:
        return recording()
    finally:
        caller.reset(token)


def message(seq: int, size: int = 10) -> bytes:
    return pb.GenerateChunk(seq=seq, deltas=[{"text": "x" * size}]).SerializeToString()


def following(of: Recording, seq: int = 0) -> tuple[Follower, RecordingReader]:
    reader = RecordingReader()
    follower = Follower(of, seq, reader)
    of.readers.add(follower)
    return follower, reader


@given(
    steps=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 6000)), max_size=80),
    ended=st.sets(st.integers(0, 5)),
)
def test_the_budget_holds_and_who_keeps_up_gets_everything(steps: list[tuple[int, int]], ended: set[int]) -> None:
    kept = KeptRecordings(ALL, EACH)
    recordings = [recording() for _ in range(6)]
    for number, each in enumerate(recordings):
        kept.add(each, f"key-{number}")
        if number in ended:
            each.end(None, None)
            kept.settle(each)
    readers = {number: following(each) for number, each in enumerate(recordings) if number not in ended}
    for number, size in steps:
        if number in readers:
            kept.append(recordings[number], message(recordings[number].count, size))
            before = recordings[number].count - 1
            assert readers[number][1].read() == [before]

        there = [each for each in recordings if kept.find(each.id)]
        assert kept.size == sum(each.size for each in there)
        assert kept.size <= ALL or all(each.spare_bytes == 0 for each in there)
        assert all(each.size <= EACH or each.spare_bytes == 0 for each in there)

    assert all(kept.find(recordings[number].id) for number in readers), "only what is over is forgotten"
    assert not any(reader.interrupts for _, reader in readers.values())


def test_a_reader_who_falls_behind_what_is_kept_is_ended_alone() -> None:
    kept, one = KeptRecordings(ALL, EACH), recording()
    kept.add(one, "")
    (behind, slow), (ahead, fast) = following(one), following(one)
    for seq in range(20):
        kept.append(one, message(seq, 1000))
        fast.read()

    assert isinstance(behind.error, SlowReader)
    assert (behind.drained, slow.interrupts, slow.read()) == (True, 1, [])
    assert (ahead.error, fast.interrupts) == (None, 0)


def test_news_is_said_once_until_something_is_taken_and_at_the_end_again() -> None:
    one = recording()
    _, reader = following(one)
    for seq in range(3):
        one.append(message(seq))
    assert reader.announced == 1

    assert reader.read() == [0, 1, 2]
    announced = reader.announced
    one.end(Cancelled(), None)

    assert reader.announced == announced + 1
    assert (reader.generation.drained, one.status().phase) == (True, pb.GENERATION_PHASE_ENDED)


def test_the_longest_ended_goes_first_and_takes_its_key_along() -> None:
    kept = KeptRecordings(ALL, EACH)
    ended = [recording() for _ in range(3)]
    for number, each in enumerate(ended):
        kept.add(each, f"key-{number}")
        each.end(None, None)
    for each in reversed(ended):
        kept.settle(each)

    while kept.find(ended[0].id):
        kept.add(recording(), "")

    assert [kept.find(each.id) for each in ended] == [None, None, None]
    assert kept.find_by_key("", "key-2") is None


def test_a_tenant_that_fills_the_budget_pushes_out_its_own_recordings_and_no_others() -> None:
    kept = KeptRecordings(ALL, ALL)
    small, greedy = recording_of("small"), recording_of("greedy")
    kept.add(small, "key")
    kept.append(small, message(0, 1000))
    small.end(None, None)
    kept.settle(small)
    kept.add(greedy, "")

    for seq in range(100):
        kept.append(greedy, message(seq, 1000))
    for _ in range(100):
        ended = recording_of("greedy")
        kept.add(ended, "")
        ended.end(None, None)
        kept.settle(ended)

    assert kept.size <= ALL
    assert kept.find_by_key("small", "key") is small
    assert small.count == 1
    assert small.first == 0


async def test_what_is_forgotten_is_held_by_no_timer() -> None:
    kept, one = KeptRecordings(ALL, EACH), recording()
    kept.add(one, "")
    grace = one.grace = asyncio.get_running_loop().call_later(3600, one.status)

    kept.forget(one)

    assert grace.cancelled()


def test_what_is_read_or_runs_is_not_forgotten() -> None:
    kept = KeptRecordings(ALL, EACH)
    read, runs = recording(), recording()
    for each in (read, runs):
        kept.add(each, "")
    following(read)
    read.end(None, None)
    for each in (read, runs):
        kept.settle(each)

    for _ in range(100):
        kept.add(recording(), "")

    assert kept.find(read.id) is read
    assert kept.find(runs.id) is runs


@pytest.mark.parametrize("request_id", [None, "attempt-2"])
def test_a_reader_has_its_own_name_in_the_first_chunk(request_id: str | None) -> None:
    one, reader = recording(), RecordingReader()
    one.append(pb.GenerateChunk(request_id="attempt-1").SerializeToString())
    follower = Follower(one, 0, reader, request_id)
    chunk = pb.GenerateChunk()

    follower.take(chunk)

    assert chunk.request_id == (request_id or "attempt-1")
