"""The unit of the service: one generation, which owns its engine job, its held output, its deadline and its outcome.

A call only reads it. Everything that can happen to it is an Event of `transitions.TABLE`, applied in one place here.
That nothing follows the last chunk is checked in production too; a breach ends the call, or the session that carries
it, with INTERNAL. Numbers without a gap and the release of what the engine holds follow from having one writer of each.
"""

import asyncio
from array import array
from collections.abc import Callable, Sequence

from penstock.v1.generation_pb2 import (
    FINISH_REASON_DEADLINE,
    ON_DEADLINE_RETURN_PARTIAL,
    Finish,
    GenerateChunk,
    SequenceDelta,
    Timings,
    Usage,
)
from penstock_service.deltas import Deltas
from penstock_service.engine.base import Ending, Engine, Job
from penstock_service.engine_places import EnginePlace
from penstock_service.errors import Cancelled, DeadlineExceeded, ServiceError, SlowReader, Unavailable
from penstock_service.reading import Reader
from penstock_service.transitions import TABLE, Event, State

_BYTES_PER_TOKEN_ID = 4


def _no_token_ids() -> "array[int]":
    """A list would hold ten times what is counted: an object for each."""
    return array("i")


_ERRORS: dict[Event, Callable[[], ServiceError]] = {
    Event.DEADLINE: DeadlineExceeded,
    Event.CANCELLED: Cancelled,
    Event.DRAINED: lambda: Unavailable("DRAINING"),
    Event.SLOW_READER: SlowReader,
}


