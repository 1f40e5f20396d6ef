"""The service's JSON log on stderr: one line a call, and never a word of a prompt or an answer."""

import logging
import sys
import time

import grpc
import structlog
from opentelemetry.trace import Span, format_trace_id
from structlog.typing import Processor

from penstock.v1.generation_pb2 import Timings
from penstock_service.call import Call
from penstock_service.logged_errors import exceptions, foreign_handler, shortened
from penstock_service.odd_headers import hide_odd_headers

log = structlog.get_logger()


def configure_log(level: str, **always: object) -> None:
    """Write JSON lines to stderr, each with the fields `always`; stdout stays free."""
    processors: list[Processor] = [
        lambda _logger, _method, line: {**always, **line},
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        exceptions(level),
        shortened,
        structlog.processors.JSONRenderer(),
    ]
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        # A line in one write: other processes of ours write to the same stderr.
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
    )
    hide_odd_headers()
    logging.basicConfig(handlers=[foreign_handler(processors)], level=logging.WARNING)


def log_call(call: Call, span: Span) -> None:
    """Write the line of a call that has ended. What is not known is left out."""
    fields = {
        "id": call.id,
        "method": call.method,
        "tenant": call.tenant.name,
        "code": call.code.name,
        "reason": call.reason,
        "duration_ms": round(1000 * (time.monotonic() - call.received), 3),
        "deadline_ms": call.deadline and round(1000 * (call.deadline.at - call.received)),
        "model": call.model,
        "session": call.session,
        "batch": call.batch,
        "generation": call.generation,
        "request_id": call.request_id,
        "finish": ",".join(call.finish_reasons),
        "trace_id": _trace_id(span),
        **_counts(call),
    }
    write = log.debug if call.polled and call.code is grpc.StatusCode.OK else log.info
    write("call", **{name: value for name, value in fields.items() if value not in (None, "")})


def _trace_id(span: Span) -> str:
    context = span.get_span_context()
    return format_trace_id(context.trace_id) if context.is_valid else ""


def _counts(call: Call) -> dict[str, float | None]:
    if call.usage is None:
        return {}
    timings = call.timings or Timings()
    return {
        "prompt_tokens": call.usage.prompt_tokens,
        "completion_tokens": call.usage.completion_tokens,
        "queue_ms": round(timings.queue_time_ms, 3) if timings.HasField("queue_time_ms") else None,
        "chunks": timings.chunk_count or None,
        "ttft_ms": round(timings.time_to_first_token_ms, 3) if timings.HasField("time_to_first_token_ms") else None,
    }
