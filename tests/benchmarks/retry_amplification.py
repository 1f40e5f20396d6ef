"""What our client's retries add to an overload."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from random import Random

from penstock import APIError, AsyncClient
from tests.benchmarks.service_level import PROMPT, TOKENS
from tests.faults.open_loop import open_loop, poisson
from tests.faults.server_under_load import ServerUnderLoad

DEADLINE_SECONDS = 10.0


@dataclass(frozen=True)
class Amplification:
    """What one client sent, by the server's own count, for the calls that were asked of it."""

    calls: int
    attempts: int
    answered: int
    failed: Counter[str]

    @property
    def factor(self) -> float:
        return self.attempts / self.calls

    def __str__(self) -> str:
        return (
            f"through one client with its default retries: {self.calls} calls made {self.attempts} attempts "
            f"({self.factor:.2f} each), {self.answered} answered, failed {dict(self.failed)}"
        )


async def amplification(server: ServerUnderLoad, rate: float, seconds: float, rng: Random) -> Amplification:
    """Offer streams at that rate through one client."""
    failed: Counter[str] = Counter()
    before = _attempts(server)
    async with AsyncClient(server.address, timeout=DEADLINE_SECONDS) as client:

        async def ask(_due: float) -> bool:
            try:
                await client.stream(PROMPT, max_tokens=rng.randint(*TOKENS), ignore_eos=True).reply()
            except APIError as error:
                failed[error.reason or error.status.name] += 1
                return False
            return True

        answers = await open_loop(poisson(rate, seconds, rng), ask)
    return Amplification(len(answers), _attempts(server) - before, sum(answers), failed)


def _attempts(server: ServerUnderLoad) -> int:
    return sum(line["method"].endswith(("/StreamGenerate", "/Session")) and "code" in line for line in server.calls())
