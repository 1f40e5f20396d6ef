"""The requests of `hostile_requests` beside a victim's steady load.

python -m tests.faults.attacks [--seconds 10] [--rate 20] [--only NAME] [--record]      on vLLM, the built-in model

Each attack is sent for some seconds at a rate that leaves the machine's cores to the server. The victim's goodput is
held against that of a long time alone (`baseline`); beside what is no abuse but work, against that beside the same work
in plain calls (PLAIN). It is alone before and after each attack, too: where it does not get before what it gets alone,
others are using the machine, and the try does not count; where it does not get it after, the attack has not ended. An
attack that hurts is tried twice more, and the median counts. All tries are recorded.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from random import Random
from typing import Any, NamedTuple

import grpc

from tests.faults.baseline import LEAST_STREAMS, Baseline
from tests.faults.hostile_requests import ATTACKERS_KEY, ATTACKS, GUESSES, LARGE, PLAIN, VICTIMS_KEY, Attack, Attacker
from tests.faults.open_loop import open_loop
from tests.faults.percentile import percentile
from tests.faults.promises import record
from tests.faults.server_under_load import server_under_load
from tests.faults.victim import DEADLINE_SECONDS, Victim, Window, victim
from tests.rpc.server_process import FREE_PORTS, SIMULATED

TENANTS = [
    f"{name}:{sha256(key.encode()).hexdigest()}" for name, key in (("victim", VICTIMS_KEY), ("other", ATTACKERS_KEY))
]
VICTIMS_RATE = 10.0
BASELINE_SECONDS = 1.1 * LEAST_STREAMS / VICTIMS_RATE
TRIES = 3  # that count
MOST_TRIES = 6
# By how much the median alone may be above that before the attacks; more, and others used the machine meanwhile.
MOST_BASELINE = 1.5
LEAST_GOODPUT = 0.9
SURPRISES = {"UNKNOWN", "INTERNAL", "UNAVAILABLE", "UNAUTHENTICATED", "DATA_LOSS"}


class Outcome(NamedTuple):
    """What one try of an attack came to."""

    name: str
    sent: int
    codes: Counter[str]
    alone: Baseline
    before: Window
    during: Window
    after: Window
    answers: bool  # whether the server answers when the attack is over
    plain: Window | None  # beside the same work in plain calls, of what is no abuse but work

    @property
    def goodput(self) -> float:
        """The victim's beside the attack, against that alone; or within what 99 of 100 took beside plain calls."""
        if self.plain is None:
            return self.during.goodput(self.alone.within) / self.alone.goodput
        within = max(self.alone.within, self.plain.slowest)
        return self.during.goodput(within) / max(self.plain.goodput(within), 0.01)

    @property
    def noisy(self) -> bool:
        """Whether others than the attacker hurt the victim: before the attack has begun."""
        return not self.alone.is_quiet(self.before)

    @property
    def lingers(self) -> bool:
        """Whether the victim is still hurt when the attack is over."""
        return not self.alone.is_quiet(self.after)

    @property
    def surprises(self) -> set[str]:
        """Statuses that no server should give to what the attacker sends."""
        return self.codes.keys() & (SURPRISES - ({"UNAUTHENTICATED"} if self.name in GUESSES else set()))

    @property
    def starves(self) -> bool:
        """Whether plain calls of another tenant left the victim without answers."""
        return self.plain is not None and any(each.whole_seconds is None for each in self.plain.streams)

    @property
    def passed(self) -> bool:
        hurts = self.noisy or self.lingers or self.starves or self.surprises
        return self.answers and self.goodput >= LEAST_GOODPUT and not hurts

    def __str__(self) -> str:
        codes = ", ".join(f"{count} {code}" for code, count in self.codes.most_common())
        well = "" if self.answers else "; THE SERVER DOES NOT ANSWER ANY MORE"
        lingers = "; the victim is still hurt after it" if self.lingers else ""
        noisy = "; the machine was noisy" if self.noisy else ""
        return (
            f"{self.name}: {self.sent} sent ({codes}); {100 * self.goodput:.0f} % of the victim's goodput, "
            f"{self.times}{lingers}{noisy}{well}"
        )

    @property
    def times(self) -> str:
        """How long the victim's streams took, in words."""
        plain = f", {1000 * self.plain.slowest:.0f} ms beside plain calls" if self.plain is not None else ""
        return f"99 % of its streams within {1000 * self.during.slowest:.0f} ms{plain}"


