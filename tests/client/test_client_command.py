"""`penstock` on the command line: what all commands share, and those that answer once."""

import asyncio
import json
from pathlib import Path

import grpc
import pytest

from penstock.v1 import generation_pb2 as pb
from penstock.v1 import models_pb2
from tests.client.penstock_command import Penstock
from tests.client.penstock_terminal import on_terminal
from tests.client.scripted_server import ScriptedServer

ESCAPE = "\x1b"


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


async def test_generate_reads_stdin_without_its_last_end_of_line(penstock: Penstock, server: ScriptedServer) -> None:
    for arguments in ([], ["-"]):
        await penstock("generate", *arguments, stdin="Once\nupon\n\n")

    assert [request.prompt for request in server.requests] == ["Once\nupon\n"] * 2


async def test_generate_sends_what_its_options_say(penstock: Penstock, server: ScriptedServer, tmp_path: Path) -> None:
    schema = tmp_path / "schema.json"
    schema.write_text('{"type": "object"}')
    options = "--model prod --top-p 0.5 --top-k 4 --seed 7 --stop . --stop ! --no-thinking --presence-penalty 1"

    await penstock("generate", "Hi", "--system", "Be brief.", "--schema", str(schema), *options.split())

    request = server.requests[0]
    roles = [pb.Role.Name(message.role) for message in request.conversation.messages]
    assert roles == ["ROLE_SYSTEM", "ROLE_USER"]
    assert json.loads(request.structured_output.json_schema) == {"type": "object"}
    assert (request.model, list(request.stopping.stop)) == ("prod", [".", "!"])
    sampling = request.sampling
    assert (sampling.top_p, sampling.top_k, sampling.seed, sampling.presence_penalty) == (0.5, 4, 7, 1)
    assert request.reasoning.enabled is False


@pytest.mark.parametrize("text", ["{", "[]"])
async def test_a_file_that_is_no_schema_is_a_usage_error(penstock: Penstock, tmp_path: Path, text: str) -> None:
    schema = tmp_path / "schema.json"
    schema.write_text(text)

    status, out, err = await penstock("generate", "Hi", "--schema", str(schema))

    assert (status, out) == (2, "")
    assert "--schema" in err


async def test_generate_prints_the_reply_as_json(penstock: Penstock) -> None:
    _, out, _ = await penstock("generate", "Once", "--json")

    assert json.loads(out)["sequences"][0]["text"] == "Hello wörld"


async def test_generate_prints_each_chunk_as_json(penstock: Penstock) -> None:
    _, out, _ = await penstock("generate", "Once", "--json", "--stream")

    chunks = [json.loads(line) for line in out.splitlines()]
    assert "".join(delta.get("text", "") for chunk in chunks for delta in chunk["deltas"]) == "Hello wörld"


async def test_an_answer_that_breaks_off_stays_and_its_error_follows(
    penstock: Penstock, server: ScriptedServer
) -> None:
    server.refuse(grpc.StatusCode.INTERNAL, "BROKEN", after=1)

    status, out, err = await penstock("generate", "Once")

    assert (status, out) == (1, "Hello\n")
    assert err.startswith("penstock: the stream broke off after 5 characters")
    assert err.count("\n") == 1


async def test_generate_can_ask_for_a_stream_that_outlives_its_connection(
    penstock: Penstock, server: ScriptedServer
) -> None:
    status, out, _ = await penstock("generate", "Once", "--resume")

    assert (status, out) == (0, "Hello wörld\n")
    assert server.requests[0].resumable


async def test_an_error_is_one_sentence_and_status_1(penstock: Penstock, server: ScriptedServer) -> None:
    server.refuse(grpc.StatusCode.NOT_FOUND, "MODEL_NOT_FOUND")

    status, out, err = await penstock("generate", "Once", "--model", "nope")

    assert (status, out) == (1, "")
    assert err == "penstock: scripted MODEL_NOT_FOUND\n"


