"""Calls to the service with ghz."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.programs import ROOT, run_program


@dataclass(frozen=True)
class Load:
    """ghz, to be aimed at an address."""

    program: Path

    def __call__(
        self, address: str, method: str, *, calls: int, concurrency: int, max_tokens: int = 16, connections: int = 1
    ) -> Any:
        """Make the calls and return ghz's report. A call that takes longer than 30 s has failed."""
        request = {"prompt": "Hello", "stopping": {"maxTokens": max_tokens, "ignoreEos": True}}
        options = {
            "import-paths": ROOT / "protos",
            "proto": "penstock/v1/generation.proto",
            "call": f"penstock.v1.Generation/{method}",
            "data": json.dumps(request),
            "total": calls,
            "concurrency": concurrency,
            "connections": connections,
            "timeout": "30s",
            "format": "json",
        }
        flags = [part for name, value in options.items() for part in (f"--{name}", str(value))]
        ran = run_program(self.program, "--insecure", *flags, address)
        assert ran.returncode == 0, ran.stderr
        return json.loads(ran.stdout)


def outcomes(report: Any) -> dict[str, int]:
    """How many calls ended with which status: {"OK": 200} when all is well. Messages of failures are keys, too."""
    return {**report["statusCodeDistribution"], **(report.get("errorDistribution") or {})}
