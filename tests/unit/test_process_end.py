"""The end of a process whose threads go on."""

import subprocess
import sys

import pytest


def ended(program: str) -> "subprocess.CompletedProcess[str]":
    lines = f"from penstock_service import process_end\n{program}\nprocess_end.end_process(3)\n"
    return subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True, check=False, timeout=60)


def test_a_thread_at_work_in_c_does_not_abort_it() -> None:
    pytest.importorskip("torch", reason="torch is not installed here: `make test` installs it")

    end = ended(
        """
import threading, torch

at_work = threading.Event()
matrix = torch.ones(300, 300)

def work():
    while True:
        torch.mm(matrix, matrix)
        at_work.set()

threading.Thread(target=work, daemon=True).start()
at_work.wait()
"""
    )

    assert end.returncode == 3, end.stderr  # by sys.exit it is -6


def test_a_thread_that_waits_for_ever_does_not_hold_it_up() -> None:
    end = ended("import threading; threading.Thread(target=threading.Event().wait).start()")

    assert end.returncode == 3


def test_what_is_registered_for_the_end_is_done_and_what_was_written_arrives() -> None:
    end = ended("import atexit; atexit.register(print, 'tidied up'); print('served')")

    assert (end.returncode, end.stdout) == (3, "served\ntidied up\n")


def test_what_is_registered_for_the_end_is_not_waited_for_without_a_limit() -> None:
    end = ended("import atexit, threading; process_end._MOST_SECONDS = 0.1; atexit.register(threading.Event().wait)")

    assert end.returncode == 3
