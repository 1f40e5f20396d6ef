"""Tools, the choice among them, and the form of the answer."""

import json
from typing import Any

import pytest

from penstock.requests import generate_request
from penstock.v1 import generation_pb2 as pb

USER = {"role": "user", "content": "Hi"}


def test_tools_are_read_in_the_contracts_form_and_in_openais() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    flat = {"name": "add", "description": "Adds.", "parameters": schema, "strict": True}
    openai = {"type": "function", "function": flat}
    text = {**flat, "parameters": json.dumps(schema)}

    requests = [generate_request(messages=[USER], tools=[tool]) for tool in (flat, openai, text)]

    assert requests[0] == requests[1] == requests[2]
    assert requests[0].tools[0] == pb.Tool(name="add", description="Adds.", parameters=json.dumps(schema), strict=True)
    assert generate_request(messages=[USER], tools=[requests[0].tools[0], {"name": "now"}]).tools[1] == pb.Tool(
        name="now"
    )


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("auto", pb.ToolChoice(mode=pb.TOOL_CHOICE_MODE_AUTO)),
        ("none", pb.ToolChoice(mode=pb.TOOL_CHOICE_MODE_NONE)),
        ("required", pb.ToolChoice(mode=pb.TOOL_CHOICE_MODE_REQUIRED)),
        ("add", pb.ToolChoice(name="add")),
        ({"type": "function", "function": {"name": "auto"}}, pb.ToolChoice(name="auto")),
    ],
)
def test_a_tool_choice_is_a_word_or_a_name(choice: Any, expected: pb.ToolChoice) -> None:
    assert generate_request("x", tool_choice=choice).tool_choice == expected


def test_parallel_calls_alone_leave_the_choice_to_the_model() -> None:
    choice = generate_request("x", parallel_tool_calls=False).tool_choice

    assert choice == pb.ToolChoice(mode=pb.TOOL_CHOICE_MODE_AUTO, parallel=False)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"json_schema": {"type": "object"}}, pb.StructuredOutput(json_schema='{"type": "object"}')),
        ({"json_schema": '{"type":"object"}'}, pb.StructuredOutput(json_schema='{"type":"object"}')),
        ({"json_object": True}, pb.StructuredOutput(json_object=pb.JsonObject())),
        ({"regex": "a|b"}, pb.StructuredOutput(regex="a|b")),
        ({"choice": ["a", "b"]}, pb.StructuredOutput(choice=pb.Choice(options=["a", "b"]))),
        ({"grammar": "root ::= x"}, pb.StructuredOutput(grammar="root ::= x")),
        (
            {"structural_tag": {"type": "structural_tag"}},
            pb.StructuredOutput(structural_tag='{"type": "structural_tag"}'),
        ),
    ],
)
def test_the_form_of_the_answer_has_a_keyword_each(options: dict[str, Any], expected: pb.StructuredOutput) -> None:
    assert generate_request("x", **options).structured_output == expected


def test_no_json_object_is_no_form() -> None:
    assert not generate_request("x", json_object=False, regex="a").structured_output.HasField("json_object")
