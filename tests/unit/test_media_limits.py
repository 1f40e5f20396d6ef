"""What is judged of a conversation's pictures and sounds without looking into them."""

from typing import Any

import pytest

from penstock.v1 import generation_pb2 as pb
from penstock_service.errors import InvalidRequest
from penstock_service.limits import ModelLimits, check
from penstock_service.media_limits import MOST_MEDIA, MOST_MEDIA_BYTES, media_parts

LIMITS = ModelLimits(context_length=1024, vocabulary_size=2048, max_prompt_bytes=1 << 20)
FOUR_MIB = 4 << 20


def request(*content: dict[str, Any], **fields: Any) -> pb.GenerateRequest:
    """The parts in messages of three."""
    messages = [{"role": pb.ROLE_USER, "content": content[at : at + 3]} for at in range(0, len(content), 3)]
    return pb.GenerateRequest(conversation={"messages": messages}, **fields)


def image(size: int = 1) -> dict[str, Any]:
    return {"image": {"data": bytes(size)}}


def audio(size: int = 1) -> dict[str, Any]:
    return {"audio": {"data": bytes(size)}}


def wrong(sent: pb.GenerateRequest) -> dict[str, str]:
    """What is said of a request, by field."""
    try:
        check(sent, LIMITS)
    except InvalidRequest as error:
        return {violation.field: violation.description for violation in error.violations}
    return {}


def test_parts_are_found_in_order_with_their_paths() -> None:
    sent = request({"text": "a"}, image(), {"text": "b"}, audio())

    assert [(part.field, part.kind) for part in media_parts(sent.conversation)] == [
        ("conversation.messages[0].content[1].image", "image"),
        ("conversation.messages[1].content[0].audio", "audio"),
    ]


def test_images_and_sounds_are_counted_together() -> None:
    most = [image(), audio()] * (MOST_MEDIA // 2)

    assert wrong(request(*most)) == {}
    assert wrong(request(*most, image())) == {"conversation": "must have at most 8 images and sounds, got 9"}


def test_their_bytes_are_added_up() -> None:
    most = [image(FOUR_MIB)] * (MOST_MEDIA_BYTES // FOUR_MIB)

    assert wrong(request(*most)) == {}
    assert wrong(request(*most, audio(5))) == {
        "conversation": f"must have images and sounds of at most {MOST_MEDIA_BYTES} bytes together, got 16777221"
    }


@pytest.mark.parametrize("kind", ["image", "audio"])
def test_a_file_has_a_largest_size_and_is_not_empty(kind: str) -> None:
    field = f"conversation.messages[0].content[0].{kind}.data"

    assert wrong(request({kind: {"data": bytes(FOUR_MIB)}})) == {}
    assert f"at most {FOUR_MIB}" in wrong(request({kind: {"data": bytes(FOUR_MIB + 1)}}))[field]
    assert "at least 1" in wrong(request({kind: {"data": b""}}))[field]


@pytest.mark.parametrize("kind", ["image", "audio"])
def test_a_url_has_a_largest_length(kind: str) -> None:
    url = "https://example.com/"

    assert wrong(request({kind: {"url": url.ljust(2048, "a")}})) == {}
    assert wrong(request({kind: {"url": url.ljust(2049, "a")}})).keys() == {
        f"conversation.messages[0].content[0].{kind}.url"
    }


def test_they_cannot_be_cut() -> None:
    cut = {"prompt_options": {"truncate_tokens": 8}}

    assert wrong(request({"text": "a"}, **cut)) == {}
    assert wrong(request(image(), **cut)).keys() == {"prompt_options.truncate_tokens"}
