"""Tenants share what there is, and each keeps to its quota."""

import asyncio
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest

from penstock.v1 import generation_pb2 as pb
from penstock_service.engine.base import Demand, Tokenized
from penstock_service.engine.simulated import SimulatedEngine
from tests.conftest import OpenService, Running, eventually
from tests.rpc.embedding_engine import EmbeddingEngine
from tests.rpc.error_details import failure_in, failure_of
from tests.rpc.full_service import (
    COUNTING,
    NEVER,
    QUEUED,
    batch,
    first_to_end,
    request,
)


class SlowToRead(SimulatedEngine):
    """Reads prompts, and tokens, for ever."""

    reading = 0

    async def tokenize(self, request: pb.GenerateRequest) -> Tokenized:
        return await self._read()

    async def detokenize(self, token_ids: Sequence[int], skip_special_tokens: bool) -> str:
        return await self._read()

    async def demand(self, request: pb.GenerateRequest) -> Demand:
        return await self._read()

    async def _read(self) -> Any:
        self.reading += 1
        await asyncio.Event().wait()


SLOW_TO_READ = SlowToRead.load


def keys(*tenants: str) -> tuple[str, ...]:
    return tuple(f"{tenant}:{hashlib.sha256(tenant.encode()).hexdigest()}" for tenant in tenants)


def of(tenant: str) -> dict[str, Any]:
    return {"metadata": (("authorization", f"Bearer {tenant}"),)}


async def test_a_tenant_with_little_to_ask_for_passes_those_who_wait_for_another(open_service: OpenService) -> None:
    simulated = {"step_time_ms": 2, "max_concurrent_sequences": 1}
    running = await open_service(simulated=simulated, api_keys=keys("heavy", "light"))
    order: list[str] = []

    async def call(tenant: str) -> None:
        await running.generation.Generate(request(tokens=40), **of(tenant))
        order.append(tenant)

    async with asyncio.TaskGroup() as calls:
        heavy = [calls.create_task(call("heavy")) for _ in range(12)]
        await eventually(lambda: running.engine.running == 3, "the engine has what it takes")
        calls.create_task(call("light"))

    assert len(heavy) == 12
    assert order.index("light") <= 5


async def test_one_tenant_alone_leaves_room_for_the_first_call_of_another(open_service: OpenService) -> None:
    running = await open_service(
        load=COUNTING, simulated=NEVER, api_keys=keys("heavy", "light"), max_admitted_sequences=16
    )
    heavy = [running.generation.Generate(request(), **of("heavy")) for _ in range(20)]
    refusal = await failure_of(await first_to_end(heavy))

    light = running.generation.StreamGenerate(request(request_id="light"), **of("light"))
    await in_phase_of(running, "light")

    assert refusal.text == "14 sequences of this tenant run or wait, of 14 at most now, and the call has 1"
    for call in (*heavy, light):
        call.cancel()


async def in_phase_of(running: Running, tenant: str) -> None:
    """Wait until the tenant's own call of its name waits for its turn."""
    asked = pb.GetGenerationRequest(request_id=tenant)
    async with asyncio.timeout(10):
        while True:
            found = running.generation.GetGeneration(asked, **of(tenant))
            if await found.code() is grpc.StatusCode.OK and (await found).phase == QUEUED:
                return


def identity(directory: Path, tenant: str, **quota: int) -> Path:
    """A file with one tenant, whose key is its name."""
    lines = ["[[tenants]]", f'name = "{tenant}"', f'keys = ["{hashlib.sha256(tenant.encode()).hexdigest()}"]']
    file = directory / "identity.toml"
    file.write_text("\n".join([*lines, *(f"{name} = {value}" for name, value in quota.items())]))
    return file


async def test_a_tenant_beyond_its_tokens_waits_until_it_has_some_again(
    open_service: OpenService, tmp_path: Path
) -> None:
    running = await open_service(identity_file=identity(tmp_path, "small", tokens_per_minute=60))
    await running.generation.Generate(batch("Hello", "Hello", tokens=60), **of("small"))  # 124 tokens

    failure = await failure_of(running.generation.Generate(request(), **of("small")))
    told = await running.generation.Estimate(pb.EstimateRequest(request=request()), **of("small"))

    assert (failure.code, failure.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "QUOTA")
    assert failure.retry_after == pytest.approx(65, abs=2)
    assert failure_in(told.refusal).reason == "QUOTA"


