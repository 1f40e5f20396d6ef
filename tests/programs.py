"""The programs that tests run: what `make` put into .tools/bin first, then PATH."""

import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]


def find_program(name: str) -> Path | None:
    found = shutil.which(name, path=str(ROOT / ".tools" / "bin")) or shutil.which(name)
    return Path(found) if found else None


def run_program(
    program: str | Path, *arguments: str | Path, stdin: str | None = None, timeout: float = 600
) -> "subprocess.CompletedProcess[str]":
    """Run a program to its end and return what it wrote; whether it failed is the caller's to judge."""
    command = [str(program), *map(str, arguments)]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, timeout=timeout)
