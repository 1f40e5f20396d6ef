"""The servers that benchmarks measure, each a process of its own."""

import contextlib
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator

import psutil

START_SECONDS = 600


@contextlib.contextmanager
def server_process(arguments: list[str]) -> Iterator[psutil.Process]:
    """Python with these arguments, ended at the end."""
    with tempfile.TemporaryFile() as log:
        process = psutil.Popen([sys.executable, *arguments], stdout=log, stderr=subprocess.STDOUT)
        try:
            yield process
        finally:
            process.terminate()
            process.wait(60)


def wait_for_penstock(address: str) -> None:
    """Return once the service at the address is ready."""
    command = [sys.executable, "-m", "penstock", "health", "--target", address, "--wait", str(START_SECONDS)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def wait_for_http(url: str, process: psutil.Process) -> None:
    """Return once the URL answers with 200. SystemExit if that does not happen."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.is_running():
        with contextlib.suppress(OSError), urllib.request.urlopen(url) as reply:
            if reply.status == 200:
                return
        time.sleep(0.5)
    raise SystemExit(f"{url} did not come up")


def cpu_seconds(process: psutil.Process) -> float:
    """What the process has used, by the operating system's books."""
    times = process.cpu_times()
    return float(times.user + times.system)