@dataclass(frozen=True)
class Attacks:
    """How attacks are made on a server."""

    address: str
    seconds: float
    rate: float
    seed: int

    async def run(self, names: Sequence[str]) -> list[list[Outcome]]:
        """The tries of each of them, beside one victim."""
        async with victim(self.address, VICTIMS_RATE, key=VICTIMS_KEY) as suffering:
            await _quiet(suffering, 2)  # its process, its connection and the engine are warm
            alone = await _baseline(suffering)
            print(alone, flush=True)
            return [await self._tries(name, suffering, alone) for name in names]

    async def _tries(self, name: str, suffering: Victim, alone: Baseline) -> list[Outcome]:
        tries: list[Outcome] = []
        while len(tries) < MOST_TRIES and not decided(tries):
            tries.append(await self._once(name, suffering, alone))
            print(tries[-1], flush=True)
        return tries

    async def _once(self, name: str, suffering: Victim, alone: Baseline) -> Outcome:
        plain = (await self._beside(name, PLAIN[name], suffering))[0] if name in PLAIN else None
        before = await _quiet(suffering, self.seconds / 3)
        during, codes = await self._beside(name, ATTACKS[name], suffering)
        answers = await _answers(self.address)
        after = await _quiet(suffering, self.seconds / 3)
        return Outcome(name, codes.total(), codes, alone, before, during, after, answers, plain)

    async def _beside(self, name: str, attack: Attack, suffering: Victim) -> tuple[Window, Counter[str]]:
        """What the victim gets while it is sent for so long and until it is answered, and the answers."""
        codes: Counter[str] = Counter()
        chance, rate = Random(f"{self.seed} {name}"), min(self.rate, 1.0) if name in LARGE else self.rate
        times = [number / rate for number in range(math.ceil(rate * self.seconds))]
        began = time.monotonic()
        async with grpc.aio.insecure_channel(self.address, options=[("grpc.max_send_message_length", -1)]) as channel:
            attacker = Attacker(channel)
            await open_loop(times, lambda _: _counted(attack(attacker, chance), codes))
        return await suffering.window(began, time.monotonic()), codes


def decided(tries: Sequence[Outcome]) -> bool:
    """Whether the first try that counts has passed, or as many count as there may be."""
    quiet = [each for each in tries if not each.noisy]
    return len(quiet) == TRIES or any(each.passed for each in quiet[:1])


def counted(tries: Sequence[Outcome]) -> Outcome:
    """The median of those that count, the worse one of two; a noisy one where all are."""
    quiet = sorted((each for each in tries if not each.noisy), key=lambda each: each.goodput)
    return quiet[(len(quiet) - 1) // 2] if quiet else tries[-1]


def passed(tries: Sequence[Outcome]) -> bool:
    """Whether most of those that count have, and none of all shows what no server should do."""
    quiet = [each for each in tries if not each.noisy]
    well = all(each.answers and not each.surprises for each in tries)
    return well and sum(each.passed for each in quiet) > len(quiet) / 2


def too_slow_alone(tried: Sequence[Sequence[Outcome]]) -> bool:
    """Whether the victim, before the attacks, was so much faster than alone that the bar hangs too low."""
    tries = [each for tries in tried for each in tries]
    times = [stream.whole_seconds or DEADLINE_SECONDS for each in tries for stream in each.before.streams]
    return tries[0].alone.median > MOST_BASELINE * percentile(times, 0.5)


async def _quiet(suffering: Victim, seconds: float) -> Window:
    """What the victim gets alone for so long."""
    now = time.monotonic()
    return await suffering.window(now, now + seconds)


async def _baseline(suffering: Victim) -> Baseline:
    """ValueError where the machine is not quiet for long enough in so many tries."""
    for _ in range(TRIES - 1):
        with suppress(ValueError):
            return Baseline.of(await _quiet(suffering, BASELINE_SECONDS))
    return Baseline.of(await _quiet(suffering, BASELINE_SECONDS))


async def _counted(sent: Awaitable[Any], codes: Counter[str]) -> None:
    try:
        await sent
        codes["OK"] += 1
    except grpc.aio.AioRpcError as error:
        codes[error.code().name] += 1


async def _answers(address: str) -> bool:
    async with grpc.aio.insecure_channel(address) as channel:
        try:
            await Attacker(channel).guess(VICTIMS_KEY)
        except grpc.aio.AioRpcError:
            return False
        return True


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rate", type=float, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=list(ATTACKS), help="one of them")
    parser.add_argument("--simulated", action="store_true", help="without vLLM: what our own checks refuse")
    parser.add_argument("--record", action="store_true", help="write the result into docs/reliability.md")
    given = parser.parse_args()
    if given.record and (given.only or given.simulated):
        parser.error("--record is for all attacks on vLLM")
    program = ("-m", "penstock_service", *(SIMULATED if given.simulated else FREE_PORTS))
    async with server_under_load("--api-keys", ",".join(TENANTS), program=program) as server:
        made = Attacks(server.address, given.seconds, given.rate, given.seed)
        _tell(await made.run([given.only] if given.only else list(ATTACKS)), given.seed, given.record)


def _tell(tried: Sequence[Sequence[Outcome]], seed: int, recorded: bool) -> None:
    outcomes = [counted(tries) for tries in tried]
    worst, noisy = min(outcomes, key=lambda outcome: outcome.goodput), sum(outcome.noisy for outcome in outcomes)
    work = "".join(f"; {each.name}: {each.times}" for each in outcomes if each.plain is not None)
    result = (
        f"{len(outcomes)} attacks of {sum(outcome.sent for outcome in outcomes)} requests; the victim kept "
        f"{100 * worst.goodput:.0f} % at the worst ({worst.name}); {worst.alone}{work}; {noisy} on a noisy machine"
    )
    print(result)
    if too_slow_alone(tried):
        sys.exit("others used the machine while the victim was alone at the beginning: nothing can be said")
    if recorded:
        bad = [tries[0].name for tries in tried if not passed(tries)]
        print(f"not as promised: {bad or 'none'}")
        record(
            "hostile_requests",
            n=sum(len(outcome.during.streams) for outcome in outcomes),
            seed=seed,
            result=result,
            passed=not bad,
            tries={tries[0].name: [[round(each.goodput, 3), each.noisy] for each in tries] for tries in tried},
        )


if __name__ == "__main__":
    asyncio.run(main())
