"""Fuzzes the way of a request's bytes (request_bytes.take) with atheris, guided by what they reach.

atheris is not among the requirements. For Python 3.11 it installs from PyPI; from the repository's root:

    uv pip install --target out/atheris atheris
    PYTHONPATH=out/atheris python -m tests.rpc.fuzz_bytes -max_total_time=600 [CORPUS_DIRECTORY]

It stops at the first defect, tells what was raised, and keeps the bytes in a file. tests/unit/test_fuzz_bytes.py does
the same without atheris, with bytes changed at random.
"""

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["penstock_service"]):
    from tests.rpc.request_bytes import message_in, seeds, take


def mutated(data: bytes, max_size: int, _seed: int) -> bytes:
    """What libFuzzer makes of `data`, preferably something that is a message still."""
    for _ in range(8):
        changed: bytes = atheris.Mutate(data, max_size)
        if message_in(changed) is not None:
            break
    return changed


def main() -> None:
    """Begin with known requests; further arguments are libFuzzer's."""
    with tempfile.TemporaryDirectory() as known:
        for number, data in enumerate(seeds()):
            Path(known, str(number)).write_bytes(data)
        found = [] if any(not word.startswith("-") for word in sys.argv[1:]) else [tempfile.mkdtemp()]
        atheris.Setup([*sys.argv, *found, known], lambda data: take(data) and None, custom_mutator=mutated)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
