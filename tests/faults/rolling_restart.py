"""Replicas that restart one after the other, again and again, under a constant load through one client.

python -m tests.faults.rolling_restart --calls 20000 --seed 1

The client is as its users make it: a list of targets and the rest by default. Half of the calls are unary, half are
streams; they arrive at random, however many still run. A replica is told to stop (SIGTERM), serves on for its lame-duck
time, drains, is gone and starts again on its port; when it has served for a moment the other one's turn has come.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import signal
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from random import Random

from penstock import APIError, AsyncClient, Reply
from tests.faults.open_loop import open_loop, poisson
from tests.faults.percentile import percentile
from tests.faults.promises import record
from tests.faults.server_under_load import ServerUnderLoad, server_under_load

RATE = 100.0
UNARY_TOKENS, STREAM_TOKENS = 16, 64
PACE = ("--simulated.step-time-ms", "5")
PROGRAM = ("-m", "penstock_service", "--engine", "simulated", "--metrics-port", "none")
LAME_DUCK_SECONDS = 1.0
SETTLED_SECONDS = 1.0  # a replica serves for so long before the other one stops


@dataclass
class Rolled:
    """How the calls went. Seconds are until the first output, of answered calls; `calm` before the first restart."""

    calls: int = 0
    calm_calls: int = 0
    failures: list[str] = field(default_factory=list)
    restarts: int = 0
    exits: Counter[int] = field(default_factory=Counter)
    retried: int = 0
    calm: list[float] = field(default_factory=list)
    rolling: list[float] = field(default_factory=list)

    def __str__(self) -> str:
        calm, rolling = (1000 * percentile(times, 0.99) for times in (self.calm, self.rolling))
        return (
            f"{self.calls} calls during {self.restarts} restarts (exit statuses {dict(self.exits)}): "
            f"{len(self.failures)} failed {Counter(self.failures).most_common(5)}, {self.retried} further attempts; "
            f"p99 of the first output {rolling:.0f} ms, before the restarts {calm:.0f} ms"
        )


class Replica:
    """A server that comes back on the same ports."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.port, self._health_port = free_port(), free_port()
        self.address = f"127.0.0.1:{self.port}"
        self._stack = AsyncExitStack()
        self._server: ServerUnderLoad | None = None

    async def start(self, *arguments: str) -> None:
        ports = ("--grpc-port", str(self.port), "--health-port", str(self._health_port))
        opening = server_under_load(*ports, *PACE, *arguments, program=PROGRAM)
        self._server = await self._stack.enter_async_context(opening)

    async def stop(self) -> int:
        """Tell it to, wait until it is gone; return its exit status."""
        assert self._server is not None
        self._server.process.send_signal(signal.SIGTERM)
        status = await self._server.process.wait()
        await self._stack.aclose()
        return status

    async def close(self) -> None:
        await self._stack.aclose()


def free_port() -> int:
    """Below the ports that connections take for themselves, or one of those might have it when it is needed again."""
    for _ in range(1000):
        port = _PORTS.randrange(20_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise RuntimeError("no port is free")


_PORTS = Random()


async def rolling_restart(calls: int, seed: int, rate: float = RATE, replicas: int = 2, calm: float = 3.0) -> Rolled:
    """Restart the replicas by turns until so many calls have been made beside it, after a calm beginning."""
    rolled, rng = Rolled(), Random(seed)
    async with _replicas(replicas) as running, AsyncClient([each.address for each in running]) as client:
        client.on("retry", lambda _event: _count_retry(rolled))
        begin = time.monotonic() + calm
        enough = asyncio.Event()
        restarting = asyncio.create_task(_restart_by_turns(running, rolled, calm, enough))

        async def one(due: float) -> None:
            rolled.calm_calls += due < begin
            await _call(client, rolled, rng.random() < 0.5, due, rolled.calm if due < begin else rolled.rolling)

        await open_loop([*poisson(rate, calm, rng), *itertools.islice(_arrivals(rate, calm, rng), calls)], one)
        enough.set()
        await restarting  # to the end of the turn, whose exit status counts
    return rolled


def _arrivals(rate: float, begin: float, rng: Random) -> Iterator[float]:
    """At random from then on, without an end."""
    while True:
        begin += rng.expovariate(rate)
        yield begin


def _count_retry(rolled: Rolled) -> None:
    rolled.retried += 1


@asynccontextmanager
async def _replicas(count: int) -> AsyncIterator[list[Replica]]:
    replicas = [Replica(number) for number in range(count)]
    try:
        for replica in replicas:
            await replica.start("--lame-duck-seconds", str(LAME_DUCK_SECONDS))
        yield replicas
    finally:
        for replica in replicas:
            await replica.close()


async def _restart_by_turns(replicas: Sequence[Replica], rolled: Rolled, calm: float, enough: asyncio.Event) -> None:
    await asyncio.sleep(calm)
    for replica in itertools.cycle(replicas):
        if enough.is_set():
            return
        rolled.exits[await replica.stop()] += 1
        await replica.start("--lame-duck-seconds", str(LAME_DUCK_SECONDS))
        rolled.restarts += 1
        await asyncio.sleep(SETTLED_SECONDS)


async def _call(client: AsyncClient, rolled: Rolled, unary: bool, due: float, firsts: list[float]) -> None:
    rolled.calls += 1
    try:
        reply, first = await (_generate(client) if unary else _stream(client))
    except APIError as error:
        rolled.failures.append(f"{type(error).__name__} {error.status.name} {error.reason}")
        return
    tokens = UNARY_TOKENS if unary else STREAM_TOKENS
    if reply.usage.completion_tokens != tokens:
        rolled.failures.append(f"{reply.usage.completion_tokens} instead of {tokens} tokens")
    firsts.append(first - due)


async def _generate(client: AsyncClient) -> tuple[Reply, float]:
    reply = await client.generate("Hello", max_tokens=UNARY_TOKENS, ignore_eos=True)
    return reply, time.monotonic()


async def _stream(client: AsyncClient) -> tuple[Reply, float]:
    async with client.stream("Hello", max_tokens=STREAM_TOKENS, ignore_eos=True) as stream:
        await stream.read()
        first = time.monotonic()
        return await stream.reply(), first


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--rate", type=float, default=RATE, help="calls a second")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--record", action="store_true", help="write the result into docs/reliability.md")
    given = parser.parse_args()
    rolled = asyncio.run(rolling_restart(given.calls, given.seed, given.rate))
    print(rolled)
    if given.record:
        failures = len(rolled.failures)
        result = f"{failures} failed, {rolled.restarts} restarts"
        passed = not failures and set(rolled.exits) == {0}
        record(
            "rolling_restart",
            n=rolled.calls - rolled.calm_calls,
            failures=failures,
            trials=(rolled.restarts, "restarts"),
            result=result,
            passed=passed,
            seed=given.seed,
        )


if __name__ == "__main__":
    main()
