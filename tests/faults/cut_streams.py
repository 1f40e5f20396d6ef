"""Cuts streams at random bytes and compares what arrives with what an unbroken stream brings.

python -m tests.faults.cut_streams --cuts 10000         on the simulated engine
python -m tests.faults.cut_streams --cuts 200 --real    on vLLM
"""

from __future__ import annotations

import argparse
import asyncio
import logging
from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import Any

import structlog

from penstock import AsyncClient, Client, Reply, Retry
from tests.client.cutting_proxy import CuttingProxy
from tests.conftest import opened, simulated_settings
from tests.faults.promises import record

# Each cut needs one more connection; the budget is for clients whose server is in trouble.
RETRY = Retry(attempts=50, base=0.002, cap=0.02, budget=None)
OPTIONS: dict[str, Any] = {"max_tokens": 40, "ignore_eos": True, "temperature": 0, "timeout": 60}
PROMPTS = ("Once upon a time", "Hello", "The river", "What is a penstock?", "Tell me a story 👋")


@dataclass
class Tally:
    """How the streams went."""

    streams: int = 0
    cuts: int = 0
    resumed: int = 0
    wrong: list[str] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)

    def compare(self, reply: Reply, expected: Reply, token_ids: bool, place: str) -> None:
        self.streams += 1
        self.resumed += reply.resumed
        same = (
            reply.text == expected.text
            and reply.finish_reason == expected.finish_reason
            and reply.usage.completion_tokens == expected.usage.completion_tokens
            and list(reply.token_ids) == (list(expected.token_ids) if token_ids else [])
            and reply.continued == 0
        )
        if not same:
            self.wrong.append(f"{place}: {reply.text!r} instead of {expected.text!r}")


async def cut_streams(address: str, cuts: int, seed: int, at_once: int = 16, blocking: bool = False) -> Tally:
    """Run `cuts` streams through proxies that cut each of them once, somewhere between its first byte and its last."""
    tally = Tally()
    async with AsyncClient(address, retry=RETRY) as client:
        expected = [await client.generate(prompt, return_token_ids=True, **OPTIONS) for prompt in PROMPTS]
    run = _cut_blocking if blocking else _cut_some
    shares = [cuts // at_once + (number < cuts % at_once) for number in range(at_once)]
    await asyncio.gather(
        *(run(address, share, Random(f"{seed} {number}"), expected, tally) for number, share in enumerate(shares))
    )
    return tally


async def _cut_some(address: str, cuts: int, rng: Random, expected: list[Reply], tally: Tally) -> None:
    async with CuttingProxy(address) as proxy, AsyncClient(proxy.target, resume=True, retry=RETRY) as client:
        sizes = [await _size(proxy, client, prompt) for prompt in PROMPTS]
        for _ in range(cuts):
            which, token_ids = rng.randrange(len(PROMPTS)), rng.random() < 0.5
            place = rng.randrange(1, sizes[which])
            proxy.cut_after(place)
            before = proxy.cut_off
            try:
                reply = await client.stream(PROMPTS[which], return_token_ids=token_ids, **OPTIONS).reply()
            except Exception as error:
                tally.errors[f"{type(error).__name__}: {error}"] += 1
                continue
            tally.cuts += proxy.cut_off - before
            tally.compare(reply, expected[which], token_ids, f"{PROMPTS[which]!r} cut at byte {place}")


async def _size(proxy: CuttingProxy, client: AsyncClient, prompt: str) -> int:
    before = proxy.passed
    await client.stream(prompt, **OPTIONS).reply()
    return proxy.passed - before


async def _cut_blocking(address: str, cuts: int, rng: Random, expected: list[Reply], tally: Tally) -> None:
    async with CuttingProxy(address) as proxy:
        with Client(proxy.target, resume=True, retry=RETRY) as client:
            sizes = [await _blocking_size(proxy, client, prompt) for prompt in PROMPTS]
            for _ in range(cuts):
                which = rng.randrange(len(PROMPTS))
                place = rng.randrange(1, sizes[which])
                proxy.cut_after(place)
                before = proxy.cut_off
                stream = await asyncio.to_thread(client.stream, PROMPTS[which], **OPTIONS)
                reply = await asyncio.to_thread(stream.reply)
                tally.cuts += proxy.cut_off - before
                tally.compare(reply, expected[which], False, f"{PROMPTS[which]!r} cut at byte {place}")


async def _blocking_size(proxy: CuttingProxy, client: Client, prompt: str) -> int:
    before = proxy.passed
    await asyncio.to_thread(lambda: client.stream(prompt, **OPTIONS).reply())
    return proxy.passed - before


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cuts", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--real", action="store_true", help="on vLLM instead of the simulated engine")
    parser.add_argument("--record", action="store_true", help="write the result into docs/reliability.md")
    given = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    ports = {"grpc_port": 0, "health_port": 0, "metrics_port": None}
    settings = simulated_settings(engine="vllm", simulated={}, **ports) if given.real else simulated_settings()
    async with opened(settings) as running:
        tally = await cut_streams(running.address, given.cuts, given.seed)
    print(f"{tally.streams} streams, {tally.cuts} cuts, resumed {tally.resumed} times, seed {given.seed}")
    print(f"{len(tally.wrong)} with a token lost or doubled, {sum(tally.errors.values())} failed {dict(tally.errors)}")
    for wrong in tally.wrong[:10]:
        print(wrong)
    if given.record:
        _record(tally, given.seed, "vLLM" if given.real else "")


def _record(tally: Tally, seed: int, case: str) -> None:
    broken = len(tally.wrong) + sum(tally.errors.values())
    result = f"{len(tally.wrong)} differ, {sum(tally.errors.values())} failed, of {tally.cuts} cuts"
    record(
        "resumed_equals_unbroken",
        case=case,
        n=tally.resumed,
        failures=broken,
        result=result,
        passed=broken == 0,
        seed=seed,
    )


if __name__ == "__main__":
    asyncio.run(main())
