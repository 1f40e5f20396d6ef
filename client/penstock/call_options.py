"""What each call takes beside its request: the keyword arguments of all calls, and how metadata are read. Pure."""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict, cast

from penstock import arguments
from penstock.arguments import ArgumentTypeError, ArgumentValueError
from penstock.retry import Retry
from penstock.timeouts import HasTimeRemaining, Timeout

Pairs = tuple[tuple[str, str | bytes], ...]
MetadataLike = Sequence[tuple[str, str | bytes]] | Mapping[str, str | bytes]
CacheUse = Literal["use", "refresh", "off"]

_KEY = re.compile(r"[a-z0-9_.-]+")
_TEXT = re.compile(r"[ -~]*")


class ClientDefault(enum.Enum):
    """The type of CLIENT_DEFAULT."""

    CLIENT_DEFAULT = "client default"


CLIENT_DEFAULT = ClientDefault.CLIENT_DEFAULT
"""`timeout` was not given. None would say that the call has no limits."""

TimeoutLike = Timeout | float | None | ClientDefault


class SharedOptions(TypedDict, total=False):
    """What a call says for itself, and `with_options` for all calls of a client.

    timeout: replaces the client's: a Timeout all of its limits, a number of seconds the total, None takes all away.
    tier: the name of a tier of the client, whose limits the call has; `timeout` changes those.
    metadata: sent with the call; an entry replaces the client's of the same key.
    retry, resume, cache: replace the client's.
    max_retries: how often a failed call is tried again, 0 for never: the attempts of `retry` but the first.
    """

    timeout: TimeoutLike
    tier: str | None
    metadata: MetadataLike | None
    retry: Retry | None
    max_retries: int | None
    resume: bool | None
    cache: CacheUse | None


class CallOptions(SharedOptions, total=False):
    """The keyword arguments that every call has, whatever it asks for.

    deadline: a servicer's context, or the seconds that the caller itself has left: the call ends by then.
    """

    deadline: HasTimeRemaining | float | None


_NAMES = frozenset(SharedOptions.__annotations__) | frozenset(CallOptions.__annotations__)


def split(options: Mapping[str, Any]) -> tuple[CallOptions, dict[str, Any]]:
    """The options of the call, and the fields of its request."""
    fields = {name: value for name, value in options.items() if name not in _NAMES}
    return cast("CallOptions", {name: options[name] for name in options.keys() & _NAMES}), fields


def merged(base: Pairs, metadata: MetadataLike | None) -> Pairs:
    """`metadata`, untouched, after the pairs of `base` whose key it does not have."""
    own = pairs(metadata)
    if not base:
        return own
    keys = {key for key, _ in own}
    return (*(pair for pair in base if pair[0] not in keys), *own)


def pairs(metadata: MetadataLike | None) -> Pairs:
    """gRPC's own complaints about wrong metadata come late, and differ between its flavours."""
    if metadata is None:
        return ()
    found = tuple(metadata.items() if isinstance(metadata, Mapping) else metadata)
    for pair in found:
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise ArgumentTypeError("metadata", "pairs of a key and a value", pair)
        _check_pair(*pair)
    return found


def _check_pair(key: object, value: object) -> None:
    if not _KEY.fullmatch(arguments.text("metadata", key)):
        raise ArgumentValueError("metadata", f"has the key {key!r}; allowed are a-z 0-9 _ . -"[:200])
    if str(key).endswith("-bin"):
        if not isinstance(value, bytes):
            raise ArgumentTypeError(f"metadata[{key!r}]", "bytes", value)
    elif not _TEXT.fullmatch(arguments.text(f"metadata[{key!r}]", value)):
        raise ArgumentValueError(f"metadata[{key!r}]", "must be printable ASCII")
