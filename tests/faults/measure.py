"""Measures all promises, one after the other, and records what it finds: docs/reliability.md.

python -m tests.faults.measure [--quick] [--hour] [--only WORD ...] [--plan]

A command that does not come to its end has kept none of the promises that it has not recorded. The machine must have
nothing else to do. `--quick` runs everything at small N and records nothing: whether all commands
work. `--hour` adds the hour in which a saturated engine must raise no alarm. `--plan` only says what would run.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import time
from typing import NamedTuple

from tests.faults.promise_table import PROMISES
from tests.faults.promises import Results, kept, read_results, record


class Measurement(NamedTuple):
    """What a command of the table takes, and the flags that make it a matter of seconds."""

    minutes: float
    quick: str
    only_with_hour: bool = False


# By how the command begins, in the order in which they run: those without an engine of vLLM's first.
MEASUREMENTS = {
    "tests.faults.cancel_latency": Measurement(2, "--calls 240 --kills 2"),
    "tests.faults.watchdog": Measurement(11, "--deaths 2 --hangs 1"),
    "tests.faults.drained_streams": Measurement(6, "--streams 128"),
    "tests.faults.rolling_restart": Measurement(4, "--calls 500"),
    "tests.benchmarks.overload": Measurement(20, "--seconds 4"),
    "tests.faults.never_read": Measurement(14, "--streams 20 --seconds 8"),
    "tests.faults.cut_streams": Measurement(8, "--cuts 200"),
    "tests.faults.h2.attacks": Measurement(25, '--only "PING flood" --seconds 2'),
    "tests.faults.chaos": Measurement(15, "--calls 500 --at-once 48"),
    "tests.faults.soak": Measurement(61, "--seconds 30"),
    "tests.faults.attacks": Measurement(13, '--only "deep schemas" --seconds 3'),
    "tests.faults.saturated --seconds 600 --long-steps": Measurement(10, "--seconds 10 --long-steps"),
    "tests.faults.saturated --seconds 600 --real": Measurement(12, "--seconds 10 --real"),
    "tests.faults.saturated --seconds 3600": Measurement(61, "--seconds 10", only_with_hour=True),
}


def planned(hour: bool, only: list[str]) -> list[tuple[str, Measurement]]:
    """The commands of the table, each once, of which those in `only` remain."""
    commands = dict.fromkeys(promise.command for promise in PROMISES.values())
    plan = [(command, each) for begin, each in MEASUREMENTS.items() for command in commands if _begins(command, begin)]
    return [
        (command, each)
        for command, each in plan
        if (hour or not each.only_with_hour) and (not only or any(word in command for word in only))
    ]


def _begins(command: str, begin: str) -> bool:
    words = command.removeprefix("python -m ").split()
    return words[: len(begin.split())] == begin.split() and ("--real" in words) is ("--real" in begin)


def quickly(command: str, measurement: Measurement) -> str:
    """The command at small N, without --record."""
    module = shlex.split(command)[2]
    return f"python -m {module} {measurement.quick}"


def run(command: str) -> tuple[int, float]:
    """Its exit status and how many seconds it took."""
    began = time.monotonic()
    status = subprocess.run([sys.executable, *shlex.split(command)[1:]], check=False).returncode
    return status, time.monotonic() - began


def unfinished(command: str, before: Results) -> None:
    """Record what a command that failed has left as it was: it has measured nothing of that."""
    now = read_results()
    for promise, row in PROMISES.items():
        for case in row.cases if row.command == command else ():
            if now.get(promise, {}).get(case) == before.get(promise, {}).get(case):
                record(promise, case=case, n=0, result="the run did not come to its end", passed=False)


def broken(command: str) -> list[str]:
    """The promises of that command which its results do not keep."""
    results = read_results()
    return [
        f"{promise} {case}".strip()
        for promise, row in PROMISES.items()
        if row.command == command
        for case, found in results.get(promise, {}).items()
        if kept(row, found) != "yes"
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small N, nothing is recorded")
    parser.add_argument("--hour", action="store_true", help="with the hour under saturation")
    parser.add_argument("--only", action="append", default=[], metavar="WORD", help="commands with this word")
    parser.add_argument("--plan", action="store_true", help="say what would run")
    given = parser.parse_args()
    plan = planned(given.hour or given.quick, given.only)
    print(f"{len(plan)} commands, about {sum(each.minutes for _, each in plan):.0f} minutes at full N", flush=True)
    failed = []
    for command, measurement in plan:
        run_command = quickly(command, measurement) if given.quick else command
        print(f"\n$ {run_command}    (about {measurement.minutes:g} min at full N)", flush=True)
        if given.plan:
            continue
        print(f"load of the machine before: {os.getloadavg()[0]:.1f}", flush=True)
        before = read_results()
        status, seconds = run(run_command)
        print(f"took {seconds:.0f} s" + (f", FAILED with status {status}" if status else ""), flush=True)
        if status and not given.quick:
            unfinished(command, before)
        failed += [run_command] if status else [] if given.quick else broken(command)
    if failed:
        raise SystemExit(f"{len(failed)} failed: {failed}")


if __name__ == "__main__":
    main()
