"""Tells a client's observers what becomes of one call."""

from __future__ import annotations

import time
from collections import deque

from google.protobuf.message import Message

from penstock.call_options import Pairs
from penstock.errors import APIError
from penstock.events import CallEnded, CallStarted, FirstOutput, Hedged, Resumed, Retried, TimedOut
from penstock.hooks import Observers
from penstock.reply import finish_reason
from penstock.v1.generation_pb2 import EmbedResponse, GenerateChunk, GenerateResponse

MOST_GAPS = 128


class CallReport:
    """Its time is that of time.monotonic()."""

    __slots__ = (
        "_answer",
        "_observers",
        "_response_model",
        "attempt_began",
        "attempts",
        "began",
        "call",
        "endpoint",
        "first_token_seconds",
        "gaps",
        "over",
        "response_id",
    )

    def __init__(
        self, observers: Observers, method: str, model: str, tier: str | None, request: Message, now: float
    ) -> None:
        self._observers = observers
        self.over = False
        self.began = self.attempt_began = now
        self.call = CallStarted(method, model, tier, request)
        self.attempts = 0
        self.endpoint = ""
        self.first_token_seconds: float | None = None
        self.gaps: deque[float] = deque(maxlen=MOST_GAPS)
        self.response_id = ""
        self._response_model = ""
        self._answer: GenerateResponse | EmbedResponse | None = None
        observers.emit(self.call)

    def traced(self, metadata: Pairs) -> Pairs:
        """`metadata` with the call's trace context, where somebody traces."""
        return self._observers.traced(self.call, metadata)

    def attempt(self, endpoint: str) -> None:
        self.attempts += 1
        self.attempt_began = time.monotonic()
        self.endpoint = endpoint

    def first_output(self, chunk: GenerateChunk, now: float) -> None:
        self.response_id, self._response_model = chunk.id, chunk.model
        self.first_token_seconds = now - self.began
        if self._observers.heard(FirstOutput):
            self._observers.emit(FirstOutput(self.call, self.first_token_seconds, self.endpoint))

    def retried(self, delay: float, error: APIError) -> None:
        self._observers.emit(Retried(self.call, self.attempts + 1, delay, error, self.endpoint))

    def hedged(self, waited: float, endpoint: str) -> None:
        self.attempts += 1
        self._observers.emit(Hedged(self.call, waited, endpoint))

    def resumed(self, kind: str, next_seq: int, error: APIError) -> None:
        self._observers.emit(Resumed(self.call, kind, next_seq, error, self.endpoint))

    def timed_out(self, kind: str, limit: float) -> None:
        self._observers.emit(TimedOut(self.call, kind, limit, self.endpoint))

    def answered(self, answer: Message) -> None:
        """A unary call has its answer."""
        if isinstance(answer, (GenerateResponse, EmbedResponse)):
            self.response_id, self._response_model = answer.id, answer.model
            self._answer = answer

    def ended(self, error: APIError | None, chunks: int = 0, last: GenerateChunk | None = None) -> None:
        """The first end counts. What a reply says is taken from its first and last chunk, or its answer."""
        if self.over:
            return
        self.over = True
        last_words = last if last is not None else self._answer
        usage = last_words.usage if last_words is not None and last_words.HasField("usage") else None
        self._observers.emit(
            CallEnded(
                self.call,
                time.monotonic() - self.began,
                error,
                self.first_token_seconds,
                tuple(self.gaps),
                chunks,
                None if usage is None else usage.completion_tokens,
                None if usage is None else usage.prompt_tokens,
                self.attempts,
                self.endpoint,
                self.response_id,
                self._response_model,
                _finish_reasons(last_words),
            )
        )


def _finish_reasons(last: GenerateChunk | GenerateResponse | EmbedResponse | None) -> tuple[str, ...]:
    if last is None or isinstance(last, EmbedResponse):
        return ()
    parts = last.sequences if isinstance(last, GenerateResponse) else last.deltas
    return tuple(finish_reason(part.finish) or "" for part in parts if part.HasField("finish"))
