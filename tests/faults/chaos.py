"""Loads a service while its engine and its network break, and holds every call against the checker's invariants.

python -m tests.faults.chaos --calls 100000 --seed 1 [--record]

The load comes in rounds. In each of them calls run while faults happen (safety: nothing wrong may be said); then the
faults stop, everything must end within SETTLING_SECONDS, the service must answer as if nothing had been, and hold
nothing any more (liveness).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import grpc

from tests.faults.callers import Callers
from tests.faults.checker import Break, jobs_are_balanced, nothing_is_left
from tests.faults.history import ClientCall
from tests.faults.network import Proxy, proxies
from tests.faults.paths import Paths
from tests.faults.plans import MOST_MESSAGE_BYTES, plain_plan, plan_of
from tests.faults.served import Served, served
from tests.faults.tally import Tally
from tests.faults.troubles import Troubles

PROXIES = 4
CONTEXT_LENGTH = 4096
GRACE_SECONDS = 2
SETTLING_SECONDS = 100  # past what keepalive takes to find that a peer is gone
ROUND_CALLS = 10_000
_POLL_SECONDS = 0.4
FLAGS = {
    "--drain-seconds": 0,
    "--grace-seconds": GRACE_SECONDS,
    "--engine-stall-seconds": 1,
    "--engine-hang-seconds": 3,
    "--engine-restarts": 100,
    "--max-message-bytes": MOST_MESSAGE_BYTES,
    "--max-held-bytes": 4096,
    "--max-stall-seconds": 1,
    "--simulated.step-time-ms": 2,
    "--simulated.max-concurrent-sequences": 32,
    "--simulated.context-length": CONTEXT_LENGTH,
}
_PLAIN_KINDS = ("generate", "stream", "session", "resumable", "batch", "same key", "client", "lookup")


def _nobody(_call: ClientCall) -> None:
    pass


class Chaos:
    """One run against one server."""

    def __init__(self, server: Served, seed: int, at_once: int, calm_seconds: float, least_deaths: int) -> None:
        self.tally = Tally()
        self._server = server
        self._address = f"127.0.0.1:{server.port}"
        self._seed = seed
        self._at_once = at_once
        self._least_deaths = least_deaths
        self._plans = count(1)
        self._troubles = Troubles(server, seed, PROXIES, calm_seconds, self.tally.faults)
        self._baseline: dict[str, Any] = {}

    async def warm_up(self) -> None:
        """Let everything be made that is made once, and remember what is there then."""
        async with self._paths([]) as paths:
            await self._plain_calls(self._callers(paths, []))
        await asyncio.sleep(GRACE_SECONDS)
        self._baseline = await self._quiet_state()
        self.tally.join(self._server.log)

    async def round(self, calls: int) -> None:
        """Break things under a load of so many calls, then see everything end and be as before."""
        async with proxies(self._address, PROXIES) as network, self._paths(network) as paths:
            callers = self._callers(paths, network)
            enough = asyncio.Event()
            async with asyncio.TaskGroup() as tasks:
                async with self._troubles.happening(network):
                    for _ in range(self._at_once):
                        tasks.create_task(self._caller(paths, network, len(self.tally.calls) + calls, enough))
                    await enough.wait()
            await self._serving(callers)
            await self._plain_calls(callers)
        await self._settled()
        self.tally.join(self._server.log)

    @asynccontextmanager
    async def _paths(self, network: list[Proxy]) -> AsyncIterator[Paths]:
        addresses = {"direct": self._address, **{proxy.name: proxy.address for proxy in network}}
        async with Paths(addresses) as paths:
            yield paths

    def _callers(self, paths: Paths, network: list[Proxy], also: Callable[[ClientCall], None] = _nobody) -> Callers:
        """Callers of whose calls the tally hears, and somebody else."""
        proxy_of = {proxy.name: proxy for proxy in network}

        def ended(call: ClientCall) -> None:
            proxy = proxy_of.get(call.path)
            call.disturbed = proxy is not None and proxy.was_disturbed_since(call.sent)
            self.tally.ended(call)
            also(call)

        return Callers(paths, CONTEXT_LENGTH, ended)

    async def _caller(self, paths: Paths, network: list[Proxy], most: int, enough: asyncio.Event) -> None:
        """Call on and on until so many calls have ended, and the engine has died as often as asked for."""
        own: deque[ClientCall] = deque(maxlen=1)
        callers = self._callers(paths, network, own.append)
        while not self._server.ended and (len(self.tally.calls) < most or self.tally.deaths < self._least_deaths):
            plan = plan_of(self._seed, next(self._plans), paths=1 + PROXIES)
            await callers.carry_out(plan)
            last = own[-1].ends
            if last and last[0].code is grpc.StatusCode.UNAVAILABLE:
                await asyncio.sleep(plan.rng.uniform(0.02, 0.3))  # or most calls would be such refusals
        enough.set()

    async def _plain_calls(self, callers: Callers) -> None:
        """Calls that nothing disturbs: every one of them must be answered."""
        before = len(self.tally.calls)
        for kind in _PLAIN_KINDS * 3:
            await callers.carry_out(plain_plan(self._seed, next(self._plans), kind))
        for call in self.tally.calls[before:]:
            if call.kind in ("generate", "stream", "client") and call.ends[0].code is not grpc.StatusCode.OK:
                self.tally.note("all_is_well_again", f"{call.kind} ended with {call.ends[0]}", call.trace)

    async def _serving(self, callers: Callers) -> None:
        """Wait until the service answers again."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SETTLING_SECONDS):
                while True:
                    await callers.carry_out(plain_plan(self._seed, next(self._plans), "generate"))
                    if self.tally.calls[-1].ends[0].code is grpc.StatusCode.OK:
                        return
                    await asyncio.sleep(0.1)
        self.tally.note("all_is_well_again", f"no answer within {SETTLING_SECONDS} s of the last fault")

    async def _settled(self) -> None:
        """Wait until nothing is left of the calls; note what is."""
        latest = time.monotonic() + SETTLING_SECONDS
        while left := await self._left():
            gc.collect()
            if time.monotonic() > latest:
                self.tally.breaks.extend(left)
                return
            await asyncio.sleep(_POLL_SECONDS)

    async def _left(self) -> list[Break]:
        state = await self._server.state()
        return [*nothing_is_left(state, self._baseline), *jobs_are_balanced(state)]

    async def _quiet_state(self) -> dict[str, Any]:
        """What the server holds once that changes no more."""
        state = await self._server.state()
        while True:
            await asyncio.sleep(_POLL_SECONDS)
            before, state = state, await self._server.state()
            if _without_time(before) == _without_time(state) and not state["calls"]:
                return _without_time(state)


