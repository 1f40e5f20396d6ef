"""What can go wrong with a call, by who must act; each error knows its gRPC status and its google.rpc details.

    ServiceError
    ├── InvalidRequest       INVALID_ARGUMENT    the caller mends the request
    ├── Unauthenticated      UNAUTHENTICATED     the caller sends its key
    ├── PermissionDenied     PERMISSION_DENIED   the operator would have to permit it
    ├── ModelNotFound        NOT_FOUND           the caller asks for another model
    ├── AdapterNotFound      NOT_FOUND           the caller names another version, or the operator adds it
    ├── GenerationNotFound   NOT_FOUND           the caller asks another replica, or generates anew
    ├── ChunksGone           OUT_OF_RANGE        the caller reads on where there is something, or generates anew
    ├── KeyReused            ALREADY_EXISTS      the caller takes another key, or sends what it sent before
    ├── FeatureOff           FAILED_PRECONDITION the operator would have to serve another model
    ├── CallsRunning         FAILED_PRECONDITION the operator waits for them, or drains
    ├── AdapterRefused       FAILED_PRECONDITION the operator mends the adapter's files
    ├── AdapterInUse         FAILED_PRECONDITION the caller moves an alias first
    ├── AdaptersFull         RESOURCE_EXHAUSTED  the caller unloads another first
    ├── Overloaded           RESOURCE_EXHAUSTED  after the delay, another replica first
    ├── QuotaExceeded        RESOURCE_EXHAUSTED  the same one after the delay; another counts the same tenant
    ├── SlowReader           RESOURCE_EXHAUSTED  the caller reads what it asked for
    ├── Unavailable          UNAVAILABLE         another replica, or the same one later
    ├── DeadlineExceeded     DEADLINE_EXCEEDED   the caller's own doing
    ├── Cancelled            CANCELLED           the caller's own doing
    └── InternalError        INTERNAL            we read the log

They are raised anywhere and become a status in one place: `answer.py`.
"""

from collections.abc import Iterable
from datetime import timedelta
from typing import Literal, NamedTuple

import grpc
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

ERROR_DOMAIN = "penstock"

UnavailableReason = Literal["LOADING", "DRAINING", "ENGINE_STALLED", "ASLEEP", "ENGINE_DEAD"]


class Violation(NamedTuple):
    """One wrong field: its path in the request, and a sentence with the limit and the value."""

    field: str
    description: str


class ServiceError(Exception):
    """An expected failure of a call. Its text goes to the caller."""

    code: grpc.StatusCode
    reason: str
    retry_after: timedelta | None = None  # when to ask again; None where that is of no use

    def details(self) -> Iterable[Message]:
        """The google.rpc messages beside ErrorInfo."""
        return ()

    def status(self) -> status_pb2.Status:
        """The google.rpc.Status that tells the caller."""
        status = status_pb2.Status(code=self.code.value[0], message=str(self))
        info = error_details_pb2.ErrorInfo(reason=self.reason, domain=ERROR_DOMAIN)
        for detail in (info, *self.details()):
            status.details.add().Pack(detail)
        return status


class InvalidRequest(ServiceError):
    """The request has wrong fields: every one of them is in `violations`."""

    code = grpc.StatusCode.INVALID_ARGUMENT

    # Keeps grpc-status-details-bin well under the 8 KiB of metadata that peers accept by default.
    MOST_VIOLATIONS = 16

    def __init__(
        self, violations: Iterable[Violation], reason: Literal["INVALID_FIELD", "CONTEXT_LENGTH"] = "INVALID_FIELD"
    ) -> None:
        self.violations = tuple(violations)
        self.reason = reason
        shown = self.violations[: self.MOST_VIOLATIONS]
        more = len(self.violations) - len(shown)
        super().__init__(
            "; ".join(f"{v.field}: {v.description}" for v in shown) + (f"; and {more} more" if more else "")
        )

    def details(self) -> Iterable[Message]:
        yield error_details_pb2.BadRequest(
            field_violations=[
                error_details_pb2.BadRequest.FieldViolation(field=v.field, description=v.description)
                for v in self.violations[: self.MOST_VIOLATIONS]
            ]
        )


class Unauthenticated(ServiceError):
    """Nobody whom the service knows makes the call. The text never has anything of what the caller sent."""

    code = grpc.StatusCode.UNAUTHENTICATED
    reason = "UNAUTHENTICATED"

    def __init__(self, problem: str = "the API key is not known here") -> None:
        super().__init__(f"{problem}; send `authorization: Bearer KEY` with a key of this service")


class PermissionDenied(ServiceError):
    """The caller is known, and may not do this."""

    code = grpc.StatusCode.PERMISSION_DENIED
    reason = "PERMISSION_DENIED"


class ModelNotFound(ServiceError):
    """No loaded model has the name."""

    code = grpc.StatusCode.NOT_FOUND
    reason = "MODEL_NOT_FOUND"

    def __init__(self, name: str, served: Iterable[str]) -> None:
        super().__init__(
            f"model: there is no model {_shown(name)} here; this server has {', '.join(map(repr, served))}"
        )


class GenerationNotFound(ServiceError):
    """This server has no such generation, or has it no more."""

    code = grpc.StatusCode.NOT_FOUND
    reason = "GENERATION_NOT_FOUND"

    def __init__(self, field: str, name: str) -> None:
        super().__init__(f"{field}: this server has no generation {_shown(name)}, or has it no more")


