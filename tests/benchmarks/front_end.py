"""What a streamed token costs in the front end: our StreamGenerate, vLLM's own HTTP server, AsyncLLM without a server.

All run the built-in model with the same engine arguments, one after the other in one go, under the same load:
STREAMS concurrent streams of TOKENS tokens each. h2load makes the load, so the callers cost little and alike. Counted
is the CPU time of the front-end process alone, by the operating system's books; the engine's work is the same for all.

    make bench
"""

import argparse
import asyncio
import contextlib
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from penstock.v1 import generation_pb2 as pb
from penstock_service.engine.vllm.arguments import command_line, parse, prepare_environment
from penstock_service.settings import Settings
from tests.benchmarks.servers import cpu_seconds, server_process, wait_for_http, wait_for_penstock

STREAMS, TOKENS = 64, 64
PROMPT = "Once upon a time"


@dataclass(frozen=True)
class Figures:
    """One round."""

    cpu_us_per_token: float
    tokens_per_second: float


def main() -> None:
    """Measure all and print a table; `--in-process` is the first, run as a process of its own."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--calls", type=int, default=512, help="streams of a round")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--in-process", action="store_true", help=argparse.SUPPRESS)
    given = options.parse_args()
    prepare_environment(Settings())
    if given.in_process:
        asyncio.run(_async_llm(given.calls, given.rounds))
        return
    h2load = shutil.which("h2load") or _installed_h2load()
    table = {
        "AsyncLLM in process, no server": _measured_in_process(given.calls, given.rounds),
        "vLLM's HTTP server": _measured(_vllm_http, h2load, given.calls, given.rounds),
        **_measured_penstock(h2load, given.calls, given.rounds),
    }
    _print(table, given.calls, given.rounds)


def _print(table: dict[str, list[Figures]], calls: int, rounds: int) -> None:
    base = statistics.median(figures.tokens_per_second for figures in table["AsyncLLM in process, no server"])
    print(f"\n{STREAMS} streams x {TOKENS} tokens, {calls} streams a round, median (range) of {rounds} rounds")
    print(f"{'':32}{'us of CPU a token':>24}{'tokens/s':>26}{'of in process':>15}")
    for name, rows in table.items():
        cpu = _spread([row.cpu_us_per_token for row in rows], 1)
        rate = _spread([row.tokens_per_second for row in rows], 0)
        share = statistics.median(row.tokens_per_second for row in rows) / base
        print(f"{name:32}{cpu:>24}{rate:>26}{share:>15.0%}")


def _spread(values: list[float], digits: int) -> str:
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"


Load = Callable[[int], list[str]]  # the command that makes so many calls


def _measured(serving: Callable[[str], object], h2load: str, calls: int, rounds: int) -> list[Figures]:
    with serving(h2load) as (process, load):  # type: ignore[attr-defined]
        _round(process, load, STREAMS)  # warm-up
        return [_round(process, load, calls) for _ in range(rounds)]


def _measured_penstock(h2load: str, calls: int, rounds: int) -> dict[str, list[Figures]]:
    """All ways over one server, in turns, so that they share what happens on the machine meanwhile."""
    with _penstock(h2load) as (process, loads):
        for load in loads.values():
            _round(process, load, STREAMS)
        turns = [{name: _round(process, load, calls) for name, load in loads.items()} for _ in range(rounds)]
    return {name: [turn[name] for turn in turns] for name in loads}


def _round(process: psutil.Process, load: Load, calls: int) -> Figures:
    before, start = cpu_seconds(process), time.monotonic()
    out = subprocess.run(load(calls), capture_output=True, text=True, check=True)
    seconds, cpu = time.monotonic() - start, cpu_seconds(process) - before
    succeeded = int(re.search(r"(\d+) succeeded", out.stdout)[1])  # type: ignore[index]
    assert succeeded == calls, out.stdout
    return Figures(1e6 * cpu / (calls * TOKENS), calls * TOKENS / seconds)


@contextlib.contextmanager
def _penstock(h2load: str) -> Iterator[tuple[psutil.Process, dict[str, Load]]]:
    ports = ["--grpc-port", "50951", "--health-port", "50952", "--metrics-port", "none", "--log-level", "warning"]
    with contextlib.ExitStack() as stack:
        process = stack.enter_context(server_process(["-m", "penstock_service", *ports]))
        wait_for_penstock("localhost:50951")
        at_once, gathered, plain = (stack.enter_context(_file(_request(delay))) for delay in (0, 10, None))
        yield (
            process,
            {
                "Penstock StreamGenerate, delay 0": lambda calls: _h2load(h2load, at_once, calls),
                "Penstock StreamGenerate, delay 10": lambda calls: _h2load(h2load, gathered, calls),
                "Penstock Session": lambda calls: _session_load(plain, calls),
            },
        )


def _request(max_delay_ms: int | None) -> bytes:
    """For h2load with gRPC's header of five bytes before it, for a session without."""
    stopping = {"max_tokens": TOKENS, "ignore_eos": True}
    request = pb.GenerateRequest(prompt=PROMPT, stopping=stopping, sampling={"temperature": 0})
    if max_delay_ms is None:
        return request.SerializeToString()
    request.response.max_delay_ms = max_delay_ms
    message = request.SerializeToString()
    return b"\0" + len(message).to_bytes(4, "big") + message