class Generation:
    """One generation from its admission to its last chunk; a Receiver for its engine."""

    __slots__ = (
        "_announced",
        "_deltas",
        "_engine",
        "_finish",
        "_first",
        "_most_held_bytes",
        "_preparing",
        "_reader",
        "_state",
        "_streamed",
        "_text",
        "_timer",
        "_token_ids",
        "_with_token_ids",
        "drained",
        "error",
        "finish_reasons",
        "held_bytes",
        "job",
        "place",
        "seq",
        "timings",
        "usage",
    )

    def __init__(self, job: Job, engine: Engine, reader: Reader, most_held_bytes: int, place: EnginePlace) -> None:
        self.job = job
        self.place = place
        self.seq = 0  # of the next chunk
        self.drained = False  # ended, and everything that could be taken has been
        self.error: ServiceError | Exception | None = None  # how it failed, once the end is decided
        self.finish_reasons: tuple[int, ...] = ()
        self.usage: Usage | None = None
        self.timings: Timings | None = None
        self._engine = engine
        self._reader = reader
        self._most_held_bytes = most_held_bytes
        self._with_token_ids = job.request.response.token_ids
        self._streamed = job.streamed
        self._state = State.PREPARING
        self._text = ""
        self._token_ids = _no_token_ids()
        # What is more than text and tokens of one sequence.
        sequences = job.request.num_sequences
        self._deltas = Deltas(sequences, self._with_token_ids) if sequences > 1 else None
        self._first: GenerateChunk | None = None
        self.held_bytes = 0
        self._finish: Finish | None = None
        self._announced = False
        self._preparing: asyncio.Timeout | None = None
        self._timer: asyncio.TimerHandle | None = None
        reader.opened(self)

    # What the call does.

    async def start(self, seconds: float | None) -> None:
        """Hand the job to the engine when there is a place; the generation ends `seconds` from now at the latest.

        What the engine refuses is the generation's outcome and not an exception here.
        """
        if seconds is not None:
            left = seconds - self._margin(seconds)
            if left <= 0:
                self._apply(Event.DEADLINE)
                return
            self._timer = asyncio.get_running_loop().call_later(left, self._apply, Event.DEADLINE)
        self._preparing = preparing = asyncio.timeout(None)
        try:
            async with preparing:
                job = await self._engine.prepare(self.job)
                if not self.ended and not self.place.take():
                    await self.place.turn()
                if not self.ended:
                    await self._engine.submit(job, self)
        except TimeoutError:
            if not preparing.expired():
                raise
        except ServiceError as error:
            self.failed(error, None)
        finally:
            self._preparing = None
            if self.ended:  # while the engine took the job on, which nobody can have told it then
                self._engine.abort(self.job.id)
                self.place.release()
        self._apply(Event.SUBMITTED)

    @property
    def readable(self) -> bool:
        """Whether `take` has something to give."""
        return not self.drained and (self.held_bytes > 0 or self.ended)

    @property
    def preparing(self) -> bool:
        """Whether the engine does not have the job yet."""
        return self._state is State.PREPARING

    @property
    def awaits_place(self) -> bool:
        """Whether it waits for a place in the engine, and nothing has been done for it yet."""
        return self.place.awaited

    @property
    def ended(self) -> bool:
        """Whether nothing more comes than what is readable now."""
        return self._state is State.ENDING or self._state is State.CLOSED

    def take(self, chunk: GenerateChunk) -> None:
        """Move what is held into an empty chunk. Call it only while `readable`."""
        assert not self.drained, "a chunk after the last one"  # noqa: S101
        if self.seq == 0:
            self._begin(chunk)
        else:
            chunk.seq = self.seq
        if self._deltas is not None:
            self._deltas.move(chunk)
        else:
            delta = chunk.deltas.add()
            delta.text = self._text
            if self._token_ids:
                delta.token_ids.extend(self._token_ids)
                self._token_ids = _no_token_ids()
            self._text = ""
        self.held_bytes, self._announced = 0, False
        self.seq += 1
        if self._state is State.ENDING:
            self._complete(chunk)

    def cancel(self) -> None:
        """End it for its caller, who asked for that."""
        self._apply(Event.CANCELLED)

    def drain(self) -> None:
        """End it: the service stops. The reader still gets what there is."""
        self._apply(Event.DRAINED)

    def too_slow(self) -> None:
        """End it: its reader does not read."""
        self._apply(Event.SLOW_READER)

    def close(self) -> None:
        """Release what it holds: the reader is done, or gone."""
        self._apply(Event.LEFT)
        self.drained = True

    def progress(self) -> int | None:
        """What changes when the reader reads; None while it is not the reader that is waited for."""
        waits = self.ended or self.held_bytes > 0
        return self.seq if waits and self._streamed else None

    # What the engine does (Receiver).

    def put(self, text: str, token_ids: Sequence[int]) -> None:
        """See Receiver."""
        if self._state is State.ENDING or self._state is State.CLOSED:
            return
        # What `_hold` does, without the call: this is the hottest line of the service.
        if text:
            self._text += text
            self.held_bytes += len(text) if text.isascii() else len(text.encode())
        if self._with_token_ids and token_ids:
            self._token_ids.extend(token_ids)
            self.held_bytes += _BYTES_PER_TOKEN_ID * len(token_ids)
        if not self.held_bytes or not self._streamed:
            return  # the reader of what is not streamed waits for the end
        if self.held_bytes > self._most_held_bytes:
            self._apply(Event.SLOW_READER)
        elif not self._announced:
            self._announced = True
            self._reader.news()

    def put_delta(self, delta: SequenceDelta) -> None:
        """See Receiver."""
        if self._state is State.ENDING or self._state is State.CLOSED:
            return
        self._hold_delta(delta)
        if self.held_bytes > self._most_held_bytes and self._streamed:
            self._apply(Event.SLOW_READER)
        elif self.held_bytes and self._streamed and not self._announced:
            self._announced = True
            self._reader.news()

    def begins(self, first: GenerateChunk) -> None:
        """See Receiver."""
        if self._first is None:
            self._first = GenerateChunk()
        self._first.MergeFrom(first)

    def finished(self, ending: Ending, finish: Finish | None) -> None:
        """See Receiver."""
        self._apply(Event.FINISHED, ending, finish)

    def failed(self, error: ServiceError | Exception, ending: Ending | None) -> None:
        """See Receiver."""
        self._apply(Event.FAILED, ending, error=error)

    # The one place where the state changes.

    def _apply(
        self,
        event: Event,
        ending: Ending | None = None,
        finish: Finish | None = None,
        error: ServiceError | Exception | None = None,
    ) -> None:
        transition = TABLE[self._state].get(event)
        if transition is None:
            return
        preparing, self._state = self._state is State.PREPARING, transition.state
        if transition.aborts:
            ending = self._abort(preparing)
        if ending is not None:
            self.usage, self.timings = ending.usage, ending.timings
            if self.place.waited_ms:
                self.timings.queue_time_ms += self.place.waited_ms
        if transition.decides:
            self._decide(event, ending, finish, error)
        if self.ended:
            self._let_go()
        if event is Event.FINISHED:
            # What a caller cut short counts until its handler ends: resets may come faster than handlers end.
            self.place.finished()

    def _let_go(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._preparing is None:  # else its submission is still to be given up
            self.place.release()

    def _abort(self, preparing: bool) -> Ending | None:
        if not preparing:
            return self._engine.abort(self.job.id)
        if self._preparing is not None:  # wakes `start`; a submission that is cancelled leaves nothing behind
            self._preparing.reschedule(asyncio.get_running_loop().time())
        return None

    def _decide(
        self, event: Event, ending: Ending | None, finish: Finish | None, error: ServiceError | Exception | None
    ) -> None:
        if ending is not None:
            self._hold(ending.text, ending.token_ids)
            for delta in ending.deltas:
                self._hold_delta(delta)
        if event is Event.DEADLINE and self._wants_partial:
            finish = Finish(reason=FINISH_REASON_DEADLINE)
        elif event in _ERRORS:
            error = _ERRORS[event]()
        self._finish, self.error = finish, error
        self.finish_reasons = self._reasons(finish)
        if event is Event.SLOW_READER:
            self._forget()
        if self.error is not None and self.seq == 0 and not self.held_bytes:
            self.drained = True  # a failure before any output is a status alone
        self._announced = True
        self._reader.news()
        if event is Event.SLOW_READER and self._preparing is None:
            self._reader.interrupt()

    @property
    def _wants_partial(self) -> bool:
        return self.job.request.on_deadline == ON_DEADLINE_RETURN_PARTIAL

    def _margin(self, seconds: float) -> float:
        return deadline_margin(seconds) if self._wants_partial else 0.0

    def _hold(self, text: str, token_ids: Sequence[int]) -> None:
        self._text += text
        self.held_bytes += len(text.encode())
        if self._with_token_ids:
            self._token_ids.extend(token_ids)
            self.held_bytes += _BYTES_PER_TOKEN_ID * len(token_ids)

    def _hold_delta(self, delta: SequenceDelta) -> None:
        if self._deltas is None:
            self._deltas = Deltas(1, self._with_token_ids)
        self.held_bytes += self._deltas.hold(delta)

    def _reasons(self, finish: Finish | None) -> tuple[int, ...]:
        if self._deltas is not None:
            return self._deltas.finish_reasons(finish)
        return (finish.reason,) if finish else ()

    def _begin(self, chunk: GenerateChunk) -> None:
        if self._first is not None:
            chunk.MergeFrom(self._first)
        chunk.id = self.job.id
        chunk.model = self._engine.model.name
        chunk.request_id = self.job.request.request_id
        if self.job.adapter_version is not None:
            chunk.adapter.CopyFrom(self.job.adapter_version)

    def _forget(self) -> None:
        self._deltas = None
        self._text, self._token_ids, self.held_bytes = "", _no_token_ids(), 0
        self.drained = True

    def _complete(self, chunk: GenerateChunk) -> None:
        self.drained = True
        if self._deltas is not None:
            self._deltas.finish(chunk, self._finish)
        elif self._finish is not None:
            chunk.deltas[0].finish.CopyFrom(self._finish)
        if self.error is not None and self.usage is None:
            return  # the engine could not tell
        chunk.usage.CopyFrom(self.usage or Usage())
        chunk.timings.CopyFrom(self.timings or Timings())
        if self._streamed:
            chunk.timings.chunk_count = self.seq


def deadline_margin(seconds: float) -> float:
    """How long before a deadline that is `seconds` away a partial answer is sent: a tenth, 20 to 500 ms.

    It covers the way back to the caller, whose clock ends the call for good.
    """
    return min(max(seconds / 10, 0.020), 0.500)