def _without_time(state: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in state.items() if name not in ("timestamp", "level", "event")}


async def run(calls: int, seed: int, at_once: int = 128, calm_seconds: float = 7, least_deaths: int = 0) -> Tally:
    """Load until the server has accepted so many calls; the engine's faults are `calm_seconds` apart on average.

    Each round goes on until the engine has died `least_deaths` times since the first began.
    """
    flags = [str(word) for pair in FLAGS.items() for word in pair]
    async with served(*flags) as server:
        chaos = Chaos(server, seed, at_once, calm_seconds, least_deaths)
        await chaos.warm_up()
        telling = asyncio.create_task(_tell(chaos.tally))
        try:
            while chaos.tally.accepted < calls and not server.ended:
                await chaos.round(min(ROUND_CALLS, calls - chaos.tally.accepted))
        finally:
            telling.cancel()
        if server.ended:
            chaos.tally.note("it_goes_on", f"the server has ended: {server.log.suspicious[-3:]}")
        chaos.tally.last(await server.stop(), server.log)
        return chaos.tally


async def _tell(tally: Tally) -> None:
    """Say every ten seconds how it goes, and what has broken."""
    begun, told = time.monotonic(), 0
    while True:
        await asyncio.sleep(10)
        seconds, ended, faults = time.monotonic() - begun, tally.outcomes.total(), tally.faults.total()
        print(f"{seconds:5.0f} s: {ended} calls ended, {faults} faults, {len(tally.breaks)} breaks", flush=True)
        for broken in tally.breaks[told:]:
            print(broken, flush=True)
        told = len(tally.breaks)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--at-once", type=int, default=128)
    parser.add_argument("--record", action="store_true", help="write the result into docs/reliability.md")
    given = parser.parse_args()
    tally = asyncio.run(run(given.calls, given.seed, given.at_once))
    print("\n".join(tally.report()))
    if given.record:
        tally.record(given.seed)


if __name__ == "__main__":
    main()