async def test_what_a_server_says_moves_no_cursor(penstock: Penstock, server: ScriptedServer) -> None:
    server.fail(grpc.StatusCode.INVALID_ARGUMENT, f"wrong:{ESCAPE}[2J\nmodel")

    _, _, err = await penstock("generate", "Once")

    assert err == "penstock: wrong:[2J model\n"


@pytest.mark.parametrize("flags", [[], ["--no-stream"]])
async def test_what_a_model_writes_moves_no_cursor(server: ScriptedServer, flags: list[str]) -> None:
    server.texts = ["Hel\x1b[2J", "lo\x9b2J\x07 w\x7förld"]
    async with on_terminal(server.target, "generate", "Once", *flags, TERM="dumb") as terminal:
        assert await terminal.ended() == 0

        await terminal.until("Hel[2Jlo2J wörld\r\n")


@pytest.mark.parametrize("flags", [[], ["--stream"]])
async def test_json_on_a_terminal_is_ascii_and_says_the_same(server: ScriptedServer, flags: list[str]) -> None:
    server.texts = ["Hel\x1b[2Jlo\x9b2J w\x7förld"]
    async with on_terminal(server.target, "generate", "Once", "--json", *flags) as terminal:
        assert await terminal.ended() == 0
        await terminal.until("rld")
        await terminal.until("}\r\n")

        first = terminal.shown.splitlines()[0]

        assert first.isascii()
        assert first.isprintable()
        printed = json.loads(first)
        assert (printed.get("sequences") or printed["deltas"])[0]["text"] == server.texts[0]


@pytest.mark.parametrize("command", [["models"], ["generate", "Hi"], ["health"], ["adapters", "list"]])
async def test_an_unreachable_server_is_one_sentence_and_status_1(command: list[str]) -> None:
    status, out, err = await Penstock("127.0.0.1:1")(*command, "--timeout", "5")

    assert (status, out) == (1, "")
    assert err.startswith("penstock: ")
    assert err.count("\n") == 1


async def test_a_wrong_argument_names_itself(penstock: Penstock, server: ScriptedServer) -> None:
    assert (await penstock("generate", "Once", "--max-tokens", "many"))[0] == 2

    status, _, err = await penstock("generate", "Once", "--max-tokens", str(1 << 40))

    assert (status, err) == (1, "penstock: max_tokens does not fit 32 bits\n")
    assert not server.requests


async def test_ctrl_c_ends_a_command_with_130(server: ScriptedServer) -> None:
    server.block_after = 1
    async with on_terminal(server.target, "generate", "Once") as terminal:
        await terminal.until("Hello")

        terminal.ctrl_c()

        assert await terminal.ended() == 130
        await asyncio.wait_for(server.cancelled.wait(), 5)
        assert "Traceback" not in terminal.shown


async def test_a_closed_pipe_ends_a_command_quietly(penstock: Penstock, server: ScriptedServer) -> None:
    server.texts = ["word "] * 20_000
    async with penstock.running("generate", "Once") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        await asyncio.wait_for(process.stdout.readexactly(5), 20)

        process.stdout._transport.close()  # type: ignore[attr-defined]  # the reader has no close of its own

        assert await asyncio.wait_for(process.stderr.read(), 20) == b""
        assert await asyncio.wait_for(process.wait(), 20) == 1


async def test_models_lists_the_names_when_piped(penstock: Penstock) -> None:
    assert await penstock("models") == (0, "tiny\n", "")


async def test_models_prints_each_as_json(penstock: Penstock) -> None:
    _, out, _ = await penstock("models", "--json")

    model = json.loads(out)
    assert (model["id"], model["aliases"], model["context_length"]) == ("tiny", ["prod"], 1024)


async def test_models_shows_a_table_on_a_terminal(server: ScriptedServer) -> None:
    server.tiny.aliases[:] = [f"pr{ESCAPE}]0;od"]
    async with on_terminal(server.target, "models") as terminal:
        assert await terminal.ended() == 0

        await terminal.until("1024 tokens")
        assert "pr]0;od" in terminal.shown


