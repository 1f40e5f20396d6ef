"""`penstock chat`: a conversation by lines, piped and on a terminal."""

import asyncio
import json
import signal
from pathlib import Path

import grpc
import pytest

from penstock.v1 import generation_pb2 as pb
from tests.client.penstock_command import Penstock
from tests.client.penstock_terminal import on_terminal
from tests.client.scripted_server import ScriptedServer


@pytest.fixture
def penstock(server: ScriptedServer) -> Penstock:
    return Penstock(server.target)


def texts(request: pb.GenerateRequest) -> list[str]:
    return [message.content[0].text for message in request.conversation.messages]


async def test_a_chat_keeps_the_conversation(penstock: Penstock, server: ScriptedServer) -> None:
    status, out, _ = await penstock("chat", stdin="Hi\n\nAnd then?\n")

    assert status == 0
    assert out == "Hello wörld\nHello wörld\n\n"
    assert texts(server.requests[1]) == ["Hi", "Hello wörld", "And then?"]


async def test_a_chat_of_one_message_answers_and_ends(penstock: Penstock) -> None:
    assert await penstock("chat", "Hi") == (0, "Hello wörld\n", "")


async def test_ctrl_c_stops_the_answer_and_not_the_chat(penstock: Penstock, server: ScriptedServer) -> None:
    server.block_after = 1
    async with penstock.running("chat") as process:
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
        assert texts(server.requests[1]) == ["Hi", "Hello", "Again"]


async def test_on_a_terminal_ctrl_c_stops_the_answer_and_ctrl_d_leaves(server: ScriptedServer) -> None:
    server.block_after = 1
    async with on_terminal(server.target, "chat") as terminal:
        await terminal.until("> ")
        terminal.type("Hi\n")
        await terminal.until("Hello")

        terminal.ctrl_c()
        await terminal.until("[stopped]")
        await asyncio.wait_for(server.cancelled.wait(), 5)
        server.block_after = None
        await terminal.until("> ", 2)
        terminal.type("Again\n")
        await terminal.until("wörld")
        await terminal.until("> ", 3)
        terminal.type("\x04")

        assert await terminal.ended() == 0
        assert texts(server.requests[1]) == ["Hi", "Hello", "Again"]


async def test_thoughts_are_dimmed_on_a_terminal_and_left_out_of_a_pipe(
    penstock: Penstock, server: ScriptedServer
) -> None:
    server.deltas = [
        [pb.SequenceDelta(reasoning="They greet me.")],
        [pb.SequenceDelta(text="Hello\x1b[2J", finish=pb.Finish(reason=pb.FINISH_REASON_STOP))],
    ]
    async with on_terminal(server.target, "chat", "Hi") as terminal:
        assert await terminal.ended() == 0
        _, piped, _ = await penstock("chat", "Hi")

        await terminal.until("Hello")
        assert "\x1b[2mThey greet me.\r\n\x1b[0mHello[2J" in terminal.shown
        assert piped == "Hello\x1b[2J\n"


async def test_a_chat_has_commands_of_its_own(penstock: Penstock, server: ScriptedServer, tmp_path: Path) -> None:
    file = tmp_path / "saved.json"
    lines = ["/system Be brief.", "/model prod", "Hi", "/history", f"/save {file}", "/reset", "//etc", "/exit", "Never"]

    status, out, err = await penstock("chat", stdin="\n".join(lines))

    assert (status, err) == (0, "")
    assert out.splitlines() == [
        "[instructions: Be brief.]",
        "[model: prod]",
        "Hello wörld",
        "system: Be brief.",
        "user: Hi",
        "assistant: Hello wörld",
        f"[3 messages in {file}]",
        "[forgotten]",
        "Hello wörld",
    ]
    assert [message["role"] for message in json.loads(file.read_text())] == ["system", "user", "assistant"]
    assert [texts(request) for request in server.requests] == [["Be brief.", "Hi"], ["Be brief.", "/etc"]]
    assert [request.model for request in server.requests] == ["prod", "prod"]


async def test_a_mistake_or_an_error_does_not_end_a_chat(penstock: Penstock, server: ScriptedServer) -> None:
    server.refuse(grpc.StatusCode.NOT_FOUND, "MODEL_NOT_FOUND")

    status, out, err = await penstock("chat", stdin="/nope\n/save /nowhere/at/all\nHi\n/help\n")

    assert status == 0
    wrong, unsaved, refused = err.splitlines()
    assert wrong == "penstock: there is no command /nope; /help lists them"
    assert "/nowhere/at/all" in unsaved
    assert refused == "penstock: scripted MODEL_NOT_FOUND"
    assert "/reset" in out
