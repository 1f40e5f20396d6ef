"""`penstock top`: what a service's Prometheus endpoint says of its load."""

import asyncio
import json
import math
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from penstock.cli.activity import activity
from penstock.cli.histogram import Histogram
from penstock.cli.metrics_endpoint import metrics_url
from penstock.cli.service_metrics import Reading, read_metrics
from penstock.v1 import generation_pb2 as pb
from tests.client.penstock_command import Penstock
from tests.client.penstock_terminal import on_terminal
from tests.client.scripted_server import ScriptedServer
from tests.conftest import OpenService

# vLLM's own names and labels; two engines, and counts that grow by `step` with each look.
VLLM = """\
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{{engine="0",model_name="m"}} 3.0
vllm:num_requests_running{{engine="1",model_name="m"}} 4.0
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{{engine="0",model_name="m"}} 2.0
# TYPE vllm:kv_cache_usage_perc gauge
vllm:kv_cache_usage_perc{{engine="0",model_name="m"}} 0.25
vllm:kv_cache_usage_perc{{engine="1",model_name="m"}} 0.5
# TYPE vllm:generation_tokens_total counter
vllm:generation_tokens_total{{engine="0",model_name="m"}} {tokens}
# TYPE vllm:inter_token_latency_seconds histogram
vllm:inter_token_latency_seconds_bucket{{engine="0",le="0.01"}} {fast}
vllm:inter_token_latency_seconds_bucket{{engine="0",le="0.02"}} {all}
vllm:inter_token_latency_seconds_bucket{{engine="0",le="+Inf"}} {all}
vllm:inter_token_latency_seconds_count{{engine="0"}} {all}
vllm:inter_token_latency_seconds_sum{{engine="0"}} 1.0
"""


class Metrics:
    """An HTTP endpoint with vLLM's metrics; each look at it finds 1000 tokens more."""

    def __init__(self) -> None:
        self.looks = 0
        self.status = 200
        metrics = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                metrics.looks += 1
                self.send_response(metrics.status)
                self.end_headers()
                self.wfile.write(vllm_text(metrics.looks * 1000).encode())

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/metrics"


def vllm_text(tokens: int) -> str:
    return VLLM.format(tokens=tokens, fast=tokens // 2, all=tokens)


@pytest.fixture
def metrics() -> Iterator[Metrics]:
    metrics = Metrics()
    thread = threading.Thread(target=metrics.server.serve_forever)
    thread.start()
    yield metrics
    metrics.server.shutdown()
    metrics.server.server_close()
    thread.join()


async def test_top_reads_the_endpoint_of_a_service(open_service: OpenService) -> None:
    running = await open_service(metrics_port=0)
    await running.generation.Generate(
        pb.GenerateRequest(prompt="Hello", stopping={"max_tokens": 8, "ignore_eos": True})
    )

    status, out, err = await Penstock(running.address)(
        *("top", "--once", "--json", "--interval", "0.1", "--metrics-port", str(running.service.metrics_port))
    )

    assert (status, err) == (0, "")
    figures = json.loads(out)
    assert figures["endpoint"] == f"http://127.0.0.1:{running.service.metrics_port}/metrics"
    assert figures["calls_per_s"] == 0
    for name in ("first_token_s", "between_tokens_s"):
        assert 0 < figures[name]["p50"] <= figures[name]["p90"] <= figures[name]["p99"]


async def test_top_tells_the_load_of_an_engine(metrics: Metrics) -> None:
    status, out, _ = await Penstock()("top", "--once", "--json", "--interval", "0.1", "--metrics-url", metrics.url)

    figures = json.loads(out)
    assert status == 0
    assert (figures["running"], figures["waiting"], figures["kv_cache_usage"]) == (7, 2, 0.5)
    assert 0 < figures["generated_tokens_per_s"] <= 10_000, "1000 tokens in 0.1 s, or a little more"
    assert figures["calls_per_s"] is None


async def test_top_prints_a_table_without_control_characters(metrics: Metrics) -> None:
    down = "http://127.0.0.1:1/metrics"
    status, out, _ = await Penstock()(
        *("top", "--once", "--interval", "0.1", "--metrics-url", metrics.url, "--metrics-url", down)
    )

    assert status == 0
    assert "streams running" in out
    assert "50.0%" in out
    assert f"{down} cannot be read" in out
    assert "\x1b" not in out


async def test_top_is_live_on_a_terminal_until_ctrl_c(metrics: Metrics) -> None:
    async with on_terminal("", "top", "--interval", "0.1", "--metrics-url", metrics.url) as terminal:
        await terminal.until("50.0%", 2)

        terminal.ctrl_c()

        assert await terminal.ended() == 130
        await terminal.until("\x1b[?1049l")  # leaves the alternate screen as it found the first
        assert "Traceback" not in terminal.shown


async def test_top_follows_with_a_json_object_for_each_interval(metrics: Metrics) -> None:
    async with Penstock().running("top", "--json", "--interval", "0.1", "--metrics-url", metrics.url) as process:
        assert process.stdout is not None

        lines = [await asyncio.wait_for(process.stdout.readline(), 20) for _ in range(3)]

    assert {json.loads(line)["running"] for line in lines} == {7}


async def test_an_endpoint_that_cannot_be_read_is_one_sentence(metrics: Metrics) -> None:
    metrics.status = 404
    penstock = Penstock()

    missing = await penstock("top", "--once", "--interval", "0.1", "--metrics-url", metrics.url)
    wrong = await penstock("top", "--metrics-url", "file:///etc/passwd")

    assert missing == (1, "", f"penstock: {metrics.url} answers 404 Not Found\n")
    assert wrong[0] == 1
    assert "must begin with http" in wrong[2]


async def test_an_endpoint_of_another_protocol_is_one_sentence(server: ScriptedServer, metrics: Metrics) -> None:
    grpc_port = f"http://{server.target}/metrics"
    flags = ("top", "--once", "--interval", "0.1")

    alone = await Penstock()(*flags, "--metrics-url", grpc_port)
    status, out, err = await Penstock()(*flags, "--metrics-url", metrics.url, "--metrics-url", grpc_port)
    no_port = await Penstock()(*flags, "--metrics-url", "http://localhost:metrics/")

    assert alone[:2] == (1, "")
    assert alone[2].startswith(f"penstock: {grpc_port} cannot be read: ")
    assert alone[2].count("\n") == 1
    assert (status, err) == (0, "")
    assert "50.0%" in out
    assert no_port[:2] == (1, "")
    assert no_port[2].startswith("penstock: http://localhost:metrics/ cannot be read: ")


async def test_without_the_parser_it_says_what_to_install(metrics: Metrics) -> None:
    code = "import sys; sys.modules['prometheus_client'] = None\nfrom penstock.__main__ import main; main()"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", code, "top", "--metrics-url", metrics.url), stderr=asyncio.subprocess.PIPE
    )

    _, err = await process.communicate()

    assert process.returncode == 1
    assert err.decode() == "penstock: the command line needs prometheus_client: install penstock[cli]\n"


