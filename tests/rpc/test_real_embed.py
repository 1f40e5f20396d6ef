"""Vectors are those of the model itself: the built-in model, served to embed, against transformers."""

import asyncio
import json
import os
import shutil
import signal
import sys
import urllib.request
from collections.abc import AsyncIterator
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import grpc
import pytest

from penstock.v1 import generation_pb2 as pb
from penstock.v1 import models_pb2
from penstock.v1.generation_pb2_grpc import GenerationStub
from penstock.v1.models_pb2_grpc import ModelsStub
from tests.rpc.error_details import failure_in, failure_of
from tests.rpc.test_frontends import FREE_PORTS, Service

pytestmark = [
    pytest.mark.real_vllm,
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not find_spec("vllm"), reason="vLLM is not installed here: `make test` installs it"),
]

CONTEXT = 512
TEXTS = ["Once upon a time", "x", "Grüße aus Zürich 👋🏽", "The river carries boats. " * 40]
EMBEDS = ["--runner", "pooling", "--dtype", "float32", "--max-model-len", str(CONTEXT), "--enforce-eager"]


class Embedding:
    """The service and the same model in transformers."""

    def __init__(self, channel: grpc.aio.Channel, metrics_port: int, directory: Path) -> None:
        from transformers import AutoModel, AutoTokenizer

        self.generation: Any = GenerationStub(channel)
        self.models: Any = ModelsStub(channel)
        self.metrics_port = metrics_port
        self._tokenizer = AutoTokenizer.from_pretrained(directory)
        self._model = AutoModel.from_pretrained(directory, dtype="float32")

    def expected(self, text: str) -> list[float]:
        """The last token's state after the last layer, which is what vLLM makes of a model that generates."""
        states = self._model(**self._tokenizer(text, return_tensors="pt", return_token_type_ids=False))
        return states.last_hidden_state[0, -1].tolist()

    async def vectors(self, *texts: str, **fields: Any) -> list[list[float]]:
        reply = await self.generation.Embed(pb.EmbedRequest(inputs=[{"text": text} for text in texts], **fields))
        return [list(result.embedding.values) for result in reply.results]


def model_in(directory: Path) -> Path:
    """The built-in model, as one whose vectors may be cut to 64 or 128 numbers."""
    shutil.copytree(str(files("penstock_service") / "builtin"), directory)
    config = json.loads((directory / "config.json").read_text())
    config |= {"is_matryoshka": True, "matryoshka_dimensions": [64, 128]}
    (directory / "config.json").write_text(json.dumps(config))
    return directory


@pytest.fixture(scope="module")
async def embedding(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Embedding]:
    """A service of its own with that model: one for all tests here."""
    directory = model_in(tmp_path_factory.mktemp("model") / "vectors")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "penstock_service", *FREE_PORTS, "--model", str(directory), "--", *EMBEDS),
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
        env={**os.environ, "VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1"},
    )
    service = Service(process)
    try:
        await service.line("loaded")
        ports = await service.line("listening")
        async with grpc.aio.insecure_channel(f"127.0.0.1:{ports['grpc_port']}") as channel:
            yield Embedding(channel, ports["metrics_port"], directory)
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
        await service.ended()


def scaled(vector: list[float]) -> list[float]:
    length = sum(number * number for number in vector) ** 0.5
    return [number / length for number in vector]


def like(vector: list[float]) -> Any:
    return pytest.approx(vector, rel=1e-3, abs=1e-3 * max(map(abs, vector)))


async def test_vectors_are_the_models_own_scaled_to_length_one(embedding: Embedding) -> None:
    vectors = await embedding.vectors(*TEXTS)

    assert vectors == [like(scaled(embedding.expected(text))) for text in TEXTS]


async def test_vectors_keep_their_length_where_the_caller_asks_for_it(embedding: Embedding) -> None:
    (vector,) = await embedding.vectors(TEXTS[0], normalize=False)
    (unit,) = await embedding.vectors(TEXTS[0], normalize=True)

    assert vector == like(embedding.expected(TEXTS[0]))
    assert unit == like(scaled(vector))


async def test_fewer_dimensions_are_the_first_ones(embedding: Embedding) -> None:
    (vector,) = await embedding.vectors(TEXTS[0], dimensions=64)
    (raw,) = await embedding.vectors(TEXTS[0], dimensions=128, normalize=False)

    assert vector == like(scaled(embedding.expected(TEXTS[0])[:64]))
    assert raw == like(embedding.expected(TEXTS[0])[:128])


