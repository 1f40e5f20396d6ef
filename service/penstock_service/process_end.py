"""Ends a process whose threads may not be asked: one that still imports vLLM, one that waits for a stuck engine."""

import atexit
import os
import sys
import threading
from typing import NoReturn

_MOST_SECONDS = 5.0


def end_process(status: int) -> NoReturn:
    """Run what is registered with `atexit`, for at most five seconds, and exit.

    Not by `sys.exit`: while Python takes itself down, a daemon thread that comes back from C++ is ended inside of it,
    which aborts the process (-6), and an engine that does not die of SIGKILL is waited for without a limit.
    """
    late = threading.Timer(_MOST_SECONDS, os._exit, [status])
    late.daemon = True
    late.start()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
