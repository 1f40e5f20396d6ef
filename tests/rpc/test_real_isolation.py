"""What vLLM has cached of a tenant's prompts is of use to that tenant and to nobody else."""

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from penstock.v1 import generation_pb2 as pb
from tests.conftest import Running
from tests.rpc.conftest import borrowing
from tests.rpc.identities import KEY, OTHER_KEY, bearer, two_tenants
from tests.rpc.session_user import SessionUser

pytestmark = [pytest.mark.real_vllm, pytest.mark.timeout(600)]


@pytest.fixture
async def shared(real: Running, tmp_path: Path) -> AsyncIterator[Running]:
    """A service with two tenants on the engine of another that knows none."""
    async with borrowing(real, identity_file=two_tenants(tmp_path / "identity.toml")) as running:
        yield running


def new_prompt() -> str:
    return f"{time.monotonic_ns()} " * 12


async def cached(running: Running, prompt: str, key: str | None, **fields: Any) -> int:
    """How many tokens of the prompt were there already."""
    request = pb.GenerateRequest(prompt=prompt, stopping={"max_tokens": 1}, **fields)
    reply = await running.generation.Generate(request, metadata=bearer(key) if key else ())
    assert "cache_salt" not in str(reply)
    count: int = reply.usage.cached_prompt_tokens
    return count


async def test_a_tenant_meets_its_own_prompts_and_no_others(shared: Running, real: Running) -> None:
    prompt = new_prompt()

    assert await cached(shared, prompt, KEY) == 0
    assert await cached(shared, prompt, KEY) > 0
    assert await cached(shared, prompt, OTHER_KEY) == 0
    assert await cached(shared, prompt, OTHER_KEY) > 0
    assert await cached(real, prompt, None) == 0


@pytest.mark.parametrize("salt", ["mine", "first", "tenant:", "salt:mine", "salt:"])
async def test_no_salt_of_the_callers_leads_to_another_tenants_prompts(
    shared: Running, real: Running, salt: str
) -> None:
    prompt = new_prompt()
    await cached(shared, prompt, KEY)
    await cached(shared, prompt, KEY, cache_salt=salt)

    assert await cached(shared, prompt, KEY, cache_salt=salt) > 0
    assert await cached(shared, prompt, OTHER_KEY, cache_salt=salt) == 0
    assert await cached(real, prompt, None, cache_salt=salt) == 0


async def test_the_inputs_of_a_batch_and_the_calls_of_a_session_are_their_tenants(shared: Running) -> None:
    prompt = new_prompt()
    batch = pb.GenerateRequest(batch={"inputs": [{"prompt": prompt}]}, stopping={"max_tokens": 1})
    alone = pb.GenerateRequest(prompt=prompt, stopping={"max_tokens": 1})

    async def in_session(key: str) -> int:
        async with SessionUser(shared, metadata=bearer(key)) as user:
            await user.start(1, alone)
            await user.outcome(1)
            return int(user.chunks[1][-1].usage.cached_prompt_tokens)

    await shared.generation.Generate(batch, metadata=bearer(KEY))
    assert await in_session(KEY) > 0
    assert await in_session(OTHER_KEY) == 0
