"""Traces and metrics reach a collector by OTLP, when the standard variables name one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

from penstock.v1 import generation_pb2 as pb
from tests.conftest import opened, simulated_settings

HELLO = pb.GenerateRequest(prompt="Hello", stopping={"max_tokens": 8, "ignore_eos": True})


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """A collector that remembers what it was sent."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.metrics: dict[str, Any] = {}
        self.resources: list[str] = []

    async def Export(self, request: Any, context: Any) -> Any:
        for resource in request.resource_spans:
            self.resources += [item.value.string_value for item in resource.resource.attributes]
            self.spans += [span for scope in resource.scope_spans for span in scope.spans]
        return trace_service_pb2.ExportTraceServiceResponse()


class Metrics(metrics_service_pb2_grpc.MetricsServiceServicer):
    """The collector's other half."""

    def __init__(self, collector: Collector) -> None:
        self._collector = collector

    async def Export(self, request: Any, context: Any) -> Any:
        for resource in request.resource_metrics:
            for scope in resource.scope_metrics:
                self._collector.metrics.update({metric.name: metric for metric in scope.metrics})
        return metrics_service_pb2.ExportMetricsServiceResponse()


@asynccontextmanager
async def collecting() -> AsyncIterator[tuple[Collector, str]]:
    server, collector = grpc.aio.server(), Collector()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(collector, server)
    metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(Metrics(collector), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield collector, f"http://127.0.0.1:{port}"
    await server.stop(0)


async def test_what_is_left_is_sent_before_the_service_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    async with collecting() as (collector, endpoint):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        monkeypatch.setenv("OTEL_SERVICE_NAME", "story-writer")
        async with opened(simulated_settings()) as running:
            await asyncio.gather(*(running.generation.Generate(HELLO) for _ in range(3)))

    assert len([span for span in collector.spans if span.name == "penstock.v1.Generation/Generate"]) == 3
    assert len([span for span in collector.spans if span.name == "text_completion builtin"]) == 3
    assert "story-writer" in collector.resources
    duration = collector.metrics["gen_ai.server.request.duration"]
    assert duration.unit == "s"
    assert duration.histogram.data_points[0].count == 3
    assert {"gen_ai.server.time_to_first_token", "gen_ai.server.time_per_output_token"} <= collector.metrics.keys()


async def test_each_front_end_is_an_instance_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    async with collecting() as (collector, endpoint):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.instance.id=pod-7")
        for front_end in (0, 1):
            async with opened(simulated_settings(metrics_port=0), front_end=front_end) as running:
                await running.generation.Generate(HELLO)
                assert (running.service.health_port, running.service.metrics_port) == (0, None)

    assert {"pod-7-0", "pod-7-1"} <= set(collector.resources)
