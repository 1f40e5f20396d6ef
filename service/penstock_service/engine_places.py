"""The places in the engine, and the room before it where those wait who find them all taken.

The engine's own queue knows no tenants, and what is in it has been tokenized: so only a few more than it runs at once
are handed over, enough for it to find the next one when one ends.
"""

import asyncio
import math
import time
from collections.abc import Callable
from typing import NamedTuple

from penstock.v1.models_pb2 import Model
from penstock_service.fair_queue import FairQueue, Waiter

_LEAST_LOOK_AHEAD = 2


def places_in(model: Model) -> int:
    """How many sequences the engine is handed at most: those that it runs at once, and an eighth more to look ahead."""
    most = model.max_concurrent_sequences
    return most + max(_LEAST_LOOK_AHEAD, most // 8)


class PlaceNeed(NamedTuple):
    """What wants a place."""

    id: str
    sequences: int
    tokens: int  # of the prompt, about
    cost: float  # tokens of prompt and output, about
    priority: int = 0


class EnginePlaces:
    """How many sequences the engine has been handed, and who waits to hand over more.

    Of several front ends each has its part of the places, and takes more while nothing waits in the engine: connections
    spread unevenly among them, and no place is to stay empty.
    """

    def __init__(self, engine_waits: Callable[[], bool] = lambda: False) -> None:
        """`engine_waits` tells whether anything waits in the engine; asked only where there are several front ends."""
        self.taken = 0
        self.queue: FairQueue[EnginePlace] = FairQueue()
        self._engine_waits = engine_waits
        self._running = self._handed = self._handed_alone = 0  # at most, once there is an engine

    def fit_to(self, model: Model, frontends: int = 1) -> None:
        """Have the places of that model's engine, or this front end's part of them."""
        self._handed_alone = places_in(model)
        self._running = math.ceil(model.max_concurrent_sequences / frontends)
        self._handed = math.ceil(self._handed_alone / frontends)

    def free(self, sequences: int) -> bool:
        """Whether so many would not have to wait. What is larger than the room that is left waits for an idle place."""
        return not self.queue and self._fit(sequences)

    def give_turns(self) -> None:
        """Let those go on whose turn has come."""
        while self.queue and self._fit(self.queue.first().sequences):
            self.queue.pop().begin()

    def _fit(self, sequences: int) -> bool:
        after = self.taken + sequences
        if after <= self._handed or self.taken < self._running or not self.taken:
            return True
        return after <= self._handed_alone > self._handed and not self._engine_waits()


class EnginePlace(Waiter):
    """What one generation takes of the engine: nothing, then its sequences, then nothing again."""

    __slots__ = ("_begun", "_done", "_held", "_places", "_tokens", "_turn", "id", "tokens", "waited_ms")

    def __init__(
        self,
        places: EnginePlaces,
        need: PlaceNeed,
        tenant: str,
        begun: Callable[[int], None],
        done: Callable[[], None] | None = None,
    ) -> None:
        """`begun` is called with the prompt's tokens once they wait no longer, `done` when the engine has finished."""
        super().__init__(tenant, need.sequences, max(need.cost, 1.0), need.priority)
        self.id = need.id
        self.tokens = need.tokens
        self.waited_ms = 0.0
        self._places = places
        self._begun = begun
        self._done = done
        self._tokens = need.tokens  # that wait
        self._held = False
        self._turn: asyncio.Future[None] | None = None

    @property
    def awaited(self) -> bool:
        """Whether it is waited for."""
        return self._turn is not None

    def take(self) -> bool:
        """Take it if it is free."""
        places = self._places
        if not places.free(self.sequences):
            return False
        places.queue.served(self.tenant, self.cost)
        self._hold()
        return True

    async def turn(self) -> None:
        """Wait for it, and take it. Cancelled, it may be taken all the same: `release` it either way."""
        since = time.monotonic()
        self._turn = asyncio.get_running_loop().create_future()
        self._places.queue.add(self)
        try:
            await self._turn
        finally:
            self._turn = None
            self.waited_ms = 1000 * (time.monotonic() - since)
            if not self._held:
                self._wait_no_longer()
                self._places.queue.remove(self)
                self._places.give_turns()  # the one behind may be smaller

    async def __aenter__(self) -> None:
        if not self.take():
            try:
                await self.turn()
            except BaseException:
                self.release()
                raise

    async def __aexit__(self, *_: object) -> None:
        self.release()

    def begin(self) -> None:
        """Its turn has come."""
        self._hold()
        if self._turn is not None and not self._turn.done():
            self._turn.set_result(None)

    def finished(self) -> None:
        """The engine has completed what it was taken for, whether anybody reads that or not."""
        if self._done is not None:
            self._done()

    def release(self) -> None:
        """Give it back, if it is held."""
        self._wait_no_longer()
        if self._held:
            self._held = False
            self._places.taken -= self.sequences
            self._places.give_turns()

    def _hold(self) -> None:
        self._held = True
        self._places.taken += self.sequences
        self._wait_no_longer()

    def _wait_no_longer(self) -> None:
        if self._tokens:
            self._begun(self._tokens)
            self._tokens = 0