@pytest.mark.parametrize(
    ("target", "url"),
    [
        ("localhost:50051", "http://localhost:9464/metrics"),
        ("llm", "http://llm:9464/metrics"),
        ("[::1]:50051", "http://[::1]:9464/metrics"),
        ("dns:///llm.svc:50051", "http://llm.svc:9464/metrics"),
        ("dns://8.8.8.8/llm.svc:50051", "http://llm.svc:9464/metrics"),
        ("ipv4:10.0.0.1:50051", "http://10.0.0.1:9464/metrics"),
    ],
)
def test_the_endpoint_is_at_the_targets_host(target: str, url: str) -> None:
    assert metrics_url(target, 9464) == url


@pytest.mark.parametrize("target", ["unix:/run/llm.sock", "ipv4:10.0.0.1:1,10.0.0.2:1", "xds:///llm"])
def test_a_target_without_one_host_needs_a_url(target: str) -> None:
    with pytest.raises(ValueError, match="--metrics-url"):
        metrics_url(target, 9464)


def test_rates_and_percentiles_are_of_what_came_in_between() -> None:
    before, now = read_metrics(vllm_text(1000)), read_metrics(vllm_text(3000))

    figures = activity("here", now, before, 4, before)

    assert figures.generated_tokens_per_s == 500
    assert figures.between_tokens_s is not None
    assert figures.between_tokens_s["p99"] == pytest.approx(0.0198)


def test_a_service_that_began_again_is_counted_from_its_beginning() -> None:
    figures = activity("here", read_metrics(vllm_text(100)), read_metrics(vllm_text(3000)), 1, Reading())

    assert figures.generated_tokens_per_s == 100


def test_percentiles_of_a_histogram() -> None:
    histogram = Histogram.of({0.1: 50, 0.2: 90, 0.4: 90, math.inf: 100})

    guesses = [histogram.percentile(percent) for percent in (10, 50, 70, 90, 99)]

    assert guesses == [0.1, 0.1, pytest.approx(0.15), pytest.approx(0.2), 0.4]
    assert Histogram().percentile(50) is None
    assert histogram.since(histogram).percentile(50) is None
