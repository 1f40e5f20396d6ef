"""Ends an engine's processes that do not end by themselves, after their last words."""

import asyncio
import contextlib
import signal
from collections.abc import Iterable
from pathlib import Path

import psutil
import structlog

log = structlog.get_logger()

# For the stacks that process_guard has them write.
_LAST_WORDS_SECONDS = 0.3


def kill(roots: Iterable[int]) -> None:
    """Have these processes and their children write their stacks, then kill them."""
    processes = [process for root in roots for process in _with_children(root)]
    log.error("killing the engine", processes=[_described(process) for process in processes])
    _signal(processes, signal.SIGUSR1)
    asyncio.get_running_loop().call_later(_LAST_WORDS_SECONDS, _signal, processes, signal.SIGKILL)


def _with_children(root: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(root)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _signal(processes: list[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):  # psutil looks whether the number means another one by now
            process.send_signal(number)


def _described(process: psutil.Process) -> dict[str, object]:
    """What is cheap to know of a process that may be stuck."""
    try:
        waits_in = Path(f"/proc/{process.pid}/wchan").read_text()
        return {"pid": process.pid, "name": process.name(), "status": process.status(), "waits_in": waits_in}
    except (psutil.Error, OSError):
        return {"pid": process.pid}
