"""How soon the server sees that a caller has left its stream, on any version of grpcio.

python -m tests.client.leaving                                       on the version of this environment
python -m tests.client.leaving --python /tmp/env/bin/python          on that of another one, with the client installed
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc.aio

from penstock.v1 import generation_pb2 as pb
from penstock.v1 import generation_pb2_grpc

WAYS = ("break", "with", "close", "error", "async break", "async with", "async close", "async task", "async resumable")

# Leaves streams in every way and tells when: on a clock that all processes of the machine share.
PROGRAM = """
import asyncio, json, sys, time
from penstock import AsyncClient, Client

target, times = sys.argv[1], int(sys.argv[2])
left = {}

def leave(client, way, name):
    stream = client.stream("Hello", request_id=name)
    if way == "break":
        for chunk in stream:
            left[name] = time.monotonic()
            break
    elif way == "close":
        stream.read()
        left[name] = time.monotonic()
        stream.close()
    else:
        try:
            with stream:
                stream.read()
                left[name] = time.monotonic()
                if way == "error":
                    raise LookupError
        except LookupError:
            pass

async def read(stream):
    async for chunk in stream:
        pass

async def leave_async(client, way, name):
    stream = client.stream("Hello", request_id=name, resume=way == "async resumable")
    if way == "async break":
        async for chunk in stream:
            left[name] = time.monotonic()
            break
        await asyncio.sleep(0)
    elif way == "async with":
        async with stream:
            await stream.read()
            left[name] = time.monotonic()
    elif way == "async task":
        await stream.read()
        task = asyncio.create_task(read(stream))
        await asyncio.sleep(0.01)
        left[name] = time.monotonic()
        task.cancel()
        await asyncio.wait([task])
    else:
        await stream.read()
        left[name] = time.monotonic()
        await stream.aclose()

async def all_async():
    async with AsyncClient(target, sessions="never") as client:
        for way in ("async break", "async with", "async close", "async task", "async resumable"):
            for number in range(times):
                await leave_async(client, way, f"{way.replace(' ', '-')}/{number}")

with Client(target, sessions="never") as client:
    for way in ("break", "with", "close", "error"):
        for number in range(times):
            leave(client, way, f"{way}/{number}")
    asyncio.run(all_async())
    print(json.dumps(left), flush=True)
    sys.stdin.read()  # stays: what ends with the process was not left
"""


class Generations(generation_pb2_grpc.GenerationServicer):  # type: ignore[misc]
    """Streams one chunk and then nothing; `seen` is when each caller was seen to leave, by its request_id."""

    def __init__(self) -> None:
        self.seen: dict[str, float] = {}
        self._names: dict[str, str] = {}
        self._news = asyncio.Event()

    async def StreamGenerate(self, request: pb.GenerateRequest, context: Any) -> None:
        name = request.request_id
        self._names[f"id of {name}"] = name
        try:
            await context.write(pb.GenerateChunk(id=f"id of {name}", request_id=name, deltas=[{"text": "Hello"}]))
            await asyncio.Event().wait()
        finally:
            if not request.resumable:  # one that is resumable outlives its call
                self._saw(name)

    async def Cancel(self, request: pb.CancelRequest, context: Any) -> pb.CancelResponse:
        self._saw(self._names[request.id])
        return pb.CancelResponse()

    def _saw(self, name: str) -> None:
        self.seen[name] = time.monotonic()
        self._news.set()

    async def all_of(self, names: set[str]) -> None:
        """Wait until each of them was seen to leave."""
        while names - self.seen.keys():
            self._news.clear()
            await self._news.wait()


@asynccontextmanager
async def server() -> AsyncIterator[tuple[Generations, str]]:
    serving, generations = grpc.aio.server(), Generations()
    generation_pb2_grpc.add_GenerationServicer_to_server(generations, serving)
    port = serving.add_insecure_port("127.0.0.1:0")
    await serving.start()
    try:
        yield generations, f"127.0.0.1:{port}"
    finally:
        await serving.stop(0)


async def delays(python: str, times: int) -> dict[str, list[float]]:
    """Seconds from leaving to its being seen, `times` of each way."""
    async with server() as (generations, target):
        pipe = asyncio.subprocess.PIPE
        child = await asyncio.create_subprocess_exec(
            python, "-c", PROGRAM, target, str(times), stdin=pipe, stdout=pipe, limit=1 << 20, cwd="/"
        )
        assert child.stdin is not None
        assert child.stdout is not None
        left: dict[str, float] = json.loads(await child.stdout.readline())
        await generations.all_of(set(left))
        child.stdin.close()
        await child.wait()
    found: dict[str, list[float]] = {}
    for name, moment in left.items():
        found.setdefault(name.partition("/")[0].replace("-", " "), []).append(generations.seen[name] - moment)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--times", type=int, default=50)
    given = parser.parse_args()
    for way, seconds in asyncio.run(delays(given.python, given.times)).items():
        middle, most = 1000 * statistics.median(seconds), 1000 * max(seconds)
        print(f"{way:18}{len(seconds):4} streams   median {middle:6.1f} ms   most {most:6.1f} ms")


if __name__ == "__main__":
    main()
