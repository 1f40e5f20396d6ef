"""What can go wrong with a call.

    OpenAIError
    ├── APIError
    │   ├── APIConnectionError               no server answered: refused, unresolved, broken
    │   │   ├── APITimeoutError              the deadline passed: .partial
    │   │   │   ├── ConnectTimeout           no connection within the limit
    │   │   │   ├── FirstTokenTimeout        no first chunk within the limit
    │   │   │   └── IdleTimeout              no next chunk within the limit; .resume_token
    │   │   └── StreamInterrupted            any other failure after output: .partial, .cause, .resume_token
    │   ├── APIStatusError                   a server answered, with a failure
    │   │   ├── BadRequestError              .violations; code "context_length_exceeded" if the prompt is too long
    │   │   │   └── RequestTooLargeError     a message over the size limit
    │   │   ├── AuthenticationError
    │   │   ├── PermissionDeniedError
    │   │   ├── NotFoundError                code "model_not_found"
    │   │   ├── ConflictError
    │   │   ├── UnprocessableEntityError     never raised
    │   │   ├── RateLimitError               .retry_after
    │   │   ├── InternalServerError
    │   │   │   └── ServiceUnavailableError  loading, draining, engine dead: another replica may serve it
    │   │   └── NotSupportedError
    │   └── RequestCancelled                 cancelled by the server, or by closing the stream or the client
    ├── LengthFinishReasonError              an answer that was to be parsed, and was cut
    └── ContentFilterFinishReasonError       never raised

The names are openai-python's where it has one. `penstock.statuses` is the only place that turns a gRPC status into
one of them.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import NamedTuple

import grpc
from google.protobuf.message import Message

from penstock import error_details
from penstock.openai_shape.error_attributes import ErrorAttributes
from penstock.reply import Reply
from penstock.v1.generation_pb2 import GenerateResponse
from penstock.v1.mirrors_pb2 import BadRequest, ErrorInfo, RetryInfo

Metadata = Sequence[tuple[str, "str | bytes"]]

_NOTHING_CAME = Reply(GenerateResponse())

_OPENAI_CODES = {"CONTEXT_LENGTH": "context_length_exceeded", "MODEL_NOT_FOUND": "model_not_found"}


class Violation(NamedTuple):
    """One wrong field: its path in the request ("sampling.temperature"), and a sentence about it."""

    field: str
    description: str


class OpenAIError(Exception):
    """What openai-python calls the root of its errors: an APIError, or an answer that cannot be parsed."""


class APIError(ErrorAttributes, OpenAIError):
    """A call failed. `str(error)` is a sentence for a developer.

    status: the gRPC status code.
    http_status: the HTTP status that says the same.
    details: the google.rpc messages that came with the status, as their mirrors of penstock.v1.mirrors_pb2; types that
        have no mirror stay google.protobuf.Any.
    metadata: the trailing metadata, without the details.
    request_id: the call's request_id; None if it had none.
    param: the argument that is wrong, where one is known.
    attempts: how often the call was tried.
    """

    status: grpc.StatusCode = grpc.StatusCode.UNKNOWN
    http_status: int = 500
    attempts: int = 1

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

    @property
    def forbids_retry(self) -> bool:
        """Whether the server asks not to be tried again."""
        return error_details.forbids_retry(self.metadata)

    def _detail(self, kind: type[error_details.DetailT]) -> error_details.DetailT | None:
        return next((detail for detail in self.details if isinstance(detail, kind)), None)


def explained(error: APIError, text: str) -> APIError:
    """The error with more to its sentence."""
    told = copy.copy(error)
    told.message = f"{error.message}; {text}"
    told.args = (told.message,)
    told.__cause__ = error.__cause__
    return told


class APIConnectionError(APIError):
    """No server answered: connection refused, name not resolved, connection broken. It may have begun the work."""

    status = grpc.StatusCode.UNAVAILABLE
    http_status = 503


class APITimeoutError(APIConnectionError):
    """The deadline passed, here or at the server.

    partial: what of the answer came before, as a Reply whose finish_reason is None.
    """

    status = grpc.StatusCode.DEADLINE_EXCEEDED
    http_status = 504

    partial: Reply = _NOTHING_CAME


class ConnectTimeout(APITimeoutError):
    """There was no connection within `timeout.connect`; nothing was sent."""


class FirstTokenTimeout(APITimeoutError):
    """The first chunk did not come within `timeout.first_token`.

    resume_token: None; a stream that had begun elsewhere has a partial answer, but no replica that keeps it.
    """

    resume_token: str | None = None


class IdleTimeout(APITimeoutError):
    """The next chunk did not come within `timeout.idle`.

    resume_token: reads on from there, with `client.resume`; None if the stream was not resumable.
    """

    resume_token: str | None = None


class StreamInterrupted(APIConnectionError):
    """A stream failed after it had begun. Status, details and HTTP status are those of the cause.

    partial: what arrived, as a Reply whose finish_reason is None.
    cause: the failure itself, another APIError.
    resume_token: reads on from there, with `client.resume`, while the server still has the generation; None if the
        stream was not resumable, or its generation is lost.
    """

    def __init__(self, partial: Reply, cause: APIError, resume_token: str | None = None) -> None:
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
        self.resume_token = resume_token
        self.attempts = cause.attempts

    def __reduce__(self) -> tuple[type[StreamInterrupted], tuple[Reply, APIError, str | None]]:
        """Pickled by what it was made of, so that it passes between processes."""
        return type(self), (self.partial, self.cause, self.resume_token)


class APIStatusError(APIError):
    """A server answered, and what it answered is a failure."""


class BadRequestError(APIStatusError):
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


class AuthenticationError(APIStatusError):
    """No credentials, or wrong ones."""

    status = grpc.StatusCode.UNAUTHENTICATED
    http_status = 401


class PermissionDeniedError(APIStatusError):
    """The credentials do not allow this."""

    status = grpc.StatusCode.PERMISSION_DENIED
    http_status = 403


class NotFoundError(APIStatusError):
    """There is no such thing: mostly a model that the server has not loaded."""

    status = grpc.StatusCode.NOT_FOUND
    http_status = 404


class ConflictError(APIStatusError):
    """The request contradicts the server's state."""

    status = grpc.StatusCode.ALREADY_EXISTS
    http_status = 409


class UnprocessableEntityError(APIStatusError):
    """OpenAI's 422. No call fails with it: the name is there for programs that catch it."""

    http_status = 422


class RateLimitError(APIStatusError):
    """The server, or the caller's share of it, is full."""

    status = grpc.StatusCode.RESOURCE_EXHAUSTED
    http_status = 429


class InternalServerError(APIStatusError):
    """The server failed, or broke the contract."""

    status = grpc.StatusCode.INTERNAL
    http_status = 500


class ServiceUnavailableError(InternalServerError):
    """The server cannot serve now; another replica, or the same one later, may."""

    status = grpc.StatusCode.UNAVAILABLE
    http_status = 503


class NotSupportedError(APIStatusError):
    """The server does not have this call."""

    status = grpc.StatusCode.UNIMPLEMENTED
    http_status = 501


class RequestCancelled(APIError):
    """The call was cancelled: by the server, or here by closing its stream or its client."""

    status = grpc.StatusCode.CANCELLED
    http_status = 499
