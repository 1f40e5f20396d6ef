"""Fixtures of the real engine."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from penstock_service.settings import Settings
from tests.conftest import Running, opened


@pytest.fixture
def llm(real: Running) -> Any:
    """The AsyncLLM inside the service, to ask it directly."""
    return real.engine._llm


@asynccontextmanager
async def borrowing(real: Running, **changes: Any) -> AsyncIterator[Running]:
    """A second service on the same AsyncLLM that runs requests by vLLM's public way alone, as a fall-back does."""
    from penstock_service.engine.vllm.engine import VllmEngine
    from penstock_service.engine.vllm.public_requests import PublicRequests

    class Borrowing(VllmEngine):
        async def close(self) -> None:
            """The AsyncLLM is the other service's; the compiler of constraints is its own."""
            if self._constraints is not None:
                await self._constraints.close()

    async def load(settings: Settings) -> VllmEngine:
        llm = real.engine._llm
        return Borrowing(llm, settings, PublicRequests(llm))

    ports = {"grpc_port": 0, "health_port": 0, "metrics_port": 0}
    async with opened(Settings(**{**ports, "drain_seconds": 0, **changes}), load) as running:
        yield running


@pytest.fixture(scope="session")
async def real_by_public_way(real: Running) -> AsyncIterator[Running]:
    """One for the whole run."""
    async with borrowing(real) as running:
        yield running
