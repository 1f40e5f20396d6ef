"""OpenAI's parameters, and vLLM's beside them, become requests of the contract."""

from typing import Any

import pytest
from openai.types.chat import ChatCompletionMessage as OpenAIMessage

from penstock.errors import BadRequestError
from penstock.openai_shape.create import chat_create, completion_create, embedding_create
from penstock.openai_shape.tool_call_types import Function, ToolCall
from penstock.openai_shape.types import ChatCompletionMessage
from penstock.v1 import generation_pb2 as pb

MESSAGES = [{"role": "user", "content": "Hi"}]
SCHEMA = {"type": "object"}
SCHEMA_TEXT = '{"type": "object"}'
TOOL = {"type": "function", "function": {"name": "add", "parameters": SCHEMA}}


def asked(**parameters: Any) -> pb.GenerateRequest:
    return chat_create({"messages": MESSAGES, **parameters}).call.requests[0]


def completed(**parameters: Any) -> pb.GenerateRequest:
    return completion_create({"prompt": "Once", **parameters}).call.requests[0]


def test_tools_and_their_choice_land_in_the_request() -> None:
    named = {"type": "function", "function": {"name": "add"}}

    request = asked(tools=[TOOL], tool_choice=named, parallel_tool_calls=False)

    assert list(request.tools) == [pb.Tool(name="add", parameters=SCHEMA_TEXT)]
    assert request.tool_choice == pb.ToolChoice(name="add", parallel=False)
    assert asked(tools=[TOOL], tool_choice="required").tool_choice.mode == pb.TOOL_CHOICE_MODE_REQUIRED
    assert not asked(tools=[TOOL]).HasField("tool_choice")


def test_a_conversation_about_tools_lands_in_the_request() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "add", "arguments": "{}"}}
    messages = [
        *MESSAGES,
        {"role": "assistant", "content": None, "tool_calls": [call], "reasoning_content": "Hm."},
        {"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "2"}]},
    ]

    _, wanted, result = asked(messages=messages).conversation.messages

    expected = pb.ToolCall(id="c", name="add", arguments="{}")
    assert wanted == pb.Message(role=pb.ROLE_ASSISTANT, tool_calls=[expected], reasoning="Hm.")
    assert (result.role, result.tool_call_id, result.content[0].text) == (pb.ROLE_TOOL, "c", "2")


def test_the_message_of_an_answer_can_be_among_the_messages() -> None:
    calls = [ToolCall("c", Function("add", "{}"))]
    ours = ChatCompletionMessage(None, tool_calls=calls, reasoning="Hm.", reasoning_content="Hm.")
    theirs = OpenAIMessage.model_validate(ours.to_dict())

    requests = [asked(messages=[*MESSAGES, message]) for message in (ours, theirs, ours.to_dict())]

    assert requests[0] == requests[1] == requests[2]
    assert requests[0].conversation.messages[1].tool_calls[0].name == "add"


def test_a_picture_lands_in_the_request() -> None:
    part = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw==", "detail": "low"}}

    request = asked(messages=[{"role": "user", "content": [part]}])

    assert request.conversation.messages[0].content[0].image.data == b"\x89PNG"


@pytest.mark.parametrize(
    ("parameters", "form"),
    [
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}},
            pb.StructuredOutput(json_schema=SCHEMA_TEXT),
        ),
        ({"response_format": {"type": "json_object"}}, pb.StructuredOutput(json_object=pb.JsonObject())),
        (
            {"response_format": {"type": "structural_tag", "format": {}}},
            pb.StructuredOutput(structural_tag='{"type": "structural_tag", "format": {}}'),
        ),
        ({"guided_regex": "a+"}, pb.StructuredOutput(regex="a+")),
        ({"guided_json": SCHEMA}, pb.StructuredOutput(json_schema=SCHEMA_TEXT)),
        ({"guided_choice": ["a"]}, pb.StructuredOutput(choice=pb.Choice(options=["a"]))),
        ({"guided_grammar": "root ::= x"}, pb.StructuredOutput(grammar="root ::= x")),
        (
            {"structured_outputs": {"json": SCHEMA, "regex": None, "json_object": False}},
            pb.StructuredOutput(json_schema=SCHEMA_TEXT),
        ),
        ({"structured_outputs": {"structural_tag": "{}"}}, pb.StructuredOutput(structural_tag="{}")),
    ],
)
def test_the_form_of_the_answer_lands_in_the_request(parameters: dict[str, Any], form: pb.StructuredOutput) -> None:
    assert asked(extra_body=parameters).structured_output == form
    assert completed(extra_body=parameters).structured_output == form


