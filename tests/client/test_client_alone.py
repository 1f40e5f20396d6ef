"""The thin client as users get it: its wheel, on each supported Python, with grpcio and protobuf and nothing else."""

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.client.scripted_server import ScriptedServer

ROOT = Path(__file__).parents[2]
UV = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
PINNED = ["--require-hashes", "--no-deps", "--requirement", str(ROOT / "requirements" / "client.txt")]
OLDEST = ["grpcio==1.72.2", "protobuf==6.30.0"]

USE = """
import asyncio, sys
from importlib.metadata import distributions
from penstock import AsyncClient, Client, NotFoundError

installed = {d.metadata["Name"].lower().replace("_", "-") for d in distributions()}
assert installed <= {"penstock", "grpcio", "protobuf", "typing-extensions"}, installed

target = sys.argv[1]
messages = [{"role": "user", "content": "Hi"}]
with Client(target, timeout=20) as client:
    assert client.generate("Once", max_tokens=5).text == "Hello w\\u00f6rld"
    assert "".join(chunk.text for chunk in client.stream("Once")) == "Hello w\\u00f6rld"
    assert client.chat.completions.create(messages=messages).choices[0].finish_reason == "stop"
    assert client.models.list().data[0].id == "tiny"
    assert client.health() == "SERVING"
    tools = [{"name": "add", "parameters": {"type": "object"}, "strict": True}]
    options = {"template_arguments": {"flag": True, "tone": "dry"}, "logit_bias": {5: 1}, "thinking": False}
    assert not client.generate(messages=messages, tools=tools, **options).tool_calls
    assert client.generate_batch(["a", [1]], regex="a").results == []
    try:
        client.models.retrieve("nope")
    except NotFoundError as error:
        assert error.code == "model_not_found"

async def main():
    async with AsyncClient(target, timeout=20) as client:
        assert (await client.generate("Once")).usage.prompt_tokens == 3
        async for chunk in client.stream("Once"):
            break
        async with client.chat.completions.create(messages=messages, stream=True) as stream:
            pieces = [piece.to_dict() async for piece in stream]
        assert pieces[-1]["choices"][0]["finish_reason"] == "stop"
        both = await client.completions.create(prompt=["a", "b"])
        assert [choice.index for choice in both.choices] == [0, 1]

asyncio.run(main())
print("works")
"""


def interpreter(version: str) -> Path | None:
    """A Python of this minor version: uv's or the system's, else pyenv's."""
    assert UV is not None
    found = subprocess.run([UV, "python", "find", "--no-python-downloads", version], capture_output=True, text=True)
    if found.returncode == 0:
        return Path(found.stdout.strip())
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    return next(iter(pyenv.glob(f"versions/{version}.*/bin/python")), None)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if UV is None:
        pytest.skip("uv is not installed")
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run([UV, "build", "--wheel", "--out-dir", folder, ROOT / "client"], check=True, capture_output=True)
    return next(folder.glob("*.whl"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("version", "packages"),
    [("3.10", OLDEST), ("3.13", OLDEST), ("3.10", PINNED), ("3.11", PINNED), ("3.12", PINNED), ("3.13", PINNED)],
    ids=["3.10-oldest", "3.13-oldest", "3.10", "3.11", "3.12", "3.13"],
)
async def test_it_works_alone(
    version: str, packages: list[str], wheel: Path, server: ScriptedServer, tmp_path: Path
) -> None:
    python = interpreter(version)
    if python is None:
        pytest.skip(f"no Python {version} on this machine")
    alone = tmp_path / "venv" / "bin"
    await asyncio.to_thread(install, tmp_path, python, alone, packages, wheel)

    used = await asyncio.to_thread(run, tmp_path, alone / "python", "-W", "error", "-c", USE, server.target)
    command = await asyncio.to_thread(run, tmp_path, alone / "penstock", "health")

    assert used == (0, "works\n", "")
    assert command == (1, "", "penstock: the command line needs typer: install penstock[cli]\n")


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
