"""What a hostile peer can try below gRPC, beside a victim's steady load on a connection of its own.

python -m tests.faults.h2.attacks [--seconds 10] [--tries 3] [--seed 1] [--only NAME] [--record]      simulated engine

Attacker and victim have a core each, the server has both: each attack is sent at a rate that leaves the server room, so
that the victim's goodput says something about the server and not about the attacker's use of its cores. Goodput is the
share of the victim's streams that are whole within 250 ms, or twice what 99 of 100 take without the attack, if that is
more; it is held against the same share without it, in the calmer of the stretches before and after. An attack lasts
until all that it began has ended, ten seconds more at most. Each is made as often as `--tries` says, whatever comes of
it; what is recorded is the try with the median goodput, beside the goodput of all. Nothing may be left after any.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import os
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from random import Random
from typing import NamedTuple

from tests.faults.h2 import floods, holds
from tests.faults.h2.floods import Attack, Sent, flood
from tests.faults.h2.observed_server import Held, ObservedServer, observed_server
from tests.faults.promises import record
from tests.faults.server_under_load import pinned_to
from tests.faults.victim import Victim, Window, victim

MAX_MESSAGE_BYTES = 4 << 20
GOOD_SECONDS = 0.25
RESTING_LOAD = 0.4  # of a core, which the victim's streams alone do not reach
MOST_OF_VICTIM = 10  # calls that the victim has open at a moment

# Name -> the attack and its rate, in units a second.
ATTACKS: dict[str, tuple[Attack, float]] = {
    "rapid reset": (flood(floods.rapid_reset), 2000),
    "made to reset": (flood(floods.made_to_reset), 500),
    "CONTINUATION flood": (flood(floods.continuation, floods.open_header_block), 1000),
    "empty CONTINUATION flood": (flood(floods.empty_continuation, floods.open_header_block), 5000),
    "strings of 4 GiB": (flood(floods.huge_string), 500),
    "table size updates": (flood(floods.table_sizes), 500),
    "header bomb": (flood(floods.header_bomb, floods.remember_header), 100),
    "SETTINGS flood": (flood(floods.settings), 5000),
    "PING flood": (flood(floods.ping), 5000),
    "empty DATA flood": (flood(floods.empty_data, floods.open_call), 5000),
    "PRIORITY flood": (flood(floods.priority), 5000),
    "WINDOW_UPDATE flood": (flood(floods.one_more_byte, floods.open_call), 5000),
    "metadata of 64 KiB": (flood(floods.long_metadata), 200),
    "binary metadata that is none": (flood(floods.bad_base64), 200),
    "bad gRPC framing": (holds.bad_framing, 200),
    "slow prefaces": (holds.slow_preface, 100),
    "1000 idle connections": (holds.held(holds.nothing, 1000), 500),
    "headers that never end": (holds.held(holds.headers_without_end, 100), 100),
    "10 000 halves of messages": (holds.held(holds.half_a_message, 100), 10),
    "1 GiB declared, a hundred times": (holds.held(holds.a_gibibyte_declared, 100), 100),
    "100 messages of twice the limit": (holds.too_much(2 * MAX_MESSAGE_BYTES), 20),
    "gzip bombs of 256 MiB": (holds.gzip_bomb, 20),
}


class Outcome(NamedTuple):
    """What an attack came to."""

    name: str
    sent: Sent
    alone: Window
    during: Window
    first: Held
    worst_rss: int
    last: Held

    @property
    def goodput(self) -> float:
        """The victim's, against its own when it was alone."""
        within = max(2 * self.alone.slowest, GOOD_SECONDS)
        return self.during.goodput(within) / max(self.alone.goodput(within), 1e-9)

    @property
    def made(self) -> bool:
        """Whether anything of it was sent."""
        return self.sent.units > 0

    @property
    def clean(self) -> bool:
        """Whether nothing of the attack is left."""
        return max(self.last.handlers, self.last.engine) <= MOST_OF_VICTIM

    def row(self) -> str:
        answers = ", ".join(f"{count} {answer}" for answer, count in self.sent.answers.most_common(4)) or "nothing"
        cells = (
            self.name,
            f"{self.sent.units} on {self.sent.connections}",
            answers,
            f"{100 * self.goodput:.0f} %",
            f"{1000 * self.alone.slowest:.0f} / {1000 * self.during.slowest:.0f} ms",
            f"{(self.worst_rss - self.first.rss) / 2**20:+.0f} / {(self.last.rss - self.first.rss) / 2**20:+.0f} MiB",
            f"{self.last.most_handlers} / {self.last.handlers}",
            f"{self.last.submitted - self.first.submitted} / {self.last.most_in_engine} / {self.last.engine}",
            f"{self.last.cpu_seconds - self.first.cpu_seconds:.1f} s",
        )
        return f"| {' | '.join(cells)} |"


