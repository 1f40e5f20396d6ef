"""`penstock` on the command line, as a program of its own."""

import asyncio
import os
import sys


class Penstock:
    """Runs the command against a server."""

    def __init__(self, *targets: str, **environment: str) -> None:
        self.environment = {**os.environ, "PENSTOCK_TARGET": " ".join(targets), **environment}

    async def begin(self, *arguments: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "penstock",
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self.environment,
        )

    async def __call__(self, *arguments: str, stdin: str = "") -> tuple[int | None, str, str]:
        """Exit status, stdout, stderr."""
        process = await self.begin(*arguments)
        out, err = await asyncio.wait_for(process.communicate(stdin.encode()), 30)
        return process.returncode, out.decode(), err.decode()
