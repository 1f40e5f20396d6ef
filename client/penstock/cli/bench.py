"""`penstock bench`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress
from rich.table import Table

from penstock.cli.connection import ONCE, Connection
from penstock.cli.distribution_chart import distribution_chart
from penstock.cli.durations import duration
from penstock.cli.failures import FAILED
from penstock.cli.load import Load, MeasuredCall, run_load
from penstock.cli.load_report import PERCENTS, Distribution, LoadReport, load_report
from penstock.cli.output import print_json, stderr_console, stdout_console
from penstock.cli.terminal_text import printable

MOST_CALLS, MOST_CONCURRENCY = 1_000_000, 4096
TIMEOUT_SECONDS = 60


def bench(
    *,
    calls: Annotated[int, typer.Option(help="How many calls to make.", min=1, max=MOST_CALLS)] = 100,
    concurrency: Annotated[int, typer.Option(help="How many calls at a time.", min=1, max=MOST_CONCURRENCY)] = 8,
    max_tokens: Annotated[int, typer.Option(help="Tokens that each call generates.", min=1)] = 64,
    prompt: Annotated[
        str, typer.Option(help="What each call sends; {n} in it becomes the call's number.")
    ] = "Once upon a time {n}",
    model: Annotated[str | None, typer.Option(help="A model's name.", show_default="the server's first")] = None,
    stream: Annotated[bool, typer.Option(help="Stream the answers, which tells when the first token is there.")] = True,
    ignore_eos: Annotated[
        bool, typer.Option(help="Generate all the tokens even if the model would end before.")
    ] = True,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the figures as one JSON object, times in milliseconds.")
    ] = False,
    connection: Connection,
) -> None:
    """Load a service for a moment, and print how long its answers took.

    Each call has 60 seconds unless --timeout says otherwise; none is tried twice. Exit status 1 if a call failed.
    """
    options = {"max_tokens": max_tokens, "ignore_eos": ignore_eos, "model": model}
    load = Load(calls, concurrency, prompt, stream, options)
    with _progress(calls) as done:
        measured, seconds = asyncio.run(_run(connection, load, done))
    report = load_report(measured, seconds)
    if as_json:
        print_json(report.as_json())
    else:
        _print(stdout_console(), report)
    raise typer.Exit(FAILED if report.failed else 0)


async def _run(connection: Connection, load: Load, done: Callable[[], None]) -> tuple[list[MeasuredCall], float]:
    async with connection.async_client(TIMEOUT_SECONDS, retry=ONCE) as client:
        return await run_load(client, load, done)


@contextmanager
def _progress(calls: int) -> Iterator[Callable[[], None]]:
    """A bar on stderr while it runs, if that is a terminal."""
    console = stderr_console()
    columns = (*Progress.get_default_columns(), MofNCompleteColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("calls", total=calls)
        yield lambda: progress.advance(task)


def _print(console: Console, report: LoadReport) -> None:
    console.print(
        f"{report.calls} calls in {duration(report.seconds)}: {report.calls_per_s:,.1f} calls/s, "
        f"{report.tokens_per_s:,.1f} tokens/s, {report.failed} failed"
    )
    for code, count in report.errors.items():
        console.print(printable(f"  {count} x {code}"))
    named = {"first token": report.first_token, "each token after it": report.per_token, "whole answer": report.total}
    known = {name: each for name, each in named.items() if each is not None}
    if known:
        console.print(_percentiles(known))
    for name, each in known.items():
        if each is not report.per_token:
            console.print()
            console.print(distribution_chart(name, each.values))


def _percentiles(named: dict[str, Distribution]) -> Table:
    table = Table("", *(f"p{percent}" for percent in PERCENTS), "max")
    for name, each in named.items():
        times = [*(each.percentile(percent) for percent in PERCENTS), each.values[-1]]
        table.add_row(name, *map(duration, times))
    return table
