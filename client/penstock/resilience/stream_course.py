"""How one stream stands: its attempts, its limits, and what its failures mean. Pure, but for its report's clock."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import grpc

from penstock.accumulate import Accumulator
from penstock.cancellation import closed_early, closed_here
from penstock.client_parts import ClientParts
from penstock.endpoints.lease import Failed
from penstock.errors import APIError, APITimeoutError, ConnectTimeout, FirstTokenTimeout, IdleTimeout
from penstock.resilience.recovery import PATIENCE_SECONDS, How
from penstock.resilience.resume_token import ResumePoint
from penstock.resilience.resumption import Recorder, Resumption
from penstock.resilience.watch import Watch
from penstock.status import stream_status_request
from penstock.terms import Terms
from penstock.v1.generation_pb2 import CancelRequest, GenerateChunk, GenerateRequest, GetGenerationRequest


class StreamCourse:
    """What both flavours of a stream's call know."""

    def __init__(self, parts: ClientParts[Any], request: GenerateRequest, terms: Terms) -> None:
        self.terms = terms
        self.request = request  # what is sent
        self.report = parts.report("StreamGenerate", request.model, terms, request)
        self.metadata = self.report.traced(terms.metadata)
        self.resumption: Resumption | None = None
        if terms.resume:
            self.resumption = Resumption(request, parts.recovery(terms))
            self.request = self.resumption.request
        self.attempts = parts.attempts(terms, keyed=bool(self.request.idempotency_key))
        self._set_limits(parts)
        self.first_seq = 0
        self.before = b""
        self.begun = False  # something of the answer has come, so that nothing is tried anew
        self.over = False
        self.closed = False  # by the caller
        self.continued = 0  # how often another replica went on from the tokens
        self.resumed = 0  # how often it went on after a break, here or there
        self._fresh = True  # no chunk has come since it began, or went on
        self._came_at = 0.0
        self._note_gap = self.report.gaps.append
        self.cached = False  # the answer was made for an earlier call

    def _set_limits(self, parts: ClientParts[Any]) -> None:
        limits = self.terms.timeout
        self.experience = parts.experience(self.request.model, self.request, self.terms)
        self._first_token, idle = limits.first_token, limits.idle
        if self.experience is not None:
            if limits.first_token is not None:
                self._first_token = self.experience.first_token_limit(limits.first_token)
            if limits.idle is not None:
                idle = self.experience.idle_limit(limits.idle)
        self.watch = Watch(idle)
        self.hedge_after = self._hedge_after()

    def _hedge_after(self) -> float | None:
        """Seconds without a first chunk after which a copy is sent; None for never."""
        hedge = self.terms.retry.hedge
        if hedge is None or self.request.num_sequences > 1:
            return None
        if hedge != "p95":
            return hedge
        return self.experience.first_token_p95() if self.experience is not None else None

    def hedged(self, endpoint: str) -> None:
        """A copy goes there."""
        self.attempts.hedged()
        self.report.hedged(self.hedge_after or 0.0, endpoint)

    def moved_to(self, endpoint: str) -> None:
        """The copy's chunk came first."""
        self.report.endpoint = endpoint
        if self.resumption is not None:
            self.resumption.leg.endpoint = endpoint

    def read_on(self, point: ResumePoint, before: bytes = b"") -> None:
        """Begin in the middle, where an earlier stream broke off; `before` are its chunks, one after the other."""
        if self.resumption is not None:
            before = self.resumption.begin_at(point, GenerateChunk.FromString(before)).SerializeToString()
            self.continued = self.resumption.continued
        self.before = before
        self.begun = True
        self.first_seq = point.offset + point.next_seq

    def keep(self, recorder: Recorder | None) -> None:
        if self.resumption is not None:
            self.resumption.recorder = recorder

    @property
    def request_id(self) -> str | None:
        return self.request.request_id or None

    @property
    def how(self) -> How | None:
        """How it begins now: None for another attempt."""
        return self.resumption.how if self.begun and self.resumption is not None else None

    @property
    def first_limit(self) -> float | None:
        """Until the first chunk of what begins now."""
        return self.watch.idle if self.how is How.RESUME else self._first_token

    def asking_limit(self, left: float | None) -> float:
        """For a question to the replica that is to go on."""
        limits = (left, self._first_token, PATIENCE_SECONDS)
        return min(limit for limit in limits if limit is not None)

    @property
    def outlives_its_call(self) -> bool:
        """Whether the server goes on with the generation until it is told to stop."""
        return self.request.resumable or bool(self.request.idempotency_key)

    def cancel_request(self) -> CancelRequest:
        leg = self.resumption.leg if self.resumption is not None else None
        if leg is not None and leg.id:
            return CancelRequest(id=leg.id)
        return CancelRequest(idempotency_key=(leg.request if leg is not None else self.request).idempotency_key)

    def status_request(self) -> GetGenerationRequest:
        """What asks where the generation is. ValueError while there is no name to ask by."""
        if self.resumption is not None:
            return stream_status_request(self.resumption.leg.id, self.resumption.leg.request)
        return stream_status_request(self.report.response_id, self.request)

    @property
    def endpoint(self) -> str | None:
        """The replica that it was last sent to."""
        return self.report.endpoint or None

    def begins_at(self, endpoint: str) -> None:
        """An attempt, or another part of the stream."""
        self._fresh = True
        self.report.attempt(endpoint)
        if not self.begun:
            self.attempts.made += 1
            if self.resumption is not None:
                self.resumption.leg.endpoint = endpoint

    def received(self, chunk: GenerateChunk, now: float) -> GenerateChunk:
        """The chunk as the caller gets it."""
        if self._fresh:
            self._first(chunk, now)
        else:
            self._note_gap(now - self._came_at)
        self._came_at = now
        return chunk if self.resumption is None else self.resumption.received(chunk)

    def _first(self, chunk: GenerateChunk, now: float) -> None:
        self._fresh = False
        self.watch.output_came()
        if not self.begun:
            self.begun = True
            self.report.first_output(chunk, now)
            if self.experience is not None:
                self.experience.first_token(now - self.report.attempt_began)
        if self.resumption is not None:
            broke = self.resumption.went_on()
            if broke is not None:
                self.resumed += 1
                self.report.resumed(self.resumption.how.value, self.resumption.leg.chunks, broke)
            self.continued = self.resumption.continued
            self.resumption.how = How.RESUME

    def ended_well(self) -> None:
        self.over = True
        self.watch.over()
        self.attempts.succeeded()
        if self.experience is not None:
            self.experience.gaps(self.report.gaps)

    def ended(self, error: APIError | None, received: Accumulator) -> None:
        """The caller has all of it, an error, or enough. Only the first end counts."""
        if self.report.over:
            return
        if self.resumption is not None and self.resumption.recorder is not None:
            self.resumption.recorder.ended(error)
            self.resumption.recorder = None
        # Chunks are not kept until here: one would keep the whole message of its session with it.
        self.report.ended(error, received.count, received.last)

    def left(self) -> None:
        """The caller has enough. It has said so itself, unless it dropped the stream."""
        self.ended(closed_early(self.request_id), Accumulator())

    def meant(self, failure: APIError) -> APIError:
        """The failure as the caller knows it: a limit of ours ends a call by cancelling it."""
        limit, error = self.watch.expired, failure
        if self.closed:
            error = closed_early(self.request_id)
        elif limit is not None and not isinstance(error, ConnectTimeout):
            error = self._limit_passed(limit)
        elif isinstance(error, ConnectTimeout):
            self.report.timed_out("connect", self.terms.timeout.connect or 0.0)
        elif isinstance(error, APITimeoutError):
            self.report.timed_out("total", self.terms.timeout.total or 0.0)
        self.watch.over()
        self.watch.expired = None
        error.attempts = max(1, self.attempts.made)
        error.__cause__ = failure.__cause__
        return error

    def _limit_passed(self, limit: float) -> APIError:
        if self._fresh and self.how is not How.RESUME:
            self.report.timed_out("first_token", limit)
            if self.experience is not None:
                self.experience.first_token_timed_out(limit)
            return FirstTokenTimeout(f"no first chunk came within {limit:g} s", request_id=self.request_id)
        self.report.timed_out("idle", limit)
        if self.experience is not None:
            self.experience.idle_timed_out(limit)
        return IdleTimeout(f"no next chunk came within {limit:g} s", request_id=self.request_id)

    def leaves_generation(self, error: APIError) -> bool:
        """Whether another attempt leaves a generation behind that would go on at its server."""
        return isinstance(error, FirstTokenTimeout) and not self.begun and self.outlives_its_call

    @property
    def complete(self) -> bool:
        """Whether a failure has only cost the OK after the last chunk."""
        return self.resumption is not None and self.resumption.complete and not self.closed

    def next_delay(self, error: APIError, now: float, endpoints: Collection[str]) -> float | None:
        """Seconds until it begins again; None if the error stands."""
        self.attempts.failed_endpoints.add(self.report.endpoint)
        delay: float | None = None
        if closed_here(error, endpoints):
            pass
        elif not self.begun and not self.closed:
            untried = not self.attempts.failed_endpoints.issuperset(endpoints)
            delay = self.attempts.failed(error, self.report.attempt_began, now, untried, self.report.endpoint)
            if delay is not None:
                self.report.retried(delay, error)
        elif self.resumption is not None and not self.closed:
            delay = self.resumption.next_delay(error, now, endpoints)
        self.over = delay is None
        return delay


def endpoint_failed(error: APIError) -> Failed:
    """Whether the endpoint did not do its part, as Lease.release is to be told."""
    if isinstance(error, ConnectTimeout):
        return True
    if isinstance(error, APITimeoutError) or error.status is grpc.StatusCode.CANCELLED:
        return None
    if error.reason == "DRAINING":
        return "leaving"
    return error.status is grpc.StatusCode.UNAVAILABLE