HEAD = """| attack | sent: units on connections | what came back | victim's goodput | its p99 alone / during \
| RSS at worst / after | calls at most / left | submitted to the engine / at most in it / left | CPU |
|---|---|---|---|---|---|---|---|---|"""


async def attack(name: str, server: ObservedServer, suffering: Victim, seconds: float, chance: Random) -> Outcome:
    """One attack. The victim is alone for half as long before it and after."""
    quiet = time.monotonic()
    await asyncio.sleep(seconds / 2)
    first, began = await server.next(), time.monotonic()
    makes, rate = ATTACKS[name]
    sent = await makes(server.address, seconds, rate, chance)
    await _calm(server)
    ended = time.monotonic()
    await asyncio.sleep(seconds / 2)
    alone = [await suffering.window(quiet, began), await suffering.window(ended, time.monotonic())]
    return Outcome(
        name,
        sent,
        min(alone, key=lambda window: window.slowest),
        await suffering.window(began, ended),
        first,
        max(each.rss for each in server.samples if each.at >= began),
        server.now,
    )


async def _calm(server: ObservedServer) -> None:
    """Until the attacker's calls have ended and the server rests, ten seconds at most. The victim's come and go."""
    for _ in range(100):
        before, held = server.now, await server.next()
        load = (held.cpu_seconds - before.cpu_seconds) / (held.at - before.at)
        if max(held.handlers, held.engine) <= MOST_OF_VICTIM and load < RESTING_LOAD:
            return


async def attacks(
    names: Sequence[str], seconds: float, tries: int, seed: int, found: Callable[[list[Outcome]], None]
) -> None:
    """One after the other on one server, beside one victim; `found` hears of each, with all its tries."""
    own = os.sched_getaffinity(0)
    async with observed_server(max_message_bytes=MAX_MESSAGE_BYTES) as server, AsyncExitStack() as stack:
        with pinned_to(max(own)):
            suffering = await stack.enter_async_context(victim(server.address))
        await suffering.window(time.monotonic(), time.monotonic() + 2)  # all is warm
        print(HEAD)
        for name in names:
            with pinned_to(min(own)):
                outcomes = []
                for number in range(tries):
                    outcomes.append(await attack(name, server, suffering, seconds, Random(f"{seed} {name} {number}")))
                    print(outcomes[-1].row(), flush=True)
            found(outcomes)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--tries", type=int, default=3, help="how often each is made; the median counts")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=list(ATTACKS), action="append", help="one of them; may be repeated")
    parser.add_argument("--record", action="store_true", help="write the results to docs/reliability.md")
    given = parser.parse_args()
    found = functools.partial(_record, given.seed) if given.record else lambda outcomes: None
    await attacks(given.only or list(ATTACKS), given.seconds, given.tries, given.seed, found)


def median(outcomes: Sequence[Outcome]) -> Outcome:
    """The try with the median goodput; of an even number the lower one of the two."""
    return sorted(outcomes, key=lambda outcome: outcome.goodput)[(len(outcomes) - 1) // 2]


def _record(seed: int, outcomes: Sequence[Outcome]) -> None:
    middle = median(outcomes)
    alone, during = (round(1000 * window.slowest) for window in (middle.alone, middle.during))
    tries = ", ".join(f"{100 * outcome.goodput:.0f}" for outcome in outcomes)
    made = f"{middle.sent.units} sent on {middle.sent.connections} connections"
    record(
        "victim_goodput",
        case=middle.name,
        n=sum(len(outcome.during.streams) for outcome in outcomes),
        seed=seed,
        result=f"{100 * middle.goodput:.0f} %, the median of {tries}; p99 {during} ms, {alone} ms without it; {made}",
        passed=middle.goodput >= 0.9 and all(outcome.clean and outcome.made for outcome in outcomes),
    )


if __name__ == "__main__":
    asyncio.run(main())
