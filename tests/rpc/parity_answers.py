"""What vLLM's OpenAI server and the service answer, in one form that can be compared."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from penstock.v1 import generation_pb2 as pb

_REASONS = {
    pb.FINISH_REASON_STOP: "stop",
    pb.FINISH_REASON_LENGTH: "length",
    pb.FINISH_REASON_CONTEXT_LENGTH: "length",
    pb.FINISH_REASON_TOOL_CALLS: "tool_calls",
}
# JSON has no infinity: the OpenAI server says this for tokens that cannot be.
_LEAST_LOGPROB = -9999.0


@dataclass
class Token:
    """A token's logprob, and those of the likeliest ones for its place, by token id; the server adds the token's."""

    token_id: int
    logprob: float | None
    candidates: dict[int, float] = field(default_factory=dict)


@dataclass
class Choice:
    """One sequence."""

    text: str = ""
    reasoning: str = ""
    token_ids: list[int] = field(default_factory=list)
    finish: str | None = None
    stop: int | str | None = None
    calls: list[list[str]] = field(default_factory=list)  # name and arguments
    tokens: list[Token] = field(default_factory=list)


@dataclass
class Answer:
    """A whole answer."""

    choices: list[Choice]
    prompt_tokens: int
    completion_tokens: int
    prompt: list[Token] = field(default_factory=list)


def openai_answer(events: Sequence[dict[str, Any]]) -> Answer:
    """The answer in a unary response, or in all events of a streamed one."""
    choices: dict[int, Choice] = {}
    for event in events:
        for piece in event["choices"]:
            _add_openai(choices.setdefault(piece["index"], Choice()), piece)
    usage = events[-1]["usage"]
    ids, places = (_first(events, name) for name in ("prompt_token_ids", "prompt_logprobs"))
    prompt = [_prompt_token(*pair) for pair in zip(ids, places, strict=True)] if places else []
    sorted_choices = [choices[index] for index in sorted(choices)]
    return Answer(sorted_choices, usage["prompt_tokens"], usage["completion_tokens"], prompt)


def penstock_answer(pieces: Sequence[pb.GenerateResponse] | Sequence[pb.GenerateChunk]) -> Answer:
    """The answer in a reply, or in all chunks of a stream."""
    choices: dict[int, Choice] = {}
    for piece in pieces:
        for delta in piece.sequences if isinstance(piece, pb.GenerateResponse) else piece.deltas:
            _add_penstock(choices.setdefault(delta.index, Choice()), delta)
    prompt = [_penstock_token(token) for piece in pieces for token in piece.prompt]
    usage = pieces[-1].usage
    return Answer([choices[index] for index in sorted(choices)], usage.prompt_tokens, usage.completion_tokens, prompt)


def _first(events: Sequence[dict[str, Any]], name: str) -> list[Any]:
    """Chats have it beside their choices, completions within them."""
    found = (piece.get(name) for event in events for piece in (event, *event["choices"]))
    return next(filter(None, found), [])


def _add_openai(choice: Choice, piece: dict[str, Any]) -> None:
    said = piece.get("message") or piece.get("delta") or {"content": piece.get("text")}
    choice.text += said.get("content") or ""
    choice.reasoning += said.get("reasoning") or ""
    choice.token_ids += piece.get("token_ids") or []
    choice.finish = piece.get("finish_reason") or choice.finish
    choice.stop = piece.get("stop_reason") or choice.stop
    for place, call in enumerate(said.get("tool_calls") or ()):
        function = call.get("function") or {}
        _add_call(choice.calls, call.get("index", place), function.get("name"), function.get("arguments"))
    choice.tokens += _openai_tokens(piece.get("logprobs") or {})


def _add_penstock(choice: Choice, delta: pb.Sequence | pb.SequenceDelta) -> None:
    choice.text += delta.text
    choice.reasoning += delta.reasoning
    choice.token_ids += delta.token_ids
    for place, call in enumerate(delta.tool_calls):
        index = call.index if isinstance(call, pb.ToolCallDelta) else place
        _add_call(choice.calls, index, call.name, call.arguments)
    choice.tokens += map(_penstock_token, delta.tokens)
    if delta.HasField("finish"):
        choice.finish = _REASONS[delta.finish.reason]
        match = delta.finish.WhichOneof("stop_match")
        choice.stop = getattr(delta.finish, match) if match else None


def _add_call(calls: list[list[str]], index: int, name: str | None, arguments: str | None) -> None:
    while len(calls) <= index:
        calls.append(["", ""])
    calls[index][0] += name or ""
    calls[index][1] += arguments or ""


def _penstock_token(token: pb.TokenInfo) -> Token:
    logprob = max(token.logprob, _LEAST_LOGPROB) if token.HasField("logprob") else None
    candidates = {each.token_id: max(each.logprob, _LEAST_LOGPROB) for each in token.candidates}
    return Token(token.token_id, logprob, candidates)


def _openai_tokens(logprobs: dict[str, Any]) -> Iterator[Token]:
    for entry in logprobs.get("content") or ():  # of a chat
        yield Token(_id(entry["token"]), entry["logprob"], _candidates(_pairs(entry["top_logprobs"])))
    if "tokens" in logprobs:  # of a completion
        columns = (logprobs[name] for name in ("tokens", "token_logprobs", "top_logprobs"))
        for token, logprob, found in zip(*columns, strict=True):
            yield Token(_id(token), logprob, _candidates(found.items()))


def _pairs(entries: list[dict[str, Any]]) -> Iterator[tuple[str, float]]:
    return ((entry["token"], entry["logprob"]) for entry in entries)


def _candidates(found: Iterable[tuple[str, float]]) -> dict[int, float]:
    return {_id(token): logprob for token, logprob in found}


def _prompt_token(token_id: int, place: dict[str, Any] | None) -> Token:
    if place is None:
        return Token(token_id, None)
    found = {int(token): info["logprob"] for token, info in place.items()}
    return Token(token_id, found[token_id], found)


def _id(token: str) -> int:
    """With `return_tokens_as_token_ids` the server names tokens so."""
    return int(token.removeprefix("token_id:"))
