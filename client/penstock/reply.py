"""What a call returns: thin readers over the contract's messages, which stay reachable as `.proto`."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.v1.generation_pb2 import (
    AdapterVersion,
    ContentPart,
    Finish,
    FinishReason,
    GenerateResponse,
    Message,
    Role,
    Settings,
    Timings,
    TokenInfo,
    ToolCall,
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
    FinishReason.FINISH_REASON_TOOL_CALLS: "tool_calls",
    FinishReason.FINISH_REASON_DEADLINE: "deadline",
}

_NOTHING = GeneratedSequence()


def finish_reason(finish: Finish) -> str | None:
    """A key of FINISH_REASONS by its name; None before the end; "unknown" for one newer than this client."""
    return FINISH_REASONS.get(finish.reason, "unknown")


class _Answer:
    """What can be read of one sequence."""

    __slots__ = ()

    @property
    def _sequence(self) -> GeneratedSequence:
        raise NotImplementedError

    @property
    def text(self) -> str:
        """The generated text; empty with `return_text=False`."""
        return self._sequence.text

    @property
    def reasoning(self) -> str:
        """What the model thought before the text; empty if the server cannot tell it apart, or was not to."""
        return self._sequence.reasoning

    @property
    def tool_calls(self) -> Sequence[ToolCall]:
        """The tools that the model asks to call, each with `id`, `name` and `arguments` (JSON text)."""
        return self._sequence.tool_calls

    @property
    def token_ids(self) -> Sequence[int]:
        """The generated token ids; empty without `return_token_ids=True`."""
        return self._sequence.token_ids

    @property
    def tokens(self) -> Sequence[TokenInfo]:
        """The generated tokens, with `token_id`, `text`, `logprob`, `rank`, `candidates`; empty without `logprobs`."""
        return self._sequence.tokens

    @property
    def finish_reason(self) -> str | None:
        """ "stop", "length", "context_length", "tool_calls" or "deadline"; None if the answer is not complete."""
        return finish_reason(self._sequence.finish)

    @property
    def stop_match(self) -> str | int | None:
        """The stop text or stop token id that ended the answer; None for the model's own end-of-text token."""
        finish = self._sequence.finish
        which = finish.WhichOneof("stop_match")
        return getattr(finish, which) if which else None

    @property
    def message(self) -> Message:
        """The answer as the assistant's message, for the `messages` of the next call."""
        sequence = self._sequence
        return Message(
            role=Role.ROLE_ASSISTANT,
            content=[ContentPart(text=sequence.text)] if sequence.text or not sequence.tool_calls else [],
            tool_calls=sequence.tool_calls,
            reasoning=sequence.reasoning,
        )


class Answer(_Answer):
    """One sequence of a reply that has several."""

    __slots__ = ("proto",)

    def __init__(self, proto: GeneratedSequence) -> None:
        self.proto = proto

    @property
    def _sequence(self) -> GeneratedSequence:
        return self.proto

    @property
    def index(self) -> int:
        """The sequence's number, from 0."""
        return self.proto.index

    def __repr__(self) -> str:
        return f"Answer(index={self.index}, text={self.text!r}, finish_reason={self.finish_reason!r})"


class Reply(_Answer):
    """A whole answer, or the beginning of one in `StreamInterrupted.partial`.

    With `num_sequences` above 1, `text` and what else a sequence has are those of the first; `sequences` has all.
    `cached` is whether the answer was made for another call: an earlier one, or an identical one at the same time.
    `continued` is how often another replica went on with a stream (resume=True), and `resumed` how often it went on
    after a break, on the same or another one.
    """

    __slots__ = ("cached", "continued", "proto", "resumed")

    def __init__(self, proto: GenerateResponse, cached: bool = False, continued: int = 0, resumed: int = 0) -> None:
        self.proto = proto
        self.cached = cached
        self.continued = continued
        self.resumed = resumed

    @property
    def _sequence(self) -> GeneratedSequence:
        return self.proto.sequences[0] if self.proto.sequences else _NOTHING

    @property
    def sequences(self) -> list[Answer]:
        """All sequences, in the order of their `index`."""
        return [Answer(sequence) for sequence in self.proto.sequences]

    @property
    def usage(self) -> Usage:
        """`prompt_tokens`, `completion_tokens` and, if known, `cached_prompt_tokens` and `reasoning_tokens`."""
        return self.proto.usage

    @property
    def timings(self) -> Timings:
        """What the server measured: `time_to_first_token_ms`, `tokens_per_second` and so on."""
        return self.proto.timings

    @property
    def prompt(self) -> Sequence[TokenInfo]:
        """The tokens of the prompt, the first without a logprob; empty without `prompt_logprobs`."""
        return self.proto.prompt

    @property
    def settings(self) -> Settings | None:
        """The settings that applied, defaults included; None without `return_settings=True`."""
        return self.proto.settings if self.proto.HasField("settings") else None

    @property
    def adapter(self) -> AdapterVersion | None:
        """The adapter that answered; None for the model itself."""
        return self.proto.adapter if self.proto.HasField("adapter") else None

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
