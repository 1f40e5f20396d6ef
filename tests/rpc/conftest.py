"""The real engine: one vLLM for the whole run, in this process, so that tests can also ask AsyncLLM directly."""

from collections.abc import AsyncIterator
from importlib.util import find_spec
from typing import Any

import pytest
from penstock_service.settings import Settings

from tests.conftest import Running, opened


@pytest.fixture(scope="session")
async def real() -> AsyncIterator[Running]:
    """A service with the built-in model on vLLM."""
    if find_spec("vllm") is None:
        pytest.skip("vLLM is not installed here: `make test` installs it")
    ports = {"grpc_port": 0, "health_port": 0, "metrics_port": 0}
    async with opened(Settings(**ports, drain_seconds=0)) as running:
        yield running


@pytest.fixture
def llm(real: Running) -> Any:
    """The AsyncLLM behind the real service."""
    return real.engine._llm  # the one way to hold our replies against vLLM's own on the same engine
