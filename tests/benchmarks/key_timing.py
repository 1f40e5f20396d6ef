"""Whether the time of a refusal tells anything of the keys: Welch's t between keys that nearly fit and others.

    python -m tests.benchmarks.key_timing --n 200000 --seed 1

Below 4.5 (the bar of side-channel testing, ISO/IEC 17825) nothing is told. Without the network, which would hide more.
"""

import argparse
import math
import statistics
import time
from collections.abc import Callable
from random import Random

from penstock_service.api_keys import new_key
from penstock_service.identity import Identity
from penstock_service.identity_file import IdentityFile
from tests.rpc.identities import sha256

BAR = 4.5
# Of each class the slowest twentieth is the machine's doing.
KEPT = 0.95


def welch_t(one: list[int], other: list[int]) -> float:
    """How far apart the means are, in units of their standard error."""
    one, other = (sorted(times)[: int(len(times) * KEPT)] for times in (one, other))
    error = math.sqrt(sum(statistics.variance(times) / len(times) for times in (one, other)))
    return (statistics.fmean(one) - statistics.fmean(other)) / error


def nearly(key: str) -> str:
    """The key with another last character."""
    return key[:-1] + ("a" if key[-1] != "a" else "b")


def measured(n: int, chance: Random) -> dict[str, float]:
    """Welch's t for each kind of nearness, over `n` tries of each class in random order."""
    keys = [new_key() for _ in range(16)]
    first, key, last = keys[0], keys[8], keys[-1]
    tenants = [{"name": f"tenant-{number}", "keys": [sha256(each)]} for number, each in enumerate(keys)]
    file = IdentityFile.model_validate({"tenants": tenants})
    identity = Identity(lambda: file)
    kinds: dict[str, tuple[Callable[[], str], Callable[[], str]]] = {
        "all but the last character right": (lambda: nearly(key), lambda: nearly(new_key())),
        "the first half right": (lambda: key[:24] + new_key()[24:], new_key),
        "nearly that of the last tenant, or of the first": (lambda: nearly(last), lambda: nearly(first)),
    }
    return {kind: _t(identity, classes, n, chance) for kind, classes in kinds.items()}


def _t(identity: Identity, classes: tuple[Callable[[], str], ...], n: int, chance: Random) -> float:
    # Made before, and decoded right before its use: what the processor's caches hold must not depend on the class.
    tries = [(which, classes[which]().encode()) for which in (chance.randrange(2) for _ in range(2 * n))]
    times: tuple[list[int], list[int]] = ([], [])
    for which, sent in tries:
        key = sent.decode()
        began = time.perf_counter_ns()
        identity.tenant_of_key(key)
        times[which].append(time.perf_counter_ns() - began)
    return welch_t(*times)


def main() -> None:
    """Print a line for each kind; exit status 1 above the bar."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    results = measured(arguments.n, Random(arguments.seed))
    for kind, t in results.items():
        print(f"{kind}: t = {t:+.2f}")
    raise SystemExit(any(abs(t) > BAR for t in results.values()))


if __name__ == "__main__":
    main()
