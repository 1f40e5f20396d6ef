"""h2spec against our server and against a bare grpc.aio server of the same grpcio, side by side.

python -m tests.faults.h2.specification      every section of generic, http2 and hpack

h2spec asks for a web page, which no gRPC server has: what the bare server fails says nothing about either. What counts
is that ours fails nothing besides.
"""

from __future__ import annotations

import asyncio
import re
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import grpc

from tests.conftest import opened, simulated_settings
from tests.programs import find_program

AT_ONCE = 12  # h2spec mostly waits for what never comes
TRIES = 3  # of what differs: gRPC answers bad requests after a random delay, which h2spec may take for silence

# Those that a gRPC server can pass some of, and that take no long waits.
QUICK = (
    *("generic/1", "generic/3.4", "generic/3.5", "generic/3.7", "generic/3.8", "http2/3.5", "http2/4.1", "http2/4.3"),
    *("http2/5.5", "http2/6.2", "http2/6.5", "http2/6.5.2", "http2/6.5.3", "http2/6.7", "http2/6.10", "http2/7"),
)
SLOW = (
    *("generic/2", "generic/3.9", "http2/4.2", "http2/6.4"),
    *("generic/3.1", "generic/3.2", "generic/3.3", "generic/3.10", "generic/4", "generic/5", "http2/5.1"),
    *("http2/5.1.1", "http2/5.1.2", "http2/5.3.1", "http2/5.4.1", "http2/6.1", "http2/6.3", "http2/6.8"),
    *(
        "http2/6.9",
        "http2/6.9.1",
        "http2/6.9.2",
        "http2/8.1",
        "http2/8.1.2",
        "http2/8.1.2.1",
        "http2/8.1.2.2",
        "http2/8.1.2.3",
    ),
    *("http2/8.1.2.6", "http2/8.2"),
    *("hpack/2.3.3", "hpack/4.2", "hpack/5.2", "hpack/6.1", "hpack/6.3"),
)

Passed = dict[str, bool]  # "http2/6.5: Sends a SETTINGS frame ...": whether the server passes


def failed_by_us_alone(ours: Passed, bare: Passed) -> list[str]:
    """The cases that the bare server passes and ours does not."""
    return [case for case, passed in bare.items() if passed and not ours.get(case, False)]


async def compared(ours: int, bare: int, sections: Iterable[str]) -> tuple[Passed, Passed]:
    """What the servers on two ports pass."""
    sections = tuple(sections)
    passed = await asyncio.gather(run_sections(ours, sections), run_sections(bare, sections))
    for _ in range(TRIES - 1):
        again = {case.split(": ")[0] for case in failed_by_us_alone(*passed)}
        for passes, port in zip(passed, (ours, bare), strict=True):
            passes |= await run_sections(port, sorted(again))
    return passed


async def run_sections(port: int, sections: Sequence[str]) -> Passed:
    """What the server on that port passes of these sections."""
    some = asyncio.Semaphore(AT_ONCE)

    async def one(section: str) -> Passed:
        async with some:
            return await _section(port, section)

    passed: Passed = {}
    for each in await asyncio.gather(*map(one, sections)):
        passed |= each
    return passed


async def _section(port: int, section: str) -> Passed:
    with tempfile.TemporaryDirectory() as directory:
        report = Path(directory) / "report.xml"
        process = await asyncio.create_subprocess_exec(
            *(str(find_program("h2spec")), section, "--port", str(port), "--timeout", "1"),
            *("--junit-report", str(report)),
            stdout=asyncio.subprocess.DEVNULL,
        )
        try:
            await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return _passed(report.read_text(), section)


def _passed(report: str, section: str) -> Passed:
    # It puts what servers sent into its XML as it is, control characters and all.
    legal = re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f]", "?", report)
    cases = ElementTree.fromstring(legal).iter("testcase")  # noqa: S314 - written by h2spec on this machine
    mine = (case for case in cases if case.get("package") == section)
    return {f"{section}: {case.get('classname')}": not len(case) for case in mine}


@asynccontextmanager
async def bare_server() -> AsyncIterator[int]:
    """A grpc.aio server with one trivial method and no options, on a free port."""

    async def echo(request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        return request

    server = grpc.aio.server()
    method = grpc.unary_unary_rpc_method_handler(echo)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bare.Echo", {"Say": method}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield port
    finally:
        await server.stop(None)


async def main() -> None:
    async with opened(simulated_settings()) as running, bare_server() as bare_port:
        ours, bare = await compared(running.service.grpc_port, bare_port, QUICK + SLOW)
    for part in ("generic", "http2", "hpack"):
        print(*(f"{part}: {_count(passed, part)}" for passed in (ours, bare)), sep="; the bare server ")
    print("failed by us alone:", failed_by_us_alone(ours, bare) or "none")


def _count(passed: Passed, part: str) -> str:
    mine = [value for case, value in passed.items() if case.startswith(f"{part}/")]
    return f"{sum(mine)} of {len(mine)}"


if __name__ == "__main__":
    asyncio.run(main())
