"""Where the sockets between vLLM's processes lie: a directory of this process, closed to every other user.

vLLM would put them straight into the temporary directory, where the umask decides who may connect. The directory lives
as long as the process, because vLLM remembers it as long (envs.enable_envs_cache). It is locked meanwhile: one without
a lock belonged to a process that was killed, and the next one to start removes it.
"""

import atexit
import contextlib
import fcntl
import functools
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from penstock_service.configuration import ConfigurationError

_VARIABLE = "VLLM_RPC_BASE_PATH"
_PREFIX = "penstock-vllm-"
# sun_path of unix(7) has 108 bytes with a zero at its end; vLLM adds a slash and a UUID.
_LONGEST = 107 - 37
# What is younger may have a process that is about to lock it.
_ABANDONED_SECONDS = 60


@functools.cache
def use_private_sockets() -> Path:
    """Have vLLM in this process and its children use a directory of ours, in the one that it would have used.

    Raises ConfigurationError if its path is too long for a socket.
    """
    parent = Path(os.environ.get(_VARIABLE) or tempfile.gettempdir())
    remove_abandoned(parent, time.time())
    directory = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))  # mode 0700
    atexit.register(_remove_own, directory, os.getpid())
    if len(os.fsencode(directory)) > _LONGEST:
        raise ConfigurationError(
            f"{_VARIABLE}: sockets in {str(parent)!r} would have too long a path; "
            f"it may have {_LONGEST - len(_PREFIX) - 9} bytes"
        )
    _lock(directory)  # held until the process ends, however it ends
    os.environ[_VARIABLE] = str(directory)
    return directory


def remove_abandoned(parent: Path, now: float) -> None:
    """Remove what killed processes of this user have left in `parent`; `now` as by time.time()."""
    for directory in parent.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):  # gone meanwhile, or locked
            status = directory.lstat()
            if status.st_uid == os.getuid() and now - status.st_mtime > _ABANDONED_SECONDS:
                with _locked(directory):
                    shutil.rmtree(directory)


def _lock(directory: Path) -> int:
    """Lock it, unless another process has: that raises OSError. Programs that this one starts do not inherit it."""
    opened = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(opened)
        raise
    return opened


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    opened = _lock(directory)
    try:
        yield
    finally:
        os.close(opened)


def _remove_own(directory: Path, process: int) -> None:
    if os.getpid() == process:  # a forked child runs the same exit handlers
        shutil.rmtree(directory, ignore_errors=True)
