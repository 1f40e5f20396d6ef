"""`penstock top`."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated

import typer
from rich.live import Live

from penstock.cli.activity import Activity, activity
from penstock.cli.activity_table import activity_table
from penstock.cli.connection import Connection
from penstock.cli.metrics_endpoint import METRICS_PORT, NoMetrics, checked_url, look, metrics_url
from penstock.cli.output import print_json, stdout_console
from penstock.cli.service_metrics import Reading

WINDOW_SECONDS = 60.0  # of the percentiles
TIMEOUT_SECONDS = 10.0


def top(
    *,
    urls: Annotated[
        list[str] | None,
        typer.Option(
            "--metrics-url",
            help="The service's Prometheus endpoint; several times for several replicas.",
            show_default="http://HOST:PORT/metrics with the host of each target",
        ),
    ] = None,
    metrics_port: Annotated[int, typer.Option(help="The port of that default.", min=1, max=65535)] = METRICS_PORT,
    interval: Annotated[float, typer.Option(help="Seconds between two looks, 0.1 to 3600.", min=0.1, max=3600)] = 1,
    once: Annotated[
        bool,
        typer.Option("--once", help="Look for one interval, print it and end; percentiles since the server began."),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object for each endpoint and interval.")
    ] = False,
    connection: Connection,
) -> None:
    """Show what the service does: streams, queue, tokens a second, KV cache, times to and between tokens.

    The percentiles are of the last 60 seconds. A dash is what the service does not report. Ctrl-C ends it.
    """
    addresses = [checked_url(url) for url in urls or ()] or [
        metrics_url(address.endpoint, metrics_port) for address in connection.endpoints()
    ]
    watched = [Watched(address, connection.timeout or TIMEOUT_SECONDS, whole_life=once) for address in addresses]
    activities = _activities(watched, interval)
    if once:
        _show_once(next(activities), as_json=as_json)
    elif as_json:
        for each in activities:
            _print_json(each)
    else:
        _show_live(activities)


class Watched:
    """One endpoint and what was seen of it lately."""

    def __init__(self, url: str, timeout: float, *, whole_life: bool) -> None:
        self.url = url
        self._timeout = timeout
        self._whole_life = whole_life
        self._seen: deque[tuple[float, Reading]] = deque()

    def look(self) -> Activity:
        """What it does since the look before, whose first has no rates."""
        try:
            reading, now = look(self.url, self._timeout), time.monotonic()
        except NoMetrics as error:
            self._seen.clear()
            return Activity(self.url, error=str(error))
        then, before = self._seen[-1] if self._seen else (now, Reading())
        window = self._seen[0][1] if self._seen and not self._whole_life else Reading()
        self._seen.append((now, reading))
        while self._seen[0][0] < now - WINDOW_SECONDS:
            self._seen.popleft()
        return activity(self.url, reading, before, now - then, window)


def _activities(watched: list[Watched], interval: float) -> Iterator[list[Activity]]:
    """What all endpoints do in each interval, asked at the same time."""
    with ThreadPoolExecutor(len(watched)) as threads:
        list(threads.map(Watched.look, watched))
        while True:
            time.sleep(interval)
            yield list(threads.map(Watched.look, watched))


def _show_once(activities: list[Activity], *, as_json: bool) -> None:
    if all(each.error for each in activities):
        raise OSError(activities[0].error)
    if as_json:
        _print_json(activities)
    else:
        stdout_console().print(activity_table(activities))


def _print_json(activities: list[Activity]) -> None:
    for each in activities:
        print_json(each.as_json())


def _show_live(activities: Iterator[list[Activity]]) -> None:
    console = stdout_console()
    if not console.is_terminal:
        for each in activities:
            console.print(activity_table(each))
        return
    with Live(console=console, screen=True, auto_refresh=False) as live:
        for each in activities:
            live.update(activity_table(each), refresh=True)
