"""How one unary call stands: its attempts and its time. Pure, but for the clock of its report."""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import Any

from google.protobuf.message import Message

from penstock.cancellation import closed_here
from penstock.client_parts import ClientParts
from penstock.errors import APIError, APITimeoutError, ConnectTimeout, RequestCancelled
from penstock.terms import Terms
from penstock.v1.generation_pb2 import CancelRequest


class UnaryCourse:
    """once: whether the call changes something at the server, so that it is tried again only if nothing has run."""

    def __init__(
        self, parts: ClientParts[Any], method: str, request: Message, terms: Terms, *, once: bool = False
    ) -> None:
        self.terms = terms
        self.request_id: str | None = getattr(request, "request_id", "") or None
        self._key: str = getattr(request, "idempotency_key", "")
        self.report = parts.report(method, getattr(request, "model", ""), terms, request)
        self.metadata = self.report.traced(terms.metadata)
        self.attempts = parts.attempts(terms, keyed=bool(self._key), once=once)

    def left(self) -> float | None:
        """Seconds of the total."""
        return self.terms.left(time.monotonic())

    def begins_at(self, endpoint: str) -> None:
        self.attempts.made += 1
        self.report.attempt(endpoint)

    def next_delay(self, error: APIError, now: float, endpoints: Collection[str]) -> float | None:
        """Seconds until the next attempt; None if the error stands."""
        error.attempts = self.attempts.made
        if isinstance(error, ConnectTimeout):
            self.report.timed_out("connect", self.terms.timeout.connect or 0.0)
        elif isinstance(error, APITimeoutError):
            self.report.timed_out("total", self.terms.timeout.total or 0.0)
        self.attempts.failed_endpoints.add(self.report.endpoint)
        untried = not self.attempts.failed_endpoints.issuperset(endpoints)
        if closed_here(error, endpoints):
            return None
        delay = self.attempts.failed(error, self.report.attempt_began, now, untried, self.report.endpoint)
        if delay is not None:
            self.report.retried(delay, error)
        return delay

    @property
    def outlives_its_call(self) -> bool:
        """Whether the server goes on with it until it is told to stop."""
        return bool(self._key)

    def cancel_request(self) -> CancelRequest:
        return CancelRequest(idempotency_key=self._key)

    def answered(self, answer: Message) -> None:
        self.attempts.succeeded()
        self.report.answered(answer)
        self.report.ended(None)

    def failed(self, error: BaseException | None) -> None:
        """What is not an APIError is the caller's own end, an interrupt or a cancellation."""
        known = error if isinstance(error, APIError) else None
        self.report.ended(known or RequestCancelled("the call was given up", request_id=self.request_id))
