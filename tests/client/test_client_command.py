"""`penstock` on the command line, as a program of its own."""

import asyncio
import json
import os
import signal
import sys

import grpc
import pytest

from tests.client.scripted_server import ScriptedServer


class Penstock:
    """Runs the command against a server."""

    def __init__(self, target: str) -> None:
        self.target = target

    async def begin(self, *arguments: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "penstock",
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "PENSTOCK_TARGET": self.target},
        )

    async def __call__(self, *arguments: str, stdin: str = "") -> tuple[int | None, str, str]:
        """Exit status, stdout, stderr."""
        process = await self.begin(*arguments)
        out, err = await asyncio.wait_for(process.communicate(stdin.encode()), 30)
        return process.returncode, out.decode(), err.decode()


@pytest.fixture
def penstock(server: ScriptedServer) -> Penstock:
    return Penstock(server.target)


@pytest.mark.parametrize("flag", ["--stream", "--no-stream"])
async def test_generate_prints_the_text(penstock: Penstock, server: ScriptedServer, flag: str) -> None:
    status, out, err = await penstock("generate", "Once", flag, "--max-tokens", "7", "--temperature", "0")

    assert (status, out, err) == (0, "Hello wörld\n", "")
    assert server.requests[0].prompt == "Once"
    assert server.requests[0].stopping.max_tokens == 7
    assert server.requests[0].sampling.HasField("temperature")


async def test_generate_prints_the_reply_as_json(penstock: Penstock) -> None:
    _, out, _ = await penstock("generate", "Once", "--json")

    assert json.loads(out)["sequences"][0]["text"] == "Hello wörld"


async def test_an_error_is_one_sentence_and_status_1(penstock: Penstock, server: ScriptedServer) -> None:
    server.refuse(grpc.StatusCode.NOT_FOUND, "MODEL_NOT_FOUND")

    status, out, err = await penstock("generate", "Once", "--model", "nope")

    assert (status, out) == (1, "")
    assert err == "penstock: scripted MODEL_NOT_FOUND\n"


async def test_an_unreachable_server_is_one_sentence_and_status_1() -> None:
    status, _, err = await Penstock("127.0.0.1:1")("models")

    assert status == 1
    assert err.startswith("penstock: ")
    assert "Traceback" not in err
    assert err.count("\n") == 1


async def test_a_chat_keeps_the_conversation(penstock: Penstock, server: ScriptedServer) -> None:
    status, out, _ = await penstock("chat", stdin="Hi\n\nAnd then?\n")

    assert status == 0
    assert out == "Hello wörld\nHello wörld\n\n"
    texts = [message.content[0].text for message in server.requests[1].conversation.messages]
    assert texts == ["Hi", "Hello wörld", "And then?"]


async def test_a_chat_of_one_message_answers_and_ends(penstock: Penstock) -> None:
    assert await penstock("chat", "Hi") == (0, "Hello wörld\n", "")


async def test_ctrl_c_stops_the_answer_and_not_the_chat(penstock: Penstock, server: ScriptedServer) -> None:
    server.block_after = 1
    process = await penstock.begin("chat")
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"Hi\n")
    begun = await asyncio.wait_for(process.stdout.readexactly(5), 20)

    process.send_signal(signal.SIGINT)
    await asyncio.wait_for(server.cancelled.wait(), 5)
    server.block_after = None
    out, err = await asyncio.wait_for(process.communicate(b"Again\n"), 20)

    assert process.returncode == 0
    assert (begun + out).decode() == "Hello\n[stopped]\nHello wörld\n\n"
    assert not err
    texts = [message.content[0].text for message in server.requests[1].conversation.messages]
    assert texts == ["Hi", "Hello", "Again"]


async def test_models_lists_the_names_when_piped(penstock: Penstock) -> None:
    assert await penstock("models") == (0, "tiny\n", "")


async def test_health_says_serving_with_status_0(penstock: Penstock) -> None:
    assert await penstock("health") == (0, "SERVING\n", "")


async def test_health_says_not_serving_with_status_1(penstock: Penstock, server: ScriptedServer) -> None:
    await server.set_health("NOT_SERVING")

    assert await penstock("health", "--wait", "0.3") == (1, "NOT_SERVING\n", "")


async def test_health_waits_until_the_server_serves(penstock: Penstock, server: ScriptedServer) -> None:
    await server.set_health("NOT_SERVING")
    process = await penstock.begin("health", "--wait", "20")
    await asyncio.wait_for(server.health_checked.wait(), 20)

    await server.set_health("SERVING")

    out, _ = await asyncio.wait_for(process.communicate(), 20)
    assert (process.returncode, out) == (0, b"SERVING\n")


@pytest.mark.parametrize("missing", ["typer", "rich"])
async def test_without_the_extra_it_says_what_to_install(missing: str) -> None:
    code = f"import sys; sys.modules[{missing!r}] = None\nfrom penstock.__main__ import main; main()"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )

    _, err = await process.communicate()

    assert process.returncode == 1
    assert err.decode() == f"penstock: the command line needs {missing}: install penstock[cli]\n"
