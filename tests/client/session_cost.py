"""What a token costs the client's process: over a session beside an RPC for each call, both flavours, in one run.

    python -m tests.client.session_cost [--calls 64] [--steps 256] [--interval-ms 5] [--profile asyncio]

The server is a process of its own, which sends each call one short piece a step. The cost is the CPU time of this
process (all its threads, gRPC's too) by the tokens that arrived.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import pstats
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import grpc.aio

from penstock import AsyncClient, Client
from penstock.v1 import generation_pb2 as pb
from penstock.v1 import generation_pb2_grpc


class Pieces(generation_pb2_grpc.GenerationServicer):
    """A server that sends every call the same pieces."""

    def __init__(self, calls: int, steps: int, interval_seconds: float) -> None:
        self._calls = calls
        self._steps = steps
        self._interval_seconds = interval_seconds
        self._waiting = 0
        self._all_here = asyncio.Event()

    async def StreamGenerate(self, request: pb.GenerateRequest, context: Any) -> AsyncIterator[pb.GenerateChunk]:
        await self._everybody()
        begun = time.monotonic()
        for step in range(self._steps):
            yield self._chunk(step)
            await self._next_step(begun, step)

    async def Session(
        self, requests: AsyncIterator[pb.SessionRequest], context: Any
    ) -> AsyncIterator[pb.SessionResponse]:
        """All calls of the client come to one session, because it does not say who it is before they are there."""
        numbers = [(await anext(requests)).start.call for _ in range(self._calls)]
        yield pb.SessionResponse(server_id="only")
        begun = time.monotonic()
        for step in range(self._steps):
            yield pb.SessionResponse(chunks=[pb.CallChunk(call=n, chunk=self._chunk(step)) for n in numbers])
            await self._next_step(begun, step)
        yield pb.SessionResponse(ends=[pb.CallEnd(call=n) for n in numbers])

    async def _everybody(self) -> None:
        """Streams begin together, as the calls of a session do."""
        self._waiting += 1
        all_here = self._all_here
        if self._waiting == self._calls:
            self._waiting, self._all_here = 0, asyncio.Event()
            all_here.set()
        await all_here.wait()

    async def _next_step(self, begun: float, step: int) -> None:
        await asyncio.sleep(max(0.0, begun + (step + 1) * self._interval_seconds - time.monotonic()))

    def _chunk(self, step: int) -> pb.GenerateChunk:
        chunk = pb.GenerateChunk(seq=step, deltas=[pb.SequenceDelta(text=" word")])
        if step == 0:
            chunk.id, chunk.model = "gen-1", "tiny"
        if step == self._steps - 1:
            chunk.deltas[0].finish.reason = pb.FINISH_REASON_LENGTH
            chunk.usage.completion_tokens = self._steps
        return chunk


async def serve(options: argparse.Namespace) -> None:
    """Print the port and serve until stdin ends."""
    server = grpc.aio.server()
    pieces = Pieces(options.calls, options.steps, options.interval_ms / 1000)
    generation_pb2_grpc.add_GenerationServicer_to_server(pieces, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await server.stop(0)


def asyncio_cost(target: str, options: argparse.Namespace, transport: dict[str, Any]) -> float:
    async def consume(client: AsyncClient) -> int:
        return len([chunk.text async for chunk in client.stream("Once", max_tokens=options.steps)])

    async def run() -> float:
        async with AsyncClient(target, **transport) as client:
            begun = time.process_time()
            tokens = sum(await asyncio.gather(*(consume(client) for _ in range(options.calls))))
            return (time.process_time() - begun) / tokens

    return asyncio.run(run())


def blocking_cost(target: str, options: argparse.Namespace, transport: dict[str, Any]) -> float:
    with Client(target, **transport) as client, ThreadPoolExecutor(options.calls) as threads:

        def consume(_: int) -> int:
            return len([chunk.text for chunk in client.stream("Once", max_tokens=options.steps)])

        begun = time.process_time()
        tokens = sum(threads.map(consume, range(options.calls)))
        return (time.process_time() - begun) / tokens


FLAVOURS: dict[str, Callable[..., float]] = {"asyncio": asyncio_cost, "blocking": blocking_cost}
TRANSPORTS: dict[str, dict[str, Any]] = {"streams": {"sessions": "never"}, "session": {"sessions": "always"}}


def measure(target: str, options: argparse.Namespace) -> None:
    print(f"{options.calls} calls of {options.steps} tokens, a step each {options.interval_ms} ms; us of CPU a token")
    print(f"{'':10}{'streams':>10}{'session':>10}")
    for flavour, cost in FLAVOURS.items():
        cost(target, options, TRANSPORTS["session"])  # to warm up
        costs = [cost(target, options, transport) * 1e6 for transport in TRANSPORTS.values()]
        print(f"{flavour:10}" + "".join(f"{each:10.1f}" for each in costs))


def profile(target: str, options: argparse.Namespace) -> None:
    profiler = cProfile.Profile()
    profiler.runcall(FLAVOURS[options.profile], target, options, TRANSPORTS["session"])
    pstats.Stats(profiler).sort_stats("tottime").print_stats(25)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=64)
    parser.add_argument("--steps", type=int, default=256)
    parser.add_argument("--interval-ms", type=float, default=5)
    parser.add_argument("--profile", choices=FLAVOURS)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve(options))
        return
    command = [sys.executable, "-m", "tests.client.session_cost", "--serve", *sys.argv[1:]]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        target = f"127.0.0.1:{server.stdout.readline().strip()}"
        (profile if options.profile else measure)(target, options)
        assert server.stdin is not None
        server.stdin.close()


if __name__ == "__main__":
    main()
