"""A wrong keyword argument is an error that names it."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.arguments import ArgumentTypeError, ArgumentValueError
from penstock.generate_options import GenerateOptions
from penstock.requests import generate_request
from penstock.v1 import generation_pb2 as pb

USER = {"role": "user", "content": "Hi"}


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
        ({"messages": [{"role": "user", "content": [{"type": "image"}]}]}, "messages[0].content[0].image"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
            "messages[0].content[0].image_url.url",
        ),
        ({"messages": [{"role": "assistant", "tool_calls": 5}]}, "messages[0].tool_calls"),
        ({"messages": [{"role": "assistant", "tool_calls": [{"name": "f"}]}]}, "messages[0].tool_calls[0].id"),
        ({"messages": [{"role": "tool", "content": "x", "tool_call_id": 5}]}, "messages[0].tool_call_id"),
        ({"messages": [USER], "template_arguments": {"a": None}}, "template_arguments['a']"),
        ({"prompt": "x", "logit_bias": [5]}, "logit_bias"),
        ({"prompt": "x", "logit_bias": {"5": 1}}, "logit_bias's key"),
        ({"prompt": "x", "logit_bias": {5: "1"}}, "logit_bias[5]"),
        ({"prompt": "x", "logprobs": True}, "logprobs"),
        ({"prompt": "x", "json_schema": 5}, "json_schema"),
        ({"prompt": "x", "json_object": 1}, "json_object"),
        ({"prompt": "x", "choice": 5}, "choice"),
        ({"prompt": "x", "tools": [5]}, "tools[0]"),
        ({"prompt": "x", "tools": [{"type": "function", "function": {}}]}, "tools[0].function.name"),
        ({"prompt": "x", "tools": [{"name": "f", "parameters": 5}]}, "tools[0].parameters"),
        ({"prompt": "x", "tool_choice": 5}, "tool_choice"),
        ({"prompt": "x", "tool_choice": {"type": "function", "function": {}}}, "tool_choice.function.name"),
        ({"prompt": "x", "thinking": "yes"}, "thinking"),
        ({"prompt": "x", "num_sequences": 1.0}, "num_sequences"),
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
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": [{"type": "video_url"}]}]}, "messages[0].content[0].type"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image", "image": "data:image/png,raw"}]}]},
            "messages[0].content[0].image",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "?"}}]}]},
            "messages[0].content[0].input_audio.data",
        ),
        ({"messages": [USER], "template_arguments": {"a": 2**63}}, "template_arguments['a']"),
        ({"prompt": "x", "add_generation_prompt": True}, "add_generation_prompt"),
        ({"prompt": "x", "json_schema": {"a": object()}}, "json_schema"),
        ({"prompt": "x", "json_schema": {"a": "\ud800"}}, "json_schema"),
        ({"prompt": "x", "json_schema": {}, "regex": "a"}, "regex"),
        ({"prompt": "x", "tools": [{"type": "custom", "custom": {}}]}, "tools[0].type"),
        ({"prompt": "x", "tool_choice": {"type": "allowed_tools"}}, "tool_choice.type"),
        ({"prompt": "x", "reasoning_effort": "huge"}, "reasoning_effort"),
        ({"prompt": "x", "truncation_side": "middle"}, "truncation_side"),
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
