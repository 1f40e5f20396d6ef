"""What a caller's headers ask of the gRPC call. Pure."""

from collections.abc import Mapping

from penstock.errors import AuthenticationError
from penstock.v1.mirrors_pb2 import ErrorInfo
from penstock_gateway.settings import Settings

LONGEST_SECONDS = 86_400.0  # a longer deadline is none
_NO_KEY = "the request has no API key: send it as `authorization: Bearer KEY`"
TRACE_HEADERS = ("traceparent", "tracestate")


def metadata(headers: Mapping[str, str], settings: Settings) -> dict[str, str]:
    """The caller's trace context (w3.org/TR/trace-context), and its key where the service wants it.

    What gRPC cannot carry, which is all but printable ASCII, is left out. Raises AuthenticationError for a key that is
    wanted and missing: without one the service would know the caller by the gateway's own certificate. Routes ask
    before they read the body, so that a stranger's is not read.
    """
    wanted = (*TRACE_HEADERS, "authorization") if settings.forward_keys else TRACE_HEADERS
    found = {name: headers[name] for name in wanted if name in headers}
    carried = {name: value for name, value in found.items() if value.isascii() and value.isprintable()}
    if settings.forward_keys and not carried.get("authorization", "").strip():
        raise AuthenticationError(_NO_KEY, details=[ErrorInfo(reason="UNAUTHENTICATED", domain="penstock")])
    return carried


def patience(headers: Mapping[str, str]) -> float | None:
    """How many seconds openai-python waits for a reply that is not streamed, from `x-stainless-read-timeout`.

    Of a stream that header says how long each silence may last, and nothing about the whole.
    """
    try:
        seconds = float(headers.get("x-stainless-read-timeout", ""))
    except ValueError:
        return None
    return seconds if 0 < seconds <= LONGEST_SECONDS else None


def deadline(asked: float | None, default: float | None, most: float | None) -> float | None:
    """Seconds until the call must be over: what was asked for or the default, and never beyond `most`."""
    return min((limit for limit in (asked if asked is not None else default, most) if limit is not None), default=None)


def call_timeout(headers: Mapping[str, str], settings: Settings, stream: bool) -> float | None:
    """The deadline of a call with these headers."""
    asked = None if stream else patience(headers)
    return deadline(asked, settings.timeout_seconds, settings.max_timeout_seconds)
