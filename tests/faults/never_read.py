"""What streams cost that nobody reads, and what those beside notice of them.

python -m tests.faults.never_read --streams 200

The server is a process of its own, and so are those who do not read. Three runs tell where the memory is: with streams
that end soon after nobody reads, what gRPC holds for each; with endless ones, the most that the server ever holds.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc

from penstock.v1 import generation_pb2 as pb
from penstock.v1.generation_pb2_grpc import GenerationStub
from tests.faults.percentile import percentile
from tests.faults.promises import record
from tests.faults.server_under_load import ServerUnderLoad, cores, pinned_to, server_under_load

BESIDE = 50
LIMIT_BYTES = 256 << 10
ENDLESS = 1 << 20
# Some more than fills the windows of a connection: the rest of it waits in gRPC and in the server.
BRIEF = 4000
STEP_MS = 10
SAMPLE_SECONDS = 0.1
BEGIN_SECONDS, ALONE_SECONDS = 2.0, 10.0
BRIEF_SECONDS = 60.0  # in which brief streams have come as far as their connection takes them


@dataclass(frozen=True)
class Unread:
    """`held` is the server's growth by stream. Times are those between the tokens of the streams beside, p99."""

    streams: int
    tokens: int
    held: float
    growth: int
    alone: float
    beside: float
    ended_slow: int

    def __str__(self) -> str:
        return (
            f"{self.streams} streams of up to {self.tokens} tokens, never read: {self.held / 1024:.0f} KiB each "
            f"({self.growth / 2**20:.1f} MiB), {self.ended_slow} ended as slow readers; inter-token p99 of the "
            f"others {1000 * self.beside:.1f} ms, alone {1000 * self.alone:.1f} ms"
        )


async def never_read(
    streams: int, tokens: int, seconds: float, *arguments: str, beside: int = BESIDE, step_ms: float = STEP_MS
) -> Unread:
    """So many unread streams of so many tokens beside normal ones: the most memory until they end, or for `seconds`."""
    server_core, load_core = cores()
    with pinned_to(load_core):
        timing = ("--simulated.step-time-ms", str(step_ms), "--simulated.context-length", str(1 << 21))
        room = ("--simulated.kv-cache-tokens", str(1 << 40), "--simulated.max-concurrent-sequences", "1024")
        async with (
            server_under_load(*timing, *room, *arguments, core=server_core) as server,
            _beside(server, beside) as gaps,
        ):
            return await _measured(server, gaps, streams, tokens, seconds)


async def _measured(server: ServerUnderLoad, gaps: list[float], streams: int, tokens: int, seconds: float) -> Unread:
    await asyncio.sleep(min(BEGIN_SECONDS, seconds))
    gaps.clear()
    await asyncio.sleep(min(ALONE_SECONDS, seconds))
    alone, before = percentile(gaps, 0.99), server.sample().pss
    async with _not_reading(server.address, streams, tokens):
        gaps.clear()
        most = await _most_memory(server, streams, seconds)
        pauses = percentile(gaps, 0.99)
    slow = sum(line.get("reason") == "SLOW_READER" for line in server.calls())
    growth = most - before
    return Unread(streams, tokens, growth / streams, growth, alone, pauses, slow)


async def _most_memory(server: ServerUnderLoad, streams: int, seconds: float) -> int:
    most, end = 0, time.monotonic() + seconds
    while time.monotonic() < end and len(server.calls()) < streams:
        most = max(most, (await asyncio.to_thread(server.sample)).pss)
        await asyncio.sleep(SAMPLE_SECONDS)
    return most


@asynccontextmanager
async def _beside(server: ServerUnderLoad, streams: int) -> AsyncIterator[list[float]]:
    """Streams that are read; the pauses between their tokens, as they come."""
    gaps: list[float] = []

    async def read(stub: Any) -> None:
        last = None
        async for _ in stub.StreamGenerate(_request(ENDLESS)):
            now = time.monotonic()
            if last is not None:
                gaps.append(now - last)
            last = now

    async with grpc.aio.insecure_channel(server.address) as channel:
        stub = GenerationStub(channel)
        reading = [asyncio.create_task(read(stub)) for _ in range(streams)]
        try:
            yield gaps
        finally:
            for task in reading:
                task.cancel()
            await asyncio.wait(reading)


@asynccontextmanager
async def _not_reading(address: str, streams: int, tokens: int) -> AsyncIterator[None]:
    """A process whose streams are open and unread."""
    command = (sys.executable, "-m", "tests.faults.never_read", "--not-reading", address)
    numbers = ("--streams", str(streams), "--tokens", str(tokens))
    process = await asyncio.create_subprocess_exec(*command, *numbers, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    await process.stdout.readline()
    try:
        yield
    finally:
        process.send_signal(signal.SIGKILL)
        await process.wait()


async def _open_and_sleep(address: str, streams: int, tokens: int) -> None:
    # Windows of 64 KiB: left alone gRPC lets them grow to megabytes on loopback, and what nobody reads is the caller's.
    async with grpc.aio.insecure_channel(address, [("grpc.http2.bdp_probe", 0)]) as channel:
        stub: Any = GenerationStub(channel)
        calls = [stub.StreamGenerate(_request(tokens)) for _ in range(streams)]
        for call in calls:
            await call.read()
        print("open", flush=True)
        await asyncio.sleep(3600)


def _request(tokens: int) -> pb.GenerateRequest:
    stopping = {"max_tokens": tokens, "ignore_eos": True}
    return pb.GenerateRequest(prompt="Hello", stopping=stopping, response={"token_ids": True})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("--tokens", type=int, default=ENDLESS)
    parser.add_argument("--seconds", type=float, default=900, help="at most, until all have ended as slow readers")
    parser.add_argument("--not-reading", metavar="ADDRESS", help=argparse.SUPPRESS)
    parser.add_argument("--record", action="store_true", help="write the result into docs/reliability.md")
    given = parser.parse_args()
    if given.not_reading:
        asyncio.run(_open_and_sleep(given.not_reading, given.streams, given.tokens))
        return
    patient = ("--max-stall-seconds", "3600", "--default-deadline-seconds", "3600")
    in_grpc = asyncio.run(never_read(given.streams, BRIEF, min(BRIEF_SECONDS, given.seconds), *patient))
    print(f"gRPC's part: {in_grpc}")
    most = asyncio.run(never_read(given.streams, given.tokens, given.seconds, *patient))
    print(f"the most:    {most}")
    if given.record:
        passed = most.held <= LIMIT_BYTES and most.ended_slow == most.streams
        result = (
            f"{most.held / 1024:.0f} KiB, of which {in_grpc.held / 1024:.0f} KiB are gRPC's; {most.ended_slow} ended "
            "as slow readers"
        )
        record("unread_held", n=most.streams, result=result, passed=passed)


if __name__ == "__main__":
    main()
