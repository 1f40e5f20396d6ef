"""One RPC as log, metrics and traces see it."""

import time
import uuid
from dataclasses import dataclass, field

import grpc

from penstock.v1.generation_pb2 import FinishReason, GenerateChunk, GenerateRequest, Timings, Usage


@dataclass(slots=True)
class Call:
    """What is known of a call; filled as it goes, read when it ends."""

    method: str
    deadline_seconds: float | None
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    received: float = field(default_factory=time.monotonic)
    request: GenerateRequest | None = None
    request_id: str = ""  # the caller's, once it is checked
    model: str = ""  # the served model's name, never the caller's text
    engine: str = ""
    usage: Usage | None = None
    timings: Timings | None = None
    finish_reasons: tuple[str, ...] = ()
    code: grpc.StatusCode = grpc.StatusCode.OK
    reason: str = ""

    @property
    def operation(self) -> str:
        """OpenTelemetry's name of what the call does."""
        chat = self.request is not None and self.request.WhichOneof("input") == "conversation"
        return "chat" if chat else "text_completion"

    def finished(self, last: GenerateChunk) -> None:
        """Remember what the last chunk of the generation says."""
        self.usage = last.usage
        self.timings = last.timings
        names = (FinishReason.Name(delta.finish.reason) for delta in last.deltas)
        self.finish_reasons = tuple(name.removeprefix("FINISH_REASON_").lower() for name in names)
