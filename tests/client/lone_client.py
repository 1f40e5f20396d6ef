"""The thin client's wheel in virtual environments of its own."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
UV = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")


def interpreter(version: str) -> Path | None:
    """A Python of this minor version: uv's or the system's, else pyenv's."""
    assert UV is not None
    found = subprocess.run([UV, "python", "find", "--no-python-downloads", version], capture_output=True, text=True)
    if found.returncode == 0:
        return Path(found.stdout.strip())
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    return next(iter(pyenv.glob(f"versions/{version}.*/bin/python")), None)


def install(folder: Path, python: Path, alone: Path, packages: list[str], wheel: Path) -> None:
    """Make a virtual environment with the packages and the wheel, and nothing else."""
    assert UV is not None
    commands: list[list[str | Path]] = [
        ["venv", "--python", python, alone.parent],
        ["pip", "install", "--python", alone / "python", *packages],
        ["pip", "install", "--python", alone / "python", "--no-deps", wheel],
    ]
    for command in commands:
        status, _, err = run(folder, UV, *command)
        assert status == 0, err


def run(folder: Path, *command: str | Path) -> tuple[int, str, str]:
    """Exit status, stdout and stderr, away from this repository and from variables that lead to it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment, timeout=120)
    return done.returncode, done.stdout, done.stderr
