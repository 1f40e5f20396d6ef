"""Reads google.rpc's rich error details from a call's trailing metadata. Pure, and lenient: it never raises.

The messages are read with their wire-compatible mirrors (penstock/v1/mirrors.proto), so that neither grpcio-status nor
googleapis-common-protos is needed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

from google.protobuf.any_pb2 import Any
from google.protobuf.message import DecodeError, Message

from penstock.v1.mirrors_pb2 import BadRequest, ErrorInfo, RetryInfo, RpcStatus

STATUS_DETAILS = "grpc-status-details-bin"
RETRY_PUSHBACK = "grpc-retry-pushback-ms"

Pair = tuple[str, str | bytes]
DetailT = TypeVar("DetailT", bound=Message)

_MIRRORS: dict[str, type[Message]] = {
    "google.rpc.ErrorInfo": ErrorInfo,
    "google.rpc.RetryInfo": RetryInfo,
    "google.rpc.BadRequest": BadRequest,
}


def parse(metadata: Iterable[Pair]) -> tuple[list[Message], list[Pair]]:
    """The details, and the metadata that is left. What cannot be read is left out of the first."""
    found: list[Message] = []
    rest: list[Pair] = []
    for key, value in metadata:
        if key == STATUS_DETAILS:
            found.extend(_read(value))
        else:
            rest.append((key, value))
    return found, rest


def details(status: RpcStatus) -> list[Message]:
    """The details of a status that came inside a message."""
    return [_mirror(detail) for detail in status.details]


def _read(value: str | bytes) -> list[Message]:
    raw = value.encode("latin-1", "replace") if isinstance(value, str) else value
    try:
        return details(RpcStatus.FromString(raw))
    except DecodeError:
        return []


def _mirror(detail: Any) -> Message:
    kind = _MIRRORS.get(detail.type_url.rpartition("/")[2])
    if kind is None:
        return detail
    try:
        return kind.FromString(detail.value)
    except DecodeError:
        return detail


def forbids_retry(metadata: Sequence[Pair]) -> bool:
    """Whether gRPC's pushback says not to retry at all: it is negative, or no number (gRFC A6)."""
    found = [value for key, value in metadata if key == RETRY_PUSHBACK]
    return any(not (isinstance(value, str) and value.isdecimal()) for value in found)


def retry_after(info: RetryInfo | None, metadata: Sequence[Pair]) -> float | None:
    """Seconds: RetryInfo's delay if there is one, else gRPC's pushback (whose negative values forbid retries)."""
    if info is not None and info.HasField("retry_delay"):
        return max(0.0, info.retry_delay.seconds + info.retry_delay.nanos / 1e9)
    for key, value in metadata:
        if key == RETRY_PUSHBACK and isinstance(value, str) and value.isdecimal():
            return int(value) / 1000
    return None
