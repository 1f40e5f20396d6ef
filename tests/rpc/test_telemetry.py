"""What operators see: spans under the caller's trace, histograms, and one log line a call without a word of content."""

import asyncio
import json
import urllib.request

import grpc
import pytest
import structlog
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from penstock.v1 import generation_pb2 as pb
from penstock_service.call_log import configure_log
from tests.conftest import OpenService, Running, eventually, opened, simulated_settings
from tests.faults.faulty_engine import faulty

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = (("traceparent", f"00-{TRACE}-{PARENT}-01"),)
CANARY = "canary-7f3a"
HELLO = pb.GenerateRequest(
    prompt=f"Hello {CANARY}",
    sampling={"temperature": 0.5, "seed": 7},
    stopping={"max_tokens": 8, "ignore_eos": True, "stop": [CANARY]},
    request_id="order-7",
)


async def test_a_call_is_a_server_span_under_the_callers_with_a_genai_span_inside() -> None:
    exporter = InMemorySpanExporter()
    async with opened(simulated_settings(), spans=exporter) as running:
        await running.generation.Generate(HELLO, metadata=TRACEPARENT)

    generation, server = exporter.get_finished_spans()
    assert (server.name, server.kind) == ("penstock.v1.Generation/Generate", SpanKind.SERVER)
    assert f"{server.context.trace_id:032x}" == TRACE
    assert f"{server.parent.span_id:016x}" == PARENT
    assert dict(server.attributes) == {
        "rpc.system": "grpc",
        "rpc.service": "penstock.v1.Generation",
        "rpc.method": "Generate",
        "rpc.grpc.status_code": 0,
    }
    assert generation.name == "text_completion builtin"
    assert generation.parent.span_id == server.context.span_id
    expected = {
        "gen_ai.operation.name": "text_completion",
        "gen_ai.provider.name": "simulated",
        "gen_ai.request.model": "builtin",
        "gen_ai.response.model": "builtin",
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.seed": 7,
        "gen_ai.request.max_tokens": 8,
        "gen_ai.request.stream": False,
        "gen_ai.response.finish_reasons": ("length",),
        "gen_ai.usage.input_tokens": 5,
        "gen_ai.usage.output_tokens": 8,
    }
    assert expected.items() <= dict(generation.attributes).items()
    assert CANARY not in generation.to_json() + server.to_json()


async def test_the_inputs_of_a_batch_are_spans_inside_its_own() -> None:
    exporter = InMemorySpanExporter()
    batch = pb.Batch(inputs=[pb.BatchInput(prompt="a"), pb.BatchInput(prompt="b")])
    async with opened(simulated_settings(), spans=exporter) as running:
        await running.generation.Generate(pb.GenerateRequest(batch=batch, stopping={"max_tokens": 1}))

    *_, whole = spans = exporter.get_finished_spans()
    inputs = [span for span in spans if span.kind is SpanKind.SERVER and span is not whole]
    assert [span.parent.span_id for span in inputs] == [whole.context.span_id] * 2


async def test_a_failed_call_is_an_error_span_and_a_refused_one_is_not() -> None:
    exporter = InMemorySpanExporter()
    async with opened(simulated_settings(), faulty(ValueError(CANARY)), spans=exporter) as running:
        for request in (HELLO, pb.GenerateRequest()):
            with pytest.raises(grpc.aio.AioRpcError):
                await running.generation.Generate(request)

    (failed,) = [span for span in exporter.get_finished_spans() if span.kind is SpanKind.INTERNAL]
    assert not failed.status.is_ok
    assert failed.attributes["error.type"] == "ValueError"
    servers = [span for span in exporter.get_finished_spans() if span.kind is SpanKind.SERVER]
    assert [(span.attributes["rpc.grpc.status_code"], span.status.is_ok) for span in servers] == [
        (13, False),
        (3, True),
    ]
    assert CANARY not in "".join(span.to_json() for span in exporter.get_finished_spans())


async def test_a_collector_that_does_not_answer_does_not_hold_up_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    async with opened(simulated_settings()) as running:
        await running.generation.Generate(HELLO)
        capture = structlog.testing.LogCapture()
        structlog.configure(processors=[capture])
    structlog.reset_defaults()

    assert "telemetry was lost: its collector does not answer" in [line["event"] for line in capture.entries]


async def test_without_an_exporter_no_span_is_recorded(simulated: Running) -> None:
    with structlog.testing.capture_logs() as lines:
        await simulated.generation.Generate(HELLO)

    assert "trace_id" not in lines[0]


async def test_the_three_server_histograms_are_on_the_prometheus_endpoint(open_service: OpenService) -> None:
    running = await open_service(metrics_port=0)
    await running.generation.Generate(HELLO)
    with pytest.raises(grpc.aio.AioRpcError):
        await running.generation.Generate(pb.GenerateRequest(prompt="Hello", model="no-such-model"))

    text = await asyncio.to_thread(_scrape, running.service.metrics_port)

    for name in ("request_duration", "time_to_first_token", "time_per_output_token"):
        counts = [line for line in text.splitlines() if line.startswith(f"gen_ai_server_{name}_seconds_count")]
        assert any('gen_ai_request_model="builtin"' in line and line.endswith(" 1.0") for line in counts)
    assert 'error_type="NOT_FOUND"' in text
    assert "no-such-model" not in text, "callers' inventions must not make new series"


def _scrape(port: int | None) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as reply:
        return str(reply.read().decode())


async def test_every_call_leaves_one_line_and_no_word_of_its_content(simulated: Running) -> None:
    with structlog.testing.capture_logs() as lines:
        await simulated.generation.Generate(HELLO)
        async for _ in simulated.generation.StreamGenerate(HELLO):
            pass
        with pytest.raises(grpc.aio.AioRpcError):
            await simulated.generation.Generate(pb.GenerateRequest(prompt="", request_id="bad " + CANARY))
        with pytest.raises(grpc.aio.AioRpcError):
            await simulated.generation.Generate(
                pb.GenerateRequest(prompt=CANARY, stopping={"max_tokens": 4000, "ignore_eos": True}), timeout=0.1
            )
        await eventually(lambda: len(lines) == 4, "the line of the call whose caller is gone")

    calls = [line for line in lines if line["event"] == "call"]
    assert [line["code"] for line in calls] == ["OK", "OK", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED"]
    assert CANARY not in json.dumps(lines)
    first = calls[0]
    assert (first["method"], first["model"]) == ("penstock.v1.Generation/Generate", "builtin")
    assert (first["request_id"], first["finish"]) == ("order-7", "length")
    assert (first["prompt_tokens"], first["completion_tokens"]) == (5, 8)
    assert first["duration_ms"] >= first["ttft_ms"] >= first["queue_ms"]


def test_the_log_is_json_on_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    configure_log("info", frontend=1)
    try:
        structlog.get_logger().info("listening", grpc_port=50051)
        structlog.get_logger().debug("too much")
    finally:
        structlog.reset_defaults()

    out, err = capfd.readouterr()
    (line,) = err.splitlines()
    assert not out
    expected = {"event": "listening", "level": "info", "grpc_port": 50051, "frontend": 1}
    assert json.loads(line).items() >= expected.items()