def test_how_likely_tokens_were_is_asked_for_in_openais_ways() -> None:
    assert asked(logprobs=True, top_logprobs=3).response.logprobs == 3
    assert asked(logprobs=True).response.HasField("logprobs")
    assert completed(logprobs=2).response.logprobs == 2
    assert completed(logprobs=0).response.HasField("logprobs")
    assert not completed(logprobs=False).HasField("response")


def test_several_answers_and_biases_land_in_the_request() -> None:
    request = asked(n=3, logit_bias={"5": -100, 6: 1})

    assert request.num_sequences == completed(n=3).num_sequences == 3
    assert dict(request.sampling.logit_bias) == {5: -100, 6: 1}


@pytest.mark.parametrize(
    ("effort", "expected"),
    [
        ("none", pb.REASONING_EFFORT_NONE),
        ("minimal", pb.REASONING_EFFORT_LOW),
        ("medium", pb.REASONING_EFFORT_MEDIUM),
        ("xhigh", pb.REASONING_EFFORT_HIGH),
    ],
)
def test_the_effort_is_the_nearest_that_the_contract_has(effort: str, expected: pb.ReasoningEffort) -> None:
    assert asked(reasoning_effort=effort).reasoning.effort == expected


def test_vllms_extras_land_in_the_request() -> None:
    request = asked(
        extra_body={
            "chat_template_kwargs": {"enable_thinking": False, "tone": "dry"},
            "include_reasoning": False,
            "thinking_token_budget": 9,
            "cache_salt": "mine",
            "bad_words": ["rude"],
            "allowed_token_ids": [1],
            "truncate_prompt_tokens": 5,
            "truncation_side": "right",
            "skip_special_tokens": False,
            "priority": 2,
            "continue_final_message": True,
        }
    )

    assert request.reasoning == pb.ReasoningOptions(enabled=False, include=False, max_tokens=9)
    assert request.conversation.template_arguments["tone"].text == "dry"
    assert request.conversation.continue_final_message
    assert (request.cache_salt, request.priority) == ("mine", 2)
    assert list(request.sampling.bad_words) == ["rude"]
    assert list(request.sampling.allowed_token_ids) == [1]
    assert request.prompt_options.truncate_tokens == 5
    assert request.prompt_options.truncation_side == pb.TRUNCATION_SIDE_RIGHT
    assert not request.response.skip_special_tokens
    assert not completed(extra_body={"add_special_tokens": False}).prompt_options.add_special_tokens


def test_many_texts_to_embed_become_several_requests() -> None:
    options = {"model": "tiny", "dimensions": 3, "extra_body": {"normalize": True}}

    first, second = embedding_create({"input": ["x"] * 65, **options}).call.requests

    assert (len(first.inputs), len(second.inputs)) == (64, 1)
    for request in (first, second):
        assert (request.model, request.dimensions, request.normalize) == ("tiny", 3, True)


@pytest.mark.parametrize(
    ("given", "inputs"),
    [("a", ["a"]), (["a", "b"], ["a", "b"]), ([1, 2], [[1, 2]]), ([[1], [2]], [[1], [2]])],
)
def test_what_is_embedded_has_openais_forms(given: Any, inputs: list[Any]) -> None:
    request = embedding_create({"input": given}).call.requests[0]

    assert [each.text or list(each.token_ids.ids) for each in request.inputs] == inputs


@pytest.mark.parametrize(
    ("parameters", "param"),
    [
        ({"input": None}, "input"),
        ({"input": []}, "input"),
        ({"input": 5}, "input"),
        ({"input": ["a", 5]}, "input[1]"),
        ({"input": ["a"] * 2049}, "input"),
        ({"input": "a", "encoding_format": "hex"}, "encoding_format"),
        ({"input": "a", "dimensions": "3"}, "dimensions"),
    ],
)
def test_a_wrong_embedding_is_a_bad_request_with_its_param(parameters: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        embedding_create(parameters)

    assert caught.value.param == param
    assert str(caught.value).startswith(param)
