"""OpenTelemetry for a client: `penstock.otel.instrument(client)`. Needs the extra `otel`; the names are those of
OpenTelemetry's conventions for generative AI (docs/gen-ai/gen-ai-spans.md and gen-ai-metrics.md of its repository
semantic-conventions-genai). No text of the caller or of the model is recorded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock.events import CallEnded, CallStarted, FirstOutput, Hedged, Resumed, Retried, TimedOut
from penstock.otel_attributes import end_attributes, error_type, event_attributes, metric_attributes, start_attributes
from penstock.version import __version__

try:
    from opentelemetry import metrics, trace
    from opentelemetry.propagate import inject
    from opentelemetry.trace import SpanKind, StatusCode
except ImportError as error:
    raise ImportError("penstock.otel needs OpenTelemetry: pip install 'penstock[otel]'") from error

if TYPE_CHECKING:
    from opentelemetry.metrics import Histogram, Meter, MeterProvider
    from opentelemetry.trace import Span, TracerProvider

    from penstock.aio import AsyncClient
    from penstock.call_options import Pairs
    from penstock.client import Client

# From the conventions, which recommend the first for all times.
SECONDS_BUCKETS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
TOKEN_BUCKETS = tuple(4**power for power in range(14))

# What travels in metadata: a propagator may have further headers, and sessions carry these two.
TRACE_KEYS = ("traceparent", "tracestate")


def instrument(
    client: Client | AsyncClient,
    *,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
) -> None:
    """Record a span and the gen_ai.client.* histograms of each call, and pass the trace on to the server.

    The providers are OpenTelemetry's global ones by default; without any set up, nothing is recorded. A span is a child
    of the caller's current one. A second time changes nothing. Clients of `with_options` are instrumented together.
    """
    observers = client._observers
    if observers.trace_headers is not None:
        return
    recorder = _Recorder(
        trace.get_tracer("penstock", __version__, tracer_provider),
        metrics.get_meter("penstock", __version__, meter_provider),
    )
    observers.trace_headers = recorder.headers
    observers.on(CallStarted.name, recorder.started)
    observers.on(CallEnded.name, recorder.ended)
    for kind in (FirstOutput, Retried, Hedged, Resumed, TimedOut):
        observers.on(kind.name, recorder.happened)


class _Recorder:
    """The spans of the open calls, and the histograms."""

    def __init__(self, tracer: trace.Tracer, meter: Meter) -> None:
        self._tracer = tracer
        self._spans: dict[CallStarted, Span] = {}
        operation = "gen_ai.client.operation"
        self._duration = _seconds(meter, f"{operation}.duration", "Time from a call's start to its end.")
        self._first = _seconds(
            meter, f"{operation}.time_to_first_chunk", "Time from a stream's start to its first chunk."
        )
        self._gap = _seconds(meter, f"{operation}.time_per_output_chunk", "Time from a chunk of a stream to the next.")
        self._tokens = meter.create_histogram(
            "gen_ai.client.token.usage",
            "{token}",
            "Tokens read and written by a call.",
            explicit_bucket_boundaries_advisory=TOKEN_BUCKETS,
        )

    def started(self, call: CallStarted) -> None:
        attributes = start_attributes(call)
        if attributes:
            name = f"{attributes['gen_ai.operation.name']} {call.model}".rstrip()
            self._spans[call] = self._tracer.start_span(name, kind=SpanKind.CLIENT, attributes=attributes)

    def headers(self, call: CallStarted) -> Pairs:
        """What tells the server that its span is a child of the call's, or of the current one if the call has none."""
        span = self._spans.get(call)
        carrier: dict[str, str] = {}
        inject(carrier, trace.set_span_in_context(span) if span is not None else None)
        return tuple((key, value) for key, value in carrier.items() if key in TRACE_KEYS)

    def happened(self, event: FirstOutput | Retried | Hedged | Resumed | TimedOut) -> None:
        span = self._spans.get(event.call)
        if span is not None:
            span.add_event(event.name, event_attributes(event))

    def ended(self, end: CallEnded) -> None:
        span = self._spans.pop(end.call, None)
        if span is None:
            return
        span.set_attributes(end_attributes(end))
        kind = error_type(end)
        if kind and kind != "CANCELLED":  # left by its caller, which is no error of the call
            span.set_status(StatusCode.ERROR, kind)
        self._record(end)
        span.end()

    def _record(self, end: CallEnded) -> None:
        attributes = metric_attributes(end)
        kind = error_type(end)
        self._duration.record(end.seconds, {**attributes, "error.type": kind} if kind else attributes)
        if end.first_token_seconds is not None:
            self._first.record(end.first_token_seconds, attributes)
        for gap in end.gaps:
            self._gap.record(gap, attributes)
        if end.prompt_tokens is not None:
            self._tokens.record(end.prompt_tokens, {**attributes, "gen_ai.token.type": "input"})
        if end.completion_tokens is not None:
            self._tokens.record(end.completion_tokens, {**attributes, "gen_ai.token.type": "output"})


def _seconds(meter: Meter, name: str, description: str) -> Histogram:
    return meter.create_histogram(name, "s", description, explicit_bucket_boundaries_advisory=SECONDS_BUCKETS)
