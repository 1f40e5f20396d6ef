"""Parameters, bodies, results and error answers in OpenAI's shape, without any I/O."""

import contextlib
import json
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2 as rpc
from google.rpc import status_pb2
from hypothesis import given
from hypothesis import strategies as st
from openai.types import completion_create_params
from openai.types.chat import completion_create_params as chat_params

from penstock import errors
from penstock.openai_shape.body import chat_arguments, completion_arguments
from penstock.openai_shape.create import OWN_KEYWORDS, chat_create, completion_create
from penstock.openai_shape.errors import error_response
from penstock.openai_shape.parameters import CHAT_PARAMETERS, COMPLETION_PARAMETERS, EXTRA_PARAMETERS
from penstock.openai_shape.signatures import ChatParameters, CompletionParameters
from penstock.openai_shape.types import ChatCompletionChunk, ChoiceDelta, ChunkChoice, Completion
from penstock.statuses import from_status
from penstock.v1 import generation_pb2 as pb

MESSAGES = [{"role": "user", "content": "Hi"}]
TOOL = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
OWN = {*OWN_KEYWORDS, "extra_headers", "extra_query", "extra_body"}


def test_every_parameter_of_openai_python_is_known() -> None:
    chat = {*chat_params.CompletionCreateParamsNonStreaming.__annotations__}
    text = {*completion_create_params.CompletionCreateParamsNonStreaming.__annotations__}

    assert chat <= CHAT_PARAMETERS
    assert text <= COMPLETION_PARAMETERS
    assert {*ChatParameters.__annotations__} - OWN == CHAT_PARAMETERS - {"messages", "stream"}
    assert {*CompletionParameters.__annotations__} - OWN == COMPLETION_PARAMETERS - {"prompt", "stream"}


def test_the_mapped_parameters_land_in_the_request() -> None:
    create = chat_create(
        {
            "messages": [{"role": "system", "content": "Be brief."}, {"role": "assistant", "content": None}],
            "model": "tiny",
            "temperature": 0.5,
            "top_p": 0.9,
            "frequency_penalty": 1,
            "presence_penalty": -1,
            "seed": 7,
            "stop": "end",
            "max_tokens": 5,
            "max_completion_tokens": 6,
            "extra_body": {"top_k": 3, "min_p": 0.1, "repetition_penalty": 1.2, "min_tokens": 1, "stop_token_ids": [9]},
        }
    )

    assert create.call.requests == [
        pb.GenerateRequest(
            model="tiny",
            conversation=pb.Conversation(
                messages=[
                    pb.Message(role=pb.ROLE_SYSTEM, content=[pb.ContentPart(text="Be brief.")]),
                    pb.Message(role=pb.ROLE_ASSISTANT, content=[pb.ContentPart(text="")]),
                ]
            ),
            sampling=pb.SamplingOptions(
                temperature=0.5,
                top_p=0.9,
                top_k=3,
                min_p=0.1,
                frequency_penalty=1,
                presence_penalty=-1,
                repetition_penalty=1.2,
                seed=7,
            ),
            stopping=pb.StoppingOptions(max_tokens=6, min_tokens=1, stop=["end"], stop_token_ids=[9]),
        )
    ]


@pytest.mark.parametrize(
    "neutral",
    [
        {"n": 1},
        {"logprobs": False, "top_logprobs": 0},
        {"tools": [], "tool_choice": "auto", "parallel_tool_calls": True},
        {"tool_choice": "none", "parallel_tool_calls": False},
        {"functions": [], "function_call": "none"},
        {"response_format": {"type": "text"}},
        {"logit_bias": {}},
        {"modalities": ["text"]},
        {"user": "me", "metadata": {"a": "b"}, "store": True, "service_tier": "auto", "safety_identifier": "x"},
        {"prompt_cache_key": "k", "verbosity": "low"},
        {"audio": None, "tools": None, "n": None, "stop": None, "web_search_options": None},
        {"stream_options": None, "stream": None},
        {"stream_options": {"include_usage": None, "include_obfuscation": False}},
        {"extra_body": {"use_beam_search": False, "guided_json": None, "unknown_to_all": 1}},
        {"extra_body": {"guided_choice": [], "structured_outputs": {}, "chat_template_kwargs": {}}},
    ],
)
def test_what_asks_for_nothing_else_is_accepted(neutral: dict[str, Any]) -> None:
    create = chat_create({"messages": MESSAGES, **neutral})

    assert create.call.requests == chat_create({"messages": MESSAGES}).call.requests


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n", True),
        ("logprobs", 1),
        ("top_logprobs", 3),
        ("functions", [{"name": "f"}]),
        ("response_format", "text"),
        ("modalities", ["text", "audio"]),
        ("audio", {"voice": "a"}),
        ("web_search_options", {}),
    ],
)
def test_what_the_contract_does_not_have_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(errors.BadRequestError, match=name) as caught:
        chat_create({"messages": MESSAGES, name: value})

    assert caught.value.param == name


