"""Makes the faults of the schedule happen, to the engine's process and to the proxies."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.faults.fault_schedule import EngineFault, NetworkFault, engine_faults, network_faults
from tests.faults.network import Proxy
from tests.faults.served import Served

_MOST_HANG_SECONDS = 60


class Troubles:
    """What befalls one server; `counts` is how often what did."""

    def __init__(self, server: Served, seed: int, proxies: int, calm_seconds: float, counts: Counter[str]) -> None:
        """Faults of the engine are `calm_seconds` apart on average, those of the network a twelfth of that."""
        self._server = server
        self._engine_faults = engine_faults(seed, calm_seconds)
        self._network_faults = network_faults(seed, proxies, calm_seconds / 12)
        self._counts = counts

    @asynccontextmanager
    async def happening(self, network: list[Proxy]) -> AsyncIterator[None]:
        """Faults go on for as long as the block runs; then everything is healed."""
        faults = [asyncio.create_task(self._break_engine()), asyncio.create_task(self._break_network(network))]
        try:
            yield
        finally:
            for task in faults:
                task.cancel()
            await asyncio.wait(faults)
            self._server.signal_engine("SIGCONT")
            await asyncio.gather(*(proxy.heal() for proxy in network))

    async def _break_engine(self) -> None:
        for fault in self._engine_faults:
            await asyncio.sleep(fault.pause)
            await self._strike(fault)

    async def _strike(self, fault: EngineFault) -> None:
        struck = self._server.signal_engine(fault.signal)
        if struck is None:
            return
        self._counts[fault.signal if fault.stop_seconds is None else "short SIGSTOP"] += 1
        if fault.stop_seconds is not None:
            await asyncio.sleep(fault.stop_seconds)
            self._server.signal_engine("SIGCONT")
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_MOST_HANG_SECONDS):
                while self._server.engine_is(struck):  # noqa: ASYNC110 - it is another process's
                    await asyncio.sleep(0.05)

    async def _break_network(self, network: list[Proxy]) -> None:
        busy: set[int] = set()
        async with asyncio.TaskGroup() as tasks:
            for fault in self._network_faults:
                await asyncio.sleep(fault.pause)
                if fault.proxy not in busy:
                    busy.add(fault.proxy)
                    tasks.create_task(self._disturb(fault, network[fault.proxy], busy))

    async def _disturb(self, fault: NetworkFault, proxy: Proxy, busy: set[int]) -> None:
        self._counts[fault.toxic] += 1
        if fault.toxic == "down":
            await proxy.down()
        else:
            await proxy.add(fault.toxic, fault.stream, **fault.attributes)
        await asyncio.sleep(fault.seconds)
        await proxy.heal()
        busy.discard(fault.proxy)
