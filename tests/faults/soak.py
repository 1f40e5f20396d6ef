"""Everything at once for a long time, and what the server's process holds meanwhile.

python -m tests.faults.soak --seconds 1800 --seed 1

Calls arrive at random and each is of some kind by chance (KINDS); beside them a process with open streams is killed
every ten seconds. The process is looked at every second. After the warm-up, which comes on top of the seconds, its
memory, file descriptors and threads must stay where they are: the upper ends of the slopes' 95 % intervals count.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from random import Random

from tests.faults.mixed_load import OUTCOMES, MixedLoad
from tests.faults.open_loop import open_loop, poisson
from tests.faults.process_sample import ProcessSample
from tests.faults.promises import record
from tests.faults.server_under_load import ServerUnderLoad, cores, pinned_to, server_under_load
from tests.faults.trend import Trend, trend

RATE = 25.0
CRASH_SECONDS = 10.0
CRASHED_STREAMS = 8
# Of the seconds, before those that count: gRPC starts threads for as long as calls meet in new ways, and each new
# thread has a heap of its own that fills (one or two more in half an hour here, of 1 to 2 MB). After 12 minutes the
# process still grew by 1.7 MB an hour.
WARM_UP = 1.0
MOST_BYTES_AN_HOUR = 1e6
# By how much a count that goes up and down with the calls may differ between one end of a soak and the other.
MOST_CHANGE = 4.0
# A server that refuses its load holds little, too.
LEAST_ANSWERED = 0.99
PACE = ("--simulated.step-time-ms", "10", "--simulated.max-concurrent-sequences", "64", "--simulated.kv-cache-tokens")
ARGUMENTS = (*PACE, str(1 << 30), "--max-held-bytes", "16384", "--max-stall-seconds", "5")


@dataclass(frozen=True)
class Soaked:
    """The samples after the warm-up and what the calls came to, by kind and outcome."""

    samples: Sequence[ProcessSample]
    outcomes: Counter[str]
    surprises: list[str]
    complaints: list[str]

    @property
    def seconds(self) -> float:
        """For which there are samples."""
        return self.samples[-1].seconds - self.samples[0].seconds

    @property
    def answered(self) -> float:
        """The share of those calls that had an answer to get."""
        ends = [(kind, code, count) for name, count in self.outcomes.items() for kind, code in [name.split()]]
        asked = sum(count for kind, _, count in ends if OUTCOMES[kind] == {"OK"})
        return sum(count for _, code, count in ends if code == "OK") / max(asked, 1)

    @property
    def passed(self) -> bool:
        """Whether memory and counts stayed where they are, under the load that was meant."""
        level = self.by_time("rss").high * 3600 <= MOST_BYTES_AN_HOUR and not self.grew
        return level and self.answered >= LEAST_ANSWERED and not (self.surprises or self.complaints)

    def by_time(self, name: str) -> Trend:
        times = [sample.seconds for sample in self.samples]
        return trend(times, [getattr(sample, name) for sample in self.samples])

    @property
    def tenths(self) -> Sequence[ProcessSample]:
        """The samples at the beginning of each tenth of the time."""
        return self.samples[:: max(len(self.samples) // 10, 1)]

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
        print("rss, MB, from tenth to tenth:", *(f"{sample.rss / 1e6:.2f}" for sample in self.tenths))
        print(f"{sum(self.outcomes.values())} calls: {dict(sorted(self.outcomes.items()))}")
        print(f"{self.answered:.2%} of those that had an answer to get got it")
        print(f"not as it should be: {self.grew} {Counter(self.surprises).most_common(5)} {self.complaints[:5]}")


async def soak(seconds: float, seed: int, rate: float = RATE, crash_seconds: float = CRASH_SECONDS) -> Soaked:
    """One server under mixed load for so long after the warm-up."""
    server_core, load_core = cores()
    rng = Random(seed)
    with pinned_to(load_core):
        async with server_under_load(*ARGUMENTS, core=server_core) as server:
            async with (
                MixedLoad(server.address, rng) as load,
                _sampled(server) as samples,
                _crashes(server, crash_seconds),
            ):
                await open_loop(poisson(rate, (1 + WARM_UP) * seconds, rng), load.call)
            warm = samples[0].seconds + WARM_UP * seconds
            counted = [sample for sample in samples if sample.seconds >= warm]
            return Soaked(counted, load.outcomes, load.surprises, server.complaints())


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
        await _stopped(looking)


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
                with suppress(ProcessLookupError):  # refused by a server that is busy, it has ended by itself
                    caller.kill()
                await caller.wait()

    crashing = asyncio.create_task(crash())
    try:
        yield
    finally:
        await _stopped(crashing)


async def _stopped(task: asyncio.Task[None]) -> None:
    """Stop what runs beside the load; raises what it has ended with before."""
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=1800, help="after a warm-up as long")
    parser.add_argument("--rate", type=float, default=RATE, help="calls a second")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--record", action="store_true", help="write the result into docs/reliability.md")
    given = parser.parse_args()
    soaked = asyncio.run(soak(given.seconds, given.seed, given.rate))
    soaked.print()
    if given.record:
        slope = soaked.by_time("rss")
        hourly, margin = slope.slope * 3600 / 1e6, slope.margin * 3600 / 1e6
        result = f"{hourly:+.2f} ± {margin:.2f} MB an hour (95 %), {sum(soaked.outcomes.values())} calls"
        tenths = [sample.rss for sample in soaked.tenths]
        n, passed = round(soaked.seconds), soaked.passed
        record("memory_slope", n=n, result=result, passed=passed, seed=given.seed, rss_by_tenth=tenths)


if __name__ == "__main__":
    main()
