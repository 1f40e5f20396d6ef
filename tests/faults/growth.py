"""What each operation leaves in the server's process, by repeating it.

python -m tests.faults.growth [--times 2000] [--only expire] [--bare]

Each operation is repeated in rounds; the first one warms up. The memory of the process after each of the others gives a
slope by operation, with its 95 % interval. Descriptors and threads are compared once all is closed. A bare grpc.aio
server, of which some can be asked as well, tells what gRPC itself leaves.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import uvloop
from grpc_health.v1 import health_pb2, health_pb2_grpc

from penstock.v1 import generation_pb2 as pb
from penstock.v1.generation_pb2_grpc import GenerationStub
from tests.faults.process_sample import ProcessSample
from tests.faults.server_under_load import ServerUnderLoad, server_under_load
from tests.faults.small_window import SMALL_WINDOW
from tests.faults.trend import Trend, trend
from tests.rpc.server_process import SIMULATED

ROUNDS = 8
AT_ONCE = 8
MOST_BYTES = 200.0
# One call at a time is let in, so that every other one is refused while one runs.
PACE = ("--simulated.step-time-ms", "1")
ONE_AT_A_TIME = (*PACE, "--max-admitted-sequences", "1")
# Those that do not read are given up before they begin to.
SOON_TOO_SLOW = (*PACE, "--max-stall-seconds", "0.5", "--simulated.context-length", str(1 << 20))
UNREAD_SECONDS = 3.0
OWN_CONNECTION = [("grpc.use_local_subchannel_pool", 1)]

Operation = Callable[["Caller"], Awaitable[None]]


class Caller:
    """Does each operation once, on one connection but for `connect`."""

    def __init__(self, address: str, channel: grpc.aio.Channel) -> None:
        self.address = address
        self.stub: Any = GenerationStub(channel)

    async def connect(self) -> None:
        async with grpc.aio.insecure_channel(self.address, options=OWN_CONNECTION) as channel:
            await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())

    async def call(self) -> None:
        await self.stub.Generate(_request(2))

    async def stream(self) -> None:
        async for _ in self.stub.StreamGenerate(_request(8)):
            pass

    async def session(self) -> None:
        session = self.stub.Session()
        await session.write(pb.SessionRequest(start={"call": 1, "request": _request(8)}))
        async for response in session:
            if response.ends:
                await session.done_writing()

    async def unread(self) -> None:
        async with grpc.aio.insecure_channel(self.address, options=[*SMALL_WINDOW, *OWN_CONNECTION]) as channel:
            stream = GenerationStub(channel).StreamGenerate(_request(1 << 19))
            await stream.read()
            await asyncio.sleep(UNREAD_SECONDS)
            await _failing(_read(stream), grpc.StatusCode.RESOURCE_EXHAUSTED)

    async def cancel(self) -> None:
        stream = self.stub.StreamGenerate(_request(4000))
        await stream.read()
        stream.cancel()

    async def expire(self) -> None:
        await _failing(self.stub.Generate(_request(4000), timeout=0.02), grpc.StatusCode.DEADLINE_EXCEEDED)

    async def refuse(self) -> None:
        await _failing(self.stub.Generate(_request(2)), grpc.StatusCode.RESOURCE_EXHAUSTED)

    async def mistake(self) -> None:
        await _failing(self.stub.Generate(_request(-1)), grpc.StatusCode.INVALID_ARGUMENT)


OPERATIONS = ("connect", "call", "stream", "session", "cancel", "expire", "mistake", "refuse", "unread")
ARGUMENTS = {"refuse": ONE_AT_A_TIME, "unread": SOON_TOO_SLOW}
BARE = ("-m", "tests.faults.bare_server")
OPERATIONS_OF_BARE = ("cancel", "expire")


@dataclass(frozen=True)
class Growth:
    """Bytes by operation, and what was there before and after."""

    operation: str
    times: int
    bytes_each: Trend
    before: ProcessSample
    after: ProcessSample

    @property
    def grew(self) -> bool:
        """Whether it surely grew by more than it may, or left something open."""
        return self.bytes_each.low > MOST_BYTES or self.after.fds > self.before.fds

    def __str__(self) -> str:
        slope, fds, threads = (
            self.bytes_each,
            *(getattr(self.after, name) - getattr(self.before, name) for name in ("fds", "threads")),
        )
        return (
            f"{self.operation:8} {self.times:>6} times: {slope.slope:+8.0f} ± {slope.margin:.0f} bytes each, "
            f"descriptors {fds:+d}, threads {threads:+d}"
        )


async def growth(operation: str, times: int, bare: bool = False) -> Growth:
    """On a server of its own."""
    program = BARE if bare else ("-m", "penstock_service", *SIMULATED, *ARGUMENTS.get(operation, PACE))
    async with server_under_load(program=program) as server:
        async with grpc.aio.insecure_channel(server.address) as channel, _beside(channel, operation):
            caller = Caller(server.address, channel)
            samples = [await _after(getattr(caller, operation), times // ROUNDS, server) for _ in range(ROUNDS + 1)]
    done = [number * (times // ROUNDS) for number in range(len(samples))]
    slope = trend(done, [sample.rss for sample in samples])
    return Growth(operation, times, slope, samples[0], samples[-1])


async def _after(operation: Callable[[], Awaitable[None]], times: int, server: ServerUnderLoad) -> ProcessSample:
    await _repeat(operation, times)
    await asyncio.sleep(0.2)  # until the server has closed what the last ones left
    return server.sample()


async def _repeat(operation: Callable[[], Awaitable[None]], times: int) -> None:
    async def some(count: int) -> None:
        for _ in range(count):
            await operation()

    await asyncio.gather(*(some(times // AT_ONCE) for _ in range(AT_ONCE)))


@asynccontextmanager
async def _beside(channel: grpc.aio.Channel, operation: str) -> Any:
    """For refusals, the call that is let in."""
    if operation != "refuse":
        yield
        return
    stream = GenerationStub(channel).StreamGenerate(_request(4000))
    await stream.read()
    reading = asyncio.ensure_future(_read(stream))
    yield
    reading.cancel()


async def _read(stream: Any) -> None:
    while await stream.read() is not grpc.aio.EOF:
        pass


async def _failing(call: Awaitable[Any], expected: grpc.StatusCode) -> None:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        if error.code() is expected:
            return
        raise
    raise AssertionError(f"the call did not end with {expected.name}")


def _request(tokens: int) -> pb.GenerateRequest:
    return pb.GenerateRequest(prompt="Hello", stopping={"max_tokens": tokens, "ignore_eos": True})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=2000)
    parser.add_argument("--only", choices=OPERATIONS)
    parser.add_argument("--bare", action="store_true", help="beside a bare grpc.aio server, as far as it can be asked")
    given = parser.parse_args()
    for operation in [given.only] if given.only else OPERATIONS:
        print(uvloop.run(growth(operation, given.times)), flush=True)
        if given.bare and operation in OPERATIONS_OF_BARE:
            print("    bare:", uvloop.run(growth(operation, given.times, bare=True)), flush=True)


if __name__ == "__main__":
    main()
