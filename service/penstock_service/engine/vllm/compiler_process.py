"""The service's end of a `constraint_compiler` process: starts it, asks it and ends it."""

import asyncio
import contextlib
import itertools
import os
import sys
from typing import Any, Self

from penstock_service.engine.vllm import constraint_compiler
from penstock_service.engine.vllm.compiler_messages import (
    HEADER,
    Answer,
    Cancel,
    Compile,
    Kind,
    Setup,
    framed,
    unframed,
)

# It is ready in half a second; on a machine that loads a large model next to it, in many.
_START_SECONDS = 60.0
_END_SECONDS = 5.0
# What Python and the dynamic linker need. The service's own environment has secrets.
_ENVIRONMENT = ("HOME", "LANG", "LD_LIBRARY_PATH", "PATH", "PYTHONHOME", "PYTHONPATH", "TMPDIR")
# A fork keeps one thread of its parent only: libraries had better have no others.
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


class CompilerDiedError(RuntimeError):
    """The process has ended; what it was asked for is unknown."""


class CompilerProcess:
    """One process. `start` makes one."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._stdin: Any = process.stdin
        self._stdout: Any = process.stdout
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Answer]] = {}
        self._reading: asyncio.Task[None] | None = None

    @classmethod
    async def start(cls, setup: Setup) -> Self:
        """Start it and wait until it is ready. Raises CompilerDiedError, OSError or TimeoutError."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",  # what lies in the working directory is not to be imported
            "-m",
            constraint_compiler.__name__,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ} | _ONE_THREAD,
            start_new_session=True,  # the terminal's Ctrl-C must not end it while calls are drained
        )
        started = cls(process)
        try:
            async with asyncio.timeout(_START_SECONDS):
                await started._begin(setup)
        except BaseException:
            await started.close()
            raise
        return started

    @property
    def alive(self) -> bool:
        """Whether it can be asked."""
        return self._reading is not None and not self._reading.done()

    async def compile(self, kind: Kind, text: str) -> Answer:
        """Compile a constraint. Raises CompilerDiedError. When it is cancelled, so is the compilation."""
        if not self.alive:
            raise CompilerDiedError("the constraint compiler has ended")
        this = next(self._ids)
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting[this] = answer
        self._stdin.write(framed(Compile(id=this, kind=kind, text=text)))
        try:
            return await answer
        except asyncio.CancelledError:
            self._stdin.write(framed(Cancel(cancel=this)))
            raise
        finally:
            self._waiting.pop(this, None)

    async def close(self) -> None:
        """End it and wait for its end."""
        self._stdin.close()
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_END_SECONDS):
                    await self._process.wait()
        finally:
            if self._process.returncode is None:
                self._process.kill()
        await self._process.wait()
        if self._reading is not None:
            await self._reading

    async def _begin(self, setup: Setup) -> None:
        with contextlib.suppress(ConnectionError):  # it has ended: its silence tells
            self._stdin.write(framed(setup))
            await self._stdin.drain()
        try:
            (length,) = HEADER.unpack(await self._stdout.readexactly(HEADER.size))
            await self._stdout.readexactly(length)
        except asyncio.IncompleteReadError:
            raise CompilerDiedError("the constraint compiler could not start; stderr has why") from None
        self._reading = asyncio.create_task(self._read(), name="constraint compiler")

    async def _read(self) -> None:
        buffer = bytearray()
        try:
            while received := await self._stdout.read(1 << 16):
                buffer += received
                for answer in unframed(buffer):
                    waiting = self._waiting.get(answer["id"])
                    if waiting is not None and not waiting.done():
                        waiting.set_result(answer)
        finally:
            self._stdin.close()
            for waiting in self._waiting.values():
                if not waiting.done():
                    waiting.set_exception(CompilerDiedError("the constraint compiler has ended"))
