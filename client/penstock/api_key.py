"""The API key: metadata of every call. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from penstock import arguments
from penstock.arguments import ArgumentValueError
from penstock.call_options import MetadataLike, Pairs


def with_api_key(api_key: str | None, metadata: MetadataLike | None) -> MetadataLike | None:
    """The client's metadata, with `authorization: Bearer <key>` before it if there is a key.

    The key is sent as given, over plain text too, because inside a cluster something else often encrypts: with a server
    beyond that use `tls=`. A call's own `authorization` replaces it.
    """
    if api_key is None:
        return metadata
    pairs = tuple(metadata.items() if isinstance(metadata, Mapping) else metadata or ())
    if any(pair[:1] == ("authorization",) for pair in pairs if isinstance(pair, tuple)):
        raise ArgumentValueError("api_key", "and an authorization in metadata exclude each other")
    bearer: Pairs = (("authorization", f"Bearer {_checked(api_key)}"),)
    return (*bearer, *pairs)


def _checked(api_key: str) -> str:
    """gRPC would say the value of metadata that it refuses."""
    key = arguments.text("api_key", api_key)
    if not key or not all("!" <= character <= "~" for character in key):
        raise ArgumentValueError("api_key", "must be printable ASCII without spaces, and not empty")
    return key
