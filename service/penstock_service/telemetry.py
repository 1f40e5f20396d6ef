"""OpenTelemetry for the service: spans and the GenAI server histograms, by call and never by token.

Traces and metrics go out by OTLP over gRPC when the standard OTEL_EXPORTER_OTLP_* variables name an endpoint; metrics
are also on the Prometheus endpoint, beside whatever else the process registers there (vLLM's own metrics).
"""

import asyncio
import os
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from functools import partial

import structlog
from opentelemetry import metrics, trace
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import CallbackOptions, NoOpMeterProvider, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, SERVICE_NAME, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import INVALID_SPAN, NonRecordingSpan, NoOpTracerProvider, Span, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from penstock_service import __version__
from penstock_service.attributes import call_attributes, generation_attributes, metric_attributes
from penstock_service.call import Call
from penstock_service.daemon_thread import in_daemon_thread
from penstock_service.prometheus_endpoint import open_prometheus
from penstock_service.settings import Settings

# Buckets in seconds, from OpenTelemetry's GenAI metric conventions.
DURATION_BUCKETS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
FIRST_TOKEN_BUCKETS = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
PER_TOKEN_BUCKETS = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)

_CLOSING_SECONDS = 2.0

log = structlog.get_logger()

_PROPAGATOR = TraceContextTextMapPropagator()

