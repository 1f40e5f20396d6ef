"""`penstock` on a terminal: a pseudo-terminal whose other end the test holds."""

import asyncio
import fcntl
import os
import pty
import struct
import sys
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

ROWS, COLUMNS = 40, 120


class Terminal:
    """A running command and what it has shown so far."""

    def __init__(self, process: asyncio.subprocess.Process, end: int) -> None:
        self.process = process
        self.shown = ""
        self._end = end
        self._news = asyncio.Event()
        asyncio.get_running_loop().add_reader(end, self._read)

    def _read(self) -> None:
        try:
            text = os.read(self._end, 65536)
        except OSError:  # Linux says EIO once the program has ended
            text = b""
        if not text:
            asyncio.get_running_loop().remove_reader(self._end)
        self.shown += text.decode(errors="replace")
        self._news.set()

    async def until(self, text: str, count: int = 1) -> None:
        """Wait until `text` was shown `count` times."""
        async with asyncio.timeout(20):
            while self.shown.count(text) < count:
                self._news.clear()
                await self._news.wait()

    def type(self, text: str) -> None:
        os.write(self._end, text.encode())

    def ctrl_c(self) -> None:
        self.type("\x03")

    async def ended(self) -> int:
        """The exit status."""
        return await asyncio.wait_for(self.process.wait(), 20)

    def close(self) -> None:
        if self.process.returncode is None:
            self.process.kill()
        asyncio.get_running_loop().remove_reader(self._end)
        os.close(self._end)


@asynccontextmanager
async def on_terminal(target: str, *arguments: str, **environment: str) -> AsyncIterator[Terminal]:
    """Run the command with a terminal as its stdin, stdout, stderr and source of Ctrl-C."""
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "penstock", *arguments),
        stdin=its,
        stdout=its,
        stderr=its,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        env={**os.environ, "TERM": "xterm-256color", "PENSTOCK_TARGET": target, **environment},
    )
    os.close(its)
    terminal = Terminal(process, ours)
    try:
        yield terminal
    finally:
        terminal.close()
