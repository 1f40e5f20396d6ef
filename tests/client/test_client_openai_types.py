"""Every result of the facade is of openai-python's own type, strictly and without a field that it does not know."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from openai.types import Completion, CreateEmbeddingResponse, Model
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.chat.parsed_chat_completion import ParsedChatCompletion
from pydantic import BaseModel

from penstock.v1 import generation_pb2 as pb
from tests.client.conftest import Caller
from tests.client.openai_scripts import (
    MESSAGES,
    STOPPED,
    TOOL_CALL,
    TOOL_DELTAS,
    City,
    Script,
    answers,
    embeds,
    plain,
    streams,
    token,
)
from tests.client.scripted_server import ScriptedServer

Make = Callable[[Caller], Awaitable[Any]]
OURS = {"reasoning", "reasoning_content"}  # what vLLM and others add too


def chat(**parameters: Any) -> Make:
    return lambda caller: caller.chat(messages=MESSAGES, **parameters)


def text(**parameters: Any) -> Make:
    return lambda caller: caller.complete(**{"prompt": "Once", **parameters})


def function(name: str, *arguments: Any, **parameters: Any) -> Make:
    return lambda caller: caller.call(name, *arguments, **parameters)


LIKELY = pb.Sequence(text="a", tokens=[token("a")], finish=STOPPED)
LIKELY_DELTAS = (pb.SequenceDelta(text="a", tokens=[token("a")]), pb.SequenceDelta(finish=STOPPED))
INCLUDED = {"include_usage": True}
KINDS: list[tuple[type[BaseModel], Make, Script]] = [
    (ChatCompletion, chat(), plain),
    (ChatCompletion, chat(n=2), answers(TOOL_CALL, LIKELY)),
    (ChatCompletion, chat(logprobs=True, top_logprobs=1), answers(LIKELY)),
    (ChatCompletionChunk, chat(stream=True), plain),
    (ChatCompletionChunk, chat(stream=True, stream_options=INCLUDED), streams(*TOOL_DELTAS)),
    (ChatCompletionChunk, chat(stream=True, logprobs=True), streams(*LIKELY_DELTAS)),
    (Completion, text(prompt=["a", "b"]), plain),
    (Completion, text(logprobs=1), answers(LIKELY)),
    (Completion, text(stream=True, stream_options=INCLUDED), plain),
    (Completion, text(stream=True, logprobs=1), streams(*LIKELY_DELTAS)),
    (CreateEmbeddingResponse, function("embeddings.create", input=["a", "b"]), embeds),
    (Model, function("models.retrieve", "tiny"), plain),
    (ParsedChatCompletion[City], function("chat.completions.parse", messages=MESSAGES), answers(TOOL_CALL)),
]


@pytest.mark.parametrize(("kind", "make", "script"), KINDS)
async def test_every_result_validates_against_openais_own_type(
    caller: Caller, server: ScriptedServer, kind: type[BaseModel], make: Make, script: Script
) -> None:
    script(server)
    made = await make(caller)

    for each in made if isinstance(made, list) else [made]:
        for dumped in (each.model_dump(), each.to_dict()):
            if kind is Completion:  # in streams OpenAI sends null, which its own type does not allow
                dumped["choices"] = [
                    {**one, "finish_reason": one["finish_reason"] or "stop"} for one in dumped["choices"]
                ]
            theirs = kind.model_validate(dumped, strict=True)
            if kind is not Model:  # it has the contract's further fields
                assert set(extras(theirs)) <= OURS


def extras(value: Any) -> list[str]:
    """The names of fields that the types do not know, at any depth."""
    if isinstance(value, list):
        return [name for each in value for name in extras(each)]
    if not isinstance(value, BaseModel):
        return []
    inner = [name for field in type(value).model_fields for name in extras(getattr(value, field))]
    return [*(value.model_extra or {}), *inner]
