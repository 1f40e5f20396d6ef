"""Keyword arguments become a GenerateRequest, or an error that names the argument."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.arguments import ArgumentTypeError, ArgumentValueError
from penstock.requests import GenerateOptions, generate_request
from penstock.v1 import generation_pb2 as pb


def test_every_keyword_lands_in_its_field() -> None:
    request = generate_request(
        "Once",
        model="tiny",
        request_id="job",
        temperature=0,
        top_p=0.5,
        top_k=4,
        min_p=0.1,
        frequency_penalty=1,
        presence_penalty=-1.5,
        repetition_penalty=1.1,
        seed=-(2**63),
        max_tokens=7,
        min_tokens=0,
        stop=["a", "b"],
        stop_token_ids=(5, 6),
        include_stop=True,
        ignore_eos=False,
        return_text=True,
        return_token_ids=True,
        max_delay_ms=5,
        priority=-3,
        on_deadline="return_partial",
    )

    assert request == pb.GenerateRequest(
        prompt="Once",
        model="tiny",
        request_id="job",
        sampling=pb.SamplingOptions(
            temperature=0,
            top_p=0.5,
            top_k=4,
            min_p=0.1,
            frequency_penalty=1,
            presence_penalty=-1.5,
            repetition_penalty=1.1,
            seed=-(2**63),
        ),
        stopping=pb.StoppingOptions(
            max_tokens=7, min_tokens=0, stop=["a", "b"], stop_token_ids=[5, 6], include_stop=True, ignore_eos=False
        ),
        response=pb.ResponseOptions(text=True, token_ids=True, max_delay_ms=5),
        priority=-3,
        on_deadline=pb.ON_DEADLINE_RETURN_PARTIAL,
    )


def test_every_field_of_the_contract_has_a_keyword() -> None:
    fields = {
        *pb.SamplingOptions.DESCRIPTOR.fields_by_name,
        *pb.StoppingOptions.DESCRIPTOR.fields_by_name,
        *("return_text", "return_token_ids", "max_delay_ms"),  # ResponseOptions, whose token_ids are not the input's
        *("messages", "token_ids", "model", "request_id", "priority", "on_deadline"),
    }

    assert set(GenerateOptions.__annotations__) == fields


def test_none_is_absent() -> None:
    nothing: dict[str, Any] = dict.fromkeys(GenerateOptions.__annotations__)

    assert generate_request("Once", **nothing) == pb.GenerateRequest(prompt="Once")


def test_an_explicit_zero_is_sent() -> None:
    request = generate_request("Once", temperature=0, max_tokens=0)

    assert request.sampling.HasField("temperature")
    assert request.stopping.HasField("max_tokens")


def test_one_stop_text_needs_no_list() -> None:
    assert list(generate_request("Once", stop="end").stopping.stop) == ["end"]


def test_token_ids_are_an_input() -> None:
    assert list(generate_request(token_ids=range(3)).token_ids.ids) == [0, 1, 2]


def test_messages_are_an_input() -> None:
    request = generate_request(
        messages=[
            {"role": "system", "content": "Be brief."},
            {"role": "developer", "content": ""},
            {"role": "user", "content": [{"type": "text", "text": "Hi"}, {"type": "text", "text": "!"}]},
            pb.Message(role=pb.ROLE_ASSISTANT, content=[pb.ContentPart(text="Hello")]),
        ]
    )

    spoken = [(message.role, [part.text for part in message.content]) for message in request.conversation.messages]
    assert spoken == [
        (pb.ROLE_SYSTEM, ["Be brief."]),
        (pb.ROLE_DEVELOPER, [""]),
        (pb.ROLE_USER, ["Hi", "!"]),
        (pb.ROLE_ASSISTANT, ["Hello"]),
    ]


@pytest.mark.parametrize(
    ("arguments", "argument"),
    [
        ({"prompt": 5}, "prompt"),
        ({"prompt": b"bytes"}, "prompt"),
        ({"prompt": "x", "temperature": "hot"}, "temperature"),
        ({"prompt": "x", "temperature": True}, "temperature"),
        ({"prompt": "x", "max_tokens": 1.5}, "max_tokens"),
        ({"prompt": "x", "max_tokens": "7"}, "max_tokens"),
        ({"prompt": "x", "seed": False}, "seed"),
        ({"prompt": "x", "stop": 5}, "stop"),
        ({"prompt": "x", "stop": ["a", 5]}, "stop[1]"),
        ({"prompt": "x", "stop_token_ids": "12"}, "stop_token_ids"),
        ({"prompt": "x", "stop_token_ids": [1, "2"]}, "stop_token_ids[1]"),
        ({"prompt": "x", "include_stop": 1}, "include_stop"),
        ({"prompt": "x", "model": 3}, "model"),
        ({"token_ids": {"a": 1}}, "token_ids"),
        ({"messages": "Hi"}, "messages"),
        ({"messages": ["Hi"]}, "messages[0]"),
        ({"messages": [{"content": "Hi"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": ["Hi"]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
    ],
)
def test_a_wrong_type_is_a_type_error_that_names_the_argument(arguments: dict[str, Any], argument: str) -> None:
    with pytest.raises(ArgumentTypeError) as caught:
        generate_request(**arguments)

    assert caught.value.argument == argument
    assert str(caught.value).startswith(f"{argument} must be ")


@pytest.mark.parametrize(
    ("arguments", "argument"),
    [
        ({}, "prompt"),
        ({"prompt": "x", "token_ids": [1]}, "token_ids"),
        ({"prompt": "x", "messages": []}, "messages"),
        ({"prompt": "\ud800"}, "prompt"),
        ({"prompt": "x", "max_tokens": 2**31}, "max_tokens"),
        ({"prompt": "x", "seed": 2**63}, "seed"),
        ({"prompt": "x", "temperature": 10**400}, "temperature"),
        ({"token_ids": [0, 2**31]}, "token_ids[1]"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages[0].content[0].type"),
    ],
)
def test_an_impossible_value_is_a_value_error_that_names_the_argument(arguments: dict[str, Any], argument: str) -> None:
    with pytest.raises(ArgumentValueError) as caught:
        generate_request(**arguments)

    assert caught.value.argument == argument


def test_an_unknown_keyword_is_a_type_error_that_names_it() -> None:
    options: dict[str, Any] = {"tempreture": None}

    with pytest.raises(TypeError, match="tempreture"):
        generate_request("Once", **options)


def test_ranges_are_the_servers_to_check() -> None:
    request = generate_request("Once", temperature=99, top_p=math.nan, max_tokens=-1)

    assert request.stopping.max_tokens == -1


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(["prompt", *GenerateOptions.__annotations__]), anything, max_size=5))
def test_whatever_is_passed_the_outcome_is_a_request_or_an_error_with_a_name(arguments: dict[str, Any]) -> None:
    outcome: pb.GenerateRequest | Exception
    try:
        outcome = generate_request(**arguments)
    except (ArgumentTypeError, ArgumentValueError) as error:
        outcome = error

    if isinstance(outcome, pb.GenerateRequest):
        assert pb.GenerateRequest.FromString(outcome.SerializeToString()).WhichOneof("input")
    else:
        assert str(outcome).startswith(getattr(outcome, "argument", "?"))
