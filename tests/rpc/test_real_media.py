"""Pictures on a real engine: a tiny model that sees, made here, in a service of its own."""

import asyncio
import os
import signal
import struct
import sys
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any

import grpc
import pytest

from penstock.v1 import generation_pb2 as pb
from penstock.v1.generation_pb2_grpc import GenerationStub
from penstock.v1.models_pb2 import MODALITY_IMAGE, MODALITY_TEXT, ListModelsRequest
from penstock.v1.models_pb2_grpc import ModelsStub
from tests.rpc.error_details import failure_of
from tests.rpc.test_frontends import FREE_PORTS, Service
from tests.rpc.vision_model import IMAGE, IMAGE_TOKEN, PLACES_PER_IMAGE, TOKENS_PER_IMAGE, write_vision_model

pytestmark = [
    pytest.mark.real_vllm,
    pytest.mark.slow,
    pytest.mark.timeout(400),
    pytest.mark.skipif(not find_spec("vllm"), reason="vLLM is not installed here: `make test` installs it"),
]

ARGUMENTS = ("--max-model-len", "512", "--enforce-eager", "--limit-mm-per-prompt", '{"image": 3}')
ENVIRONMENT = {"VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1"}


class Served:
    """The running service and its calls."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.generation: Any = GenerationStub(channel)
        self.models: Any = ModelsStub(channel)

    async def ask(self, *parts: str | bytes, **fields: Any) -> pb.GenerateResponse:
        return await self.generation.Generate(request(*parts, **fields))

    async def tokens(self, *parts: str | bytes) -> list[int]:
        return list((await self.ask(*parts)).sequences[0].token_ids)

    async def failure(self, *parts: str | bytes, **fields: Any) -> Any:
        return await failure_of(self.generation.Generate(request(*parts, **fields)))


def request(*parts: str | bytes, **fields: Any) -> pb.GenerateRequest:
    """Greedy, one turn of texts and pictures."""
    content = [{"text": part} if isinstance(part, str) else {"image": {"data": part}} for part in parts]
    shared = {
        "conversation": {"messages": [{"role": pb.ROLE_USER, "content": content}]},
        "sampling": {"temperature": 0},
        "stopping": {"max_tokens": 16, "ignore_eos": True},
        "response": {"token_ids": True},
    }
    return pb.GenerateRequest(**{**shared, **fields})


def picture(color: tuple[int, int, int], side: int = 40, kind: str = "PNG") -> bytes:
    """One color with a white corner."""
    from PIL import Image

    made = Image.new("RGB", (side, side), color)
    made.paste((255, 255, 255), (0, 0, side // 3, side // 3))
    file = BytesIO()
    made.save(file, kind, **({"lossless": True} if kind == "WEBP" else {}))
    return file.getvalue()


def bomb(side: int) -> bytes:
    """A PNG that says that it is large, with nothing in it."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@asynccontextmanager
