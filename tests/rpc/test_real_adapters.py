"""Adapters on a real engine: the built-in model and two LoRAs made here, in a service of its own."""

import asyncio
import json
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import grpc
import pytest

from penstock.v1 import generation_pb2 as pb
from penstock.v1.generation_pb2_grpc import GenerationStub
from penstock.v1.models_pb2 import GetModelRequest, LoadAdapterRequest, SetAliasRequest, UnloadAdapterRequest
from penstock.v1.models_pb2_grpc import ModelsStub
from tests.rpc.error_details import failure_of
from tests.rpc.test_frontends import FREE_PORTS, Service

pytestmark = [
    pytest.mark.real_vllm,
    pytest.mark.slow,
    pytest.mark.timeout(400),
    pytest.mark.skipif(not find_spec("vllm"), reason="vLLM is not installed here: `make test` installs it"),
]

# Of the built-in model (service/penstock_service/builtin/config.json).
LAYERS, WIDTH, VALUE_WIDTH = 4, 256, 128
ARGUMENTS = ("--enable-lora", "--max-lora-rank", "8", "--max-loras", "2")
# Long enough to be cached, and with an answer that the model itself is sure of.
PROMPT = "".join(
    (
        "<|begin|><|system|>",
        "You are a helpful assistant. Answer the questions of the user. Use simple words. " * 12,
        "<|end|><|user|>Count from 1 to 30.<|end|><|assistant|>",
    )
)


class Served:
    """The running service and the calls of these tests."""

    def __init__(self, channel: grpc.aio.Channel, root: Path) -> None:
        self.root = root
        self.generation: Any = GenerationStub(channel)
        self.models: Any = ModelsStub(channel)
        self.base: list[int] = []  # what the model itself answers while it knows no adapter

    async def ask(self, model: str = "") -> pb.GenerateResponse:
        return await self.generation.Generate(
            pb.GenerateRequest(
                prompt=PROMPT,
                prompt_options={"parse_special_tokens": True, "add_special_tokens": False},
                model=model,
                sampling={"temperature": 0},
                stopping={"max_tokens": 24, "ignore_eos": True},
                response={"token_ids": True},
            )
        )

    async def tokens(self, model: str = "") -> list[int]:
        return list((await self.ask(model)).sequences[0].token_ids)

    async def load(self, version: str) -> None:
        await self.models.LoadAdapter(LoadAdapterRequest(name="story", version=version))

    async def unload(self, version: str) -> None:
        await self.models.UnloadAdapter(UnloadAdapterRequest(name="story", version=version))

    async def alias(self, target: str) -> None:
        await self.models.SetAlias(SetAliasRequest(alias="prod", target=target))

    @asynccontextmanager
    async def loaded(self, *versions: str) -> AsyncIterator[None]:
        for version in versions:
            await self.load(version)
        try:
            yield
        finally:
            await self.alias("")
            for version in versions:
                await self.unload(version)


