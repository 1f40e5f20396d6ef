"""How many pictures and sounds a conversation may have, and how large they may be together. Pure."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

from penstock.v1 import generation_pb2 as pb
from penstock_service.errors import Violation
from penstock_service.limit_table import MOST_PARTS
from penstock_service.plain_messages import MessageToCheck, messages_to_check

MOST_MEDIA = 8
MOST_MEDIA_BYTES = 16 << 20


class MediaRefused(Exception):
    """A picture or sound is not taken. The text is for the caller: a Violation's description."""


class MediaPart(NamedTuple):
    """A picture or sound of a conversation."""

    field: str
    """Its path in the request, such as conversation.messages[0].content[1].image."""
    kind: str
    """image or audio."""
    media: pb.Media


def media_parts(conversation: pb.Conversation) -> Iterator[MediaPart]:
    """The pictures and sounds of a conversation, in order."""
    return _media_parts(messages_to_check(conversation))


def violations(request: pb.GenerateRequest, to_check: Iterable[MessageToCheck]) -> Iterator[Violation]:
    """What is wrong with the media of the messages of a request's conversation, taken together."""
    media = [part.media for part in _media_parts(to_check)]
    if len(media) > MOST_MEDIA:
        yield Violation("conversation", f"must have at most {MOST_MEDIA} images and sounds, got {len(media)}")
    yield from size_violations(len(each.data) for each in media)
    if media and request.prompt_options.HasField("truncate_tokens"):
        yield Violation("prompt_options.truncate_tokens", "must not be set with images or sounds, which cannot be cut")


def size_violations(sizes: Iterable[int]) -> Iterator[Violation]:
    """Whether a conversation's files, each of so many bytes, are too large together."""
    if (size := sum(sizes)) > MOST_MEDIA_BYTES:
        yield Violation(
            "conversation", f"must have images and sounds of at most {MOST_MEDIA_BYTES} bytes together, got {size}"
        )


def _media_parts(messages: Iterable[MessageToCheck]) -> Iterator[MediaPart]:
    for field, message in messages:
        for position, part in enumerate(islice(message.content, MOST_PARTS)):  # more are refused by their number
            if (kind := part.WhichOneof("part")) in ("image", "audio"):
                yield MediaPart(f"{field}.content[{position}].{kind}", str(kind), getattr(part, str(kind)))
