"""How a resumable stream goes on after a break: on the same replica, or on another one from its tokens. Pure."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Generator, Sequence
from dataclasses import dataclass
from typing import Protocol

from penstock.errors import APIError, explained
from penstock.resilience.continuation import Answer, Continuation, Question, join_usage, plan, seam_chunk
from penstock.resilience.output import Output
from penstock.resilience.recovery import How, Recovery
from penstock.resilience.resume_token import ResumePoint
from penstock.v1.generation_pb2 import GenerateChunk, GenerateRequest


class Recorder(Protocol):
    """Keeps a stream in a file, so that another process can go on with it."""

    def received(self, chunk: GenerateChunk, point: ResumePoint | None) -> object: ...

    def ended(self, error: BaseException | None) -> object: ...


@dataclass(slots=True)
class Leg:
    """One replica's part of the stream.

    request: what it was asked. endpoint, id: where its generation is; the id is empty until its first chunk. next_seq:
    of the next chunk, by its own count. offset: how many chunks came before it, and tokens_before how many tokens.
    prompt_tokens: how many the prompt had, where another replica's part came before.
    """

    request: GenerateRequest
    endpoint: str = ""
    id: str = ""
    next_seq: int = 0
    offset: int = 0
    tokens_before: int = 0
    prompt_tokens: int | None = None

    @property
    def chunks(self) -> int:
        """Of the stream so far."""
        return self.offset + self.next_seq


class Resumption:
    """Of one stream. Its token ids are asked for, and taken out again where the caller has no use for them."""

    def __init__(self, asked: GenerateRequest, recovery: Recovery) -> None:
        request = GenerateRequest()
        request.CopyFrom(asked)
        request.resumable = True
        request.idempotency_key = request.idempotency_key or uuid.uuid4().hex
        request.response.token_ids = True
        self.request = request
        self.leg = Leg(request)
        self.how = How.RESUME
        self.continued = 0
        self.recorder: Recorder | None = None
        self._recovery = recovery
        self._output = Output()
        self._unrecorded: list[GenerateChunk] = []  # by the client; recorded once there is a place to read on from
        self._broke: APIError | None = None  # since the last chunk
        self._prompt_ids: Sequence[int] | None = None
        self._hides_token_ids = not asked.response.token_ids
        self._tokens_were_given = asked.response.token_ids or asked.response.HasField("logprobs")

    def begin_at(self, point: ResumePoint, before: GenerateChunk) -> GenerateChunk:
        """Begin in the middle, where an earlier stream broke off; `before` are its chunks, merged.

        Returns them as the caller gets them.
        """
        self.leg = Leg(
            self.request,
            point.endpoint,
            point.id,
            point.next_seq,
            point.offset,
            point.tokens_before,
            point.prompt_tokens,
        )
        self.continued = point.continued
        self._hides_token_ids = self._hides_token_ids and not point.shows_token_ids
        self._output.add(before)
        return self._given(before)

    @property
    def point(self) -> ResumePoint | None:
        """Where it can be read on, once its replica can be reached again; None if nowhere."""
        leg = self.leg
        if not leg.id or self._recovery.gone:
            return None
        return ResumePoint(
            leg.endpoint,
            leg.id,
            leg.next_seq,
            leg.offset,
            not self._hides_token_ids,
            self.continued,
            leg.prompt_tokens,
            leg.tokens_before,
        )

    @property
    def complete(self) -> bool:
        """Whether nothing but the call's own OK is missing."""
        return self._output.complete(max(1, self.request.num_sequences))

    def received(self, chunk: GenerateChunk) -> GenerateChunk:
        """The chunk as the caller gets it."""
        leg = self.leg
        leg.id = leg.id or chunk.id
        leg.next_seq += 1
        self._output.add(chunk)
        if leg.offset:
            self._join(chunk, leg)
        if self.recorder is not None:
            for added in self._unrecorded:
                self.recorder.received(added, None)
            self.recorder.received(chunk, self.point)
        self._unrecorded.clear()
        return self._given(chunk)

    def _given(self, chunk: GenerateChunk) -> GenerateChunk:
        if self._hides_token_ids:
            for delta in chunk.deltas:
                delta.ClearField("token_ids")
        return chunk

    def went_on(self) -> APIError | None:
        """The first chunk after a beginning is here. Returns what broke the stream before; None if nothing did."""
        broke, self._broke = self._broke, None
        self._recovery.progress()
        return broke

    def next_delay(self, error: APIError, now: float, endpoints: Collection[str]) -> float | None:
        """Seconds until it goes on, and `how` then; None if the error stands."""
        self._broke = error
        others = any(each != self.leg.endpoint for each in endpoints)
        step = self._recovery.step(error, now, known=bool(self.leg.id), others=others)
        if step is None:
            return None
        self.how = step.how
        return step.delay

    def plan(self) -> Generator[Question, Answer, Continuation]:
        """How another replica can go on. Raises CannotContinue."""
        key = f"{self.request.idempotency_key[:118]}+{self.continued + 1}"
        return plan(
            self.request, self._output, key, prompt_ids=self._prompt_ids, tokens_were_given=self._tokens_were_given
        )

    def goes_on(self, continuation: Continuation, endpoint: str) -> GenerateChunk | None:
        """That replica goes on. Returns the chunk that the client adds between the two, if there is one."""
        leg, seam = self.leg, continuation.seam
        self._prompt_ids = continuation.prompt_ids
        self._output.goes_on_after(seam.kept, seam.held_back)
        self.continued += 1
        added = seam_chunk(leg.chunks, continuation)
        if added is not None:
            self._unrecorded.append(added)
        self.leg = Leg(
            continuation.request or leg.request,
            endpoint,
            offset=leg.chunks + (added is not None),
            tokens_before=seam.kept,
            prompt_tokens=len(continuation.prompt_ids),
        )
        return added

    def stuck(self, problem: str, otherwise: APIError) -> APIError:
        """What broke the stream stands."""
        self._recovery.stuck = self._recovery.lost = True
        return explained(self._broke or otherwise, f"it cannot go on at another replica: {problem}")

    def _join(self, chunk: GenerateChunk, leg: Leg) -> None:
        chunk.seq += leg.offset
        chunk.ClearField("id")  # the stream keeps the name that it has had from the beginning
        if chunk.HasField("usage") and leg.prompt_tokens is not None:
            join_usage(chunk.usage, leg.prompt_tokens, leg.tokens_before)
