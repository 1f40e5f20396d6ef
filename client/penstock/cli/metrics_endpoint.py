"""The HTTP endpoint that has a service's metrics."""

from __future__ import annotations

import re
import urllib.error
import urllib.request
from http.client import HTTPException
from urllib.parse import urlsplit

from penstock.cli.service_metrics import Reading, read_metrics

METRICS_PORT = 9464  # the default of penstock-serve
MOST_BYTES = 32 << 20

# HOST:PORT as it is, or of a scheme with one host; IPv6 in brackets.
_HOST = re.compile(r"(?:(?:dns|passthrough):(?://[^/]*/)?|ipv4:|ipv6:)?(\[[^\]]+\]|[^][:/,]+)(?::\d+)?")

# As for calls, proxies of the environment are not used.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class NoMetrics(Exception):
    """An endpoint did not say anything of use; the message is a sentence."""


def metrics_url(target: str, port: int) -> str:
    """Where the service of a gRPC target has its metrics by default. ValueError for a target that is not one host."""
    found = _HOST.fullmatch(target)
    if found is None:
        raise ValueError(f"the target {target} does not tell its host: say --metrics-url")
    return f"http://{found[1]}:{port}/metrics"


def checked_url(url: str) -> str:
    """`url`, which must be of http or https."""
    if urlsplit(url).scheme not in ("http", "https"):
        raise ValueError(f"--metrics-url is {url!r}; it must begin with http:// or https://")
    return url


def look(url: str, timeout: float) -> Reading:
    """Get the metrics, within `timeout` seconds of silence. Raises NoMetrics."""
    try:
        with _OPENER.open(url, timeout=timeout) as reply:
            return read_metrics(reply.read(MOST_BYTES).decode())
    except urllib.error.HTTPError as error:
        raise NoMetrics(f"{url} answers {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        raise NoMetrics(f"{url} cannot be read: {error.reason}") from error
    except HTTPException as error:  # it can quote what came, bytes of another protocol included
        raise NoMetrics(f"{url} cannot be read: {error!r}") from error
    except (OSError, ValueError, KeyError) as error:
        raise NoMetrics(f"{url} has no metrics: {error}") from error
