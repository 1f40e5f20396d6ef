"""One RPC as log, metrics and traces see it."""

import asyncio
import time
import uuid
from dataclasses import dataclass, field

import grpc

from penstock.v1.generation_pb2 import FinishReason, GenerateRequest, Timings, Usage
from penstock_service.deadlines import Deadline
from penstock_service.generation import Generation
from penstock_service.tenant import Tenant, caller


@dataclass(slots=True)
class Call:
    """What is known of a call; filled as it goes, read when it ends."""

    method: str
    deadline: Deadline | None
    tenant: Tenant = field(default_factory=caller.get)
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    received: float = field(default_factory=time.monotonic)
    request: GenerateRequest | None = None
    session: str = ""  # the id of the session that carries the call, if one does
    batch: str = ""  # the id of the call whose batch it is one input of
    generation: str = ""  # the id of the generation that it reads without owning it
    request_id: str = ""  # the caller's, once it is checked
    model: str = ""  # the served model's name, never the caller's text
    engine: str = ""
    usage: Usage | None = None
    timings: Timings | None = None
    finish_reasons: tuple[str, ...] = ()
    code: grpc.StatusCode = grpc.StatusCode.OK
    reason: str = ""
    polled: bool = False  # whether it is asked so often that only failures belong into a log
    cut: asyncio.Timeout | None = None  # ends the call at its deadline, where nothing gentler does

    @property
    def operation(self) -> str:
        """OpenTelemetry's name of what the call does."""
        chat = self.request is not None and self.request.WhichOneof("input") == "conversation"
        return "chat" if chat else "text_completion"

    def seconds_left(self) -> float | None:
        """How long the call may still take; None without a deadline."""
        return None if self.deadline is None else self.deadline.at - time.monotonic()

    def ends_in_time(self) -> None:
        """Its generation ends it at the deadline and what there is reaches the caller: it is not to be cut off then."""
        if self.cut is not None:
            self.cut.reschedule(None)

    def ended(self, generation: Generation) -> None:
        """Remember what the generation came to, whole or not."""
        self.usage, self.timings = generation.usage, generation.timings
        names = (FinishReason.Name(reason) for reason in generation.finish_reasons)
        self.finish_reasons = tuple(name.removeprefix("FINISH_REASON_").lower() for name in names)
