"""Whatever happens to a generation, in whatever order: one end, no gap, everything released once."""

import asyncio
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.v1 import generation_pb2 as pb
from penstock.v1.models_pb2 import Model
from penstock_service.engine.base import Ending, Job, Receiver
from penstock_service.engine_places import EnginePlace, EnginePlaces, PlaceNeed
from penstock_service.errors import Cancelled, SlowReader, Unavailable
from penstock_service.generation import Generation
from penstock_service.transitions import TABLE, Event, State


class RecordingEngine:
    """An engine that does nothing by itself and counts what it is asked for."""

    model = Model(name="tiny")
    running = 0

    def __init__(self) -> None:
        self.held: set[str] = set()
        self.aborts = 0

    async def prepare(self, job: Job) -> Job:
        return job

    async def submit(self, job: Job, receiver: Receiver) -> None:
        self.held.add(job.id)

    def abort(self, job_id: str) -> Ending | None:
        if job_id not in self.held:
            return None
        self.aborts += 1
        self.held.remove(job_id)
        return self.ending()

    def ending(self) -> Ending:
        return Ending("", (), pb.Usage(completion_tokens=1), pb.Timings())


class RecordingReader:
    """A reader that takes everything at once."""

    interrupted = False

    def __init__(self) -> None:
        self.chunks: list[pb.GenerateChunk] = []
        self.interrupts = 0

    def opened(self, generation: Generation) -> None:
        self.generation = generation

    def news(self) -> None:
        pass

    def interrupt(self) -> None:
        self.interrupts += 1

    def read(self) -> None:
        if self.generation.readable:
            chunk = pb.GenerateChunk()
            self.generation.take(chunk)
            self.chunks.append(chunk)


def free_place() -> EnginePlace:
    return EnginePlace(EnginePlaces(), PlaceNeed("gen-1", sequences=1, tokens=1, cost=1), "", lambda tokens: None)


async def started(most_held_bytes: int = 1 << 20) -> tuple[Generation, RecordingEngine, RecordingReader]:
    engine, reader = RecordingEngine(), RecordingReader()
    request = pb.GenerateRequest(prompt="Hello")
    generation = Generation(Job("gen-1", request, 0.0, True), engine, reader, most_held_bytes, free_place())
    await generation.start(None)
    return generation, engine, reader


def finish(generation: Generation, engine: RecordingEngine) -> None:
    engine.held.discard("gen-1")
    generation.finished(engine.ending(), pb.Finish(reason=pb.FINISH_REASON_STOP))


def fail(generation: Generation, engine: RecordingEngine) -> None:
    engine.held.discard("gen-1")
    generation.failed(Unavailable("ENGINE_DEAD"), engine.ending())


@pytest.mark.parametrize(("happens", "freed"), [("finished", 1), ("cancelled", 0), ("drained", 0)])
async def test_what_the_engine_has_finished_frees_its_room_before_anybody_reads_it(happens: str, freed: int) -> None:
    generation, engine, reader = await started()
    done: list[None] = []
    generation.place._done = lambda: done.append(None)

    HAPPENINGS[happens](generation, engine, reader)

    assert len(done) == freed


HAPPENINGS: dict[str, Callable[[Generation, RecordingEngine, RecordingReader], None]] = {
    "output": lambda generation, *_: generation.put("word ", (1,)),
    "read": lambda _generation, _engine, reader: reader.read(),
    "finished": lambda generation, engine, _: finish(generation, engine),
    "failed": lambda generation, engine, _: fail(generation, engine),
    "cancelled": lambda generation, *_: generation.cancel(),
    "drained": lambda generation, *_: generation.drain(),
    "slow": lambda generation, *_: generation.too_slow(),
}


@settings(max_examples=300)
@given(happenings=st.lists(st.sampled_from(sorted(HAPPENINGS)), max_size=12))
def test_every_order_of_events_ends_once_without_a_gap_and_releases_everything(happenings: Sequence[str]) -> None:
    async def live() -> None:
        generation, engine, reader = await started()
        outcomes = []
        for name in happenings:
            HAPPENINGS[name](generation, engine, reader)
            outcomes.append((generation.error, generation.finish_reasons))
        generation.close()

        decided = [outcome for outcome in outcomes if outcome != (None, ())]
        assert len({id(error) for error, _ in decided if not isinstance(error, SlowReader)}) <= 1
        assert [chunk.seq for chunk in reader.chunks] == list(range(len(reader.chunks)))
        assert sum(chunk.HasField("usage") for chunk in reader.chunks) <= 1
        assert engine.aborts <= 1
        assert not engine.held
        assert generation.ended
        assert not generation.readable

    asyncio.run(live())


async def test_a_generation_that_ends_while_the_engine_takes_it_on_leaves_nothing_there() -> None:
    class Late(RecordingEngine):
        async def submit(self, job: Job, receiver: Receiver) -> None:
            reader.generation.cancel()  # too late to interrupt this
            self.held.add(job.id)

    engine, reader = Late(), RecordingReader()
    job = Job("gen-1", pb.GenerateRequest(prompt="Hello"), 0.0, True)
    generation = Generation(job, engine, reader, 1 << 20, free_place())

    await generation.start(None)
    generation.close()

    assert not engine.held
    assert isinstance(generation.error, Cancelled)


async def test_what_follows_the_end_changes_nothing() -> None:
    generation, engine, reader = await started()
    generation.put("Hello", (1,))
    finish(generation, engine)

    generation.put(" and more", (2,))
    generation.cancel()
    reader.read()

    assert generation.error is None
    assert reader.chunks[0].deltas[0].text == "Hello"
    assert reader.chunks[0].deltas[0].finish.reason == pb.FINISH_REASON_STOP
    assert engine.aborts == 0


@pytest.mark.parametrize("text", ["x" * 11, "é" * 6], ids=["ASCII", "two bytes a character"])
async def test_held_text_is_bounded_by_its_bytes(text: str) -> None:
    generation, engine, reader = await started(most_held_bytes=10)

    generation.put(text, (1,))

    assert isinstance(generation.error, SlowReader)
    assert (engine.aborts, reader.interrupts, generation.readable) == (1, 1, False)


def test_the_table_has_no_way_back_and_aborts_only_what_the_engine_works_on() -> None:
    order = list(State)
    for state, row in TABLE.items():
        for event, transition in row.items():
            assert order.index(transition.state) >= order.index(state), (state, event)
            assert not transition.aborts or state in (State.PREPARING, State.RUNNING)
    assert TABLE[State.CLOSED] == {}
    assert all(Event.LEFT in TABLE[state] for state in State if state is not State.CLOSED)