# gRPC statuses that are the server's fault, by OpenTelemetry's RPC conventions for SERVER spans.
_SERVER_FAULTS = {"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}


class Telemetry:
    """Spans and histograms of this server, by providers of its own."""

    def __init__(self, tracers: trace.TracerProvider, meters: metrics.MeterProvider) -> None:
        # Spans that nobody sees still cost 30 us a call.
        self._traces = not isinstance(tracers, NoOpTracerProvider)
        self._tracer = tracers.get_tracer("penstock_service", __version__)
        meter = meters.get_meter("penstock_service", __version__)
        self._duration = meter.create_histogram(
            "gen_ai.server.request.duration",
            "s",
            "Time from receiving a request to its last token, or to its failure.",
            explicit_bucket_boundaries_advisory=DURATION_BUCKETS,
        )
        self._first_token = meter.create_histogram(
            "gen_ai.server.time_to_first_token",
            "s",
            "Time from receiving a request to its first token, of successful requests.",
            explicit_bucket_boundaries_advisory=FIRST_TOKEN_BUCKETS,
        )
        self._per_token = meter.create_histogram(
            "gen_ai.server.time_per_output_token",
            "s",
            "Mean time of each token after the first, of successful requests.",
            explicit_bucket_boundaries_advisory=PER_TOKEN_BUCKETS,
        )
        self._refused = meter.create_counter(
            "penstock.refused_calls", "{call}", "Calls that were refused because nobody known made them."
        )

        self._not_admitted = meter.create_counter(
            "penstock.admission.refused", "{call}", "Calls for which there was no room, quota or time."
        )
        self._meter = meter

    @contextmanager
    def span(self, call: Call, metadata: Iterable[tuple[str, str | bytes]]) -> Iterator[Span]:
        """Open the SERVER span of a call, a child of the caller's span where its metadata names one."""
        if not self._traces:
            yield INVALID_SPAN
            return
        parent = _PROPAGATOR.extract(dict(metadata))
        with self._tracer.start_as_current_span(
            call.method, parent, SpanKind.SERVER, record_exception=False, set_status_on_exception=False
        ) as span:
            yield span

    @contextmanager
    def generation(self, call: Call) -> Iterator[Mapping[str, str]]:
        """Open the GenAI span inside the call's; yield the trace headers that make the engine's span its child."""
        if not self._traces:
            yield {}
            return
        name = f"{call.operation} {call.model}"
        with self._tracer.start_as_current_span(name, record_exception=False, set_status_on_exception=False) as span:
            try:
                yield self.trace_headers()
            except BaseException as error:
                span.set_attribute("error.type", getattr(error, "reason", type(error).__name__))
                span.set_status(StatusCode.UNSET if isinstance(error, asyncio.CancelledError) else StatusCode.ERROR)
                raise
            finally:
                if span.is_recording():
                    span.set_attributes(generation_attributes(call))

    def trace_headers(self) -> Mapping[str, str]:
        """What makes other spans children of the current one."""
        headers: dict[str, str] = {}
        if self._traces:
            _PROPAGATOR.inject(headers)
        return headers

    def origin(self) -> Span:
        """The current span for a call that outlives it: the trace is known, and nothing is written into the span."""
        return NonRecordingSpan(trace.get_current_span().get_span_context())

    def refused(self, reason: str) -> None:
        """Count a call that never reached its method."""
        self._refused.add(1, {"error.type": reason})

    def not_admitted(self, reason: str) -> None:
        """Count a call that was not let in, by the reason that its caller is told."""
        self._not_admitted.add(1, {"error.type": reason})

    def watch_admission(
        self, running: Callable[[], int], waiting: Callable[[], int], queued_tokens: Callable[[], int]
    ) -> None:
        """Export what is admitted, asked for when it is collected."""
        for name, unit, description, ask in (
            ("running", "{sequence}", "Sequences that have a place in the engine.", running),
            ("waiting", "{sequence}", "Admitted sequences that wait for a place in the engine.", waiting),
            ("queued_tokens", "{token}", "Prompt tokens of those that wait, as far as is known.", queued_tokens),
        ):
            observe = partial(_observed, ask)
            self._meter.create_observable_gauge(f"penstock.admission.{name}", [observe], unit, description)

    def record(self, call: Call, span: Span) -> None:
        """Put what is known of a call that has ended into its span and, if it generates, into the histograms."""
        if span.is_recording():
            span.set_attributes(call_attributes(call))
            if call.code.name in _SERVER_FAULTS:
                span.set_status(StatusCode.ERROR, call.reason)
        if call.request is None:
            return
        attributes = metric_attributes(call)
        error = {"error.type": call.code.name} if call.code.name != "OK" else {}
        self._duration.record(time.monotonic() - call.received, {**attributes, **error})
        if call.timings is None or error:
            return
        if call.timings.HasField("time_to_first_token_ms"):
            self._first_token.record(call.timings.time_to_first_token_ms / 1000, attributes)
        if call.timings.HasField("mean_itl_ms"):
            self._per_token.record(call.timings.mean_itl_ms / 1000, attributes)


def _observed(ask: Callable[[], int], options: CallbackOptions) -> Iterable[Observation]:
    yield Observation(ask())


@asynccontextmanager
async def telemetry(
    settings: Settings, spans: SpanExporter | None = None, front_end: int | None = None
) -> AsyncIterator[tuple[Telemetry, int | None]]:
    """Export as the settings and the OTEL_* variables say; yield Telemetry and the Prometheus endpoint's port.

    `spans` is a further exporter, for tests; `front_end` is the number of a front end, whose endpoint is its
    supervisor's. On exit what is buffered is sent, and the endpoint closed. Raises PortTaken.
    """
    closing: list[Callable[[], object]] = []
    resource = _resource(front_end)
    try:
        tracers = _tracer_provider(resource, spans, closing)
        meters, port = _meter_provider(settings, resource, front_end is None, closing)
        yield Telemetry(tracers, meters), port
    finally:
        for close in reversed(closing):
            await _close(close)


async def _close(close: Callable[[], object]) -> None:
    """Call what sends the rest, unless its collector does not answer: the process is being waited for."""
    try:
        await asyncio.wait_for(in_daemon_thread(close), _CLOSING_SECONDS)
    except TimeoutError:
        log.warning("telemetry was lost: its collector does not answer")


def _otlp(signal: str) -> bool:
    names = ("OTEL_EXPORTER_OTLP_ENDPOINT", f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT")
    return any(os.environ.get(name) for name in names)


def _tracer_provider(
    resource: Resource, spans: SpanExporter | None, closing: list[Callable[[], object]]
) -> trace.TracerProvider:
    exporters = [exporter for exporter in (spans, OTLPSpanExporter() if _otlp("TRACES") else None) if exporter]
    if not exporters:
        return NoOpTracerProvider()
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    for exporter in exporters:
        provider.add_span_processor(BatchSpanProcessor(exporter))
    closing.append(provider.shutdown)
    return provider


def _resource(front_end: int | None) -> Resource:
    resource = Resource({SERVICE_NAME: "penstock"}).merge(OTELResourceDetector().detect())
    if front_end is None:
        return resource
    # Front ends share their environment, but series of the same resource would overwrite each other.
    instance = resource.attributes.get(SERVICE_INSTANCE_ID) or uuid.uuid4()
    return resource.merge(Resource({SERVICE_INSTANCE_ID: f"{instance}-{front_end}"}))


def _meter_provider(
    settings: Settings, resource: Resource, endpoint: bool, closing: list[Callable[[], object]]
) -> tuple[metrics.MeterProvider, int | None]:
    readers: list[MetricReader] = [PeriodicExportingMetricReader(OTLPMetricExporter())] if _otlp("METRICS") else []
    port = None
    if settings.metrics_port is not None:
        port = open_prometheus(settings.host, settings.metrics_port, closing) if endpoint else None
        readers.append(PrometheusMetricReader())
    if not readers:
        return NoOpMeterProvider(), None
    provider = MeterProvider(readers, resource, shutdown_on_exit=False)
    closing.append(provider.shutdown)
    return provider, port
