"""What the watchdog counts on vLLM: the engine's steps, with its statistics and without."""

import pytest
from prometheus_client import REGISTRY

from penstock.v1 import generation_pb2 as pb
from tests.conftest import Running

pytestmark = pytest.mark.real_vllm

FIFTY = pb.GenerateRequest(prompt="Hello", stopping={"max_tokens": 50, "ignore_eos": True})


async def test_each_step_counts(real: Running) -> None:
    before = real.engine.steps

    await real.generation.Generate(FIFTY)

    assert real.engine.steps - before >= 50


async def test_so_does_each_step_with_output_where_vllm_takes_no_statistics(real_by_public_way: Running) -> None:
    before = real_by_public_way.engine.steps  # this engine has no logger of vLLM's

    await real_by_public_way.generation.Generate(FIFTY)

    assert real_by_public_way.engine.steps - before >= 50


async def test_vllm_keeps_its_own_loggers(real: Running) -> None:
    await real.generation.Generate(FIFTY)

    (steps,) = REGISTRY.restricted_registry(["vllm:iteration_tokens_total_count"]).collect()
    assert {sample.name: sample.value for sample in steps.samples}["vllm:iteration_tokens_total_count"] >= 50
