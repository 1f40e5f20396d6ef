"""What can go wrong with a call.

    APIError
    ├── APIConnectionError           no server answered: refused, unresolved, broken
    │   ├── APITimeoutError          the deadline passed
    │   └── StreamInterrupted        any failure after output: .partial, .cause
    ├── BadRequestError              .violations; code "context_length_exceeded" if the prompt is too long
    │   └── RequestTooLargeError     a message over the size limit
    ├── AuthenticationError
    ├── PermissionDeniedError
    ├── NotFoundError                code "model_not_found"
    ├── ConflictError
    ├── RateLimitError               .retry_after
    ├── InternalServerError
    │   └── ServiceUnavailableError  loading, draining, engine dead: another replica may serve it
    ├── NotSupportedError
    └── RequestCancelled             cancelled by the server, or by closing the stream or the client

The names are openai-python's where it has one. `penstock.statuses` is the only place that turns a gRPC status into
one of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import grpc
from google.protobuf.message import Message

from penstock import error_details
from penstock.reply import Reply
from penstock.v1.mirrors_pb2 import BadRequest, ErrorInfo, RetryInfo

Metadata = Sequence[tuple[str, "str | bytes"]]

_OPENAI_CODES = {"CONTEXT_LENGTH": "context_length_exceeded", "MODEL_NOT_FOUND": "model_not_found"}


class Violation(NamedTuple):
    """One wrong field: its path in the request ("sampling.temperature"), and a sentence about it."""

    field: str
    description: str


class APIError(Exception):
    """A call failed. `str(error)` is a sentence for a developer.

    status: the gRPC status code.
    http_status: the HTTP status that says the same.
    details: the google.rpc messages that came with the status, as their mirrors of penstock.v1.mirrors_pb2; types that
        have no mirror stay google.protobuf.Any.
    metadata: the trailing metadata, without the details.
    request_id: the call's request_id; None if it had none.
    param: the argument that is wrong, where one is known.
    """

    status: grpc.StatusCode = grpc.StatusCode.UNKNOWN
    http_status: int = 500

    def __init__(
        self,
        message: str,
        *,
        status: grpc.StatusCode | None = None,
        details: Sequence[Message] = (),
        metadata: Metadata = (),
        request_id: str | None = None,
        param: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status or type(self).status
        self.details = tuple(details)
        self.metadata = tuple(metadata)
        self.request_id = request_id
        self.param = param

    @property
    def reason(self) -> str | None:
        """ErrorInfo.reason, a stable name of the cause in capitals; None if the server gave none."""
        info = self._detail(ErrorInfo)
        return info.reason if info else None

    @property
    def code(self) -> str | None:
        """OpenAI's name of the cause where it has one, else the reason in small letters, else None."""
        return _OPENAI_CODES.get(self.reason, self.reason.lower()) if self.reason else None

    @property
    def retry_after(self) -> float | None:
        """Seconds after which another try can succeed, by the server's word; None if it gave none."""
        return error_details.retry_after(self._detail(RetryInfo), self.metadata)

    def _detail(self, kind: type[error_details.DetailT]) -> error_details.DetailT | None:
        return next((detail for detail in self.details if isinstance(detail, kind)), None)


class APIConnectionError(APIError):
    """No server answered: connection refused, name not resolved, connection broken. It may have begun the work."""

    status = grpc.StatusCode.UNAVAILABLE
    http_status = 503


class APITimeoutError(APIConnectionError):
    """The deadline passed, here or at the server."""

    status = grpc.StatusCode.DEADLINE_EXCEEDED
    http_status = 504


class StreamInterrupted(APIConnectionError):
    """A stream failed after it had begun. Status, details and HTTP status are those of the cause.

    partial: what arrived, as a Reply whose finish_reason is None.
    cause: the failure itself, another APIError.
    """

    def __init__(self, partial: Reply, cause: APIError) -> None:
        super().__init__(
            f"the stream broke off after {len(partial.text)} characters: {cause.message}",
            status=cause.status,
            details=cause.details,
            metadata=cause.metadata,
            request_id=cause.request_id,
            param=cause.param,
        )
        self.http_status = cause.http_status
        self.partial = partial
        self.cause = cause

    def __reduce__(self) -> tuple[type[StreamInterrupted], tuple[Reply, APIError]]:
        """Pickled by what it was made of, so that it passes between processes."""
        return type(self), (self.partial, self.cause)


class BadRequestError(APIError):
    """The request is wrong; sending it again cannot help."""

    status = grpc.StatusCode.INVALID_ARGUMENT
    http_status = 400

    @property
    def violations(self) -> tuple[Violation, ...]:
        """Every wrong field that the server named."""
        bad = self._detail(BadRequest)
        return tuple(Violation(v.field, v.description) for v in bad.field_violations) if bad else ()


class RequestTooLargeError(BadRequestError):
    """A message, or the metadata, is over a size limit of the server or of the channel."""

    status = grpc.StatusCode.RESOURCE_EXHAUSTED
    http_status = 413


class AuthenticationError(APIError):
    """No credentials, or wrong ones."""

    status = grpc.StatusCode.UNAUTHENTICATED
    http_status = 401


class PermissionDeniedError(APIError):
    """The credentials do not allow this."""

    status = grpc.StatusCode.PERMISSION_DENIED
    http_status = 403


class NotFoundError(APIError):
    """There is no such thing: mostly a model that the server has not loaded."""

    status = grpc.StatusCode.NOT_FOUND
    http_status = 404


class ConflictError(APIError):
    """The request contradicts the server's state."""

    status = grpc.StatusCode.ALREADY_EXISTS
    http_status = 409


class RateLimitError(APIError):
    """The server, or the caller's share of it, is full."""

    status = grpc.StatusCode.RESOURCE_EXHAUSTED
    http_status = 429


class InternalServerError(APIError):
    """The server failed, or broke the contract."""

    status = grpc.StatusCode.INTERNAL
    http_status = 500


class ServiceUnavailableError(InternalServerError):
    """The server cannot serve now; another replica, or the same one later, may."""

    status = grpc.StatusCode.UNAVAILABLE
    http_status = 503


class NotSupportedError(APIError):
    """The server does not have this call."""

    status = grpc.StatusCode.UNIMPLEMENTED
    http_status = 501


class RequestCancelled(APIError):
    """The call was cancelled: by the server, or here by closing its stream or its client."""

    status = grpc.StatusCode.CANCELLED
    http_status = 499
