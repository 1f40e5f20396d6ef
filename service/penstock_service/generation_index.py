"""Which generations there are, and where each of them is. Nothing here costs anything by token: it is asked, not told.

The engine tells how many of its jobs it has not begun, and not which: it takes them on by their priority, then in the
order of their admission, so that those are the last ones of the jobs without a token. Behind them are those that wait
for a place in the engine (`engine_places`).
"""

import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from penstock.v1.generation_pb2 import (
    GENERATION_PHASE_DECODING,
    GENERATION_PHASE_ENDED,
    GENERATION_PHASE_PREFILL,
    GENERATION_PHASE_PREPARING,
    GENERATION_PHASE_QUEUED,
    GenerationStatus,
)
from penstock_service.call import Call
from penstock_service.engine.base import Engine
from penstock_service.engine_places import EnginePlaces
from penstock_service.generation import Generation
from penstock_service.waiting import WaitEstimator

# Of the newest, so that "ended" can be told from "never heard of" and ending one twice is no error.
_MOST_ENDED = 1024
# A look at all generations takes up to a millisecond, and a thousand waiting callers may ask for their places at once.
_LOOK_SECONDS = 0.1


class _Open(NamedTuple):
    generation: Generation
    call: Call
    engine: Engine

    @property
    def tokens(self) -> int:
        usage = self.generation.usage
        return usage.completion_tokens if usage is not None else self.engine.completion_tokens(self.call.id)

    @property
    def tokens_of_prompt(self) -> int:
        """About how many."""
        return self.generation.place.tokens


class _Turn(NamedTuple):
    position: int  # of the call
    before: int  # sequences that run or come earlier


class _Ended(NamedTuple):
    tenant: str
    request_id: str
    batch: str
    tokens: int
    elapsed_ms: float


