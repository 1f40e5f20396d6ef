"""The table that `penstock top` shows. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from penstock.cli.activity import Activity, Percentiles
from penstock.cli.durations import duration
from penstock.cli.terminal_text import printable

NOT_REPORTED = "-"


def activity_table(activities: Sequence[Activity]) -> Table:
    """A column for each endpoint and a row for each figure."""
    table = Table("", *(printable(each.endpoint) for each in activities))
    table.add_row("streams running", *(_count(each.running) for each in activities))
    table.add_row("waiting in the queue", *(_count(each.waiting) for each in activities))
    table.add_row("KV cache in use", *(_share(each.kv_cache_usage) for each in activities))
    table.add_row("generated tokens/s", *(_rate(each.generated_tokens_per_s) for each in activities))
    table.add_row("prompt tokens/s", *(_rate(each.prompt_tokens_per_s) for each in activities))
    table.add_row("calls/s", *(_rate(each.calls_per_s) for each in activities))
    table.add_row("failed calls/s", *(_rate(each.failed_calls_per_s) for each in activities))
    table.add_row("first token p50 p90 p99", *(_percentiles(each.first_token_s) for each in activities))
    table.add_row("between tokens p50 p90 p99", *(_percentiles(each.between_tokens_s) for each in activities))
    if any(each.error for each in activities):
        table.add_row("error", *(printable(each.error or "") for each in activities))
    return table


def _count(value: float | None) -> str:
    return NOT_REPORTED if value is None else f"{value:.0f}"


def _share(value: float | None) -> str:
    return NOT_REPORTED if value is None else f"{value:.1%}"


def _rate(value: float | None) -> str:
    return NOT_REPORTED if value is None else f"{value:,.1f}"


def _percentiles(values: Percentiles) -> str:
    return NOT_REPORTED if values is None else "  ".join(duration(value) for value in values.values())
