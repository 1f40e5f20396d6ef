"""What a cancelled input leaves in vLLM: nothing, wherever it was."""

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from penstock.v1 import generation_pb2 as pb
from penstock_service.errors import FeatureOff, InvalidRequest, Unavailable
from penstock_service.limits import ModelLimits

pytest.importorskip("vllm", reason="vLLM is not installed here: `make test` installs it")

from vllm.v1.engine.exceptions import EngineDeadError

from penstock_service.engine.vllm.embeddings import VllmEmbedder

LIMITS = ModelLimits(context_length=4, vocabulary_size=1000, max_prompt_bytes=512)
HELLO = pb.EmbedInput(text="hello")


class FakeLLM:
    """An AsyncLLM whose requests never end, or end with `error`."""

    model_config = SimpleNamespace(is_matryoshka=False, pooler_config=None, served_model_name="m")

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.entered = asyncio.Event()
        self.aborted: list[str] = []

    async def encode(self, prompt: Any, params: Any, request_id: str, **_: Any) -> AsyncIterator[Any]:
        self.entered.set()
        if self.error is not None:
            raise self.error
        await asyncio.Event().wait()
        yield

    async def abort(self, request_id: str) -> None:
        self.aborted.append(request_id)


class FakePrompts:
    """Makes `tokens` of whatever it is given."""

    def __init__(self, tokens: int = 2) -> None:
        self.tokens = tokens

    async def render(self, request: pb.GenerateRequest) -> dict[str, Any]:
        return {"prompt_token_ids": [1] * self.tokens}


def embedder(llm: FakeLLM, tokens: int = 2, **fields: Any) -> VllmEmbedder:
    given: Any = (llm, FakePrompts(tokens), LIMITS, pb.EmbedRequest(inputs=[HELLO], **fields), None)
    return VllmEmbedder(*given)


async def test_a_cancelled_input_is_aborted() -> None:
    llm = FakeLLM()
    running = asyncio.create_task(embedder(llm).embed(HELLO, "call-0"))
    await llm.entered.wait()

    running.cancel()

    with pytest.raises(asyncio.CancelledError):
        await running
    assert llm.aborted == ["call-0"]


async def test_a_dead_engine_is_unavailable() -> None:
    with pytest.raises(Unavailable, match="engine has stopped"):
        await embedder(FakeLLM(EngineDeadError())).embed(HELLO, "call-0")


async def test_an_input_that_does_not_fit_never_reaches_the_engine() -> None:
    llm = FakeLLM()

    with pytest.raises(InvalidRequest, match="text: has 5 tokens; the context has room for 4") as raised:
        await embedder(llm, tokens=5).embed(HELLO, "call-0")

    assert raised.value.reason == "CONTEXT_LENGTH"
    assert not llm.entered.is_set()


async def test_dimensions_need_a_model_whose_vectors_can_be_cut() -> None:
    with pytest.raises(FeatureOff, match="dimensions"):
        embedder(FakeLLM(), dimensions=8)