async def test_embed_prints_a_vector_for_each_line(penstock: Penstock, server: ScriptedServer) -> None:
    embedding = pb.Embedding(values=[0.5, -0.25], prompt_tokens=3)
    failed = pb.EmbedResult(status={"code": grpc.StatusCode.INVALID_ARGUMENT.value[0], "message": "too long"})
    server.answers["Embed"] = pb.EmbedResponse(results=[pb.EmbedResult(embedding=embedding), failed])

    status, out, _ = await penstock("embed", "--json", "--dimensions", "2", stdin="one\n\ntwo\n")
    *_, err = await penstock("embed", "one", "two")

    assert status == 1
    vector, error = map(json.loads, out.splitlines())
    assert vector == {"index": 0, "prompt_tokens": 3, "values": [0.5, -0.25]}
    assert (error["index"], error["error"]["message"]) == (1, "too long")
    request = server.asked[0]
    assert isinstance(request, pb.EmbedRequest)
    assert [each.text for each in request.inputs] == ["one", "two"]
    assert err == "penstock: text 1: too long\n"


async def test_status_shows_every_endpoint_and_fails_if_one_does_not_serve(server: ScriptedServer) -> None:
    serving = await Penstock(server.target)("status")
    status, out, err = await Penstock(server.target, "127.0.0.1:1")("status", "--json")

    assert serving[0] == 0
    assert "SERVING" in serving[1]
    assert "1024 tokens" in serving[1]
    up, down = map(json.loads, out.splitlines())
    assert (status, err) == (1, "")
    assert (up["endpoint"], up["health"], up["models"][0]["id"]) == (server.target, "SERVING", "tiny")
    assert (down["endpoint"], down["health"], down["models"]) == ("127.0.0.1:1", "UNREACHABLE", [])


async def test_health_says_serving_with_status_0(penstock: Penstock) -> None:
    assert await penstock("health") == (0, "SERVING\n", "")


async def test_health_says_not_serving_with_status_1(penstock: Penstock, server: ScriptedServer) -> None:
    await server.set_health("NOT_SERVING")

    assert await penstock("health", "--wait", "0.3") == (1, "NOT_SERVING\n", "")


async def test_health_waits_until_the_server_serves(penstock: Penstock, server: ScriptedServer) -> None:
    await server.set_health("NOT_SERVING")
    async with penstock.running("health", "--wait", "20") as process:
        await asyncio.wait_for(server.health_checked.wait(), 20)

        await server.set_health("SERVING")

        out, _ = await asyncio.wait_for(process.communicate(), 20)
        assert (process.returncode, out) == (0, b"SERVING\n")


async def test_adapters_are_listed_loaded_unloaded_and_named(penstock: Penstock, server: ScriptedServer) -> None:
    poet = models_pb2.Adapter(name="poet", version="2", rank=8)
    server.tiny.adapters.append(poet)
    server.tiny.adapter_aliases.add(name="best", target="poet@2")
    server.answers = {
        "LoadAdapter": models_pb2.LoadAdapterResponse(adapter=poet),
        "UnloadAdapter": models_pb2.UnloadAdapterResponse(),
        "SetAlias": models_pb2.SetAliasResponse(previous_target="poet@1"),
    }

    assert await penstock("adapters", "list") == (0, "poet@2\n", "")
    assert json.loads((await penstock("adapters", "list", "--json"))[1])["aliases"] == ["best"]
    assert await penstock("adapters", "load", "poet", "2") == (0, "poet@2\n", "")
    assert await penstock("adapters", "unload", "poet", "1") == (0, "", "")
    assert await penstock("adapters", "alias", "best", "poet@2") == (0, "poet@1\n", "")
    assert (await penstock("adapters", "alias", "best"))[0] == 2
    assert server.asked == [
        models_pb2.LoadAdapterRequest(name="poet", version="2"),
        models_pb2.UnloadAdapterRequest(name="poet", version="1"),
        models_pb2.SetAliasRequest(alias="best", target="poet@2"),
    ]
