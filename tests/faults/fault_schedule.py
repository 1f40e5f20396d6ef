"""Which faults come when: two endless sequences, functions of the seed. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import NamedTuple


class EngineFault(NamedTuple):
    """What happens to the engine's process after a pause. A stop of None seconds lasts until it counts as hung."""

    pause: float
    signal: str  # SIGKILL, SIGTERM, SIGSTOP
    stop_seconds: float | None = None


class NetworkFault(NamedTuple):
    """What happens to one of the proxies after a pause, for some time."""

    pause: float
    proxy: int
    toxic: str  # of toxiproxy, or "down"
    stream: str
    attributes: dict[str, int]
    seconds: float


def engine_faults(seed: int, calm_seconds: float) -> Iterator[EngineFault]:
    """Deaths and halts, `calm_seconds` apart on average."""
    rng = Random(f"{seed} engine")
    while True:
        pause = rng.uniform(0.5, 1.5) * calm_seconds
        match rng.choices(("kill", "terminate", "blink", "hang"), (4, 1, 3, 2))[0]:
            case "kill":
                yield EngineFault(pause, "SIGKILL")
            case "terminate":
                yield EngineFault(pause, "SIGTERM")
            case "blink":
                yield EngineFault(pause, "SIGSTOP", rng.uniform(0.05, 0.5))
            case _:
                yield EngineFault(pause, "SIGSTOP")


def network_faults(seed: int, proxies: int, calm_seconds: float) -> Iterator[NetworkFault]:
    """Resets, cuts, delays and silence, `calm_seconds` apart on average over all proxies."""
    rng = Random(f"{seed} network")
    while True:
        pause, proxy = rng.uniform(0.5, 1.5) * calm_seconds, rng.randrange(proxies)
        stream = rng.choice(("upstream", "downstream"))
        toxic, attributes, seconds = _toxic(rng)
        yield NetworkFault(pause, proxy, toxic, stream, attributes, seconds)


def _toxic(rng: Random) -> tuple[str, dict[str, int], float]:
    match rng.choices(("latency", "reset_peer", "slow_close", "limit_data", "timeout", "down"), (3, 3, 1, 4, 2, 1))[0]:
        case "latency":
            return "latency", {"latency": rng.randint(1, 60), "jitter": rng.randint(0, 30)}, rng.uniform(0.5, 2)
        case "reset_peer":
            return "reset_peer", {"timeout": rng.randint(0, 200)}, rng.uniform(0.1, 0.5)
        case "slow_close":
            return "slow_close", {"delay": rng.randint(10, 300)}, rng.uniform(0.5, 2)
        case "limit_data":
            return "limit_data", {"bytes": rng.randint(1, 20_000)}, rng.uniform(0.2, 1)
        case "timeout":
            return "timeout", {"timeout": rng.randint(50, 500)}, rng.uniform(0.1, 0.6)
    return "down", {}, rng.uniform(0.05, 0.3)
