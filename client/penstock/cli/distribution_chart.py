"""A distribution of durations as horizontal bars. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence

from rich.bar import Bar
from rich.table import Table

from penstock.cli.durations import duration

MOST_BARS = 12
BAR_COLUMNS = 40


def distribution_chart(title: str, values: Sequence[float]) -> Table:
    """How many of the durations (seconds, ascending, at least one) are in each of up to 12 ranges.

    Each range is the same factor longer than the one before, so that a slow few do not push the rest into one bar.
    """
    edges = _edges(values[0], values[-1])
    counts = Counter(min(bisect_right(edges, value), len(edges) - 1) for value in values)
    most = max(counts.values())
    table = Table.grid(padding=(0, 1))
    table.title, table.title_justify = title, "left"
    for place in range(1, len(edges)):
        label = f"{duration(edges[place - 1])} - {duration(edges[place])}"
        table.add_row(label, str(counts[place]), Bar(most, 0, counts[place], width=BAR_COLUMNS))
    return table


def _edges(least: float, most: float) -> list[float]:
    """The ends of the ranges, ascending."""
    least = max(least, 1e-6)  # no call is shorter, and a factor needs a beginning
    if most <= least * 1.001:
        return [least, most]
    factor = (most / least) ** (1 / MOST_BARS)
    return [*(least * factor**place for place in range(MOST_BARS)), most]
