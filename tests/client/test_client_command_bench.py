"""`penstock bench`: a quick load and its figures."""

import asyncio
import json
import math

import grpc
import pytest

from penstock.cli.distribution_chart import distribution_chart
from penstock.cli.durations import duration
from penstock.cli.load import MeasuredCall
from penstock.cli.load_report import load_report
from tests.client.penstock_command import Penstock
from tests.client.penstock_terminal import on_terminal
from tests.client.scripted_server import ScriptedServer
from tests.conftest import Running


async def test_the_figures_are_one_json_object(simulated: Running) -> None:
    status, out, err = await Penstock(simulated.address)(
        "bench", "--json", "--calls", "20", "--concurrency", "4", "--max-tokens", "8"
    )

    assert (status, err) == (0, "")
    figures = json.loads(out)
    assert (figures["calls"], figures["failed"], figures["completion_tokens"]) == (20, 0, 160)
    for name in ("first_token_ms", "per_token_ms", "total_ms"):
        times = figures[name]
        assert 0 < times["min"] <= times["p50"] <= times["p90"] <= times["p95"] <= times["p99"] <= times["max"]
    assert figures["first_token_ms"]["p50"] < figures["total_ms"]["p50"]
    assert figures["tokens_per_s"] == pytest.approx(160 / figures["seconds"], rel=0.01)


async def test_the_figures_are_drawn_without_control_characters(simulated: Running) -> None:
    status, out, err = await Penstock(simulated.address)("bench", "--calls", "12", "--max-tokens", "4", "--no-stream")

    assert (status, err) == (0, "")
    assert out.startswith("12 calls in ")
    assert "whole answer" in out
    assert "first token" not in out, "without a stream nobody knows when it was there"
    assert "█" in out
    assert "\x1b" not in out


async def test_calls_have_their_number_and_no_more_are_open_than_asked(server: ScriptedServer) -> None:
    server.crowd, server.block_after = 3, 0
    async with Penstock(server.target).running(
        *("bench", "--calls", "9", "--concurrency", "3", "--prompt", "call {n} {m}")
    ) as process:
        await asyncio.wait_for(server.crowded.wait(), 20)
        assert len(server.requests) == 3
        server.release.set()

        await asyncio.wait_for(process.communicate(), 20)
        assert {request.prompt for request in server.requests} == {f"call {number} {{m}}" for number in range(9)}


async def test_failed_calls_are_counted_by_code_and_not_tried_again(server: ScriptedServer) -> None:
    server.refuse(grpc.StatusCode.UNAVAILABLE, "DRAINING")

    status, out, _ = await Penstock(server.target)("bench", "--json", "--calls", "5")

    figures = json.loads(out)
    assert status == 1
    assert (figures["failed"], figures["errors"], figures["total_ms"]) == (5, {"draining": 5}, None)
    assert len(server.requests) == 5


async def test_ctrl_c_ends_a_bench_and_its_calls(server: ScriptedServer) -> None:
    server.block_after = 0
    async with on_terminal(server.target, "bench", "--concurrency", "2") as terminal:
        await server.blocked.wait()

        terminal.ctrl_c()

        assert await terminal.ended() == 130
        await server.cancelled.wait()
        assert "Traceback" not in terminal.shown


@pytest.mark.parametrize("arguments", [["--calls", "0"], ["--calls", "2000000"], ["--concurrency", "5000"]])
async def test_a_bench_is_bounded(server: ScriptedServer, arguments: list[str]) -> None:
    assert (await Penstock(server.target)("bench", *arguments))[0] == 2


def test_percentiles_are_of_the_calls_that_succeeded() -> None:
    calls = [MeasuredCall(total=number / 100, first_token=0.005, tokens=11) for number in range(1, 101)]
    failed = MeasuredCall(total=9, error="overloaded")

    report = load_report([failed, *reversed(calls)], seconds=2)

    assert report.total is not None
    assert [report.total.percentile(percent) for percent in (1, 50, 99, 100)] == [0.01, 0.5, 0.99, 1.0]
    assert report.per_token is not None
    assert math.isclose(report.per_token.values[0], (0.01 - 0.005) / 10)
    assert (report.calls_per_s, report.tokens_per_s, report.errors) == (50, 550, {"overloaded": 1})


@pytest.mark.parametrize("values", [[0.5], [0.5] * 9, [0.001, 0.0011, 4.0], [0.0, 0.0]])
def test_a_chart_has_each_value_in_one_bar(values: list[float]) -> None:
    chart = distribution_chart("times", values)

    counts = [int(str(cell)) for cell in chart.columns[1].cells]
    assert sum(counts) == len(values)
    assert len(counts) <= 12


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 us"),
        (0.000_42, "420 us"),
        (0.000_999_9, "1.00 ms"),
        (0.012_34, "12.3 ms"),
        (0.999_9, "1.00 s"),
        (99.96, "100 s"),
    ],
)
def test_durations_have_three_digits(seconds: float, text: str) -> None:
    assert duration(seconds) == text
