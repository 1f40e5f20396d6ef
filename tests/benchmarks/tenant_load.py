"""Whether one tenant that asks for far too much takes anything from those who ask for little.

    python -m tests.benchmarks.tenant_load [--seconds 30] [--seed 1]

Nine tenants ask for a twentieth of the capacity each, first by themselves, then beside a tenth one that asks for ten
times the capacity.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

import uvloop

from tests.benchmarks.service_level import ServedModel, ServiceLevel, Users, capacity, connections
from tests.faults.open_loop import open_loop, poisson
from tests.faults.percentile import percentile
from tests.faults.server_under_load import cores, pinned_to, server_under_load
from tests.faults.streamed_call import StreamedCall

MODEST, GREEDY = 0.05, 10.0
MODEST_TENANTS = 9
SETTLING_SECONDS = 4.0


@dataclass(frozen=True)
class Shares:
    """The calls of the nine, alone and beside the tenth, and those of the tenth."""

    alone: list[StreamedCall]
    beside: list[StreamedCall]
    greedy: list[StreamedCall]

    @property
    def served(self) -> float:
        return sum(call.succeeded for call in self.beside) / len(self.beside)

    def first_token(self, calls: list[StreamedCall]) -> float:
        return percentile((call.first_token_seconds or float("inf") for call in calls), 0.99)

    def __str__(self) -> str:
        alone, beside = (1000 * self.first_token(calls) for calls in (self.alone, self.beside))
        greedy = sum(call.succeeded for call in self.greedy)
        return (
            f"{MODEST_TENANTS} tenants at {MODEST:g}x: {self.served:.2%} of {len(self.beside)} calls answered beside "
            f"one at {GREEDY:g}x ({greedy} of whose {len(self.greedy)} were), first token p99 {beside:.0f} ms, alone "
            f"{alone:.0f} ms"
        )


@contextmanager
def identity_file(keys: list[str]) -> Iterator[str]:
    """A tenant for each key."""
    entries = (
        f'[[tenants]]\nname = "tenant-{number}"\nkeys = ["{hashlib.sha256(key.encode()).hexdigest()}"]\n'
        for number, key in enumerate(keys)
    )
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory, "identity.toml")
        file.write_text("".join(entries))
        yield str(file)


async def shares(model: ServedModel, level: ServiceLevel, seconds: float, rng: Random) -> Shares:
    """Measure both on one server."""
    keys = [f"psk_{rng.getrandbits(256):064x}" for _ in range(MODEST_TENANTS + 1)]
    server_core, load_core = cores()
    with pinned_to(load_core), identity_file(keys) as file:
        arguments = (*model.arguments(), "--max-wait-seconds", str(level.max_wait_seconds), "--identity-file", file)
        async with server_under_load(*arguments, core=server_core) as server:
            everybody = Users(connections(server.address), rng)
            *modest, greedy = (everybody.as_tenant(key) for key in keys)
            full = await capacity(modest, model.places, seconds / 2)
            alone = await _of_all(modest, MODEST * full, seconds, rng)
            pressing = asyncio.create_task(_of_all([greedy], GREEDY * full, seconds, rng))
            beside = await _of_all(modest, MODEST * full, seconds, rng)
            return Shares(alone, beside, await pressing)


async def _of_all(tenants: list[Users], rate: float, seconds: float, rng: Random) -> list[StreamedCall]:
    """Calls of each tenant at that rate, but for those of the settling."""
    settling = min(SETTLING_SECONDS, seconds)
    loads = (open_loop(poisson(rate, settling + seconds, rng), tenant.ask) for tenant in tenants)
    calls = [call for calls in await asyncio.gather(*loads) for call in calls]
    begin = min(call.due for call in calls) + settling
    return [call for call in calls if call.due >= begin]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    print(uvloop.run(shares(ServedModel(), ServiceLevel(), given.seconds, Random(given.seed))))


if __name__ == "__main__":
    main()
