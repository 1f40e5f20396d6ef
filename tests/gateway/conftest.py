import socket
from collections.abc import AsyncIterator

import httpx
import openai
import pytest

from tests.gateway.running_gateway import serve_gateway
from tests.gateway.scripted_upstream import ScriptedUpstream, serve_upstream


@pytest.fixture(scope="session")
async def upstream_server() -> AsyncIterator[tuple[str, ScriptedUpstream]]:
    async with serve_upstream() as served:
        yield served


@pytest.fixture(scope="session")
async def gateway(upstream_server: tuple[str, ScriptedUpstream]) -> AsyncIterator[str]:
    """The address of a gateway with default settings."""
    async with serve_gateway(upstream=upstream_server[0]) as url:
        yield url


@pytest.fixture
async def upstream(upstream_server: tuple[str, ScriptedUpstream]) -> AsyncIterator[ScriptedUpstream]:
    """The gateway's upstream, as good as new."""
    await upstream_server[1].reset()
    yield upstream_server[1]
    upstream_server[1].released.set()


@pytest.fixture
async def http(gateway: str) -> AsyncIterator[httpx.AsyncClient]:
    """Plain HTTP to the gateway."""
    async with httpx.AsyncClient(base_url=gateway, timeout=30) as client:
        yield client


@pytest.fixture
async def ai(gateway: str) -> AsyncIterator[openai.AsyncOpenAI]:
    """OpenAI's own client, which does not hide errors behind retries here."""
    async with openai.AsyncOpenAI(base_url=f"{gateway}/v1", api_key="EMPTY", max_retries=0) as client:
        yield client


@pytest.fixture
def unused_port() -> int:
    """A port on which nothing listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port
