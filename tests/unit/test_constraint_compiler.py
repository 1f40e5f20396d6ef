"""The compiler process without xgrammar: what becomes of a fork that misbehaves, and of all when the service ends."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psutil
import pytest

from penstock_service.engine.vllm.compiler_messages import HEADER, Compile, framed, unframed
from penstock_service.engine.vllm.constraint_compiler import reason
from tests.conftest import eventually

# The text of a constraint is what its compilation does.
PROGRAM = """
import os, sys, time
from penstock_service.engine.vllm import constraint_compiler

constraint_compiler.WALL_SECONDS = float(sys.argv[1])
constraint_compiler.ForkServer(lambda kind, text: exec(text), answers=1).serve(0)
"""


Server = subprocess.Popen[bytes]


@contextmanager
def running(wall_seconds: float = 60) -> Iterator[Server]:
    command = [sys.executable, "-c", PROGRAM, str(wall_seconds)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        yield process
        process.kill()


@pytest.fixture
def server() -> Iterator[Server]:
    with running() as process:
        yield process


def ask(server: Server, number: int, text: str) -> None:
    assert server.stdin
    server.stdin.write(framed(Compile(id=number, kind="regex", text=text)))
    server.stdin.flush()


def answer(server: Server) -> Any:
    assert server.stdout
    return json.loads(server.stdout.read(HEADER.unpack(server.stdout.read(HEADER.size))[0]))


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("pass", "accepted"),
        ("raise RuntimeError('no')", "refused"),
        ("while True: pass", "over_limits"),
        ("bytearray(1 << 30)", "over_limits"),
        ("raise RuntimeError('std::bad_alloc')", "over_limits"),
        ("os.abort()", "crashed"),
        ("os._exit(0)", "crashed"),
        ("print('noise', flush=True); os.system('echo noise')", "accepted"),
    ],
)
def test_what_becomes_of_a_compilation(server: Server, text: str, outcome: str) -> None:
    ask(server, 7, text)

    assert answer(server) == {"id": 7, "outcome": outcome, "reason": "no" if outcome == "refused" else ""}


def test_a_compilation_that_others_keep_from_the_cpu_is_late() -> None:
    with running(wall_seconds=0.1) as server:
        ask(server, 1, "time.sleep(60)")

        assert answer(server)["outcome"] == "late"


def test_a_cancelled_compilation_ends_and_others_do_not_wait_for_it(server: Server) -> None:
    ask(server, 1, "time.sleep(60)")
    ask(server, 2, "pass")
    assert answer(server)["id"] == 2

    assert server.stdin
    server.stdin.write(b"".join(_bytewise({"cancel": 1})))
    server.stdin.flush()
    assert answer(server)["id"] == 1


@pytest.mark.parametrize("end", ["the service ends", "the server is killed"])
async def test_a_fork_ends_with_the_others(server: Server, end: str) -> None:
    ask(server, 1, "time.sleep(60)")
    await eventually(lambda: len(psutil.Process(server.pid).children()) == 1, "the compilation")
    (fork,) = psutil.Process(server.pid).children()
    await eventually(lambda: fork.rlimit(psutil.RLIMIT_CPU)[0] == 2, "its limits")

    if end == "the service ends":
        assert server.stdin
        server.stdin.close()
        assert server.wait(timeout=10) == 0
    else:
        server.kill()

    assert server.stdout
    assert server.stdout.read() == b""  # a fork that kept the pipe would hold it open
    await eventually(lambda: not _runs(fork), "the fork's end")


def _runs(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def _bytewise(message: Any) -> Iterator[bytes]:
    for byte in framed(message):
        yield bytes([byte])


def test_messages_are_found_wherever_the_stream_was_cut() -> None:
    buffer = bytearray()
    found = []
    for byte in _bytewise({"cancel": 1}):
        buffer += byte
        found += list(unframed(buffer))
    buffer += framed({"cancel": 2}) + framed({"cancel": 3})

    assert [*found, *unframed(buffer)] == [{"cancel": 1}, {"cancel": 2}, {"cancel": 3}]
    assert not buffer


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (RuntimeError("[12:47:21] /project/cpp/a.cc:83: Regex error.\n"), "Regex error."),
        (RuntimeError("[1:2:3] /project/cpp/a.cc:1207: Check failed: (f(x)) is false: Bad:\n x\x07"), "Bad: x?"),
        (RuntimeError("somewhere in /home/them/secret.py"), ""),
        (TypeError("our own"), ""),
        (ValueError("x" * 1000), "x" * 160),
    ],
)
def test_xgrammars_sentences_are_told_without_their_origin(error: Exception, sentence: str) -> None:
    assert reason(error) == sentence
