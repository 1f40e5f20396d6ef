"""What each call takes beside its request: a timeout and metadata, its own or the client's. Pure."""

from __future__ import annotations

import enum
import math
import re
from collections.abc import Mapping, Sequence

from penstock import arguments
from penstock.arguments import ArgumentTypeError, ArgumentValueError

Pairs = tuple[tuple[str, str | bytes], ...]
MetadataLike = Sequence[tuple[str, str | bytes]] | Mapping[str, str | bytes]


# About 30 years; gRPC's clock overflows somewhere above and would call the deadline past.
FOREVER_SECONDS = 1e9

_KEY = re.compile(r"[a-z0-9_.-]+")
_TEXT = re.compile(r"[ -~]*")


class ClientDefault(enum.Enum):
    """The type of CLIENT_DEFAULT."""

    CLIENT_DEFAULT = "client default"


CLIENT_DEFAULT = ClientDefault.CLIENT_DEFAULT
"""`timeout` was not given. None would say that the call has no deadline."""

TimeoutLike = float | None | ClientDefault


class CallOptions:
    """A client's defaults."""

    def __init__(self, timeout: float | None, metadata: MetadataLike | None) -> None:
        self._timeout = checked_timeout(timeout)
        self._metadata = _pairs(metadata)

    def timeout(self, timeout: TimeoutLike) -> float | None:
        """The call's deadline in seconds from now, or None. TypeError or ValueError if it is neither."""
        return self._timeout if isinstance(timeout, ClientDefault) else checked_timeout(timeout)

    def metadata(self, metadata: MetadataLike | None) -> Pairs:
        """The call's metadata, untouched, after those of the client's defaults whose key it does not have."""
        own = _pairs(metadata)
        if not self._metadata:
            return own
        keys = {key for key, _ in own}
        return (*(pair for pair in self._metadata if pair[0] not in keys), *own)


def checked_timeout(timeout: object) -> float | None:
    """`timeout` if it is None or a number of seconds; one that is past already is allowed and fails at once."""
    if timeout is None:
        return None
    seconds = arguments.number("timeout", timeout)
    if math.isnan(seconds):
        raise ArgumentValueError("timeout", "is not a number")
    return seconds if seconds < FOREVER_SECONDS else None


def _pairs(metadata: MetadataLike | None) -> Pairs:
    """gRPC's own complaints about wrong metadata come late, and differ between its flavours."""
    if metadata is None:
        return ()
    pairs = tuple(metadata.items() if isinstance(metadata, Mapping) else metadata)
    for pair in pairs:
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise ArgumentTypeError("metadata", "pairs of a key and a value", pair)
        _check_pair(*pair)
    return pairs


def _check_pair(key: object, value: object) -> None:
    if not _KEY.fullmatch(arguments.text("metadata", key)):
        raise ArgumentValueError("metadata", f"has the key {key!r}; allowed are a-z 0-9 _ . -"[:200])
    if str(key).endswith("-bin"):
        if not isinstance(value, bytes):
            raise ArgumentTypeError(f"metadata[{key!r}]", "bytes", value)
    elif not _TEXT.fullmatch(arguments.text(f"metadata[{key!r}]", value)):
        raise ArgumentValueError(f"metadata[{key!r}]", "must be printable ASCII")
