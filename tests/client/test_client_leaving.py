"""Leaving a stream early reaches the server and leaves nothing behind, on old and new versions of grpcio."""

import asyncio
import itertools
import sys
from pathlib import Path

import pytest

from tests.client.leaving import WAYS, delays, server
from tests.client.lone_client import install, interpreter
from tests.client.memory_of_cancelled import async_growth, blocking_growth

STREAMS = 2000
# What the allocator may still take up; a call that leaks has cost 20 KiB and more, 20 MiB over half of the streams.
MOST_GROWTH_BYTES = 6 << 20


async def test_the_server_sees_every_way_to_leave() -> None:
    found = await delays(sys.executable, 5)

    assert {way: len(seconds) for way, seconds in found.items()} == dict.fromkeys(WAYS, 5)


@pytest.mark.slow
@pytest.mark.parametrize("grpcio", ["1.80.0", "1.82.2"])
async def test_the_server_sees_it_on_older_versions_of_grpcio(grpcio: str, wheel: Path, tmp_path: Path) -> None:
    python = interpreter("3.11")
    assert python is not None
    alone = tmp_path / "venv" / "bin"
    await asyncio.to_thread(install, tmp_path, python, alone, [f"grpcio=={grpcio}", "protobuf==6.33.0"], wheel)

    found = await delays(str(alone / "python"), 5)

    assert {way: len(seconds) for way, seconds in found.items()} == dict.fromkeys(WAYS, 5)


@pytest.mark.slow
@pytest.mark.parametrize("growth", [async_growth, blocking_growth])
async def test_streams_left_early_leave_no_memory_behind(growth: object) -> None:
    async with server() as (_, target):
        sizes = await growth(target, STREAMS)  # type: ignore[operator]

    half = len(sizes) // 2
    assert sizes[-1] - sizes[half] < MOST_GROWTH_BYTES, list(itertools.pairwise(sizes))
