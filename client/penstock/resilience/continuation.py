"""How a generation goes on at another replica, from the tokens that came from the one that is lost. Pure.

The new replica reads the prompt and those tokens as its prompt, and generates what is left. What it draws is not what
the lost one would have drawn, unless the choice is greedy, so the seam is marked (`chunk.continued`).
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass

from penstock.resilience.output import Output
from penstock.v1.generation_pb2 import (
    DetokenizeRequest,
    DetokenizeResponse,
    FinishReason,
    GenerateChunk,
    GenerateRequest,
    SequenceDelta,
    TokenIds,
    TokenizeRequest,
    TokenizeResponse,
    Usage,
)

# Text depends on the tokens before it (a space at its beginning, a character in several tokens), never on more.
CONTEXT_TOKENS = 8

# A character of UTF-8 has at most four bytes, each perhaps a token.
MOST_SPLIT_TOKENS = 3

# What stands for bytes that are no whole character.
_INCOMPLETE = "\ufffd"


def obstacle(request: GenerateRequest, output: Output) -> str | None:
    """Why the generation cannot go on elsewhere; None if it can."""
    if request.WhichOneof("input") is None:
        return "its request is not known here"
    if output.finished:
        return "it has ended"
    if request.HasField("batch") or request.num_sequences > 1 or output.several_sequences:
        return "it has several sequences"
    if request.HasField("structured_output"):
        return "its form is only known to the replica that began it"
    if request.tools or output.tool_calls:
        return "it has tools"
    if output.thoughts:
        return "it has thoughts, which are not part of the text"
    if request.stopping.stop:
        return "it has stop texts, of which a part may have been held back"
    if any(part.WhichOneof("part") != "text" for message in request.conversation.messages for part in message.content):
        return "its prompt has pictures or sounds"
    return None


def tokenize_request(request: GenerateRequest) -> TokenizeRequest | None:
    """Asks for the tokens of the prompt; None if the request has them itself."""
    asked = TokenizeRequest(model=request.model)
    if request.HasField("prompt_options"):
        asked.prompt_options.CopyFrom(request.prompt_options)
    if request.HasField("prompt"):
        asked.prompt = request.prompt
    elif request.HasField("conversation"):
        asked.conversation.CopyFrom(request.conversation)
    else:
        return None
    return asked


@dataclass(frozen=True, slots=True)
class Seam:
    """Where the lost replica's part ends.

    kept: how many of its tokens the new one reads. held_back: text of these that had not come yet.
    """

    kept: int
    held_back: str


@dataclass(frozen=True, slots=True)
class Continuation:
    """What the new replica is asked, None if nothing is left; and the prompt's tokens."""

    request: GenerateRequest | None
    seam: Seam
    prompt_ids: Sequence[int]


class CannotContinue(Exception):
    """The text is why."""


Question = TokenizeRequest | DetokenizeRequest
Answer = TokenizeResponse | DetokenizeResponse


def plan(
    request: GenerateRequest, output: Output, key: str, *, prompt_ids: Sequence[int] | None, tokens_were_given: bool
) -> Generator[Question, Answer, Continuation]:
    """How to go on after the output. Yields what to ask the new replica, and takes its answers.

    request: what the lost replica was asked first of all. key: of the new generation. prompt_ids: None while they are
    not known. tokens_were_given: whether the caller has seen the output's tokens. Raises CannotContinue.
    """
    problem = obstacle(request, output)
    if problem is not None:
        raise CannotContinue(problem)
    if prompt_ids is None:
        prompt_ids = yield from _prompt_ids(request)
    response = request.response
    if output.token_ids and (response.text or not response.HasField("text")):
        seam = yield from _find_seam(request, prompt_ids, output, tokens_were_given)
    else:
        seam = Seam(len(output.token_ids), "")
    kept = output.token_ids[: seam.kept]
    return Continuation(continuation_request(request, prompt_ids, kept, key), seam, prompt_ids)


