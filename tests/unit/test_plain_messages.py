"""A message is checked unless it is a role and one text."""

from typing import Any

import pytest

from penstock.v1 import generation_pb2 as pb
from penstock_service.limit_table import MOST_MESSAGES
from penstock_service.plain_messages import messages_to_check

PLAIN: dict[str, Any] = {"role": pb.ROLE_ASSISTANT, "content": [{"text": "Hello"}]}
TEXT, PICTURE = {"text": "a"}, {"image": {"url": "https://a.example/b.png"}}


@pytest.mark.parametrize("role", sorted({*pb.Role.values()} - {pb.ROLE_UNSPECIFIED, pb.ROLE_TOOL}))
def test_a_role_and_one_text_need_no_check(role: pb.Role) -> None:
    assert not list(messages_to_check(pb.Conversation(messages=[{**PLAIN, "role": role}])))


@pytest.mark.parametrize(
    "more",
    [
        {"role": pb.ROLE_UNSPECIFIED},
        {"role": pb.ROLE_TOOL},
        {"role": 99},
        {"content": []},
        {"content": [TEXT, TEXT]},
        {"content": [PICTURE]},
        {"content": [{}]},
        *({name: "x"} for name in ("name", "tool_call_id", "reasoning")),
        {"tool_calls": [{"name": "f"}]},
    ],
    ids=str,
)
def test_whatever_else_it_has_or_lacks_is_checked_in_its_place(more: dict[str, Any]) -> None:
    (found,) = messages_to_check(pb.Conversation(messages=[PLAIN, {**PLAIN, **more}, PLAIN]))

    assert found.field == "conversation.messages[1]"


def test_every_field_of_a_message_is_known_here() -> None:
    known = {"role", "content", "tool_calls", "tool_call_id", "name", "reasoning"}

    assert {field.name for field in pb.Message.DESCRIPTOR.fields} == known
    assert [oneof.name for oneof in pb.ContentPart.DESCRIPTOR.oneofs] == ["part"]
    assert {field.containing_oneof.name for field in pb.ContentPart.DESCRIPTOR.fields} == {"part"}


def test_too_many_are_not_looked_at_one_by_one() -> None:
    assert not list(messages_to_check(pb.Conversation(messages=[{}] * (MOST_MESSAGES + 1))))
