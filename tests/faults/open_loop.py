"""Calls that begin when they are due, however many still run: what many independent users do to a server.

A caller that waits for one answer before it sends the next question slows down with the server and hides its worst
moments; here a late answer counts from the moment that its question was due.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from random import Random
from typing import TypeVar

Outcome = TypeVar("Outcome")


def poisson(rate: float, seconds: float, rng: Random, begin: float = 0.0) -> list[float]:
    """Arrivals at random, `rate` a second on average, from `begin` on for so long."""
    times: list[float] = []
    at = begin + rng.expovariate(rate)
    while at < begin + seconds:
        times.append(at)
        at += rng.expovariate(rate)
    return times


async def open_loop(times: Iterable[float], call: Callable[[float], Awaitable[Outcome]]) -> list[Outcome]:
    """Begin a call at each of the times, in seconds from now; return what all of them came to, in that order.

    `call` is told when it was due, on time.monotonic(). It must not raise.
    """
    began = time.monotonic()
    tasks = []
    async with asyncio.TaskGroup() as group:
        for at in times:
            await asyncio.sleep(max(began + at - time.monotonic(), 0))
            tasks.append(group.create_task(_awaited(call, began + at)))
    return [task.result() for task in tasks]


async def _awaited(call: Callable[[float], Awaitable[Outcome]], due: float) -> Outcome:
    return await call(due)
