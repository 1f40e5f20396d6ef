"""From dicts to the parts of a message: text, pictures and sounds. Pure."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping

from penstock import arguments
from penstock.arguments import ArgumentTypeError, ArgumentValueError
from penstock.v1.generation_pb2 import ContentPart, Media

_DATA_URL = re.compile(r"data:[^,]*;base64,", re.IGNORECASE)  # RFC 2397


def content_part(argument: str, value: object) -> ContentPart:
    """`value`, a part of a message. OpenAI's `detail` of a picture is not looked at."""
    if isinstance(value, ContentPart):
        return value
    fields = arguments.mapping(argument, value, 'a dict like {"type": "text", "text": ...}')
    kind = arguments.one_of(f"{argument}.type", fields.get("type"), _PARTS)
    return _PARTS[kind](f"{argument}.{kind}", fields.get(kind))


def _text(argument: str, value: object) -> ContentPart:
    return ContentPart(text=arguments.text(argument, value))


def _image(argument: str, value: object) -> ContentPart:
    return ContentPart(image=_media(argument, value))


def _audio(argument: str, value: object) -> ContentPart:
    return ContentPart(audio=_media(argument, value))


def _image_url(argument: str, value: object) -> ContentPart:
    return ContentPart(image=_media(*_url(argument, value)))


def _audio_url(argument: str, value: object) -> ContentPart:
    return ContentPart(audio=_media(*_url(argument, value)))


def _input_audio(argument: str, value: object) -> ContentPart:
    fields = arguments.mapping(argument, value, 'a dict like {"data": base64, "format": "wav"}')
    data = arguments.text(f"{argument}.data", fields.get("data"))
    return ContentPart(audio=Media(data=_decoded(f"{argument}.data", data)))


def _url(argument: str, value: object) -> tuple[str, str]:
    """OpenAI has the URL in an object of its own; others leave that out."""
    if isinstance(value, Mapping):
        argument, value = f"{argument}.url", value.get("url")
    return argument, arguments.text(argument, value)


def _media(argument: str, value: object) -> Media:
    if isinstance(value, (bytes, bytearray, memoryview)):
        return Media(data=bytes(value))
    if not isinstance(value, str):
        raise ArgumentTypeError(argument, "bytes, or a URL as a str", value)
    if value[:5].lower() != "data:":
        return Media(url=arguments.text(argument, value))
    header = _DATA_URL.match(value)
    if header is None:
        raise ArgumentValueError(argument, "is a data: URL that is not base64")
    return Media(data=_decoded(argument, value[header.end() :]))


def _decoded(argument: str, text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ArgumentValueError(argument, "is not valid base64") from error


_PARTS: dict[str, Callable[[str, object], ContentPart]] = {
    "text": _text,
    "image": _image,
    "audio": _audio,
    "image_url": _image_url,
    "audio_url": _audio_url,
    "input_audio": _input_audio,
}