@pytest.mark.parametrize(
    ("name", "value"),
    [("best_of", 2), ("echo", True), ("suffix", "x"), ("logprobs", True), ("n", "2")],
)
def test_completions_refuse_by_name_too(name: str, value: Any) -> None:
    with pytest.raises(errors.BadRequestError, match=name) as caught:
        completion_create({"prompt": "x", name: value})

    assert caught.value.param == name


@pytest.mark.parametrize("name", ["chat_template", "documents", "prompt_logprobs", "use_beam_search"])
def test_vllms_extras_that_change_the_answer_are_refused_by_name(name: str) -> None:
    with pytest.raises(errors.BadRequestError, match=name):
        chat_create({"messages": MESSAGES, "extra_body": {name: True}})


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "messages"),
        ({"messages": None}, "messages"),
        ({"messages": "Hi"}, "messages"),
        ({"messages": [5]}, "messages[0]"),
        ({"messages": [{"role": "function", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "assistant", "function_call": {"name": "f"}}]}, "messages[0].function_call"),
        ({"messages": [{"role": "assistant", "tool_calls": [{}]}]}, "messages[0].tool_calls[0].id"),
        ({"messages": [{"role": "user", "content": [{"type": "file"}]}]}, "messages[0].content[0].type"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
            "messages[0].content[0].image_url.url",
        ),
        ({"messages": MESSAGES, "tools": [{"type": "function"}]}, "tools[0].name"),
        ({"messages": MESSAGES, "tools": [{"type": "custom", "custom": {}}]}, "tools[0].type"),
        ({"messages": MESSAGES, "tools": {}}, "tools"),
        ({"messages": MESSAGES, "tools": [TOOL], "tool_choice": {"type": "allowed_tools"}}, "tool_choice.type"),
        ({"messages": MESSAGES, "n": "2"}, "n"),
        ({"messages": MESSAGES, "n": 2**31}, "n"),
        ({"messages": MESSAGES, "top_logprobs": 1}, "top_logprobs"),
        ({"messages": MESSAGES, "logprobs": True, "top_logprobs": "5"}, "top_logprobs"),
        ({"messages": MESSAGES, "logit_bias": {"five": 1}}, "logit_bias's key"),
        ({"messages": MESSAGES, "logit_bias": {"5": "1"}}, "logit_bias[5]"),
        ({"messages": MESSAGES, "reasoning_effort": "huge"}, "reasoning_effort"),
        ({"messages": MESSAGES, "response_format": {"type": "xml"}}, "response_format.type"),
        ({"messages": MESSAGES, "response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        (
            {"messages": MESSAGES, "response_format": {"type": "json_schema", "json_schema": {"name": "x"}}},
            "response_format.json_schema.schema",
        ),
        (
            {"messages": MESSAGES, "response_format": {"type": "json_schema", "json_schema": {"schema": 5}}},
            "response_format.json_schema.schema",
        ),
        ({"messages": MESSAGES, "structured_outputs": {"lark": "x"}}, "structured_outputs.lark"),
        ({"messages": MESSAGES, "structured_outputs": {"regex": 5}}, "structured_outputs.regex"),
        (
            {"messages": MESSAGES, "chat_template_kwargs": {"enable_thinking": 1}},
            "chat_template_kwargs.enable_thinking",
        ),
        ({"messages": MESSAGES, "chat_template_kwargs": {"a": []}}, "chat_template_kwargs['a']"),
        ({"messages": MESSAGES, "temperature": "hot"}, "temperature"),
        ({"messages": MESSAGES, "max_completion_tokens": 1.5}, "max_completion_tokens"),
        ({"messages": MESSAGES, "stream": "yes"}, "stream"),
        ({"messages": MESSAGES, "stream_options": 5}, "stream_options"),
        ({"messages": MESSAGES, "stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
        ({"messages": MESSAGES, "model": 5}, "model"),
        ({"messages": MESSAGES, "top_k": "5"}, "top_k"),
    ],
)
def test_a_wrong_chat_body_is_a_bad_request_with_its_param(body: dict[str, Any], param: str) -> None:
    with pytest.raises(errors.BadRequestError) as caught:
        chat_arguments(body)

    assert caught.value.param == param


@pytest.mark.parametrize("prompt", [None, [], 5, {"a": 1}, [1, "a"], [["a"]], [None]])
def test_a_wrong_prompt_is_a_bad_request_with_its_param(prompt: Any) -> None:
    with pytest.raises(errors.BadRequestError) as caught:
        completion_arguments({"prompt": prompt})

    assert caught.value.param is not None
    assert caught.value.param.startswith("prompt")


def test_a_bodys_unknown_fields_and_nulls_are_dropped_and_extras_kept_apart() -> None:
    body = {"messages": MESSAGES, "model": "tiny", "stream": True, "stop": None, "top_k": 5, "made_up": {"x": 1}}

    assert chat_arguments(body) == {
        "messages": MESSAGES,
        "model": "tiny",
        "stream": True,
        "extra_body": {"top_k": 5},
    }


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(sorted(CHAT_PARAMETERS | EXTRA_PARAMETERS)), json_values, max_size=4))
def test_any_json_object_is_a_chat_call_or_a_bad_request(body: dict[str, Any]) -> None:
    with contextlib.suppress(errors.BadRequestError):
        assert chat_create(chat_arguments(body)).call.requests


