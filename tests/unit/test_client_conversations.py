"""Dicts become the messages of a conversation, with tool calls, pictures and sounds."""

import base64
from typing import Any

import pytest

from penstock.requests import generate_request
from penstock.v1 import generation_pb2 as pb

USER = {"role": "user", "content": "Hi"}


def conversation(*messages: Any, **options: Any) -> pb.Conversation:
    return generate_request(messages=messages, **options).conversation


def test_a_conversation_with_tools_is_read_in_the_contracts_form_and_in_openais() -> None:
    call = pb.ToolCall(id="call-1", name="add", arguments='{"a": 1}')
    flat: dict[str, Any] = {"id": "call-1", "name": "add", "arguments": {"a": 1}}
    openai = {"id": "call-1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
    result = {"role": "tool", "tool_call_id": "call-1", "name": "add", "content": "2"}

    forms = [conversation(USER, {"role": "assistant", "tool_calls": [each]}, result) for each in (call, flat, openai)]

    assert forms[0] == forms[1] == forms[2]
    asked, answered = forms[0].messages[1:]
    assert (list(asked.tool_calls), list(asked.content)) == ([call], [])
    assert (answered.role, answered.tool_call_id, answered.name) == (pb.ROLE_TOOL, "call-1", "add")


@pytest.mark.parametrize("key", ["reasoning", "reasoning_content"])
def test_what_the_model_thought_goes_back_with_its_message(key: str) -> None:
    message = {"role": "assistant", "content": "42", key: "Hm."}

    assert conversation(USER, message).messages[1].reasoning == "Hm."


PICTURE = b"\x89PNG"
DATA_URL = "data:image/png;base64," + base64.b64encode(PICTURE).decode()


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ({"type": "image", "image": PICTURE}, pb.ContentPart(image=pb.Media(data=PICTURE))),
        ({"type": "image", "image": "https://x/y.png"}, pb.ContentPart(image=pb.Media(url="https://x/y.png"))),
        ({"type": "image_url", "image_url": {"url": DATA_URL}}, pb.ContentPart(image=pb.Media(data=PICTURE))),
        ({"type": "image_url", "image_url": "https://x/y"}, pb.ContentPart(image=pb.Media(url="https://x/y"))),
        ({"type": "audio", "audio": PICTURE}, pb.ContentPart(audio=pb.Media(data=PICTURE))),
        ({"type": "audio_url", "audio_url": {"url": "https://x/y"}}, pb.ContentPart(audio=pb.Media(url="https://x/y"))),
        (
            {"type": "input_audio", "input_audio": {"data": "iVBORw==", "format": "wav"}},
            pb.ContentPart(audio=pb.Media(data=b"\x89PNG")),
        ),
        (pb.ContentPart(text="x"), pb.ContentPart(text="x")),
    ],
)
def test_pictures_and_sounds_are_parts(part: Any, expected: pb.ContentPart) -> None:
    assert list(conversation({"role": "user", "content": [part]}).messages[0].content) == [expected]


def test_the_template_takes_its_own_arguments() -> None:
    asked = conversation(
        {"role": "assistant", "content": "I"},
        add_generation_prompt=False,
        continue_final_message=True,
        template_arguments={"flag": True, "count": 2, "share": 0.5, "tone": "dry"},
    )

    assert (asked.add_generation_prompt, asked.continue_final_message) == (False, True)
    assert asked.template_arguments["flag"] == pb.TemplateArgument(flag=True)
    assert asked.template_arguments["count"] == pb.TemplateArgument(integer=2)
    assert asked.template_arguments["share"] == pb.TemplateArgument(number=0.5)
    assert asked.template_arguments["tone"] == pb.TemplateArgument(text="dry")
