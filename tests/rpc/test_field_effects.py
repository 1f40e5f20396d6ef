"""Every field of a GenerateRequest changes what it should on real vLLM; a field without a case fails here."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from importlib.util import find_spec
from typing import Any

import grpc
import pytest

from penstock.v1 import generation_pb2 as pb
from penstock.v1.generation_pb2_grpc import GenerationStub
from tests.conftest import Running
from tests.rpc.field_effects import EFFECTS, TEMPLATED, Caller, said, talk
from tests.rpc.talkative_model import ARGUMENTS, END_OF_THOUGHT, VLLM_ARGUMENTS, made_in
from tests.rpc.test_frontends import FREE_PORTS, Service


@pytest.fixture(scope="module")
async def talkative(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Caller]:
    """A service of its own whose model's template shows tools and thinking."""
    if find_spec("vllm") is None:
        pytest.skip("vLLM is not installed here: `make test` installs it")
    from transformers import AutoTokenizer

    model = str(made_in(tmp_path_factory.mktemp("model")))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "penstock_service", *FREE_PORTS, "--model", model, *ARGUMENTS, "--", *VLLM_ARGUMENTS),
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
        env={**os.environ, "VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1"},
    )
    service = Service(process)
    try:
        await service.line("loaded")
        port = (await service.line("listening"))["grpc_port"]
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield Caller(GenerationStub(channel), AutoTokenizer.from_pretrained(model))
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
        await service.ended()


def leaves(descriptor: Any, path: str = "") -> Iterator[str]:
    """The paths of all fields that hold values: `[]` for entries, `{key}` and `{value}` for those of maps."""
    for field in descriptor.fields:
        here = path + field.name
        inner = field.message_type
        if inner is None or not inner.fields or here == "batch":
            yield "batch.inputs" if here == "batch" else here
        elif inner.GetOptions().map_entry:
            _key, value = inner.fields
            if value.message_type is None:
                yield f"{here}{{key}}"
                yield f"{here}{{value}}"
            else:
                yield from leaves(value.message_type, f"{here}{{value}}.")
        else:
            yield from leaves(inner, f"{here}[]." if field.is_repeated else f"{here}.")


CASES = list(dict.fromkeys(EFFECTS.values()))
FIELDS = sorted(leaves(pb.GenerateRequest.DESCRIPTOR))


def test_every_field_has_an_effect_and_every_effect_a_field() -> None:
    assert sorted(EFFECTS) == FIELDS


@pytest.mark.real_vllm
@pytest.mark.timeout(600)
@pytest.mark.parametrize("effect", [each for each in CASES if each not in TEMPLATED], ids=lambda each: _name(each))
async def test_a_field_changes_what_it_should(real: Running, llm: Any, effect: Any) -> None:
    await effect(Caller(real.generation, llm.renderer.get_tokenizer()))


@pytest.mark.real_vllm
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("effect", [each for each in CASES if each in TEMPLATED], ids=lambda each: _name(each))
async def test_a_field_of_a_talkative_model_changes_what_it_should(talkative: Caller, effect: Any) -> None:
    await effect(talkative)


@pytest.mark.real_vllm
@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_thoughts_end_where_the_model_ends_them(talkative: Caller) -> None:
    sent = pb.GenerateRequest(
        conversation=talk(said("What is 2 plus 3?")),
        sampling={"temperature": 1.0, "seed": 3, "logit_bias": {END_OF_THOUGHT: 9.0}},
        stopping={"max_tokens": 60, "ignore_eos": True},
        reasoning={"enabled": True},
        response={"token_ids": True},
    )

    (whole,) = (reply := await talkative.generation.Generate(sent)).sequences
    deltas = [chunk.deltas[0] async for chunk in talkative.generation.StreamGenerate(sent)]

    end = list(whole.token_ids).index(END_OF_THOUGHT)
    assert whole.reasoning == talkative.tokenizer.decode(whole.token_ids[:end], skip_special_tokens=True)
    assert reply.usage.reasoning_tokens == end
    assert "".join(delta.reasoning for delta in deltas) == whole.reasoning
    assert "".join(delta.text for delta in deltas) == whole.text


def _name(effect: Any) -> str:
    return ",".join(path for path, registered in EFFECTS.items() if registered is effect)
