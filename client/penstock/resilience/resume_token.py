"""Where a broken stream can be read on from, as one opaque text. Pure."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import json
import zlib
from dataclasses import dataclass

from penstock import arguments
from penstock.arguments import ArgumentValueError

_FORM = 1


@dataclass(frozen=True, slots=True)
class ResumePoint:
    """A place in a generation that a server keeps.

    endpoint: the replica that has it. id: its name there. next_seq: of the first chunk that has not come.
    offset: how many chunks other replicas sent before; the stream's own numbers are so much higher.
    shows_token_ids: whether its reader asked for token ids.
    continued: how often another replica went on before. prompt_tokens, tokens_before: if one did, the number of the
        prompt's own tokens, and of those that the other replicas generated.
    """

    endpoint: str
    id: str
    next_seq: int
    offset: int = 0
    shows_token_ids: bool = False
    continued: int = 0
    prompt_tokens: int | None = None
    tokens_before: int = 0

    def token(self) -> str:
        """URL-safe text of some 120 characters, which says nothing of the request."""
        payload = json.dumps([_FORM, *dataclasses.astuple(self)], separators=(",", ":")).encode()
        return base64.urlsafe_b64encode(zlib.crc32(payload).to_bytes(4, "big") + payload).rstrip(b"=").decode()


def read_token(token: object) -> ResumePoint:
    """The place that a token means. TypeError or ValueError if it is none, or was changed or cut."""
    text = arguments.text("resume_token", token)
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        if zlib.crc32(raw[4:]).to_bytes(4, "big") != raw[:4]:
            raise ValueError
        form, *fields = json.loads(raw[4:])
        if form != _FORM:
            raise ValueError
        return ResumePoint(*fields)
    except (TypeError, ValueError, binascii.Error):
        raise ArgumentValueError("resume_token", "is not one that this client made, or was cut") from None
