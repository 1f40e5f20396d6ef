"""The caller that an attack must not hurt: small streams at a steady rate, from a process of its own.

python -m tests.faults.victim ADDRESS [--rate 10] [--key KEY]      a JSON line for each stream, until it is terminated
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass

import grpc

from penstock.v1 import generation_pb2 as pb
from penstock.v1.generation_pb2_grpc import GenerationStub
from tests.faults.open_loop import open_loop
from tests.faults.percentile import percentile

REQUEST = pb.GenerateRequest(prompt="Once upon a time", stopping={"max_tokens": 16, "ignore_eos": True})
DEADLINE_SECONDS = 10.0


@dataclass(frozen=True)
class Served:
    """How one stream of the victim went; moments are of time.monotonic(), which all processes of a machine share."""

    number: int  # from 0, without a gap
    due: float  # when it was to begin; that it began later counts against the server all the same
    first_seconds: float | None
    whole_seconds: float | None
    longest_gap_seconds: float
    code: str


@dataclass(frozen=True)
class Window:
    """What the victim got in a stretch of time."""

    streams: Sequence[Served]

    def goodput(self, within: float) -> float:
        """The share of streams that were whole within so many seconds."""
        good = sum(each.whole_seconds is not None and each.whole_seconds <= within for each in self.streams)
        return good / len(self.streams) if self.streams else 0.0

    @property
    def slowest(self) -> float:
        """The whole time of the slowest of a hundred; what failed took the deadline."""
        return percentile((each.whole_seconds or DEADLINE_SECONDS for each in self.streams), 0.99)

    @property
    def longest_gap(self) -> float:
        """The longest pause within any stream."""
        return max((each.longest_gap_seconds for each in self.streams), default=0.0)


class Victim:
    """The running process and what it has said."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._served: list[Served] = []
        self._reading = asyncio.create_task(self._read(), name="victim")

    async def window(self, begin: float, end: float) -> Window:
        """The streams that were due between two moments, once all of them have ended."""
        async with asyncio.timeout(end - time.monotonic() + 2 * DEADLINE_SECONDS):
            while not self._complete(end):  # noqa: ASYNC110 - each line is looked at with those before it
                await asyncio.sleep(0.05)
        return Window([each for each in self._served if begin <= each.due < end])

    def _complete(self, end: float) -> bool:
        after = min((each.number for each in self._served if each.due >= end), default=None)
        return after is not None and sum(each.number < after for each in self._served) == after

    async def close(self) -> None:
        with suppress(ProcessLookupError):
            self._process.terminate()
        await self._process.wait()
        await self._reading

    async def _read(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            self._served.append(Served(**json.loads(line)))


@asynccontextmanager
async def victim(address: str, rate: float = 10, key: str = "") -> AsyncIterator[Victim]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.faults.victim", address, "--rate", str(rate), "--key", key),
        stdout=asyncio.subprocess.PIPE,
    )
    running = Victim(process)
    try:
        yield running
    finally:
        await running.close()


async def _one(stub: GenerationStub, number: int, due: float, metadata: Sequence[tuple[str, str]]) -> Served:
    first, last, longest, code = None, None, 0.0, grpc.StatusCode.OK
    call = stub.StreamGenerate(REQUEST, timeout=DEADLINE_SECONDS, metadata=metadata)
    try:
        async for _ in call:
            now = time.monotonic()
            first = first or now
            longest = max(longest, now - (last or now))
            last = now
    except grpc.aio.AioRpcError as error:
        code = error.code()
    whole = time.monotonic() - due if code is grpc.StatusCode.OK else None
    return Served(number, due, first and first - due, whole, longest, code.name)


async def _serve_for_ever(address: str, rate: float, key: str) -> None:
    metadata = [("authorization", f"Bearer {key}")] if key else []
    async with grpc.aio.insecure_channel(address) as channel:
        stub, numbers = GenerationStub(channel), itertools.count()

        async def tell(due: float) -> None:
            print(json.dumps(asdict(await _one(stub, next(numbers), due, metadata))), flush=True)

        await open_loop((number / rate for number in itertools.count()), tell)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address")
    parser.add_argument("--rate", type=float, default=10)
    parser.add_argument("--key", default="")
    given = parser.parse_args()
    asyncio.run(_serve_for_ever(given.address, given.rate, given.key))
