"""From replies and chunks of the contract to OpenAI's result types. Pure: `created` comes in as an argument."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.openai_shape.types import (
    ChatCompletion,
    ChatCompletionMessage,
    Choice,
    Completion,
    CompletionChoice,
    CompletionUsage,
    Model,
    ModelList,
    PromptTokensDetails,
)
from penstock.reply import Reply
from penstock.v1 import models_pb2
from penstock.v1.generation_pb2 import Usage

CHAT_ID = "chatcmpl-"
COMPLETION_ID = "cmpl-"


def openai_finish_reason(reason: str | None) -> str:
    """OpenAI's word: a full context and a deadline that was near are "length" like a reached max_tokens."""
    return "length" if reason in ("length", "context_length", "deadline") else "stop"


def usage_of(usages: Sequence[Usage]) -> CompletionUsage:
    """The sum of `usages`; cached tokens are told if any of them tells."""
    prompt = sum(usage.prompt_tokens for usage in usages)
    completion = sum(usage.completion_tokens for usage in usages)
    cached = [usage.cached_prompt_tokens for usage in usages if usage.HasField("cached_prompt_tokens")]
    details = PromptTokensDetails(cached_tokens=sum(cached)) if cached else None
    return CompletionUsage(prompt, completion, prompt + completion, details)


def chat_completion(reply: Reply, created: int) -> ChatCompletion:
    """A whole chat answer; `created` in seconds since 1970."""
    message = ChatCompletionMessage(content=reply.text)
    return ChatCompletion(
        id=CHAT_ID + reply.id,
        choices=[Choice(0, message, openai_finish_reason(reply.finish_reason))],
        created=created,
        model=reply.model,
        usage=usage_of([reply.usage]),
        timings=reply.timings,
        _request_id=reply.request_id or reply.id,
    )


def completion(replies: Sequence[Reply], created: int) -> Completion:
    """The continuations of one or more prompts, in their order."""
    first = replies[0]
    return Completion(
        id=COMPLETION_ID + first.id,
        choices=[CompletionChoice(i, r.text, openai_finish_reason(r.finish_reason)) for i, r in enumerate(replies)],
        created=created,
        model=first.model,
        usage=usage_of([reply.usage for reply in replies]),
        timings=first.timings if len(replies) == 1 else None,
        _request_id=first.request_id or first.id,
    )


def model(proto: models_pb2.Model) -> Model:
    """A loaded model."""
    return Model(
        id=proto.name,
        created=proto.load_time.seconds,
        aliases=list(proto.aliases),
        context_length=proto.context_length,
        vocabulary_size=proto.vocabulary_size,
        max_concurrent_sequences=proto.max_concurrent_sequences,
        max_prompt_bytes=proto.max_prompt_bytes,
        chat=proto.chat,
        engine=proto.engine,
        engine_version=proto.engine_version,
    )


def model_list(proto: models_pb2.ListModelsResponse) -> ModelList:
    """The loaded models."""
    return ModelList([model(each) for each in proto.models])
