"""Streams that run when their server is told to stop: each must come to its own end.

python -m tests.faults.drained_streams --streams 3000        every other run signals the whole process group

Each run starts a server whose engine is a process of its own, opens its streams, sends SIGTERM when all of them have
begun, and asks for more on the same connection until the server is gone.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from random import Random
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from penstock.v1 import generation_pb2 as pb
from penstock.v1.generation_pb2_grpc import GenerationStub
from tests.faults.percentile import percentile
from tests.faults.promises import record
from tests.faults.server_under_load import ServerUnderLoad, server_under_load
from tests.faults.streamed_call import StreamedCall, streamed_call
from tests.rpc.server_process import SIMULATED

AT_ONCE = 64
STEP_MS = 10
TOKENS = (150, 300)  # 1.5 to 3 s: all still run when the signal comes, also on a busy machine
REFUSAL = "DRAINING"
PROGRAM = ("-m", "tests.faults.serve_over_child", *SIMULATED)


@dataclass
class Drained:
    """What one or more drains came to. Times are in seconds, from the signal on where nothing else is said."""

    streams: int = 0
    lost: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)  # whatever else was not as promised
    met_the_end: list[StreamedCall] = field(default_factory=list)  # further calls that the closing port cut off
    unready: list[float] = field(default_factory=list)
    refusals: list[float] = field(default_factory=list)  # how long each took its caller
    exits: list[float] = field(default_factory=list)

    def add(self, other: Drained) -> None:
        self.streams += other.streams
        for mine, more in zip(self._lists(), other._lists(), strict=True):
            mine.extend(more)

    def _lists(self) -> tuple[list[Any], ...]:
        return self.lost, self.wrong, self.met_the_end, self.unready, self.refusals, self.exits

    def __str__(self) -> str:
        unready, refusals = max(self.unready, default=0.0), percentile(self.refusals, 0.99)
        return (
            f"{self.streams} streams in {len(self.exits)} drains, {len(self.lost)} lost {self.lost[:5]}; not ready "
            f"after {1000 * unready:.0f} ms at most; {len(self.refusals)} further calls refused, p99 "
            f"{1000 * refusals:.1f} ms, {len(self.met_the_end)} met the closing port; gone after "
            f"{max(self.exits, default=0):.1f} s at most; {len(self.wrong)} surprises {self.wrong[:5]}"
        )


async def drain(rng: Random, stop: Callable[[int], None], *arguments: str) -> Drained:
    """One run; `stop` is told the server's process id."""
    timing = ("--simulated.step-time-ms", str(STEP_MS))
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(server_under_load(*timing, *arguments, program=PROGRAM))
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(server.address))
        unready = await stack.enter_async_context(_unready(server.health_address))
        stub: Any = GenerationStub(channel)
        lengths = [rng.randint(*TOKENS) for _ in range(AT_ONCE)]
        begun = [asyncio.Event() for _ in lengths]
        streams = [
            asyncio.create_task(streamed_call(stub, _request(length), time.monotonic(), begun=event.set))
            for length, event in zip(lengths, begun, strict=True)
        ]
        await asyncio.gather(*(event.wait() for event in begun))
        signalled = time.monotonic()
        stop(server.pid)
        refused = await _ask_on(stub, server)
        calls = await asyncio.gather(*streams)
        code = await server.process.wait()
        drained = _judged(lengths, calls, refused, code, signalled, await unready)
        if (running := server.lines("draining")[0]["running"]) < AT_ONCE:
            drained.wrong.append(f"only {running} streams ran when the drain began")
        return drained


def _judged(
    lengths: list[int],
    calls: list[StreamedCall],
    asked: list[StreamedCall],
    code: int,
    signalled: float,
    unready: float,
) -> Drained:
    drained = Drained(len(calls), exits=[time.monotonic() - signalled], unready=[unready - signalled])
    for length, call in zip(lengths, calls, strict=True):
        if not call.succeeded or call.tokens != length:
            drained.lost.append(f"{call.code.name} {call.reason} after {call.tokens} of {length}")
    drained.refusals = [call.ended - call.due for call in asked if call.reason]
    drained.met_the_end = [call for call in asked if _cut_off(call)]
    drained.wrong = [
        f"asked on: {call.code.name} {call.reason}" for call in asked if not (_refused(call) or _cut_off(call))
    ]
    drained.wrong += ["more than one of them met the closing port"] * (len(drained.met_the_end) > 1)
    drained.wrong += [f"exit status {code}"] * (code != 0)
    drained.wrong += ["nothing was refused while it drained"] * (not drained.refusals)
    return drained


def _refused(call: StreamedCall) -> bool:
    """As it must be from the first refusal on. When the server is gone, gRPC itself refuses, without a reason."""
    return call.code is grpc.StatusCode.UNAVAILABLE and call.reason in ("", REFUSAL)


def _cut_off(call: StreamedCall) -> bool:
    """On its way while the port closed: gRPC cancels what it has not given to a handler (docs/operating.md)."""
    return call.code is grpc.StatusCode.CANCELLED and not call.reason


async def _ask_on(stub: Any, server: ServerUnderLoad) -> list[StreamedCall]:
    """What further calls come to, from the first that is refused until the server is gone."""
    asked: list[StreamedCall] = []
    while server.process.returncode is None:
        call = await streamed_call(stub, _request(1), time.monotonic(), timeout=10)
        if asked or not call.succeeded:
            asked.append(call)
        await asyncio.sleep(0.02)
    return asked


@asynccontextmanager
async def _unready(address: str) -> AsyncIterator[asyncio.Task[float]]:
    """The moment when the server's health port says that it is not serving."""

    async def watch() -> float:
        async with grpc.aio.insecure_channel(address) as channel:
            async for response in health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest()):
                if response.status == health_pb2.HealthCheckResponse.NOT_SERVING:
                    return time.monotonic()
        raise RuntimeError("the server never became unready")

    watching = asyncio.create_task(watch())
    try:
        yield watching
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError, grpc.RpcError):
            await watching


def _request(tokens: int) -> pb.GenerateRequest:
    return pb.GenerateRequest(prompt="Hello", stopping={"max_tokens": tokens, "ignore_eos": True})


def terminate(pid: int) -> None:
    os.kill(pid, signal.SIGTERM)


def terminate_group(pid: int) -> None:
    os.killpg(pid, signal.SIGTERM)


async def drains(streams: int, seed: int, *arguments: str) -> Drained:
    """As many runs as that needs, the signal going to the process and to its group by turns."""
    rng, total = Random(seed), Drained()
    for number in range(-(-streams // AT_ONCE)):
        total.add(await drain(rng, (terminate_group, terminate)[number % 2], *arguments))
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=3200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--record", action="store_true", help="write the result into docs/reliability.md")
    given = parser.parse_args()
    total = asyncio.run(drains(given.streams, given.seed))
    print(total)
    if given.record:
        passed, failures = not (total.lost or total.wrong), len(total.lost)
        result = (
            f"{failures} lost in {len(total.exits)} drains; {len(total.met_the_end)} further calls met a closing port"
        )
        record(
            "drain_loses_none",
            n=total.streams,
            failures=failures,
            trials=(len(total.exits), "drains"),
            result=result,
            passed=passed,
            seed=given.seed,
        )


if __name__ == "__main__":
    main()