async def started(model: Path, *arguments: str) -> AsyncIterator[Served]:
    """A service of its own for the model in a directory."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "penstock_service", *FREE_PORTS, "--model", str(model), "--", *arguments),
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
        env={**os.environ, **ENVIRONMENT},
    )
    service = Service(process)
    try:
        await service.line("loaded")
        target = f"127.0.0.1:{(await service.line('listening'))['grpc_port']}"
        async with grpc.aio.insecure_channel(target) as channel:
            yield Served(channel)
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
        await service.ended()


@pytest.fixture(scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    directory = tmp_path_factory.mktemp("vision")
    await asyncio.to_thread(write_vision_model, directory)
    async with started(directory, *ARGUMENTS) as running:
        yield running


RED, BLUE = picture((200, 0, 0)), picture((0, 0, 200))


async def test_the_model_tells_that_it_takes_pictures(served: Served) -> None:
    listed = await served.models.ListModels(ListModelsRequest())

    assert list(listed.models[0].modalities) == [MODALITY_TEXT, MODALITY_IMAGE]


async def test_what_the_model_says_depends_on_the_picture_and_on_nothing_else(served: Served) -> None:
    red, blue, red_again = [await served.tokens(each, "What is it?") for each in (RED, BLUE, RED)]

    assert red == red_again
    assert len({tuple(red), tuple(blue), tuple(await served.tokens("What is it?"))}) == 3


async def test_the_same_picture_in_other_formats_is_the_same(served: Served) -> None:
    expected = await served.tokens(RED, "What is it?")

    for kind in ("WEBP", "GIF"):
        assert await served.tokens(picture((200, 0, 0), kind=kind), "What is it?") == expected, kind


async def test_a_stream_says_what_a_whole_answer_says(served: Served) -> None:
    sent = request(RED, "What is it?")

    chunks = [chunk async for chunk in served.generation.StreamGenerate(sent)]

    assert [token for chunk in chunks for delta in chunk.deltas for token in delta.token_ids] == await served.tokens(
        RED, "What is it?"
    )


async def test_usage_counts_a_pictures_tokens(served: Served) -> None:
    without = (await served.ask("What is it?")).usage.prompt_tokens

    for pictures in ((RED,), (RED, BLUE)):
        counted = (await served.ask(*pictures, "What is it?")).usage.prompt_tokens
        assert counted == without + len(pictures) * TOKENS_PER_IMAGE


async def test_several_pictures_stand_in_their_order_and_in_their_places(served: Served) -> None:
    orders = [(RED, "or", BLUE), (BLUE, "or", RED), (RED, BLUE, "or")]

    said = [tuple(await served.tokens(*parts)) for parts in orders]

    assert len(set(said)) == 3


async def test_a_salt_and_several_sequences_go_with_pictures(served: Served) -> None:
    expected = await served.tokens(RED, "What is it?")

    reply = await served.ask(RED, "What is it?", num_sequences=2, cache_salt="mine")

    assert [list(sequence.token_ids) for sequence in reply.sequences] == [expected, expected]


async def test_a_typed_placeholder_is_text_with_a_picture_and_without(served: Served) -> None:
    plain = (await served.ask("What is ?")).usage.prompt_tokens

    for parts in ((f"What is {IMAGE}?",), (RED, f"What is {IMAGE}?"), (f"What is {IMAGE}?", RED, IMAGE)):
        pictures = sum(isinstance(part, bytes) for part in parts)
        reply = await served.ask(*parts)
        assert reply.usage.prompt_tokens > plain + pictures * TOKENS_PER_IMAGE

    tokenized = await served.generation.Tokenize(
        pb.TokenizeRequest(conversation=request(RED, f"What is {IMAGE}?").conversation)
    )
    assert list(tokenized.token_ids).count(IMAGE_TOKEN) == PLACES_PER_IMAGE
    assert tokenized.text.count(IMAGE) == 2


async def test_a_conversation_begins_once_with_and_without_pictures(served: Served) -> None:
    for parts in (("What is it?",), (RED, "What is it?")):
        tokenized = await served.generation.Tokenize(pb.TokenizeRequest(conversation=request(*parts).conversation))
        assert list(tokenized.token_ids).count(tokenized.token_ids[0]) == 1  # the tokenizer would add it again


async def test_placeholders_as_tokens_and_parsed_ones_do_not_end_the_engine(served: Served) -> None:
    expected = await served.tokens(RED, "What is it?")
    parsed = {"prompt_options": {"parse_special_tokens": True}}

    await served.generation.Generate(request(conversation=None, token_ids=pb.TokenIds(ids=[0, *[IMAGE_TOKEN] * 20, 5])))
    await served.generation.Generate(request(conversation=None, prompt=f"{IMAGE} {IMAGE}", **parsed))
    await served.ask(RED, f"What is {IMAGE}?", **parsed)

    assert await served.tokens(RED, "What is it?") == expected


async def test_a_bomb_is_refused_while_another_call_runs_on(served: Served) -> None:
    running = asyncio.create_task(served.ask(RED, "go on", stopping={"max_tokens": 300, "ignore_eos": True}))

    failures = [await served.failure("x", bomb(side)) for side in (5_000, 12_000, 60_000)]

    for failure in failures:
        assert failure.code == grpc.StatusCode.INVALID_ARGUMENT
        assert "conversation.messages[0].content[1].image.data: must have at most 20000000 pixels" in failure.text
    assert (await running).usage.completion_tokens == 300


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ((b"no picture",), "content[0].image.data: must be a PNG, JPEG, WebP or GIF file"),
        ((RED[:-40],), "content[0].image.data: cannot be decoded"),
        ((RED, "x", RED[:60]), "content[2].image.data: cannot be decoded"),
        ((RED,) * 4, "At most 3 image(s)"),
        ((RED,) * 9, "conversation: must have at most 8 images and sounds, got 9"),
    ],
)
async def test_what_is_wrong_is_told_by_its_field(served: Served, parts: tuple[str | bytes, ...], said: str) -> None:
    failure = await served.failure(*parts)

    assert (failure.code, failure.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
    assert said in failure.text


async def test_urls_are_refused_unless_the_operator_permits_their_host(served: Served) -> None:
    content = [{"image": {"url": "https://example.com/a.png"}}]

    failure = await served.failure(conversation={"messages": [{"role": pb.ROLE_USER, "content": content}]})

    assert failure.code == grpc.StatusCode.INVALID_ARGUMENT
    assert "conversation.messages[0].content[0].image.url: must be on a host that" in failure.text


async def test_a_model_that_does_not_hear_refuses_sounds(served: Served) -> None:
    content = [{"audio": {"data": b"RIFF"}}]

    failure = await served.failure(conversation={"messages": [{"role": pb.ROLE_USER, "content": content}]})

    assert (failure.code, failure.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "FEATURE_OFF")
    assert "takes no audio" in failure.text


async def test_a_prompt_that_was_only_estimated_or_too_long_leaves_its_pictures_usable(served: Served) -> None:
    green = picture((0, 200, 0))
    await served.generation.Estimate(pb.EstimateRequest(request=request(green, "What is it?")))
    too_long = await served.failure(green, "What is it? " * 200)

    assert too_long.reason == "CONTEXT_LENGTH"
    assert await served.tokens(green, "What is it?") == await served.tokens(green, "What is it?")
