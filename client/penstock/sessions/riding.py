"""Which streams ride a session, and the message that begins one there. Pure."""

from __future__ import annotations

import math
from typing import Literal

from penstock import arguments
from penstock.call_options import Pairs
from penstock.v1.generation_pb2 import GenerateRequest, SessionRequest, StartCall

SessionsLike = Literal["auto", "always", "never"]

# A session makes steps cheaper that bring something to several calls; with fewer it would only stand between.
OTHERS_OPEN_FOR_A_SESSION = 2

# A message over the server's limit would end the session with all its calls, so what could be one travels alone.
MOST_REQUEST_BYTES = 1 << 20

# The metadata that StartCall has fields for.
TRACE_KEYS = ("traceparent", "tracestate")


class Riding:
    """The choice of one client. `metadata` is the client's own, which its sessions carry."""

    def __init__(self, sessions: SessionsLike, metadata: Pairs) -> None:
        self._sessions = arguments.one_of("sessions", sessions, ("auto", "always", "never"))
        self._common = _without_trace(metadata)
        self.session_metadata = metadata

    def suits(self, request: GenerateRequest, metadata: Pairs, others_open: int) -> bool:
        """Whether a stream rides, while so many others of its channel are open."""
        if self._sessions == "never" or (self._sessions == "auto" and others_open < OTHERS_OPEN_FOR_A_SESSION):
            return False
        if request.resumable or request.idempotency_key:
            return False  # its generation outlives the call, and the session's other calls
        # A call of a session has no metadata of its own.
        return _without_trace(metadata) == self._common and request.ByteSize() <= MOST_REQUEST_BYTES


def start_message(request: GenerateRequest, timeout: float | None, metadata: Pairs) -> SessionRequest:
    """Begins a call; its number is still to be set."""
    start = StartCall(request=request, **{key: value for key, value in metadata if key in TRACE_KEYS})  # type: ignore[arg-type]
    if timeout is not None:
        start.timeout_ms = max(0, math.ceil(timeout * 1000))
    return SessionRequest(start=start)


def _without_trace(metadata: Pairs) -> Pairs:
    return tuple(pair for pair in metadata if pair[0] not in TRACE_KEYS)