def write_lora(
    root: Path, version: str, seed: int, rank: int = 8, layer: str = "self_attn.v_proj", width: int = WIDTH
) -> None:
    """A LoRA in PEFT's format with random weights, large enough to change what the model says."""
    import torch
    from safetensors.torch import save_file

    chance = torch.Generator().manual_seed(seed)
    weights = {}
    for number in range(LAYERS):
        at = f"base_model.model.model.layers.{number}.{layer}"
        weights[f"{at}.lora_A.weight"] = torch.randn(rank, width, generator=chance) / width**0.5
        weights[f"{at}.lora_B.weight"] = torch.randn(VALUE_WIDTH, rank, generator=chance)
    directory = root / "story" / version
    directory.mkdir(parents=True, exist_ok=True)
    save_file(weights, directory / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": rank, "target_modules": [layer.split(".")[-1]]}
    (directory / "adapter_config.json").write_text(json.dumps(config))


@pytest.fixture(scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    root = tmp_path_factory.mktemp("adapters")
    for number, version in enumerate("123"):
        write_lora(root, version, seed=number)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "penstock_service", *FREE_PORTS, "--adapter-directory", str(root), "--", *ARGUMENTS),
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    service = Service(process)
    try:
        await service.line("loaded")
        target = f"127.0.0.1:{(await service.line('listening'))['grpc_port']}"
        async with grpc.aio.insecure_channel(target) as channel:
            served = Served(channel, root)
            served.base = await served.tokens()
            yield served
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
        await service.ended()


def common(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens both begin with. Calls that share a step change sums in the last bit, and a rare late token."""
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=True)) if a != b), len(one))


async def test_each_version_changes_what_the_model_says_and_leaves_the_model_as_it_was(served: Served) -> None:
    async with served.loaded("1", "2"):
        first, second, base = await served.tokens("story@1"), await served.tokens("story@2"), await served.tokens()

        assert base == served.base
        assert max(common(first, second), common(first, base), common(second, base)) < 8
        assert await served.tokens("story@1") == first

    assert await served.tokens() == served.base


async def test_the_model_is_never_answered_by_an_adapter_that_serves_meanwhile(served: Served) -> None:
    async with served.loaded("1", "2"):
        alone = {name: await served.tokens(name) for name in ("", "story@1", "story@2")}
        names = [name for name in alone for _ in range(8)]

        together = await asyncio.gather(*(served.tokens(name) for name in names))

        assert together[:8] == [served.base] * 8  # the model is sure of these, whatever else is in the step
        for name, tokens in zip(names, together, strict=True):
            assert max(alone, key=lambda other, tokens=tokens: common(tokens, alone[other])) == name


async def test_cached_prefixes_are_shared_by_calls_of_one_version_and_by_no_others(served: Served) -> None:
    await served.ask()
    async with served.loaded("1", "2"):
        replies = [await served.ask(name) for name in ("", "story@1", "story@1", "story@2", "story@2", "")]
    async with served.loaded("1"):
        anew = await served.ask("story@1")

    cached = [reply.usage.cached_prompt_tokens > 0 for reply in [*replies, anew]]
    assert cached == [True, False, True, False, True, True, False]
    base, first, first_again, *_, base_again = (list(reply.sequences[0].token_ids) for reply in replies)
    assert first_again == first == list(anew.sequences[0].token_ids)
    assert base_again == base == served.base


async def test_a_version_that_was_replaced_on_disk_answers_anew_once_it_is_loaded_again(served: Served) -> None:
    write_lora(served.root, "moving", seed=7)
    async with served.loaded("moving"):
        before = await served.ask("story@moving")
        write_lora(served.root, "moving", seed=8)
        assert (await served.ask("story@moving")).sequences == before.sequences, "what is loaded stays what it is"
    async with served.loaded("moving"):
        after = await served.ask("story@moving")

    assert before.adapter.digest != after.adapter.digest
    assert common(before.sequences[0].token_ids, after.sequences[0].token_ids) < 8


async def test_ten_switches_under_load_lose_no_call_and_each_reply_is_of_the_version_that_it_names(
    served: Served,
) -> None:
    replies: list[pb.GenerateResponse] = []
    switched = asyncio.Event()

    async def caller() -> None:
        while not switched.is_set():
            replies.append(await served.ask("prod"))

    async def switch_ten_times() -> None:
        for number in range(10):
            seen = len(replies)
            while len(replies) < seen + 4:  # noqa: ASYNC110 - any four of the callers
                await asyncio.sleep(0.01)
            old, new = ("1", "2") if number % 2 == 0 else ("2", "1")
            await served.alias(f"story@{new}")
            await served.unload(old)
            await served.load(old)
        switched.set()

    async with served.loaded("1", "2"):
        alone = {version: await served.tokens(f"story@{version}") for version in "12"}
        await served.alias("story@1")
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(switch_ten_times())
            for _ in range(4):
                tasks.create_task(caller())

    assert {reply.adapter.version for reply in replies} == {"1", "2"}
    for reply in replies:
        tokens = reply.sequences[0].token_ids
        assert max(alone, key=lambda version, tokens=tokens: common(tokens, alone[version])) == reply.adapter.version


async def test_an_unloaded_version_is_not_found(served: Served) -> None:
    async with served.loaded("1"):
        await served.ask("story@1")

    failure = await failure_of(served.generation.Generate(pb.GenerateRequest(prompt="x", model="story@1")))

    assert (failure.code, failure.reason) == (grpc.StatusCode.NOT_FOUND, "MODEL_NOT_FOUND")
    assert not (await served.models.GetModel(GetModelRequest(name="builtin"))).adapters


async def test_no_more_are_loaded_than_the_engine_keeps(served: Served) -> None:
    async with served.loaded("1", "2"):
        failure = await failure_of(served.models.LoadAdapter(LoadAdapterRequest(name="story", version="3")))

    assert (failure.code, failure.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "ADAPTERS_FULL")


@pytest.mark.parametrize(
    ("version", "wrong", "said"),
    [
        ("high-rank", {"rank": 16}, "LoRA rank 16 is greater than max_lora_rank 8"),
        ("other-layers", {"layer": "self_attn.w_proj"}, "w_proj"),
        ("other-shape", {"width": 2 * WIDTH}, ""),  # fails late, when the layers get their weights
        ("damaged", {}, ""),
    ],
)
async def test_what_vllm_does_not_take_is_refused_with_its_reason_and_without_a_path(
    served: Served, version: str, wrong: dict[str, Any], said: str
) -> None:
    write_lora(served.root, version, seed=9, **wrong)
    if version == "damaged":
        (served.root / "story" / version / "adapter_model.safetensors").write_bytes(b"\xff" * 64)

    for _ in range(3):  # what is refused takes no place
        failure = await failure_of(served.models.LoadAdapter(LoadAdapterRequest(name="story", version=version)))
        assert (failure.code, failure.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "ADAPTER_REFUSED")
        assert said in failure.text
        assert str(served.root) not in failure.text
        assert "failed" not in failure.text

    shutil.rmtree(served.root / "story" / version)
    async with served.loaded("1", "2"):
        assert await served.tokens() == served.base
        assert await served.tokens("story@1") != served.base
