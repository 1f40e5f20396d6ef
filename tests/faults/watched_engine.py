"""A simulated engine that tells when jobs come and go, and can keep some of them in preparation."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict

from penstock_service.engine.base import Ending, Job, Receiver
from penstock_service.engine.simulated import SimulatedEngine

KEPT_IN_PREPARATION = "kept"  # how the request_id of such a job begins


class WatchedEngine(SimulatedEngine):
    """Jobs by their request_id; the moments are of time.monotonic()."""

    def watch(self) -> None:
        """Begin; to be called once it is loaded."""
        self.came: dict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self.left: dict[str, float] = {}
        self._names: dict[str, str] = {}

    async def submit(self, job: Job, receiver: Receiver) -> None:
        """As the engine's; a job that is kept in preparation never gets beyond it."""
        name = job.request.request_id
        self._names[job.id] = name
        if name.startswith(KEPT_IN_PREPARATION):
            self.came[name].set()
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                self.left[name] = time.monotonic()
        await super().submit(job, receiver)
        self.came[name].set()

    def abort(self, job_id: str) -> Ending | None:
        """As the engine's."""
        ending = super().abort(job_id)
        if ending is not None:
            self.left[self._names[job_id]] = time.monotonic()
        return ending