def _h2load(h2load: str, data: str, calls: int) -> list[str]:
    clients = ["--clients", "4", "--max-concurrent-streams", str(STREAMS // 4), "--requests", str(calls)]
    headers = ["--header", "content-type: application/grpc", "--header", "te: trailers"]
    return [h2load, *clients, *headers, "--data", data, "http://127.0.0.1:50951/penstock.v1.Generation/StreamGenerate"]


def _session_load(data: str, calls: int) -> list[str]:
    program = str(Path(__file__).with_name("session_load.py"))
    return [sys.executable, program, "127.0.0.1:50951", str(calls), str(STREAMS), data]


@contextlib.contextmanager
def _vllm_http(h2load: str) -> Iterator[tuple[psutil.Process, Load]]:
    words = [*command_line(Settings()), "--host", "127.0.0.1", "--port", "50953", "--disable-uvicorn-access-log"]
    asked = {"model": "builtin", "prompt": PROMPT, "max_tokens": TOKENS, "ignore_eos": True}
    body = json.dumps({**asked, "temperature": 0, "stream": True}).encode()
    with server_process(["-m", "vllm.entrypoints.openai.api_server", *words]) as process, _file(body) as data:
        wait_for_http("http://127.0.0.1:50953/health", process)
        command = [h2load, "--h1", "--clients", str(STREAMS), "--header", "content-type: application/json"]
        url = "http://127.0.0.1:50953/v1/completions"
        yield process, lambda calls: [*command, "--requests", str(calls), "--data", data, url]


@contextlib.contextmanager
def _file(content: bytes) -> Iterator[str]:
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        yield file.name


def _measured_in_process(calls: int, rounds: int) -> list[Figures]:
    command = [
        sys.executable,
        "-m",
        "tests.benchmarks.front_end",
        "--in-process",
        "--calls",
        str(calls),
        "--rounds",
        str(rounds),
    ]
    out = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    return [Figures(**json.loads(line)) for line in out.splitlines() if line.startswith('{"cpu')]


async def _async_llm(calls: int, rounds: int) -> None:
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind
    from vllm.v1.engine.async_llm import AsyncLLM

    llm = AsyncLLM.from_engine_args(parse(command_line(Settings())))
    params = SamplingParams(
        max_tokens=TOKENS, ignore_eos=True, temperature=0, output_kind=RequestOutputKind.DELTA, skip_clone=False
    )
    places = asyncio.Semaphore(STREAMS)

    async def one(number: str) -> None:
        async with places:
            async for _ in llm.generate(PROMPT, params, number):
                pass

    async def all_of(count: int, name: str) -> None:
        await asyncio.gather(*(one(f"{name}-{number}") for number in range(count)))

    await all_of(STREAMS, "warm-up")
    for number in range(rounds):
        cpu, start = time.process_time(), time.monotonic()
        await all_of(calls, str(number))
        seconds = time.monotonic() - start
        figures = Figures(1e6 * (time.process_time() - cpu) / (calls * TOKENS), calls * TOKENS / seconds)
        print(json.dumps(vars(figures)), flush=True)
    llm.shutdown()


def _installed_h2load() -> str:
    if os.geteuid() == 0 and shutil.which("apt-get"):
        subprocess.run(["apt-get", "install", "-y", "-qq", "nghttp2-client"], stdout=subprocess.DEVNULL, check=False)
    found = shutil.which("h2load")
    if found is None:
        raise SystemExit("make bench needs h2load (Debian: nghttp2-client), which could not be installed here")
    return found


if __name__ == "__main__":
    main()
