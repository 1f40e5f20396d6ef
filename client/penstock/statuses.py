"""From a gRPC status to an error of ours: one table. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import grpc
from google.protobuf.message import Message

from penstock import error_details
from penstock.errors import (
    APIConnectionError,
    APIError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    ConflictError,
    InternalServerError,
    Metadata,
    NotFoundError,
    NotSupportedError,
    PermissionDeniedError,
    RateLimitError,
    RequestCancelled,
    RequestTooLargeError,
    ServiceUnavailableError,
)
from penstock.v1.mirrors_pb2 import ErrorInfo, RpcStatus

# A reason decides before the status does.
_BY_REASON: dict[str, type[APIError]] = {"TOO_LARGE": RequestTooLargeError}

_BY_STATUS: dict[grpc.StatusCode, type[APIError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: BadRequestError,
    grpc.StatusCode.OUT_OF_RANGE: BadRequestError,
    grpc.StatusCode.FAILED_PRECONDITION: BadRequestError,
    grpc.StatusCode.UNAUTHENTICATED: AuthenticationError,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDeniedError,
    grpc.StatusCode.NOT_FOUND: NotFoundError,
    grpc.StatusCode.ALREADY_EXISTS: ConflictError,
    grpc.StatusCode.ABORTED: ConflictError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: RateLimitError,
    grpc.StatusCode.UNAVAILABLE: ServiceUnavailableError,
    grpc.StatusCode.DEADLINE_EXCEEDED: APITimeoutError,
    grpc.StatusCode.INTERNAL: InternalServerError,
    grpc.StatusCode.UNKNOWN: InternalServerError,
    grpc.StatusCode.DATA_LOSS: InternalServerError,
    grpc.StatusCode.UNIMPLEMENTED: NotSupportedError,
    grpc.StatusCode.CANCELLED: RequestCancelled,
}

_BY_NUMBER: dict[int, grpc.StatusCode] = {status.value[0]: status for status in grpc.StatusCode}

# gRPC itself refuses oversized messages and metadata with the status of a full server; only its text tells them apart.
_TOO_LARGE_TEXTS = ("larger than max", "metadata size exceeds")


def from_status(
    status: grpc.StatusCode, message: str, metadata: Metadata = (), request_id: str | None = None
) -> APIError:
    """The error for a gRPC status other than OK and its trailing metadata. Malformed details are passed over."""
    parsed, rest = error_details.parse(metadata)
    return _error(status, message, parsed, rest, request_id)


def from_rpc_status(status: RpcStatus, request_id: str | None = None) -> APIError:
    """The error for a status that came inside a message: that of `from_status`, had it been the call's own."""
    code = _BY_NUMBER.get(status.code, grpc.StatusCode.UNKNOWN)
    return _error(code, status.message, error_details.details(status), (), request_id)


def _error(
    status: grpc.StatusCode, message: str, details: Sequence[Message], metadata: Metadata, request_id: str | None
) -> APIError:
    kind = _kind(status, message, details)
    return kind(
        message or kind.__doc__ or status.name,
        status=status,
        details=details,
        metadata=metadata,
        request_id=request_id,
    )


def _kind(status: grpc.StatusCode, message: str, parsed: Sequence[Message]) -> type[APIError]:
    reason = next((detail.reason for detail in parsed if isinstance(detail, ErrorInfo)), "")
    if reason in _BY_REASON:
        return _BY_REASON[reason]
    if not parsed and status is grpc.StatusCode.UNAVAILABLE:
        # A Penstock server says why it is unavailable; without details it was the connection, or a proxy on the way.
        return APIConnectionError
    if not parsed and status is grpc.StatusCode.RESOURCE_EXHAUSTED and any(t in message for t in _TOO_LARGE_TEXTS):
        return RequestTooLargeError
    return _BY_STATUS.get(status, InternalServerError)


def from_rpc_error(error: grpc.RpcError, request_id: str | None = None) -> APIError:
    """The error for what grpc or grpc.aio raised when a call had ended."""
    metadata = cast("Metadata", error.trailing_metadata() or ())
    return from_status(error.code(), error.details() or "", metadata, request_id)
