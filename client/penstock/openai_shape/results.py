"""From replies of the contract to OpenAI's result types. Pure: `created` comes in as an argument."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.openai_shape.logprobs import CompletionTokens, chat_logprobs
from penstock.openai_shape.tool_calls import tool_calls
from penstock.openai_shape.types import (
    ChatCompletion,
    ChatCompletionMessage,
    Choice,
    Completion,
    CompletionChoice,
    CompletionTokensDetails,
    CompletionUsage,
    PromptTokensDetails,
)
from penstock.reply import Answer, Reply
from penstock.v1.generation_pb2 import Sequence as GeneratedSequence
from penstock.v1.generation_pb2 import Usage

CHAT_ID = "chatcmpl-"
COMPLETION_ID = "cmpl-"

_FINISH_REASONS = {
    "length": "length",
    "context_length": "length",
    "deadline": "length",
    "tool_calls": "tool_calls",
}


def openai_finish_reason(reason: str | None) -> str:
    """OpenAI's word: a full context and a deadline that was near are "length" like a reached max_tokens."""
    return _FINISH_REASONS.get(reason or "", "stop")


def usage_of(usages: Sequence[Usage]) -> CompletionUsage:
    """The sum of `usages`; cached and reasoning tokens are told if any of them tells."""
    prompt = sum(usage.prompt_tokens for usage in usages)
    completion = sum(usage.completion_tokens for usage in usages)
    cached = [usage.cached_prompt_tokens for usage in usages if usage.HasField("cached_prompt_tokens")]
    thought = [usage.reasoning_tokens for usage in usages if usage.HasField("reasoning_tokens")]
    return CompletionUsage(
        prompt,
        completion,
        prompt + completion,
        PromptTokensDetails(cached_tokens=sum(cached)) if cached else None,
        CompletionTokensDetails(reasoning_tokens=sum(thought)) if thought else None,
    )


def chat_completion(reply: Reply, created: int) -> ChatCompletion:
    """A whole chat answer, a choice for each sequence; `created` in seconds since 1970."""
    return ChatCompletion(
        id=CHAT_ID + reply.id,
        choices=[_choice(answer) for answer in _answers(reply)],
        created=created,
        model=reply.model,
        usage=usage_of([reply.usage]),
        timings=reply.timings,
        cached=reply.cached,
        _request_id=reply.request_id or reply.id,
    )


def completion(replies: Sequence[Reply], created: int) -> Completion:
    """The continuations of one or more prompts, in their order, a choice for each sequence of each."""
    first = replies[0]
    answers = [answer for reply in replies for answer in _answers(reply)]
    return Completion(
        id=COMPLETION_ID + first.id,
        choices=[_completion_choice(i, answer) for i, answer in enumerate(answers)],
        created=created,
        model=first.model,
        usage=usage_of([reply.usage for reply in replies]),
        timings=first.timings if len(replies) == 1 else None,
        cached=all(reply.cached for reply in replies),
        _request_id=first.request_id or first.id,
    )


def _answers(reply: Reply) -> list[Answer]:
    return reply.sequences or [Answer(GeneratedSequence())]


def _choice(answer: Answer) -> Choice:
    calls = tool_calls(answer.tool_calls)
    message = ChatCompletionMessage(
        content=None if calls and not answer.text else answer.text,
        tool_calls=calls,
        reasoning=answer.reasoning or None,
        reasoning_content=answer.reasoning or None,
    )
    return Choice(answer.index, message, openai_finish_reason(answer.finish_reason), chat_logprobs(answer.tokens))


def _completion_choice(index: int, answer: Answer) -> CompletionChoice:
    logprobs = CompletionTokens().logprobs(answer.tokens)
    return CompletionChoice(index, answer.text, openai_finish_reason(answer.finish_reason), logprobs)