class ChunksGone(ServiceError):
    """What a generation said at the place asked for is kept no more, or there is no such place yet."""

    code = grpc.StatusCode.OUT_OF_RANGE
    reason = "CHUNKS_GONE"

    def __init__(self, next_seq: int, first: int, count: int) -> None:
        super().__init__(f"chunks {first} to {count} can be read from now on, not {next_seq}")


class KeyReused(ServiceError):
    """The idempotency key belongs to a generation with another request."""

    code = grpc.StatusCode.ALREADY_EXISTS
    reason = "KEY_REUSED"

    def __init__(self, key: str) -> None:
        super().__init__(f"idempotency_key: {_shown(key)} belongs to another request; each needs a key of its own")


class FeatureOff(ServiceError):
    """The served model, or the way that it is served, cannot do what the request asks for."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "FEATURE_OFF"


class CallsRunning(ServiceError):
    """It cannot be done while calls run, and they do."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "CALLS_RUNNING"


class AdapterNotFound(ServiceError):
    """There is no such version of an adapter, on disk or loaded, whichever was asked for."""

    code = grpc.StatusCode.NOT_FOUND
    reason = "ADAPTER_NOT_FOUND"

    def __init__(self, adapter: str) -> None:
        super().__init__(f"there is no adapter {adapter!r} here")


class AdapterRefused(ServiceError):
    """The adapter is there, but its files are wrong or the engine does not take it."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "ADAPTER_REFUSED"

    def __init__(self, adapter: str, why: str) -> None:
        super().__init__(f"adapter {adapter!r} cannot be loaded: {why}")


class AdapterInUse(ServiceError):
    """An alias means the adapter."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "ADAPTER_IN_USE"

    def __init__(self, adapter: str, alias: str) -> None:
        super().__init__(f"the alias {alias!r} means adapter {adapter!r}; make it mean something else first")


class AdaptersFull(ServiceError):
    """The engine takes no further adapter. Waiting does not help."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    reason = "ADAPTERS_FULL"

    def __init__(self, most: int) -> None:
        super().__init__(f"the engine holds {most} adapters at most; unload another first")


_UNAVAILABLE_TEXTS: dict[UnavailableReason, str] = {
    "LOADING": "the model is still loading",
    "DRAINING": "this server is stopping",
    "ENGINE_STALLED": "the engine makes no step at the moment",
    "ASLEEP": "the engine sleeps",
    "ENGINE_DEAD": "the engine has stopped",
}

# When to ask again: a model loads in tens of seconds; a stopping replica is out of the balancer's list, ask another.
_RETRY_AFTER: dict[UnavailableReason, timedelta] = {
    "LOADING": timedelta(seconds=5),
    "DRAINING": timedelta(0),
    "ENGINE_STALLED": timedelta(seconds=1),
    "ASLEEP": timedelta(seconds=5),
    "ENGINE_DEAD": timedelta(seconds=1),
}


def _retry_info(delay: timedelta) -> error_details_pb2.RetryInfo:
    retry = error_details_pb2.RetryInfo()
    retry.retry_delay.FromTimedelta(delay)
    return retry


class Unavailable(ServiceError):
    """This server cannot serve the call now; nothing is wrong with the call."""

    code = grpc.StatusCode.UNAVAILABLE
    retry_after: timedelta

    def __init__(self, reason: UnavailableReason, more: str = "") -> None:
        self.reason = reason
        self.retry_after = _RETRY_AFTER[reason]
        text = f"{_UNAVAILABLE_TEXTS[reason]} ({more})" if more else _UNAVAILABLE_TEXTS[reason]
        super().__init__(f"{text}; another replica may serve the call")

    def details(self) -> Iterable[Message]:
        yield _retry_info(self.retry_after)


class Overloaded(ServiceError):
    """There is no room for the call now."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    reason = "OVERLOADED"
    retry_after: timedelta

    def __init__(self, text: str = "the engine's queue is full", retry_after: timedelta = timedelta(seconds=1)) -> None:
        self.retry_after = retry_after
        super().__init__(text)

    def details(self) -> Iterable[Message]:
        yield _retry_info(self.retry_after)


class QuotaExceeded(ServiceError):
    """The tenant has taken what it may take for now."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    reason = "QUOTA"
    retry_after: timedelta

    def __init__(self, text: str, retry_after: timedelta) -> None:
        self.retry_after = retry_after
        super().__init__(f"the quota of the caller's tenant is used up: {text}")

    def details(self) -> Iterable[Message]:
        yield _retry_info(self.retry_after)


class SlowReader(ServiceError):
    """The caller left too much unread, or for too long."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    reason = "SLOW_READER"

    def __init__(self) -> None:
        super().__init__("the stream was not read: too much was held for its caller, or for too long")


class DeadlineExceeded(ServiceError):
    """The call's deadline came before its end."""

    code = grpc.StatusCode.DEADLINE_EXCEEDED
    reason = "DEADLINE"

    def __init__(self, text: str = "the deadline came before the end of the call") -> None:
        super().__init__(text)


class Cancelled(ServiceError):
    """The caller ended the call."""

    code = grpc.StatusCode.CANCELLED
    reason = "CANCELLED"

    def __init__(self) -> None:
        super().__init__("the caller cancelled the call")


class InternalError(ServiceError):
    """Our own fault. The caller learns the call's id; the cause is in the log."""

    code = grpc.StatusCode.INTERNAL
    reason = "INTERNAL"

    def __init__(self, call_id: str) -> None:
        super().__init__(f"internal error; the server's log tells more under call {call_id}")


def _shown(name: str) -> str:
    """A caller's text for a message that travels in the trailing metadata, which has a limit."""
    return repr(name if len(name) <= 64 else f"{name[:61]}...")
