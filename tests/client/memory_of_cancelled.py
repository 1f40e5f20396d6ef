"""What the caller's process holds after many streams that were left early.

python -m tests.client.memory_of_cancelled --streams 10000
"""

from __future__ import annotations

import argparse
import asyncio
import gc

import psutil

from penstock import AsyncClient, Client
from tests.client.leaving import server

STEPS = 10


async def async_growth(target: str, streams: int) -> list[int]:
    """Resident bytes of this process after each tenth of the streams."""
    sizes = []
    async with AsyncClient(target, sessions="never") as client:
        for _ in range(STEPS):
            for _ in range(streams // STEPS):
                async with client.stream("Hello") as stream:
                    await stream.read()
            sizes.append(_resident_bytes())
    return sizes


async def blocking_growth(target: str, streams: int) -> list[int]:
    """The same with the blocking client, in a thread."""
    sizes = []

    def leave(client: Client, count: int) -> None:
        for _ in range(count):
            with client.stream("Hello") as stream:
                stream.read()

    with Client(target, sessions="never") as client:
        for _ in range(STEPS):
            await asyncio.to_thread(leave, client, streams // STEPS)
            sizes.append(_resident_bytes())
    return sizes


def _resident_bytes() -> int:
    gc.collect()
    return int(psutil.Process().memory_info().rss)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=10_000)
    given = parser.parse_args()
    for name, growth in (("asyncio", async_growth), ("blocking", blocking_growth)):
        async with server() as (_, target):
            sizes = await growth(target, given.streams)
        print(f"{name:10}MiB after each tenth of {given.streams}: {[round(size / 2**20, 1) for size in sizes]}")


if __name__ == "__main__":
    asyncio.run(main())
