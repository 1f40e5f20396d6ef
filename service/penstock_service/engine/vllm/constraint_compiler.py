"""A program that compiles constraints with xgrammar, each in a fork of itself that may be killed: `-m` this module.

    service ── pipes ── this process: one thread, xgrammar and the tokenizer ── fork ── a constraint, limited

A thread cannot be ended, and a compilation that does not end would hold its core for ever; a process can. A fork costs
about a millisecond, where a new process would take half a second to be ready.

It is asked on stdin and answers on stdout, as `compiler_messages` has it. The end of stdin ends it and its forks.
"""

import ctypes
import json
import os
import re
import resource
import selectors
import signal
import sys
import types
from collections.abc import Callable, Iterable
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from penstock_service.engine.vllm.compiler_messages import Answer, Kind, Outcome, Setup, framed, unframed

CPU_SECONDS = 2
MEMORY_BYTES = 512 * 1024 * 1024
# A fork that has not used up its CPU time by then is kept from it by others.
WALL_SECONDS = 10.0
MOST_REASON_CHARACTERS = 160


class _Fork(NamedTuple):
    id: int
    pid: int


class ForkServer:
    """Forks for each Compile and answers for what becomes of the fork."""

    def __init__(self, compile_: Callable[[Kind, str], None], answers: int) -> None:
        self._compile = compile_
        self._answers = answers
        self._forks: dict[int, _Fork] = {}  # by the pipe that they answer to, which ends when they do
        self._selector = selectors.DefaultSelector()

    def serve(self, requests: int) -> None:
        """Take Compile and Cancel from the descriptor `requests` until it ends; then end the forks."""
        buffer = bytearray()
        self._selector.register(requests, selectors.EVENT_READ)
        while True:
            for key, _ in self._selector.select():
                if key.fd != requests:
                    self._reap(key.fd)
                elif received := os.read(requests, 1 << 16):
                    buffer += received
                    for message in unframed(buffer):
                        self._take(message, requests)
                else:
                    self._end()
                    return

    def _take(self, message: Any, requests: int) -> None:
        if "cancel" in message:
            self._kill(*(fork for fork in self._forks.values() if fork.id == message["cancel"]))
            return
        ours, theirs = os.pipe()
        pid = os.fork()
        if pid == 0:
            unneeded = (requests, self._answers, ours, *self._forks)
            _compile_and_exit(self._compile, message["kind"], message["text"], theirs, unneeded)
        os.close(theirs)
        self._forks[ours] = _Fork(message["id"], pid)
        self._selector.register(ours, selectors.EVENT_READ)

    def _reap(self, fd: int) -> None:
        fork = self._forks.pop(fd)
        self._selector.unregister(fd)
        said = os.read(fd, 4096)  # one write, shorter than what pipes keep together
        os.close(fd)
        _, status = os.waitpid(fork.pid, 0)
        outcome, reason = json.loads(said) if said else (_outcome(status), "")
        frame = framed(Answer(id=fork.id, outcome=outcome, reason=reason))
        while frame:
            frame = frame[os.write(self._answers, frame) :]

    def _kill(self, *forks: _Fork) -> None:
        for fork in forks:
            os.kill(fork.pid, signal.SIGKILL)

    def _end(self) -> None:
        self._kill(*self._forks.values())
        for fork in self._forks.values():
            os.waitpid(fork.pid, 0)


def _outcome(status: int) -> Outcome:
    """What the end of a fork means that has said nothing."""
    match os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0:
        case signal.SIGXCPU | signal.SIGKILL:  # SIGKILL: the kernel had no more memory
            return "over_limits"
        case signal.SIGALRM:
            return "late"
    return "crashed"


def _compile_and_exit(
    compile_: Callable[[Kind, str], None], kind: Kind, text: str, answer: int, unneeded: Iterable[int]
) -> None:
    """What a fork does."""
    try:
        for fd in unneeded:
            os.close(fd)
        _limit_this_process()
        os.write(answer, json.dumps(_compiled(compile_, kind, text)).encode())
    finally:
        os._exit(0)


def _compiled(compile_: Callable[[Kind, str], None], kind: Kind, text: str) -> tuple[Outcome, str]:
    try:
        compile_(kind, text)
    except MemoryError:
        return "over_limits", ""
    except Exception as error:
        return ("over_limits", "") if "bad_alloc" in str(error) else ("refused", reason(error))
    return "accepted", ""


