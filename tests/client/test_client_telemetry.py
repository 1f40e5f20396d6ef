"""OpenTelemetry spans and histograms of the client."""

from __future__ import annotations

import subprocess
import sys

import grpc
import pytest
from google.rpc import error_details_pb2
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import Histogram, HistogramDataPoint, InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from penstock import APIError
from penstock.otel import SECONDS_BUCKETS, TOKEN_BUCKETS, instrument
from penstock.v1.generation_pb2 import EmbedResponse, TokenizeResponse, Usage
from tests.client.conftest import Caller
from tests.client.scripted_server import ScriptedServer


class Recorded:
    """What an instrumented client has recorded."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self._reader = InMemoryMetricReader()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.meters = MeterProvider([self._reader])

    def instrument(self, caller: Caller) -> None:
        instrument(caller.client, tracer_provider=self.tracers, meter_provider=self.meters)

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        return self._exporter.get_finished_spans()

    @property
    def span(self) -> ReadableSpan:
        (span,) = self.spans
        return span

    def points(self, name: str) -> list[HistogramDataPoint]:
        data = self._reader.get_metrics_data()
        if data is None:
            return []
        metrics = [m for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics if m.name == name]
        return [point for m in metrics if isinstance(m.data, Histogram) for point in m.data.data_points]

    def point(self, name: str) -> HistogramDataPoint:
        (point,) = self.points(name)
        return point


@pytest.fixture
def recorded() -> Recorded:
    return Recorded()


@pytest.fixture
def traced(caller: Caller, recorded: Recorded) -> Caller:
    recorded.instrument(caller)
    return caller


async def test_a_call_is_a_client_span_with_what_was_asked_and_answered(
    traced: Caller, server: ScriptedServer, recorded: Recorded
) -> None:
    await traced.generate("Once", model="tiny", temperature=0.5, max_tokens=8, seed=3)

    span = recorded.span
    assert (span.name, span.kind, span.status.status_code) == (
        "text_completion tiny",
        SpanKind.CLIENT,
        StatusCode.UNSET,
    )
    assert dict(span.attributes or {}) == {
        "gen_ai.operation.name": "text_completion",
        "gen_ai.provider.name": "penstock",
        "gen_ai.request.model": "tiny",
        "gen_ai.request.stream": False,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.max_tokens": 8,
        "gen_ai.request.seed": 3,
        "gen_ai.response.id": "gen-1",
        "gen_ai.response.model": "tiny",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 3,
        "gen_ai.usage.output_tokens": 2,
        "server.address": "127.0.0.1",
        "server.port": server.port,
    }


async def test_a_stream_is_one_span_from_its_start_to_its_end(
    traced: Caller, server: ScriptedServer, recorded: Recorded
) -> None:
    server.block_after = 1
    stream = traced.stream(messages=[{"role": "user", "content": "Hi"}])
    await stream.read()
    assert recorded.spans == ()

    server.release.set()
    await stream.reply()

    span, attributes = recorded.span, recorded.span.attributes or {}
    assert span.name == "chat"
    assert attributes["gen_ai.request.stream"] is True
    assert attributes["gen_ai.usage.output_tokens"] == 2
    assert attributes["gen_ai.response.finish_reasons"] == ("stop",)
    first = attributes["gen_ai.response.time_to_first_chunk"]
    assert isinstance(first, float)
    assert first > 0
    assert [event.name for event in span.events] == ["first_output"]


async def test_the_servers_span_becomes_a_child_of_the_calls(
    traced: Caller, server: ScriptedServer, recorded: Recorded
) -> None:
    with recorded.tracers.get_tracer("test").start_as_current_span("mine") as mine:
        await traced.stream("Once").reply()

    span = next(span for span in recorded.spans if span.kind is SpanKind.CLIENT)
    assert span.parent is not None
    assert span.parent.span_id == mine.get_span_context().span_id
    context = span.get_span_context()
    assert context is not None
    sent = str(server.metadata[0]["traceparent"])
    assert sent.startswith(f"00-{context.trace_id:032x}-{context.span_id:016x}-")


async def test_a_callers_own_traceparent_is_sent_as_it_is(
    traced: Caller, server: ScriptedServer, recorded: Recorded
) -> None:
    own = f"00-{1:032x}-{2:016x}-01"

    await traced.generate("Once", metadata={"traceparent": own})

    assert server.metadata[0]["traceparent"] == own


async def test_a_client_that_is_not_instrumented_sends_no_trace(
    caller: Caller, server: ScriptedServer, recorded: Recorded
) -> None:
    with recorded.tracers.get_tracer("test").start_as_current_span("mine"):
        await caller.generate("Once")

    assert "traceparent" not in server.metadata[0]


async def test_retries_are_events_of_the_span(traced: Caller, server: ScriptedServer, recorded: Recorded) -> None:
    retry_info = error_details_pb2.RetryInfo()
    server.refuse(grpc.StatusCode.UNAVAILABLE, "DRAINING", retry_info)

    with pytest.raises(APIError):
        await traced.generate("Once")

    span = recorded.span
    attempts = [(event.name, dict(event.attributes or {})["penstock.attempt"]) for event in span.events]
    assert attempts == [("retry", 2), ("retry", 3)]
    assert dict(span.events[0].attributes or {})["error.type"] == "DRAINING"
    assert dict(span.attributes or {})["penstock.resilience.attempts"] == 3


async def test_a_failed_call_is_an_error_of_its_reason(
    traced: Caller, server: ScriptedServer, recorded: Recorded
) -> None:
    server.refuse(grpc.StatusCode.INVALID_ARGUMENT, "CONTEXT_LENGTH")

    with pytest.raises(APIError):
        await traced.generate("Once")

    span = recorded.span
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "CONTEXT_LENGTH")
    assert dict(span.attributes or {})["error.type"] == "CONTEXT_LENGTH"
    duration = recorded.point("gen_ai.client.operation.duration")
    assert dict(duration.attributes or {})["error.type"] == "CONTEXT_LENGTH"


async def test_a_stream_that_is_left_early_is_no_error(
    traced: Caller, server: ScriptedServer, recorded: Recorded
) -> None:
    server.block_after = 1

    await traced.stream("Once").first_of_with()

    assert recorded.span.status.status_code is StatusCode.UNSET
    assert dict(recorded.span.attributes or {})["error.type"] == "CANCELLED"


async def test_each_call_is_in_the_histograms(traced: Caller, server: ScriptedServer, recorded: Recorded) -> None:
    server.texts = ["a", "b", "c", "d"]

    await traced.stream("Once", model="tiny").reply()

    expected = {
        "gen_ai.operation.name": "text_completion",
        "gen_ai.provider.name": "penstock",
        "gen_ai.request.model": "tiny",
        "gen_ai.response.model": "tiny",
        "server.address": "127.0.0.1",
        "server.port": server.port,
    }
    for name, count in (("duration", 1), ("time_to_first_chunk", 1), ("time_per_output_chunk", 3)):
        point = recorded.point(f"gen_ai.client.operation.{name}")
        assert (point.count, dict(point.attributes or {})) == (count, expected)
        assert tuple(point.explicit_bounds) == SECONDS_BUCKETS
    tokens = recorded.points("gen_ai.client.token.usage")
    assert {dict(point.attributes or {})["gen_ai.token.type"]: point.sum for point in tokens} == {
        "input": 3,
        "output": 2,
    }
    assert tuple(tokens[0].explicit_bounds) == TOKEN_BUCKETS


async def test_a_call_that_is_no_stream_has_no_times_of_chunks(traced: Caller, recorded: Recorded) -> None:
    await traced.generate("Once")

    assert recorded.point("gen_ai.client.operation.duration").count == 1
    assert recorded.points("gen_ai.client.operation.time_to_first_chunk") == []
    assert recorded.points("gen_ai.client.operation.time_per_output_chunk") == []


async def test_embeddings_have_a_span_of_their_own_operation(
    traced: Caller, server: ScriptedServer, recorded: Recorded
) -> None:
    server.answers["Embed"] = EmbedResponse(id="emb-1", model="tiny", usage=Usage(prompt_tokens=4))

    await traced.call("embed", "Hello", dimensions=64)

    attributes = dict(recorded.span.attributes or {})
    assert recorded.span.name == "embeddings"
    assert attributes["gen_ai.embeddings.dimension.count"] == 64
    assert attributes["gen_ai.usage.input_tokens"] == 4


async def test_what_no_model_answers_has_no_span_and_passes_the_trace_on(
    traced: Caller, server: ScriptedServer, recorded: Recorded
) -> None:
    server.answers["Tokenize"] = TokenizeResponse()

    with recorded.tracers.get_tracer("test").start_as_current_span("mine") as mine:
        await traced.call("tokenize", "Hello")

    assert [span.name for span in recorded.spans] == ["mine"]
    assert f"{mine.get_span_context().span_id:016x}" in str(server.metadata[0]["traceparent"])


async def test_instrumenting_twice_records_once(traced: Caller, recorded: Recorded) -> None:
    recorded.instrument(traced)

    await traced.generate("Once")

    assert len(recorded.spans) == 1


async def test_nothing_that_was_said_is_recorded(traced: Caller, server: ScriptedServer, recorded: Recorded) -> None:
    server.texts = ["the answer's secret"]

    await traced.stream("the question's secret", stop=["stop's secret"]).reply()

    assert "secret" not in recorded.span.to_json()


@pytest.mark.parametrize("missing", ["opentelemetry", "opentelemetry.trace"])
def test_without_opentelemetry_the_error_says_what_to_install(missing: str) -> None:
    code = f"import sys; sys.modules[{missing!r}] = None; import penstock; import penstock.otel"

    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert "ImportError: penstock.otel needs OpenTelemetry: pip install 'penstock[otel]'" in ended.stderr