@given(st.dictionaries(st.sampled_from(sorted(COMPLETION_PARAMETERS | EXTRA_PARAMETERS)), json_values, max_size=4))
def test_any_json_object_is_a_completion_call_or_a_bad_request(body: dict[str, Any]) -> None:
    with contextlib.suppress(errors.BadRequestError):
        assert completion_create(completion_arguments(body)).call.requests


def test_results_read_like_openais() -> None:
    chunk = ChatCompletionChunk("id", [ChunkChoice(0, ChoiceDelta(content="ü"))], 5, "tiny")

    assert chunk["choices"][0]["delta"].content == chunk.choices[0].delta.get("content") == "ü"
    assert chunk.get("nothing", 7) == 7
    with pytest.raises(KeyError):
        chunk["_usage_asked"]
    assert chunk.choices[0].delta.tool_calls is None
    line = chunk.model_dump_json(exclude_unset=True)
    assert json.loads(line) == chunk.to_dict()
    assert "\n" not in line
    assert "ü" in line
    assert "usage" not in chunk.to_dict()
    assert chunk.model_dump()["usage"] is None
    assert "finish_reason" not in chunk.model_dump(exclude_none=True)["choices"][0]


def test_a_completion_piece_has_null_usage_only_if_usage_was_asked_for() -> None:
    assert "usage" not in Completion("id", [], 5, "tiny").to_dict()
    assert Completion("id", [], 5, "tiny", _usage_asked=True).to_dict()["usage"] is None


def refused(status: grpc.StatusCode, *details: Any) -> errors.APIError:
    packed = status_pb2.Status()
    for detail in details:
        packed.details.add().Pack(detail)
    return from_status(status, "a sentence", [("grpc-status-details-bin", packed.SerializeToString())])


def test_an_error_body_is_readable_by_all() -> None:
    violation = rpc.BadRequest.FieldViolation(field="sampling.top_p", description="is 2; at most 1")
    info = rpc.ErrorInfo(reason="INVALID_FIELD", domain="penstock")
    error = refused(grpc.StatusCode.INVALID_ARGUMENT, info, rpc.BadRequest(field_violations=[violation]))

    response = error_response(error)

    assert response.status == 400
    assert response.headers == {"x-should-retry": "false"}
    assert response.body == {
        "error": {
            "message": "a sentence",
            "type": "invalid_request_error",
            "param": "top_p",
            "code": "invalid_field",
        },
        "object": "error",
        "message": "a sentence",
        "code": 400,
        "detail": "a sentence",
    }


@pytest.mark.parametrize(
    ("field", "param"),
    [
        ("stopping.max_tokens", "max_tokens"),
        ("conversation.messages[1].role", "messages[1].role"),
        ("conversation", "messages"),
        ("token_ids.ids[3]", "prompt[3]"),
        ("prompt", "prompt"),
        ("model", "model"),
        ("tools[1].parameters", "tools[1].function.parameters"),
        ("tool_choice.name", "tool_choice"),
        ("structured_output.json_schema", "response_format"),
        ("response.logprobs", "logprobs"),
        ("reasoning.effort", "reasoning_effort"),
        ("num_sequences", "n"),
        ("prompt_options.truncate_tokens", "truncate_prompt_tokens"),
        ("inputs[2].token_ids.ids[3]", "input[2][3]"),
        ("inputs[2].text", "input[2]"),
    ],
)
def test_param_is_openais_name_of_the_first_wrong_field(field: str, param: str) -> None:
    violation = rpc.BadRequest.FieldViolation(field=field, description="is wrong")
    error = refused(grpc.StatusCode.INVALID_ARGUMENT, rpc.BadRequest(field_violations=[violation]))

    assert error_response(error).body["error"]["param"] == param


def test_a_delay_is_sent_in_both_units_and_says_nothing_against_a_retry() -> None:
    retry = rpc.RetryInfo()
    retry.retry_delay.FromMilliseconds(1500)

    response = error_response(refused(grpc.StatusCode.UNAVAILABLE, rpc.ErrorInfo(reason="LOADING"), retry))

    assert response.status == 503
    assert response.headers == {"retry-after": "2", "retry-after-ms": "1500"}
    assert response.body["error"]["type"] == "server_error"


def test_what_is_no_api_error_tells_nothing_of_itself() -> None:
    response = error_response(RuntimeError("secret"))

    assert response.status == 500
    assert "secret" not in json.dumps(response.body)


def test_the_number_of_prompts_is_limited_and_token_ids_are_one_prompt() -> None:
    many = completion_arguments({"prompt": ["x"] * 128})
    long = completion_arguments({"prompt": [1] * 1000})

    assert len(many["prompt"]) == 128
    assert len(long["prompt"]) == 1000
    with pytest.raises(errors.BadRequestError, match="at most 128 prompts, got 129") as raised:
        completion_arguments({"prompt": ["x"] * 129})
    assert raised.value.param == "prompt"