def _prompt_ids(request: GenerateRequest) -> Generator[Question, Answer, Sequence[int]]:
    question = tokenize_request(request)
    if question is None:
        return request.token_ids.ids
    answer = yield question
    return answer.token_ids if isinstance(answer, TokenizeResponse) else ()


def _find_seam(
    request: GenerateRequest, prompt_ids: Sequence[int], output: Output, tokens_were_given: bool
) -> Generator[Question, Answer, Seam]:
    """By the text of the tokens: the lost replica may have held back the beginning of a character.

    Its unfinished tokens are generated again, because the new replica tells the text of its own tokens only. Where the
    caller was given these tokens there is no seam.
    """
    context = list(prompt_ids[-CONTEXT_TOKENS:])
    before = yield from _text(request, context)
    came, text = len(output.token_ids), output.text
    for kept in range(came, max(came - MOST_SPLIT_TOKENS, 0) - 1, -1):
        whole = yield from _text(request, context + output.token_ids[:kept])
        held_back = _held_back(whole, before, text, whole_output=kept == came)
        if held_back is not None:
            return Seam(kept, held_back)
        if tokens_were_given:
            break
    raise CannotContinue("its last tokens are no whole text yet")


def _held_back(whole: str, before: str, came: str, *, whole_output: bool) -> str | None:
    """The text after what came, if it ends with a whole character."""
    if not whole.startswith(before):
        return None
    text = whole[len(before) :]
    if text == came and whole_output:
        return ""
    if text.endswith(_INCOMPLETE) or not text.startswith(came):
        return None
    return text[len(came) :]


def _text(request: GenerateRequest, token_ids: list[int]) -> Generator[Question, Answer, str]:
    response = request.response
    skip = response.skip_special_tokens if response.HasField("skip_special_tokens") else True
    answer = yield DetokenizeRequest(token_ids=TokenIds(ids=token_ids), model=request.model, skip_special_tokens=skip)
    return answer.text


def continuation_request(
    request: GenerateRequest, prompt_ids: Sequence[int], generated: Sequence[int], key: str
) -> GenerateRequest | None:
    """Asks for what is left. None if the most tokens were generated, so that nothing is.

    `request` is what the lost replica was asked for; the key is the new generation's.
    """
    going_on = GenerateRequest()
    going_on.CopyFrom(request)
    going_on.token_ids.ids[:] = [*prompt_ids, *generated]
    going_on.ClearField("prompt_options")
    going_on.ClearField("reasoning")
    going_on.ClearField("tool_choice")
    going_on.response.ClearField("prompt_logprobs")
    going_on.idempotency_key = key
    stopping = going_on.stopping
    if stopping.HasField("max_tokens"):
        stopping.max_tokens -= len(generated)
        if stopping.max_tokens <= 0:
            return None
    if stopping.min_tokens:
        stopping.min_tokens = max(0, stopping.min_tokens - len(generated))
    return going_on


def seam_chunk(seq: int, continuation: Continuation) -> GenerateChunk | None:
    """What the client itself adds to the stream: text that was held back, and the end if nothing is left to do."""
    text, over = continuation.seam.held_back, continuation.request is None
    if not text and not over:
        return None
    chunk = GenerateChunk(seq=seq, deltas=[SequenceDelta(text=text)])
    if over:
        chunk.deltas[0].finish.reason = FinishReason.FINISH_REASON_LENGTH
        chunk.usage.prompt_tokens = len(continuation.prompt_ids)
        chunk.usage.completion_tokens = continuation.seam.kept
    return chunk


def join_usage(usage: Usage, prompt_tokens: int, completion_tokens_before: int) -> None:
    """What the last replica counted becomes what all of them have done."""
    usage.prompt_tokens = prompt_tokens
    usage.completion_tokens += completion_tokens_before
    usage.ClearField("cached_prompt_tokens")  # what the last one found cached was partly the answer
