"""The directory of the sockets between vLLM's processes: private, and gone with its process however that ends."""

import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock_service.engine.vllm.socket_directory import remove_abandoned

# Prints the directory and stays until its input ends.
_PROGRAM = """
import sys
from penstock_service.engine.vllm.socket_directory import use_private_sockets
print(use_private_sockets(), flush=True)
sys.stdin.read()
"""


def started(parent: Path) -> "tuple[subprocess.Popen[str], Path]":
    process = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "VLLM_RPC_BASE_PATH": str(parent), "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


@pytest.fixture
def parent() -> Iterator[Path]:
    """A directory with a short path, as sockets need."""
    with tempfile.TemporaryDirectory() as directory:
        yield Path(directory)


def test_it_is_closed_to_others_and_removed_at_the_end(parent: Path) -> None:
    process, directory = started(parent)

    assert directory.parent == parent
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    process.communicate()
    assert not directory.exists()


def test_that_of_a_killed_process_is_removed_by_the_next_one_and_that_of_a_living_one_is_not(parent: Path) -> None:
    killed, abandoned = started(parent)
    living, used = started(parent)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    (abandoned / "socket").touch()

    remove_abandoned(parent, time.time())
    assert abandoned.exists()  # too young: its process might be about to lock it
    remove_abandoned(parent, time.time() + 3600)

    assert not abandoned.exists()
    assert used.exists()
    living.communicate()


def test_a_path_that_no_socket_can_have_is_refused_by_name(parent: Path) -> None:
    long = parent / ("x" * 80)
    long.mkdir()

    process, _ = started(long)

    assert "VLLM_RPC_BASE_PATH: sockets in" in process.communicate()[1]
