"""What a call returns: thin readers over the contract's messages, which stay reachable as `.proto`."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.v1.generation_pb2 import (
    Finish,
    FinishReason,
    GenerateChunk,
    GenerateResponse,
    SequenceDelta,
    Timings,
    Usage,
)
from penstock.v1.generation_pb2 import (
    Sequence as GeneratedSequence,
)

FINISH_REASONS: dict[int, str | None] = {
    FinishReason.FINISH_REASON_UNSPECIFIED: None,
    FinishReason.FINISH_REASON_STOP: "stop",
    FinishReason.FINISH_REASON_LENGTH: "length",
    FinishReason.FINISH_REASON_CONTEXT_LENGTH: "context_length",
    FinishReason.FINISH_REASON_DEADLINE: "deadline",
}

_NOTHING = GeneratedSequence()
_NO_DELTA = SequenceDelta()


def finish_reason(finish: Finish) -> str | None:
    """ "stop", "length", "context_length" or "deadline"; None before the end; "unknown" for a newer one."""
    return FINISH_REASONS.get(finish.reason, "unknown")


class Reply:
    """A whole answer, or the beginning of one in `StreamInterrupted.partial`."""

    __slots__ = ("proto",)

    def __init__(self, proto: GenerateResponse) -> None:
        self.proto = proto

    @property
    def _sequence(self) -> GeneratedSequence:
        return self.proto.sequences[0] if self.proto.sequences else _NOTHING

    @property
    def text(self) -> str:
        """The generated text; empty with `return_text=False`."""
        return self._sequence.text

    @property
    def token_ids(self) -> Sequence[int]:
        """The generated token ids; empty without `return_token_ids=True`."""
        return self._sequence.token_ids

    @property
    def finish_reason(self) -> str | None:
        """ "stop", "length", "context_length" or "deadline"; None if the answer is not complete."""
        return finish_reason(self._sequence.finish)

    @property
    def stop_match(self) -> str | int | None:
        """The stop text or stop token id that ended the answer; None for the model's own end-of-text token."""
        finish = self._sequence.finish
        which = finish.WhichOneof("stop_match")
        return getattr(finish, which) if which else None

    @property
    def usage(self) -> Usage:
        """`prompt_tokens`, `completion_tokens` and, if the engine tells, `cached_prompt_tokens`."""
        return self.proto.usage

    @property
    def timings(self) -> Timings:
        """What the server measured: `time_to_first_token_ms`, `tokens_per_second` and so on."""
        return self.proto.timings

    @property
    def id(self) -> str:
        """The server's own id of this generation."""
        return self.proto.id

    @property
    def model(self) -> str:
        """The model that answered, by its own name."""
        return self.proto.model

    @property
    def request_id(self) -> str:
        """The `request_id` of the call; empty if it had none."""
        return self.proto.request_id

    def __repr__(self) -> str:
        return f"Reply(text={self.text!r}, finish_reason={self.finish_reason!r}, id={self.id!r})"


class Chunk:
    """One piece of a streamed answer. Reading is lazy: what nobody asks for is not converted."""

    __slots__ = ("proto",)

    def __init__(self, proto: GenerateChunk) -> None:
        self.proto = proto

    @property
    def _delta(self) -> SequenceDelta:
        deltas = self.proto.deltas
        return deltas[0] if deltas else _NO_DELTA

    @property
    def text(self) -> str:
        """The new text. It can be empty while a character or a possible stop text is not complete yet."""
        deltas = self.proto.deltas
        return deltas[0].text if deltas else ""

    @property
    def token_ids(self) -> Sequence[int]:
        """The new token ids; empty without `return_token_ids=True`."""
        return self._delta.token_ids

    @property
    def seq(self) -> int:
        """The chunk's number in its stream, from 0."""
        return self.proto.seq

    @property
    def finish_reason(self) -> str | None:
        """ "stop", "length", "context_length" or "deadline" on the chunk that ends the text, else None."""
        return finish_reason(self._delta.finish)

    def __repr__(self) -> str:
        return f"Chunk(seq={self.seq}, text={self.text!r}, finish_reason={self.finish_reason!r})"