class GenerationIndex:
    """The generations of this server by their ids: those that run, and the last ones that ended."""

    def __init__(self, waiting: WaitEstimator, places: EnginePlaces) -> None:
        self._waiting = waiting
        self._places = places
        self._open: dict[str, _Open] = {}
        self._ended: dict[str, _Ended] = {}
        self._turns: Mapping[str, _Turn] = {}
        self._looked_at: Mapping[str, object] = {}
        self._looked = 0.0

    @contextmanager
    def holding(self, generation: Generation, call: Call, engine: Engine) -> Iterator[None]:
        """Know the generation of `call` for as long as the block runs, and its end after that."""
        opened = self._open[call.id] = _Open(generation, call, engine)
        try:
            yield
        finally:
            del self._open[call.id]
            tokens = generation.usage.completion_tokens if generation.usage is not None else 0
            self._ended[call.id] = _Ended(call.tenant.name, call.request_id, call.batch, tokens, _elapsed_ms(opened))
            if len(self._ended) > _MOST_ENDED:
                del self._ended[next(iter(self._ended))]

    def find(self, generation_id: str) -> Generation | None:
        """The generation if it runs."""
        opened = self._open.get(generation_id)
        return None if opened is None else opened.generation

    def belongs_to(self, tenant: str, generation_id: str) -> bool:
        """Whether it is here, or was, and is the tenant's."""
        if (opened := self._open.get(generation_id)) is not None:
            return opened.call.tenant.name == tenant
        ended = self._ended.get(generation_id)
        return ended is not None and ended.tenant == tenant

    def latest_named(self, tenant: str, request_id: str) -> str | None:
        """The id of the tenant's newest generation with the caller's `request_id`."""
        asked = (tenant, request_id)
        running = (i for i, one in reversed(self._open.items()) if (one.call.tenant.name, one.call.request_id) == asked)
        ended = (i for i, one in reversed(self._ended.items()) if (one.tenant, one.request_id) == asked)
        return next(itertools.chain(running, ended), None)

    def status(self, generation_id: str) -> GenerationStatus | None:
        """Where the generation is; None for one that is not known here, or no more."""
        if (opened := self._open.get(generation_id)) is not None:
            return self._status_of(opened)
        if (ended := self._ended.get(generation_id)) is not None:
            return _ended_status(generation_id, ended.tokens, ended.elapsed_ms)
        return None

    def batch_status(self, batch_id: str) -> GenerationStatus | None:
        """As `status` for all inputs of a batch: the phase of the furthest that runs, and the tokens of all."""
        running = [self._status_of(each) for each in self._open.values() if each.call.batch == batch_id]
        ended = [each for each in self._ended.values() if each.batch == batch_id]
        if not running and not ended:
            return None
        tokens = sum(each.completion_tokens for each in running) + sum(each.tokens for each in ended)
        if not running:
            return _ended_status(batch_id, tokens, max(each.elapsed_ms for each in ended))
        status = max(running, key=lambda each: each.phase)
        status.id, status.completion_tokens = batch_id, tokens
        return status

    def _status_of(self, opened: _Open) -> GenerationStatus:
        elapsed_ms, tokens = _elapsed_ms(opened), opened.tokens
        if opened.generation.ended:
            return _ended_status(opened.call.id, tokens, elapsed_ms)
        status = GenerationStatus(id=opened.call.id, completion_tokens=tokens, elapsed_ms=elapsed_ms)
        if tokens:
            status.phase = GENERATION_PHASE_DECODING
            return status
        places, running = opened.engine.model.max_concurrent_sequences, 0
        if opened.generation.preparing and not opened.generation.awaits_place:
            status.phase, running = GENERATION_PHASE_PREPARING, opened.engine.running
        elif (turn := self._turn(opened)) is not None:
            status.phase, running = GENERATION_PHASE_QUEUED, turn.before
            status.queue_position = turn.position
        else:
            status.phase = GENERATION_PHASE_PREFILL
        if (wait := self._waiting.first_token_ms(running, places, opened.tokens_of_prompt)) is not None:
            status.wait_ms = wait
        return status

    def _turn(self, opened: _Open) -> _Turn | None:
        """When the engine takes it on: its own queue comes first. None once it is taken on."""
        now = time.monotonic()
        if now - self._looked >= _LOOK_SECONDS or opened.call.id not in self._looked_at:
            without_token = {
                generation_id: each.generation.job.request.priority
                for generation_id, each in self._open.items()
                if not (each.generation.preparing or each.generation.ended or each.tokens)
            }
            positions = queue_positions(list(without_token.items()), opened.engine.waiting)
            places = opened.engine.model.max_concurrent_sequences
            turns = {generation_id: _Turn(position, places + position) for generation_id, position in positions.items()}
            before = max(self._places.taken, places)
            for position, place in enumerate(self._places.queue.order(), start=len(positions)):
                turns[place.id] = _Turn(position, before)
                before += place.sequences
            self._turns, self._looked_at, self._looked = turns, without_token | dict.fromkeys(turns, 0), now
        return self._turns.get(opened.call.id)


def queue_positions(without_token: Sequence[tuple[str, int]], waiting: int) -> dict[str, int]:
    """The places of those that wait, from 0, by id.

    `without_token` has the jobs without a token in the order of their admission, each with its priority (lower first);
    `waiting` of them, as far as the engine tells, have not been taken on.
    """
    order = sorted(without_token, key=lambda job: job[1])
    taken_on = max(len(order) - waiting, 0)
    return {generation_id: place for place, (generation_id, _) in enumerate(order[taken_on:])}


def _ended_status(generation_id: str, tokens: int, elapsed_ms: float) -> GenerationStatus:
    return GenerationStatus(
        id=generation_id, phase=GENERATION_PHASE_ENDED, completion_tokens=tokens, elapsed_ms=elapsed_ms
    )


def _elapsed_ms(opened: _Open) -> float:
    return 1000 * (time.monotonic() - opened.call.received)
