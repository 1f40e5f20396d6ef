"""Another replica goes on from the tokens that came: what it is asked, and where the seam is."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.requests import generate_request
from penstock.resilience.continuation import CannotContinue, Continuation, join_usage, plan, seam_chunk
from penstock.resilience.output import Output
from penstock.v1.generation_pb2 import (
    DetokenizeRequest,
    DetokenizeResponse,
    GenerateChunk,
    GenerateRequest,
    SequenceDelta,
    TokenizeRequest,
    TokenizeResponse,
    Usage,
)

PROMPT_IDS = [300, 301]
PROMPT_BYTES = {300: b"Once", 301: b" "}


def token_bytes(token: int) -> bytes:
    """The model of these tests has a token for each byte, as byte-level models have for rare characters."""
    return PROMPT_BYTES.get(token) or bytes([token])


def text_of(tokens: Sequence[int]) -> str:
    return b"".join(map(token_bytes, tokens)).decode(errors="replace")


def answered(
    request: GenerateRequest,
    output: Output,
    *,
    tokens_were_given: bool = False,
    prompt_ids: Sequence[int] | None = None,
) -> tuple[Continuation, list[TokenizeRequest | DetokenizeRequest]]:
    """The plan, with a replica that answers its questions."""
    questions: list[TokenizeRequest | DetokenizeRequest] = []
    steps = plan(request, output, "key+1", prompt_ids=prompt_ids, tokens_were_given=tokens_were_given)
    try:
        question = next(steps)
        while True:
            questions.append(question)
            if isinstance(question, TokenizeRequest):
                question = steps.send(TokenizeResponse(token_ids=PROMPT_IDS))
            else:
                question = steps.send(DetokenizeResponse(text=text_of(question.token_ids.ids)))
    except StopIteration as planned:
        return planned.value, questions


def output_of(tokens: Sequence[int], text: str) -> Output:
    output = Output()
    output.add(GenerateChunk(deltas=[SequenceDelta(text=text, token_ids=tokens)]))
    return output


def request_of(**options: Any) -> GenerateRequest:
    return generate_request(None if "messages" in options or "token_ids" in options else "Once ", **options)


def incremental_text(tokens: Sequence[int]) -> str:
    """What a server has sent of so many tokens: all but a character that is not whole."""
    text = text_of(tokens)
    return text.rstrip("\ufffd") if text.endswith("\ufffd") else text


@given(text=st.text(alphabet="aé€😀 ", min_size=1, max_size=12), cut=st.integers(0, 40))
def test_no_text_is_lost_or_doubled_wherever_the_seam_falls(text: str, cut: int) -> None:
    tokens = list(text.encode())
    came = tokens[: cut % (len(tokens) + 1)]
    sent = incremental_text(came)

    continuation, _ = answered(request_of(), output_of(came, sent))

    assert continuation.request is not None
    kept = list(continuation.request.token_ids.ids)[len(PROMPT_IDS) :]
    assert kept == came[: continuation.seam.kept]
    rest = text_of(tokens[len(kept) :])  # what the new replica tells of its own tokens
    assert sent + continuation.seam.held_back + rest == text


@given(text=st.text(alphabet="aé€😀 ", min_size=2, max_size=12), cut=st.integers(0, 40), held=st.integers(0, 5))
def test_whole_characters_that_were_held_back_come_from_the_client(text: str, cut: int, held: int) -> None:
    tokens = list(text.encode())
    came = tokens[: cut % (len(tokens) + 1)]
    whole = incremental_text(came)
    sent = whole[: max(0, len(whole) - held)]

    continuation, _ = answered(request_of(), output_of(came, sent))

    assert sent + continuation.seam.held_back == whole


def test_tokens_that_the_caller_has_seen_are_not_generated_again() -> None:
    came = list("é".encode())[:1]

    with pytest.raises(CannotContinue, match="no whole text"):
        answered(request_of(), output_of(came, ""), tokens_were_given=True)


def test_a_character_that_stands_for_itself_is_no_part_of_one() -> None:
    came = list("\ufffd".encode())

    continuation, _ = answered(request_of(), output_of(came, "\ufffd"))

    assert (continuation.seam.kept, continuation.seam.held_back) == (3, "")


def test_the_new_request_asks_for_what_is_left_and_nothing_else_changes() -> None:
    request = request_of(
        max_tokens=10, min_tokens=6, seed=7, temperature=0.5, request_id="job", truncate_prompt_tokens=5, thinking=False
    )

    continuation, questions = answered(request, output_of([97, 98, 99, 100], "abcd"))

    asked = continuation.request
    assert asked is not None
    assert list(asked.token_ids.ids) == [*PROMPT_IDS, 97, 98, 99, 100]
    assert (asked.stopping.max_tokens, asked.stopping.min_tokens) == (6, 2)
    assert (asked.sampling.seed, asked.sampling.temperature, asked.request_id) == (7, 0.5, "job")
    assert asked.idempotency_key == "key+1"
    assert not asked.HasField("prompt_options")
    assert isinstance(questions[0], TokenizeRequest)
    assert questions[0].prompt_options.truncate_tokens == 5


def test_a_second_seam_does_not_ask_for_the_prompt_again() -> None:
    _, questions = answered(request_of(), output_of([97], "a"), prompt_ids=PROMPT_IDS)

    assert not any(isinstance(question, TokenizeRequest) for question in questions)


def test_a_prompt_of_tokens_needs_no_question() -> None:
    continuation, questions = answered(request_of(token_ids=[300, 301]), output_of([97], "a"))

    assert not any(isinstance(question, TokenizeRequest) for question in questions)
    assert continuation.request is not None
    assert list(continuation.request.token_ids.ids) == [300, 301, 97]


def test_without_text_nothing_is_asked_of_it() -> None:
    continuation, questions = answered(request_of(return_text=False, return_token_ids=True), output_of([97, 98], ""))

    assert len(questions) == 1
    assert continuation.seam.kept == 2


def test_a_generation_that_had_all_its_tokens_ends_here() -> None:
    continuation, _ = answered(request_of(max_tokens=2), output_of([97, 98], "a"))

    chunk = seam_chunk(5, continuation)

    assert continuation.request is None
    assert chunk is not None
    assert (chunk.seq, chunk.deltas[0].text) == (5, "b")
    assert chunk.deltas[0].HasField("finish")
    assert (chunk.usage.prompt_tokens, chunk.usage.completion_tokens) == (2, 2)


def test_where_nothing_was_held_back_the_client_adds_nothing() -> None:
    continuation, _ = answered(request_of(), output_of([97], "a"))

    assert seam_chunk(1, continuation) is None


def test_the_usage_is_that_of_all_replicas() -> None:
    usage = Usage(prompt_tokens=12, completion_tokens=4, cached_prompt_tokens=8)

    join_usage(usage, 2, 10)

    assert (usage.prompt_tokens, usage.completion_tokens) == (2, 14)
    assert not usage.HasField("cached_prompt_tokens")


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"num_sequences": 2}, "several sequences"),
        ({"json_object": True}, "form"),
        ({"messages": [{"role": "user", "content": "x"}], "tools": [{"name": "add"}]}, "tools"),
        ({"stop": "x"}, "stop texts"),
        ({"messages": [{"role": "user", "content": [{"type": "image", "image": b"x"}]}]}, "pictures"),
    ],
)
def test_what_only_the_lost_replica_could_go_on_with_says_why(options: dict[str, Any], why: str) -> None:
    with pytest.raises(CannotContinue, match=why):
        answered(request_of(**options), output_of([97], "a"))


def test_thoughts_and_an_end_that_came_stop_it_too() -> None:
    thinking, ended = Output(), Output()
    thinking.add(GenerateChunk(deltas=[SequenceDelta(reasoning="hm")]))
    chunk = GenerateChunk(deltas=[SequenceDelta(text="a")])
    chunk.deltas[0].finish.reason = 1
    ended.add(chunk)

    with pytest.raises(CannotContinue, match="thoughts"):
        answered(request_of(), thinking)
    with pytest.raises(CannotContinue, match="ended"):
        answered(request_of(), ended)
