"""`penstock` on the command line, as a program of its own."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Penstock:
    """Runs the command against a server."""

    def __init__(self, *targets: str, **environment: str) -> None:
        self.environment = {**os.environ, "PENSTOCK_TARGET": " ".join(targets), **environment}

    @asynccontextmanager
    async def running(self, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "penstock",
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self.environment,
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    async def __call__(self, *arguments: str, stdin: str = "") -> tuple[int | None, str, str]:
        """Exit status, stdout, stderr."""
        async with self.running(*arguments) as process:
            out, err = await asyncio.wait_for(process.communicate(stdin.encode()), 30)
        return process.returncode, out.decode(), err.decode()
