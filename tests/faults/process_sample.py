"""What a process holds, by the operating system's books (Linux)."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ProcessSample:
    """`seconds` are of time.monotonic(). `pss` counts pages that processes share in parts."""

    seconds: float
    rss: int
    pss: int
    fds: int
    threads: int


def sample(pid: int) -> ProcessSample:
    directory = Path("/proc", str(pid))
    rollup = _kilobytes(directory / "smaps_rollup")
    threads = _field(directory / "status", "Threads")
    fds = len(os.listdir(directory / "fd"))
    return ProcessSample(time.monotonic(), rollup["Rss"], rollup["Pss"], fds, threads)


def _kilobytes(file: Path) -> dict[str, int]:
    """The sizes that the file tells, in bytes."""
    words = [line.split() for line in file.read_text().splitlines()]
    return {line[0].rstrip(":"): 1024 * int(line[1]) for line in words if len(line) == 3 and line[2] == "kB"}


def _field(file: Path, name: str) -> int:
    found = next(line for line in file.read_text().splitlines() if line.startswith(f"{name}:"))
    return int(found.split()[1])
