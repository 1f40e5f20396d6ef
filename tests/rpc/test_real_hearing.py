"""Sounds on a real engine: a tiny model that hears, made here, in a service of its own."""

import asyncio
import math
import struct
import wave
from collections.abc import AsyncIterator
from importlib.util import find_spec
from io import BytesIO
from typing import Any

import grpc
import pytest

from penstock.v1 import generation_pb2 as pb
from penstock.v1.models_pb2 import MODALITY_AUDIO, MODALITY_TEXT, ListModelsRequest
from tests.rpc.error_details import failure_of
from tests.rpc.hearing_model import RATE, SOUND, TOKENS_PER_SECOND, write_hearing_model
from tests.rpc.test_real_media import Served, picture, request, started

pytestmark = [
    pytest.mark.real_vllm,
    pytest.mark.slow,
    pytest.mark.timeout(400),
    pytest.mark.skipif(not find_spec("vllm"), reason="vLLM is not installed here: `make test` installs it"),
]

ARGUMENTS = ("--max-model-len", "512", "--enforce-eager", "--limit-mm-per-prompt", '{"audio": 2}')


@pytest.fixture(scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    directory = tmp_path_factory.mktemp("hearing")
    await asyncio.to_thread(write_hearing_model, directory)
    async with started(directory, *ARGUMENTS) as running:
        yield running


def tone(hertz: int, seconds: int = 1, rate: int = RATE) -> bytes:
    """A WAV file."""
    waves = [int(20_000 * math.sin(2 * math.pi * hertz * at / rate)) for at in range(seconds * rate)]
    file = BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(rate)
        writer.writeframes(struct.pack(f"<{len(waves)}h", *waves))
    return file.getvalue()


LOW, HIGH = tone(200), tone(3_000)


def heard(*parts: str | bytes, **fields: Any) -> pb.GenerateRequest:
    """Greedy, one turn of texts and sounds."""
    content = [{"text": part} if isinstance(part, str) else {"audio": {"data": part}} for part in parts]
    return request(conversation={"messages": [{"role": pb.ROLE_USER, "content": content}]}, **fields)


async def tokens(served: Served, *parts: str | bytes) -> list[int]:
    return list((await served.generation.Generate(heard(*parts))).sequences[0].token_ids)


async def test_the_model_tells_that_it_takes_sounds(served: Served) -> None:
    listed = await served.models.ListModels(ListModelsRequest())

    assert list(listed.models[0].modalities) == [MODALITY_TEXT, MODALITY_AUDIO]


async def test_what_the_model_says_depends_on_the_sound_and_on_nothing_else(served: Served) -> None:
    low, high, low_again, none = [
        await tokens(served, *sounds, "What is it?") for sounds in ((LOW,), (HIGH,), (LOW,), ())
    ]

    assert low == low_again
    assert len({tuple(low), tuple(high), tuple(none)}) == 3


async def test_usage_counts_a_sounds_tokens(served: Served) -> None:
    around = 2

    counts = [
        (await served.generation.Generate(heard(*sounds, "What is it?"))).usage.prompt_tokens
        for sounds in ((), (LOW,), (tone(200, seconds=3),), (LOW, HIGH))
    ]

    per_sound = TOKENS_PER_SECOND + around
    assert [count - counts[0] for count in counts] == [0, per_sound, 3 * TOKENS_PER_SECOND + around, 2 * per_sound]


async def test_a_typed_placeholder_is_text(served: Served) -> None:
    sound = TOKENS_PER_SECOND

    for parts in ((f"What is {SOUND}?",), (LOW, f"What is {SOUND}?")):
        reply = await served.generation.Generate(heard(*parts))
        assert reply.usage.prompt_tokens > len(parts) * 5
        assert reply.usage.prompt_tokens < 40 + (len(parts) - 1) * sound


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ((b"no sound",), "content[0].audio.data: must be a WAV, FLAC or OGG file"),
        (("x", tone(200, 61, 8_000)), "content[1].audio.data: must last at most 60 seconds, got 61.0"),
        ((tone(200, 1, 4_000),), "content[0].audio.data: must have 8000 to 48000 samples a second, got 4000"),
        ((LOW, LOW, LOW), "At most 2 audio(s)"),
    ],
)
async def test_what_is_wrong_is_told_by_its_field(served: Served, parts: tuple[str | bytes, ...], said: str) -> None:
    failure = await failure_of(served.generation.Generate(heard(*parts)))

    assert (failure.code, failure.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
    assert said in failure.text


async def test_a_rate_that_needs_a_library_that_is_not_there_is_the_operators_matter(served: Served) -> None:
    sent = heard(tone(200, 1, 8_000))
    if find_spec("torchaudio"):
        assert (await served.generation.Generate(sent)).usage.completion_tokens > 0
        return

    failure = await failure_of(served.generation.Generate(sent))

    assert (failure.code, failure.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "FEATURE_OFF")


async def test_a_model_that_does_not_see_refuses_pictures(served: Served) -> None:
    failure = await served.failure(picture((200, 0, 0)))

    assert (failure.code, failure.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "FEATURE_OFF")
    assert "takes no image" in failure.text