@pytest.mark.parametrize("dimensions", [0, 65, 2**31 - 1])
async def test_dimensions_that_the_model_does_not_have_are_a_wrong_field(embedding: Embedding, dimensions: int) -> None:
    request = pb.EmbedRequest(inputs=[{"text": "x"}], dimensions=dimensions)

    failure = await failure_of(embedding.generation.Embed(request))

    assert (failure.code, failure.fields) == (grpc.StatusCode.INVALID_ARGUMENT, ["dimensions"])


async def test_tokens_embed_as_the_text_that_has_them(embedding: Embedding) -> None:
    tokens = (await embedding.generation.Tokenize(pb.TokenizeRequest(prompt=TEXTS[2]))).token_ids
    inputs = [{"text": TEXTS[2]}, {"token_ids": {"ids": tokens}}]

    reply = await embedding.generation.Embed(pb.EmbedRequest(inputs=inputs))

    by_text, by_tokens = (result.embedding for result in reply.results)
    assert list(by_tokens.values) == like(list(by_text.values))
    assert by_text.prompt_tokens == by_tokens.prompt_tokens == len(tokens)
    assert reply.usage.prompt_tokens == 2 * len(tokens)


async def test_an_input_longer_than_the_context_hurts_no_other(embedding: Embedding) -> None:
    inputs = [{"text": "x"}, {"text": "water " * 1000}, {"token_ids": {"ids": [7] * CONTEXT}}]

    reply = await embedding.generation.Embed(pb.EmbedRequest(inputs=inputs))

    failure = failure_in(reply.results[1].status)
    assert (failure.reason, failure.fields) == ("CONTEXT_LENGTH", ["inputs[1].text"])
    assert str(CONTEXT) in failure.text
    assert [result.embedding.prompt_tokens for result in reply.results] == [2, 0, CONTEXT]


async def test_a_long_input_is_truncated_where_the_caller_asks_for_it(embedding: Embedding) -> None:
    whole = (await embedding.generation.Tokenize(pb.TokenizeRequest(prompt="water " * 1000))).token_ids
    options = pb.PromptOptions(truncate_tokens=100, truncation_side=pb.TRUNCATION_SIDE_RIGHT)

    reply = await embedding.generation.Embed(
        pb.EmbedRequest(inputs=[{"text": "water " * 1000}, {"token_ids": {"ids": whole[:100]}}], prompt_options=options)
    )

    cut, same = (result.embedding for result in reply.results)
    assert cut.prompt_tokens == 100
    assert list(cut.values) == like(list(same.values))


async def test_64_inputs_are_embedded_together(embedding: Embedding) -> None:
    texts = [f"{TEXTS[0]} {number}" for number in range(64)]

    together = await embedding.vectors(*texts)

    assert together[::21] == [like(scaled(embedding.expected(text))) for text in texts[::21]]


async def test_it_generates_nothing_and_says_so(embedding: Embedding) -> None:
    model = await embedding.models.GetModel(models_pb2.GetModelRequest(name="vectors"))
    hello = pb.GenerateRequest(prompt="Hello")

    assert model.embeddings
    for call in (
        embedding.generation.Generate(hello),
        embedding.generation.StreamGenerate(hello),
        embedding.generation.Estimate(pb.EstimateRequest(request=hello)),
    ):
        failure = await failure_of(call)
        assert (failure.code, failure.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "FEATURE_OFF")


async def test_after_callers_that_left_the_engine_is_idle_and_embeds_on(embedding: Embedding) -> None:
    inputs = [{"token_ids": {"ids": [5 + number] * CONTEXT}} for number in range(64)]
    calls = [embedding.generation.Embed(pb.EmbedRequest(inputs=inputs)) for _ in range(4)]
    late = embedding.generation.Embed(pb.EmbedRequest(inputs=inputs), timeout=0.001)
    while not await asyncio.to_thread(_engine_requests, embedding.metrics_port):  # noqa: ASYNC110 - vLLM has no event
        await asyncio.sleep(0.001)

    for call in calls:
        call.cancel()

    assert await late.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert await embedding.vectors("x")
    assert await asyncio.to_thread(_engine_requests, embedding.metrics_port) == 0


def _engine_requests(port: int) -> float:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as reply:
        lines = reply.read().decode().splitlines()
    names = ("vllm:num_requests_running{", "vllm:num_requests_waiting{")
    return sum(float(line.split()[-1]) for line in lines if line.startswith(names))
