"""A load of equal calls on a service, and how each went."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from penstock.aio import AsyncClient
from penstock.errors import APIError


@dataclass(frozen=True)
class Load:
    """What to send. `{n}` in the prompt becomes the call's number, from 0."""

    calls: int
    concurrency: int
    prompt: str
    stream: bool
    options: dict[str, Any]


@dataclass(frozen=True)
class MeasuredCall:
    """How one call went: seconds from its beginning. `error` is the code of its failure.

    first_token is None without a stream; tokens are those that were generated.
    """

    total: float
    first_token: float | None = None
    tokens: int = 0
    error: str | None = None

    @property
    def per_token(self) -> float | None:
        """Mean seconds of each token after the first; None if that is not known."""
        if self.first_token is None or self.tokens < 2:
            return None
        return (self.total - self.first_token) / (self.tokens - 1)


async def run_load(client: AsyncClient, load: Load, done: Callable[[], None]) -> tuple[list[MeasuredCall], float]:
    """Make the calls, `concurrency` of them at a time; `done` is called after each. Also the seconds it all took."""
    measured: list[MeasuredCall] = []
    numbers = iter(range(load.calls))
    began = time.perf_counter()

    async def call_one_after_another(numbers: Iterator[int]) -> None:
        for number in numbers:
            measured.append(await _measured(client, load, load.prompt.replace("{n}", str(number))))
            done()

    callers = [call_one_after_another(numbers) for _ in range(min(load.concurrency, load.calls))]
    await asyncio.gather(*callers)
    return measured, time.perf_counter() - began


async def _measured(client: AsyncClient, load: Load, prompt: str) -> MeasuredCall:
    began = time.perf_counter()
    first_token = None
    try:
        if load.stream:
            async with client.stream(prompt, **load.options) as stream:
                await stream.read()
                first_token = time.perf_counter() - began
                reply = await stream.reply()
        else:
            reply = await client.generate(prompt, **load.options)
    except APIError as error:
        return MeasuredCall(time.perf_counter() - began, error=error.code or error.status.name.lower())
    return MeasuredCall(time.perf_counter() - began, first_token, reply.usage.completion_tokens)