def _limit_this_process() -> None:
    _end_with_parent()
    silence = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):  # xgrammar's warnings quote the caller
        os.dup2(silence, fd)
    with suppress(OSError):  # if the kernel has to end somebody, then us and not the engine
        Path("/proc/self/oom_score_adj").write_text("1000")
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 1))  # SIGXCPU, then SIGKILL
    signal.setitimer(signal.ITIMER_REAL, WALL_SECONDS)  # SIGALRM


def _end_with_parent() -> None:
    parent = os.getppid()
    set_death_signal = 1  # PR_SET_PDEATHSIG of <linux/prctl.h>
    ctypes.CDLL(None).prctl(set_death_signal, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before
        os._exit(1)


# "[12:47:21] /project/cpp/regex_converter.cc:83: Check failed: (error.empty()) is false: " before what went wrong.
_ORIGIN = re.compile(r"\[[\d:]+\] \S+:\d+: (?:Check failed: \(.*?\) is false: )?")


def reason(error: Exception) -> str:
    """xgrammar's sentence without where in its source it comes from: one line, no paths; empty if there is none."""
    if not isinstance(error, RuntimeError | ValueError):
        return ""
    sentence = " ".join(_ORIGIN.sub("", str(error)).split())
    printable = "".join(character if character.isprintable() else "?" for character in sentence)
    return "" if re.search(r"\.(cc|cpp|h|py)\b", printable) else printable[:MOST_REASON_CHARACTERS]


class _Names(types.ModuleType):
    """Stands for a module of which only the names of classes are needed."""

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


def _import_lean() -> None:
    """Import xgrammar's compiler without torch and transformers, which its package needs for other things only.

    0.5 s and 36 MB of memory instead of 4 s and 330 MB (xgrammar 0.2.8).
    """
    package = types.ModuleType("xgrammar")
    spec = find_spec("xgrammar")
    package.__path__ = list(spec.submodule_search_locations or ()) if spec else []
    sys.modules.update({"torch": None, "transformers": _Names("transformers"), "xgrammar": package})  # type: ignore[dict-item]
    for name in ("load_binding", "compiler", "tokenizer_info"):
        import_module(f"xgrammar.{name}")


_WHOLE = "--whole-xgrammar"


def _import_xgrammar(answers: int) -> None:
    if _WHOLE in sys.argv:
        import_module("xgrammar")
        return
    try:
        _import_lean()
    except Exception:  # another version, made otherwise; what is half imported goes with this program
        os.dup2(answers, 1)
        os.execv(sys.executable, [*sys.orig_argv, _WHOLE])  # noqa: S606 - itself


def _compiler(setup: Setup) -> Callable[[Kind, str], None]:
    """Compiles a constraint as vLLM's XgrammarBackend.compile_grammar does, but in one thread and not from a cache."""
    from xgrammar.compiler import GrammarCompiler
    from xgrammar.tokenizer_info import TokenizerInfo

    tokenizer_info = TokenizerInfo.deserialize_json(setup["tokenizer_info"])
    xgrammar = GrammarCompiler(tokenizer_info, max_threads=1, cache_enabled=False)

    def compile_(kind: Kind, text: str) -> None:
        match kind:
            case "json_schema":
                xgrammar.compile_json_schema(text, any_whitespace=setup["any_whitespace"])
            case "regex":
                xgrammar.compile_regex(text)
            case "grammar":
                xgrammar.compile_grammar(text)
            case "structural_tag":
                xgrammar.compile_structural_tag(text)

    return compile_


def _read_setup(requests: int) -> Setup:
    buffer = bytearray()
    while received := os.read(requests, 1 << 20):
        buffer += received
        for setup in unframed(buffer):  # nothing follows it before it is answered
            return setup  # type: ignore[no-any-return]
    sys.exit()


def main() -> None:
    """The program."""
    answers = os.dup(1)
    os.dup2(2, 1)  # what libraries print must not come between the answers
    _import_xgrammar(answers)
    server = ForkServer(_compiler(_read_setup(0)), answers)
    with suppress(BrokenPipeError):  # nobody hears us any more
        os.write(answers, framed(Answer(id=0, outcome="accepted", reason="")))
        server.serve(0)


if __name__ == "__main__":
    main()
