"""What a caller's headers ask of the gRPC call. Pure."""

from collections.abc import Mapping
from typing import Any

from penstock_gateway.settings import Settings

LONGEST_SECONDS = 86_400.0  # a longer deadline is none
TRACE_HEADERS = ("traceparent", "tracestate")


def trace_metadata(headers: Mapping[str, str]) -> dict[str, str]:
    """The caller's trace context (w3.org/TR/trace-context), where gRPC can carry it: printable ASCII."""
    found = {name: headers[name] for name in TRACE_HEADERS if name in headers}
    return {name: value for name, value in found.items() if value.isascii() and value.isprintable()}


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


def call_options(headers: Mapping[str, str], settings: Settings, stream: bool) -> dict[str, Any]:
    """What the facade's functions take beside their parameters."""
    asked = None if stream else patience(headers)
    timeout = deadline(asked, settings.timeout_seconds, settings.max_timeout_seconds)
    return {"timeout": timeout, "extra_headers": trace_metadata(headers)}
