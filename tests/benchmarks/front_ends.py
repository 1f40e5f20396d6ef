"""What a streamed token costs over all front ends, when 1, 2 and 4 of them share one engine.

The same load for each in turn, round by round, so that whatever else the machine does is the same for all: 64
concurrent streams (`--streams`) of TOKENS tokens over enough connections that each front end gets some; with
`--each`, 64 for each front end, as when front ends are added because there are more callers.
Counted is the CPU time of the front-end processes, by the operating system's books, and beside it the supervisor's.
All services are up during the whole run, each with an engine: 1, 2 and 4 front ends take about 16 GiB of memory.

    python -m tests.benchmarks.front_ends [-- VLLM_ARGUMENTS]
"""

import argparse
import contextlib
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator

import psutil

from penstock.v1 import generation_pb2 as pb
from tests.benchmarks.front_end import PROMPT, START_SECONDS, STREAMS, TOKENS, _cpu_seconds, _file, _process, _wait

CONNECTIONS = 16
FIRST_PORT = 50960


def main() -> None:
    """Measure 1, 2 and 4 front ends and print a row for each."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--calls", type=int, default=512, help="streams of a round")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--streams", type=int, default=STREAMS, help="how many run at a time")
    options.add_argument("--each", action="store_true", help="so many at a time for each front end")
    options.add_argument("--max-delay-ms", type=int, default=10, help="of every stream")
    options.add_argument("--counts", type=int, nargs="+", default=[1, 2, 4], help="how many front ends")
    options.add_argument("vllm", nargs="*", help="further arguments for vLLM")
    given = options.parse_args()
    told = f"{given.calls} streams a round, median (range) of {given.rounds} rounds"
    streams = f"{given.streams} streams{' a front end' if given.each else ''}"
    print(f"{streams} x {TOKENS} tokens, max_delay_ms {given.max_delay_ms}, {told}")
    print(f"{'front ends':12}{'us of CPU a token':>24}{'busiest':>10}{'supervisor':>12}{'tokens/s':>26}")
    with contextlib.ExitStack() as stack:
        services = {count: stack.enter_context(_service(count, given)) for count in given.counts}
        for service in services.values():
            _round(*service, max(given.counts) * given.streams)  # warm-up
        rounds = [
            {count: _round(*service, given.calls) for count, service in services.items()} for _ in range(given.rounds)
        ]
    for count in given.counts:
        cpu, busiest, own, rate = ([row[count][column] for row in rounds] for column in range(4))
        shares = f"{statistics.median(busiest):>10.0%}{statistics.median(own):>12.2f}"
        print(f"{count:<12}{_spread(cpu, 1):>24}{shares}{_spread(rate, 0):>26}")


def _spread(values: list[float], digits: int) -> str:
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def _round(
    front_ends: list[psutil.Process], supervisor: psutil.Process | None, load: list[str], calls: int
) -> tuple[float, float, float, float]:
    """CPU a token, the share of the busiest front end in it, the supervisor's CPU a token, tokens a second."""
    processes = [*front_ends, supervisor] if supervisor else front_ends
    before, start = [_cpu_seconds(process) for process in processes], time.monotonic()
    out = subprocess.run([*load[:1], "--requests", str(calls), *load[1:]], capture_output=True, text=True, check=True)
    seconds = time.monotonic() - start
    used = [_cpu_seconds(process) - was for process, was in zip(processes, before, strict=True)]
    assert f"{calls} succeeded" in out.stdout, out.stdout
    own, tokens = used[len(front_ends) :], calls * TOKENS
    total = sum(used[: len(front_ends)])
    return 1e6 * total / tokens, max(used[: len(front_ends)]) / total, 1e6 * sum(own) / tokens, tokens / seconds


@contextlib.contextmanager
def _service(
    count: int, given: argparse.Namespace
) -> Iterator[tuple[list[psutil.Process], psutil.Process | None, list[str]]]:
    grpc_port, health_port, metrics_port = (str(FIRST_PORT + 3 * count + offset) for offset in range(3))
    ports = ["--grpc-port", grpc_port, "--health-port", health_port, "--metrics-port", metrics_port]
    stopping = {"max_tokens": TOKENS, "ignore_eos": True}
    request = pb.GenerateRequest(prompt=PROMPT, stopping=stopping, sampling={"temperature": 0})
    request.response.max_delay_ms = given.max_delay_ms
    message = request.SerializeToString()
    body = b"\0" + len(message).to_bytes(4, "big") + message
    program = ["-m", "penstock_service", "--frontends", str(count), *ports, "--log-level", "warning", "--", *given.vllm]
    with _process(program) as process, _file(body) as data:
        health = ["--target", f"localhost:{health_port}", "--wait", str(START_SECONDS)]
        _wait([sys.executable, "-m", "penstock", "health", *health])
        children = [each for each in process.children() if "penstock_service.frontends.front_end" in each.cmdline()]
        headers = ["--header", "content-type: application/grpc", "--header", "te: trailers"]
        streams = given.streams * (count if given.each else 1)
        spread = ["--clients", str(CONNECTIONS), "--max-concurrent-streams", str(streams // CONNECTIONS)]
        url = f"http://127.0.0.1:{grpc_port}/penstock.v1.Generation/StreamGenerate"
        load = [shutil.which("h2load") or "h2load", *spread, *headers, "--data", data, url]
        yield (children, process, load) if children else ([process], None, load)


if __name__ == "__main__":
    main()
