"""What a streamed token costs the caller's process: each way to ask, side by side.

The native client, its OpenAI-shaped facade and the official SDK over gRPC ask Penstock; the official SDK over HTTP asks
vLLM's own server. All run the built-in model, one server after the other in one go, under the same load: STREAMS
concurrent streams of TOKENS tokens each, in one asyncio process. Counted is the CPU time of that process, gRPC's own
threads included, by the tokens that arrived.

    python -m tests.benchmarks.client_cost
"""

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

from penstock import AsyncClient
from penstock_service.engine.vllm.arguments import command_line, prepare_environment
from penstock_service.settings import Settings
from tests.benchmarks.servers import server_process, wait_for_http, wait_for_penstock

STREAMS, TOKENS = 64, 64
PENSTOCK, VLLM = "localhost:50961", "http://127.0.0.1:50963"
MESSAGES = [{"role": "user", "content": "Tell me a story about a river."}]

Ask = Callable[[], Awaitable[None]]


def native(sessions: Any, **more: Any) -> Ask:
    """`client.stream`."""
    client = AsyncClient(PENSTOCK, sessions=sessions, **more)

    async def ask() -> None:
        async with client.stream(messages=MESSAGES, max_tokens=TOKENS, ignore_eos=True, temperature=0) as stream:
            async for chunk in stream:
                chunk.text  # noqa: B018 - what a caller does with it

    return ask


async def _read(completions: Any) -> None:
    stream = await completions.create(
        model="builtin",
        messages=MESSAGES,
        max_tokens=TOKENS,
        temperature=0,
        stream=True,
        extra_body={"ignore_eos": True},
    )
    async for chunk in stream:
        chunk.choices[0].delta.content  # noqa: B018


def facade() -> Ask:
    """`client.chat.completions.create(stream=True)`."""
    completions = AsyncClient(PENSTOCK).chat.completions
    return lambda: _read(completions)


def sdk_over_grpc() -> Ask:
    """openai.AsyncOpenAI with penstock.openai's transport."""
    import openai

    from penstock.openai import http_client

    completions = openai.AsyncOpenAI(http_client=http_client(AsyncClient(PENSTOCK)), api_key="-").chat.completions
    return lambda: _read(completions)


def sdk_over_http() -> Ask:
    """openai.AsyncOpenAI against vLLM's own server."""
    import openai

    completions = openai.AsyncOpenAI(base_url=f"{VLLM}/v1", api_key="-", max_retries=0).chat.completions
    return lambda: _read(completions)


WAYS: dict[str, Callable[[], Ask]] = {
    "native, sessions": lambda: native("auto"),
    "native, an RPC each": lambda: native("never"),
    "native, resumable": lambda: native("never", resume=True),
    "facade": facade,
    "openai-python over gRPC": sdk_over_grpc,
    "openai-python, vLLM's HTTP server": sdk_over_http,
}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--calls", type=int, default=256, help="streams of a round")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.way:
        asyncio.run(_measure(WAYS[given.way], given.calls))
        return
    prepare_environment(Settings())
    ports = ["--grpc-port", PENSTOCK.rpartition(":")[2], "--health-port", "50962", "--metrics-port", "none"]
    *ours, theirs = WAYS
    with server_process(["-m", "penstock_service", *ports, "--log-level", "warning"]):
        wait_for_penstock(PENSTOCK)
        figures = _rounds(ours, given.calls, given.rounds)
    words = [*command_line(Settings()), "--host", "127.0.0.1", "--port", VLLM.rpartition(":")[2]]
    with server_process(["-m", "vllm.entrypoints.openai.api_server", *words]) as process:
        wait_for_http(f"{VLLM}/health", process)
        figures |= _rounds([theirs], given.calls, given.rounds)
    _print(figures, given.calls, given.rounds)


def _rounds(ways: list[str], calls: int, rounds: int) -> dict[str, list[tuple[float, float]]]:
    """CPU in us a token and tokens/s of each way in each round, taken in turns."""
    turns = [{way: _measured(way, calls) for way in ways} for _ in range(rounds)]
    return {way: [turn[way] for turn in turns] for way in ways}


def _measured(way: str, calls: int) -> tuple[float, float]:
    command = [sys.executable, "-m", "tests.benchmarks.client_cost", "--way", way, "--calls", str(calls)]
    out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    cpu, rate = json.loads(out.splitlines()[-1])
    return cpu, rate


async def _measure(way: Callable[[], Ask], calls: int) -> None:
    ask = way()
    places = asyncio.Semaphore(STREAMS)

    async def one() -> None:
        async with places:
            await ask()

    await asyncio.gather(*(one() for _ in range(STREAMS)))  # warm-up
    cpu, start = time.process_time(), time.monotonic()
    await asyncio.gather(*(one() for _ in range(calls)))
    tokens = calls * TOKENS
    print(json.dumps([1e6 * (time.process_time() - cpu) / tokens, tokens / (time.monotonic() - start)]))


def _print(figures: dict[str, list[tuple[float, float]]], calls: int, rounds: int) -> None:
    print(f"\n{STREAMS} streams x {TOKENS} tokens, {calls} streams a round, median (range) of {rounds} rounds")
    print(f"{'':36}{'us of the caller a token':>28}{'tokens/s':>12}")
    for way, rows in figures.items():
        costs, rates = zip(*rows, strict=True)
        cost = f"{statistics.median(costs):.1f} ({min(costs):.1f}-{max(costs):.1f})"
        print(f"{way:36}{cost:>28}{statistics.median(rates):>12.0f}")


if __name__ == "__main__":
    main()
