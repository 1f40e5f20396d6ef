"""Names processes of this machine, so that a later one can tell whether a task's process still lives."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def this_process() -> str:
    """The name of the calling process: its id and, where the system tells, the tick at which it began."""
    return f"{os.getpid()}:{_began(os.getpid())}"


def is_alive(process: str) -> bool:
    """Whether the process of that name runs. On Linux an id that was given to another process since does not count."""
    pid = int(process.partition(":")[0])
    return process == f"{pid}:{_began(pid)}" and _answers(pid)


def _answers(pid: int) -> bool:
    if pid == os.getpid() or sys.platform == "win32":  # where the signal would end the process
        return pid == os.getpid()
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # it is another user's
    return True


def _began(pid: int) -> str:
    """The start time in the process's line of /proc; empty where there is no /proc, and for what waits to be reaped."""
    try:
        line = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    # The command's name is in parentheses and may have spaces; fields 3 and 22 are state and start (proc_pid_stat(5)).
    fields = line.rpartition(")")[2].split()
    return "" if fields[0] in "ZX" else fields[19]
