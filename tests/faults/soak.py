"""Everything at once for a long time, and what the server's process holds meanwhile.

python -m tests.faults.soak --seconds 1800 --seed 1

Calls arrive at random and each is of some kind by chance (KINDS); beside them a process with open streams is killed
every ten seconds. The process is looked at every second. After the warm-up, which comes on top of the seconds, its
memory, file descriptors and threads must stay where they are: the upper ends of the slopes' 95 % intervals count.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random

from tests.faults.mixed_load import MixedLoad
from tests.faults.open_loop import open_loop, poisson
from tests.faults.process_sample import ProcessSample
from tests.faults.promises import record
from tests.faults.server_under_load import ServerUnderLoad, cores, server_under_load
from tests.faults.trend import Trend, trend

RATE = 25.0
CRASH_SECONDS = 10.0
CRASHED_STREAMS = 8
WARM_UP = 1 / 5  # of the seconds, before them
MOST_BYTES_AN_HOUR = 1e6
# By how much a count that goes up and down with the calls may differ between one end of a soak and the other.
MOST_CHANGE = 4.0
PACE = ("--simulated.step-time-ms", "10", "--simulated.max-concurrent-sequences", "64", "--simulated.kv-cache-tokens")
ARGUMENTS = (*PACE, str(1 << 30), "--max-held-bytes", "16384", "--max-stall-seconds", "5")


@dataclass(frozen=True)
class Soaked:
    """The samples after the warm-up and what the calls came to, by kind and outcome."""

    seconds: float
    samples: Sequence[ProcessSample]
    outcomes: Counter[str]
    surprises: list[str]
    complaints: list[str]

    def by_time(self, name: str) -> Trend:
        times = [sample.seconds for sample in self.samples]
        return trend(times, [getattr(sample, name) for sample in self.samples])

    @property
    def grew(self) -> list[str]:
        """What of the counts did, or may have."""
        changes = {name: self.by_time(name).high * self.seconds for name in ("fds", "threads")}
        return [f"{name} may have grown by {change:.0f}" for name, change in changes.items() if change > MOST_CHANGE]

    def print(self) -> None:
        for name, unit in (("rss", 1e6 / 3600), ("pss", 1e6 / 3600), ("fds", 1 / 3600), ("threads", 1 / 3600)):
            slope, values = self.by_time(name), [getattr(sample, name) for sample in self.samples]
            ends = f"{values[0]:,} to {values[-1]:,}"
            per_hour = f"{slope.slope / unit:+.2f} ± {slope.margin / unit:.2f}"
            print(f"{name:8} {per_hour:>20} {'MB' if unit > 1 else ''} an hour   {ends}")
        print(f"{sum(self.outcomes.values())} calls: {dict(sorted(self.outcomes.items()))}")
        print(f"not as it should be: {self.grew} {Counter(self.surprises).most_common(5)} {self.complaints[:5]}")


async def soak(seconds: float, seed: int, rate: float = RATE, crash_seconds: float = CRASH_SECONDS) -> Soaked:
    """One server under mixed load for so long after the warm-up."""
    server_core, load_core = cores()
    if load_core is not None:
        os.sched_setaffinity(0, {load_core})
    rng = Random(seed)
    async with server_under_load(*ARGUMENTS, core=server_core) as server:
        async with MixedLoad(server.address, rng) as load, _sampled(server) as samples, _crashes(server, crash_seconds):
            await open_loop(poisson(rate, (1 + WARM_UP) * seconds, rng), load.call)
        warm = samples[0].seconds + WARM_UP * seconds
        counted = [sample for sample in samples if sample.seconds >= warm]
        return Soaked(seconds, counted, load.outcomes, load.surprises, server.complaints())


@asynccontextmanager
async def _sampled(server: ServerUnderLoad) -> AsyncIterator[list[ProcessSample]]:
    """A look each second."""
    samples = [server.sample()]

    async def look() -> None:
        while True:
            await asyncio.sleep(1)
            samples.append(await asyncio.to_thread(server.sample))

    looking = asyncio.create_task(look())
    try:
        yield samples
    finally:
        looking.cancel()
        await asyncio.wait([looking])


@asynccontextmanager
async def _crashes(server: ServerUnderLoad, every_seconds: float) -> AsyncIterator[None]:
    """Processes with open streams that are killed, one after the other."""

    async def crash() -> None:
        while True:
            program = ("-m", "tests.faults.doomed_caller", server.address, "doomed", str(CRASHED_STREAMS))
            caller = await asyncio.create_subprocess_exec(sys.executable, *program)
            try:
                await asyncio.sleep(every_seconds)
            finally:
                caller.kill()
                await caller.wait()

    crashing = asyncio.create_task(crash())
    try:
        yield
    finally:
        crashing.cancel()
        await asyncio.wait([crashing])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=1800, help="after the warm-up of a fifth more")
    parser.add_argument("--rate", type=float, default=RATE, help="calls a second")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--record", action="store_true", help="write the result into docs/reliability.md")
    given = parser.parse_args()
    soaked = asyncio.run(soak(given.seconds, given.seed, given.rate))
    soaked.print()
    if given.record:
        slope = soaked.by_time("rss")
        hourly, margin = slope.slope * 3600 / 1e6, slope.margin * 3600 / 1e6
        passed = slope.high * 3600 <= MOST_BYTES_AN_HOUR and not (soaked.grew or soaked.surprises or soaked.complaints)
        result = f"{hourly:+.2f} ± {margin:.2f} MB an hour (95 %), {sum(soaked.outcomes.values())} calls"
        record("memory_slope", n=round(soaked.seconds), result=result, passed=passed, seed=given.seed)


if __name__ == "__main__":
    main()
