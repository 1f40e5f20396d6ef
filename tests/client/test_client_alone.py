"""The thin client as users get it: its wheel, on each supported Python, with grpcio and protobuf and nothing else."""

import asyncio
from pathlib import Path

import pytest

from tests.client.lone_client import ROOT, install, interpreter, run
from tests.client.scripted_server import ScriptedServer

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
    assert client.chat.completions.parse(messages=messages).choices[0].message.content == "Hello w\\u00f6rld"
    with client.chat.completions.stream(messages=messages) as events:
        assert [event.type for event in events][-1] == "content.done"
    try:
        import penstock.openai
    except ImportError as error:
        assert "pip install 'penstock[openai]'" in str(error)
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
