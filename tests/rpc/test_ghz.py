"""A real load generator finds every call OK."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Running
from tests.programs import find_program

CALLS, CONCURRENCY = 200, 32
DATA = {"prompt": "Once upon a time", "stopping": {"max_tokens": 16}}


@pytest.mark.real_vllm
@pytest.mark.timeout(600)
@pytest.mark.parametrize("method", ["Generate", "StreamGenerate"])
async def test_ghz_sees_every_call_succeed_on_real_vllm(real: Running, method: str) -> None:
    report = await _ghz(real.address, method)

    assert report["count"] == CALLS
    assert report["statusCodeDistribution"] == {"OK": CALLS}
    assert not report["errorDistribution"]


async def _ghz(address: str, method: str) -> dict[str, Any]:
    program = find_program("ghz")
    if program is None:
        pytest.skip("ghz is not installed here: `make test` builds it where Go is installed")
    process = await asyncio.create_subprocess_exec(
        str(program),
        *("--insecure", "--import-paths", "protos", "--proto", "penstock/v1/generation.proto"),
        *("--call", f"penstock.v1.Generation/{method}", "--data", json.dumps(DATA)),
        *("--total", str(CALLS), "--concurrency", str(CONCURRENCY), "--format", "json", address),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    report: dict[str, Any] = json.loads(out)
    return report