async def test_a_tenant_has_only_so_many_calls_at_a_time(open_service: OpenService, tmp_path: Path) -> None:
    slow = {"step_time_ms": 60_000}
    running = await open_service(identity_file=identity(tmp_path, "small", max_concurrent_calls=2), simulated=slow)
    calls = [running.generation.StreamGenerate(request(), **of("small")) for _ in range(2)]
    await eventually(lambda: running.engine.running == 2, "two run")

    failure = await failure_of(running.generation.Generate(request(), **of("small")))
    calls.pop().cancel()
    await eventually(lambda: running.service.lifecycle.running == 1, "one has ended")
    calls.append(running.generation.StreamGenerate(request(), **of("small")))

    assert (failure.reason, failure.text.endswith("2 calls run, of 2 at most")) == ("QUOTA", True)
    await eventually(lambda: running.engine.running == 2, "another has its place")
    for call in calls:
        call.cancel()


@pytest.mark.parametrize("method", ["Tokenize", "Detokenize", "Estimate"])
async def test_of_what_only_reads_a_prompt_so_many_run_beside_a_tenants_calls(
    open_service: OpenService, tmp_path: Path, method: str
) -> None:
    running = await open_service(load=SLOW_TO_READ, identity_file=identity(tmp_path, "small", max_concurrent_calls=1))
    asked: dict[str, Any] = {
        "Tokenize": pb.TokenizeRequest(prompt="Hello"),
        "Detokenize": pb.DetokenizeRequest(token_ids=pb.TokenIds(ids=[1])),
        "Estimate": pb.EstimateRequest(request=request()),
    }
    reading = getattr(running.generation, method)(asked[method], **of("small"))
    await eventually(lambda: running.engine.reading == 1, "the engine reads the prompt")

    tokenize = await failure_of(running.generation.Tokenize(asked["Tokenize"], **of("small")))
    estimate = await failure_of(running.generation.Estimate(asked["Estimate"], **of("small")))

    assert (tokenize.reason, estimate.reason) == ("QUOTA", "QUOTA")  # of their own: Generate runs
    assert running.engine.reading == 1  # what is refused is not read
    await running.generation.Generate(request(tokens=1), **of("small"))
    reading.cancel()


async def test_calls_that_run_have_taken_their_prompts_from_the_quota(
    open_service: OpenService, tmp_path: Path
) -> None:
    slow = {"step_time_ms": 60_000}
    quota = identity(tmp_path, "small", tokens_per_minute=60)
    running = await open_service(identity_file=quota, simulated=slow)
    first = running.generation.StreamGenerate(request(prompt="x" * 400), **of("small"))
    await eventually(lambda: running.engine.running == 1, "it runs")

    failure = await failure_of(running.generation.Generate(request(), **of("small")))

    assert failure.text.endswith("of 60 the balance is -40")
    first.cancel()


async def test_an_estimate_does_not_count_itself_against_the_call_that_it_is_for(
    open_service: OpenService, tmp_path: Path
) -> None:
    running = await open_service(identity_file=identity(tmp_path, "small", max_concurrent_calls=1))

    told = await running.generation.Estimate(pb.EstimateRequest(request=request()), **of("small"))

    assert told.admitted


async def test_what_a_cancelled_embed_has_taken_is_charged(open_service: OpenService, tmp_path: Path) -> None:
    quota = identity(tmp_path, "small", tokens_per_minute=60)
    running = await open_service(load=EmbeddingEngine.load, identity_file=quota)
    running.engine.hold = asyncio.Event()
    embed = running.generation.Embed(pb.EmbedRequest(inputs=[{"text": "x" * 400}] * 16), **of("small"))
    await eventually(lambda: running.engine.embedding == 16, "the engine is at all of them")
    embed.cancel()
    await eventually(lambda: running.service.lifecycle.running == 0, "it has ended")

    failure = await failure_of(running.generation.Embed(pb.EmbedRequest(inputs=[{"text": "x"}]), **of("small")))

    assert failure.reason == "QUOTA"
    assert "of 60 the balance is -15" in failure.text  # by the estimate, 100 tokens each
