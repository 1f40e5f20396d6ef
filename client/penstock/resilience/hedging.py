"""A stream whose first chunk is late gets a rival at another replica. The first chunk of the two decides."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import NamedTuple

from penstock.chunk_calls import AsyncChunkCall, ChunkCall
from penstock.errors import APIError
from penstock.v1.generation_pb2 import GenerateChunk

Settle = Callable[[bool], None]  # told once whether the copy is the one that is read on; the other has been cancelled


class _Outcome(NamedTuple):
    call: ChunkCall
    chunk: GenerateChunk | None
    error: BaseException | None


class HedgedCall:
    """For threads. `send_copy` begins the rival after so many seconds; None if there is nowhere to send it."""

    def __init__(
        self, first: ChunkCall, after: float, send_copy: Callable[[], ChunkCall | None], settle: Settle
    ) -> None:
        self._first = first
        self._after = after
        self._send_copy = send_copy
        self._settle = settle
        self._calls = [first]
        self._cancelled = False
        self._winner: ChunkCall | None = None
        self._outcomes: SimpleQueue[_Outcome] = SimpleQueue()

    def read(self) -> GenerateChunk | None:
        return self._winner.read() if self._winner is not None else self._first_of_two()

    def cancel(self) -> None:
        self._cancelled = True
        for call in self._calls:
            call.cancel()

    def _take(self, copy: ChunkCall) -> None:
        self._calls.append(copy)
        if self._cancelled:  # while the copy was being sent
            copy.cancel()

    def _first_of_two(self) -> GenerateChunk | None:
        self._listen_to(self._first)
        try:
            return self._won(self._outcomes.get(timeout=self._after))
        except Empty:
            copy = self._send_copy()
        if copy is None:
            return self._won(self._outcomes.get())
        self._take(copy)
        self._listen_to(copy)
        outcome = self._outcomes.get()
        if outcome.error is not None:
            outcome = self._outcomes.get()
        for call in self._calls:
            if call is not outcome.call:
                call.cancel()
        self._settle(outcome.call is copy)
        return self._won(outcome)

    def _won(self, outcome: _Outcome) -> GenerateChunk | None:
        self._winner = outcome.call
        if outcome.error is not None:
            raise outcome.error
        return outcome.chunk

    def _listen_to(self, call: ChunkCall) -> None:
        def read() -> None:
            try:
                self._outcomes.put(_Outcome(call, call.read(), None))
            except APIError as error:
                self._outcomes.put(_Outcome(call, None, error))

        threading.Thread(target=read, name="penstock-hedge", daemon=True).start()


class AsyncHedgedCall:
    """For asyncio."""

    def __init__(
        self, first: AsyncChunkCall, after: float, send_copy: Callable[[], AsyncChunkCall | None], settle: Settle
    ) -> None:
        self._first = first
        self._after = after
        self._send_copy = send_copy
        self._settle = settle
        self._calls = [first]
        self._cancelled = False
        self._winner: AsyncChunkCall | None = None

    async def read(self) -> GenerateChunk | None:
        return await (self._winner.read() if self._winner is not None else self._first_of_two())

    def cancel(self) -> None:
        self._cancelled = True
        for call in self._calls:
            call.cancel()

    def _take(self, copy: AsyncChunkCall) -> None:
        self._calls.append(copy)
        if self._cancelled:  # while the copy was being sent
            copy.cancel()

    async def _first_of_two(self) -> GenerateChunk | None:
        reading = [asyncio.create_task(self._first.read())]
        try:
            await asyncio.wait(reading, timeout=self._after)
            copy = None if reading[0].done() else self._send_copy()
            if copy is None:
                self._winner = self._first
                return await reading[0]
            self._take(copy)
            reading.append(asyncio.create_task(copy.read()))
            return await self._decided(reading, copy)
        finally:
            for read in reading:
                read.cancel()

    async def _decided(
        self, reading: Sequence[asyncio.Task[GenerateChunk | None]], copy: AsyncChunkCall
    ) -> GenerateChunk | None:
        done, pending = await asyncio.wait(reading, return_when=asyncio.FIRST_COMPLETED)
        if pending and all(read.exception() is not None for read in done):
            done, pending = await asyncio.wait(reading)
        winner = min(done, key=lambda read: (read.exception() is not None, reading.index(read)))
        self._winner = self._calls[reading.index(winner)]
        for call in self._calls:
            if call is not self._winner:
                call.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        self._settle(self._winner is copy)
        return winner.result()
