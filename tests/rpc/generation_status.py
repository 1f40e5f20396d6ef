"""Asks GetGeneration until it tells what a test waits for; how a generation is getting on has no events."""

import asyncio
from collections.abc import Callable
from typing import Any

import grpc

from penstock.v1 import generation_pb2 as pb
from tests.conftest import Running


async def status(running: Running, **named: str) -> pb.GenerationStatus | None:
    """The status of a generation by its id, key or name; None where the server has none."""
    call: Any = running.generation.GetGeneration(pb.GetGenerationRequest(**named))
    if await call.code() is grpc.StatusCode.NOT_FOUND:
        return None
    found: pb.GenerationStatus = await call
    return found


async def status_when(
    running: Running, condition: Callable[[pb.GenerationStatus | None], bool], **named: str
) -> pb.GenerationStatus | None:
    """The first status for which the condition holds."""
    async with asyncio.timeout(20):
        while not condition(found := await status(running, **named)):  # noqa: ASYNC110 - see above
            await asyncio.sleep(0.01)
    return found


async def in_phase(running: Running, phase: int, **named: str) -> pb.GenerationStatus:
    """The status once the generation is in that phase."""
    found = await status_when(running, lambda found: found is not None and found.phase == phase, **named)
    assert found is not None
    return found


async def forgotten(running: Running, **named: str) -> None:
    """Wait until the server has no such generation."""
    await status_when(running, lambda found: found is None, **named)
