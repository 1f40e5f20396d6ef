"""The pure check of requests: what the loopback tests cannot enumerate."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.v1 import generation_pb2 as pb
from penstock_service.errors import InvalidRequest
from penstock_service.limit_table import limits_of
from penstock_service.limits import ModelLimits, check, check_prompt_length, check_prompt_logprobs

LIMITS = ModelLimits(context_length=128, vocabulary_size=1000, max_prompt_bytes=512)
FRACTIONS = [
    "temperature",
    "top_p",
    "min_p",
    "frequency_penalty",
    "presence_penalty",
    "repetition_penalty",
]


def violations(request: pb.GenerateRequest) -> list[str]:
    try:
        check(request, LIMITS)
    except InvalidRequest as error:
        return [violation.field for violation in error.violations]
    return []


@given(st.sampled_from(FRACTIONS), st.floats())
def test_a_number_is_refused_exactly_when_it_is_outside_its_range(name: str, value: float) -> None:
    allowed = limits_of(LIMITS)[f"sampling.{name}"].value
    assert allowed is not None
    assert None not in (allowed.low, allowed.high)
    inside = allowed.low <= value <= allowed.high and not (allowed.above and value == allowed.low)

    found = violations(pb.GenerateRequest(prompt="x", sampling={name: value}))

    assert found == ([] if inside else [f"sampling.{name}"])


@given(st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1, max_size=100))
def test_each_token_outside_the_vocabulary_is_named_by_its_place(ids: list[int]) -> None:
    outside = [f"token_ids.ids[{place}]" for place, token in enumerate(ids) if not 0 <= token < 1000]

    assert violations(pb.GenerateRequest(token_ids=pb.TokenIds(ids=ids))) == outside[: InvalidRequest.MOST_VIOLATIONS]


@given(st.text(min_size=1, max_size=300))
def test_a_prompt_is_refused_by_its_bytes_not_its_characters(text: str) -> None:
    assert violations(pb.GenerateRequest(prompt=text)) == (["prompt"] if len(text.encode()) > 512 else [])


@pytest.mark.parametrize(
    ("prompt", "size"),
    [("é" * 300, "600"), ("a" * (2 << 20), f"at least {2 << 20}"), ("é" * (2 << 20), f"at least {2 << 20}")],
)
def test_a_large_text_is_refused_by_its_characters_which_are_bytes_at_the_least(prompt: str, size: str) -> None:
    with pytest.raises(InvalidRequest, match=f"prompt: has {size} bytes; more than 512 cannot fit"):
        check(pb.GenerateRequest(prompt=prompt), LIMITS)


@pytest.mark.parametrize(("tokens", "fits"), [(1, True), (127, True), (128, False), (10_000, False)])
def test_a_prompt_must_leave_room_for_one_token(tokens: int, fits: bool) -> None:
    if fits:
        check_prompt_length(tokens, "prompt", LIMITS)
        return
    with pytest.raises(InvalidRequest, match=f"prompt: has {tokens} tokens; the context of 128") as raised:
        check_prompt_length(tokens, "prompt", LIMITS)

    assert raised.value.reason == "CONTEXT_LENGTH"


def test_records_of_a_prompt_are_bounded_by_its_tokens_and_candidates() -> None:
    check_prompt_logprobs(65536, pb.ResponseOptions(prompt_logprobs=0))
    check_prompt_logprobs(10**6, pb.ResponseOptions(logprobs=20))

    with pytest.raises(InvalidRequest, match=r"response.prompt_logprobs: would return 65538 .*; at most 65536"):
        check_prompt_logprobs(32769, pb.ResponseOptions(prompt_logprobs=1))


def test_too_long_and_wrong_are_told_together() -> None:
    assert violations(pb.GenerateRequest(prompt="x" * 513, sampling={"top_p": 7})) == ["sampling.top_p", "prompt"]


def test_a_full_request_at_its_limits_is_accepted() -> None:
    request = pb.GenerateRequest(
        prompt="x" * 512,
        sampling={"temperature": 2, "top_p": 1, "top_k": 1000, "min_p": 1, "seed": -(2**63)},
        stopping={
            "max_tokens": 2**31 - 1,
            "min_tokens": 128,
            "stop": ["é" * 64] * 16,
            "stop_token_ids": [999] * 128,
        },
        request_id="A-Z/0.9_:=+" + "x" * 117,
    )

    assert violations(request) == []
