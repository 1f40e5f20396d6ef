"""What answers carry beside text: thoughts, tool calls, logprobs, several sequences, settings."""

from collections.abc import Sequence

import grpc
import pytest

from penstock import BadRequestError, NotFoundError, Reply
from penstock.v1 import generation_pb2 as pb
from penstock.v1.mirrors_pb2 import RpcStatus
from tests.client.conftest import Caller
from tests.client.script import USAGE
from tests.client.scripted_server import ScriptedServer

CALL = pb.ToolCall(id="call-1", name="add", arguments='{"a": 1}')
CALLING = pb.Finish(reason=pb.FINISH_REASON_TOOL_CALLS)
STOPPED = pb.Finish(reason=pb.FINISH_REASON_STOP)


def answers(server: ScriptedServer, *sequences: pb.Sequence) -> None:
    server.answers["Generate"] = pb.GenerateResponse(id="gen-1", model="tiny", sequences=sequences, usage=USAGE)


def streams(server: ScriptedServer, *deltas: Sequence[pb.SequenceDelta]) -> None:
    server.deltas = [list(each) for each in deltas]


async def test_a_reply_tells_thoughts_from_text_and_names_the_tools_it_wants(
    caller: Caller, server: ScriptedServer
) -> None:
    answers(server, pb.Sequence(text="Let me see.", reasoning="Hm.", tool_calls=[CALL], finish=CALLING))

    reply = await caller.generate(messages=[{"role": "user", "content": "1 + 1?"}], tools=[{"name": "add"}])

    assert (reply.text, reply.reasoning, reply.finish_reason) == ("Let me see.", "Hm.", "tool_calls")
    assert [(call.id, call.name, call.arguments) for call in reply.tool_calls] == [("call-1", "add", '{"a": 1}')]
    assert server.requests[0].tools[0].name == "add"


async def test_a_replys_message_goes_into_the_next_call(caller: Caller, server: ScriptedServer) -> None:
    answers(server, pb.Sequence(reasoning="Hm.", tool_calls=[CALL], finish=CALLING))
    question = {"role": "user", "content": "1 + 1?"}
    reply = await caller.generate(messages=[question])

    result = {"role": "tool", "tool_call_id": reply.tool_calls[0].id, "content": "2"}
    await caller.generate(messages=[question, reply.message, result])

    asked, answered = server.requests[1].conversation.messages[1:]
    assert asked == pb.Message(role=pb.ROLE_ASSISTANT, tool_calls=[CALL], reasoning="Hm.")
    assert (answered.role, answered.tool_call_id) == (pb.ROLE_TOOL, "call-1")


async def test_a_stream_puts_calls_together_from_their_pieces(caller: Caller, server: ScriptedServer) -> None:
    begin = pb.ToolCallDelta(index=0, id="call-1", name="add", arguments='{"a"')
    streams(
        server,
        [pb.SequenceDelta(reasoning="Hm.")],
        [pb.SequenceDelta(tool_calls=[begin])],
        [pb.SequenceDelta(tool_calls=[pb.ToolCallDelta(index=0, arguments=": 1}")], finish=CALLING)],
    )
    stream = caller.stream("1 + 1?")

    chunks = await stream.all()
    reply = await stream.reply()

    assert [chunk.reasoning for chunk in chunks] == ["Hm.", "", ""]
    assert [[call.arguments for call in chunk.tool_calls] for chunk in chunks] == [[], ['{"a"'], [": 1}"]]
    assert [chunk.finish_reason for chunk in chunks] == [None, None, "tool_calls"]
    assert (list(reply.tool_calls), reply.reasoning, reply.finish_reason) == ([CALL], "Hm.", "tool_calls")


@pytest.mark.parametrize("stream", [False, True])
async def test_every_token_tells_how_likely_it_was(caller: Caller, server: ScriptedServer, stream: bool) -> None:
    token = pb.TokenInfo(token_id=5, text="Hi", token_bytes=b"Hi", logprob=-0.5, rank=1)
    server.first.prompt.add(token_id=3)
    streams(server, [pb.SequenceDelta(text="Hi", tokens=[token], finish=STOPPED)])
    answers(server, pb.Sequence(text="Hi", tokens=[token], finish=STOPPED))
    server.answers["Generate"].MergeFrom(pb.GenerateResponse(prompt=[pb.TokenInfo(token_id=3)]))

    options = {"logprobs": 2, "prompt_logprobs": 0}
    reply: Reply = await (caller.stream("Once", **options).reply() if stream else caller.generate("Once", **options))

    assert list(reply.tokens) == [token]
    assert [each.token_id for each in reply.prompt] == [3]
    assert server.requests[0].response.logprobs == 2
    assert server.requests[0].response.HasField("prompt_logprobs")


async def test_of_several_sequences_the_text_is_the_firsts(caller: Caller, server: ScriptedServer) -> None:
    streams(
        server,
        [pb.SequenceDelta(index=1, text="b")],
        [pb.SequenceDelta(index=0, text="a"), pb.SequenceDelta(index=1, text="B", finish=STOPPED)],
        [pb.SequenceDelta(index=0, text="A", finish=STOPPED)],
    )
    stream = caller.stream("Once", num_sequences=2)

    chunks = await stream.all()
    reply = await stream.reply()

    assert [chunk.text for chunk in chunks] == ["", "a", "A"]
    assert [[(delta.index, delta.text) for delta in chunk.deltas] for chunk in chunks][1] == [(0, "a"), (1, "B")]
    assert [chunk.finish_reason for chunk in chunks] == [None, None, "stop"]
    assert stream.text == reply.text == "aA"
    assert [(answer.index, answer.text) for answer in reply.sequences] == [(0, "aA"), (1, "bB")]


@pytest.mark.parametrize("stream", [False, True])
async def test_settings_and_adapter_are_told(caller: Caller, server: ScriptedServer, stream: bool) -> None:
    settings = pb.Settings(sampling=pb.SamplingOptions(temperature=1), num_sequences=1)
    adapter = pb.AdapterVersion(name="poet", version="2", digest="sha256:00")
    server.first.MergeFrom(pb.GenerateChunk(settings=settings, adapter=adapter))
    answers(server, pb.Sequence(text="Hi", finish=STOPPED))
    server.answers["Generate"].MergeFrom(pb.GenerateResponse(settings=settings, adapter=adapter))

    options = {"return_settings": True, "model": "poet@2"}
    reply: Reply = await (caller.stream("Once", **options).reply() if stream else caller.generate("Once", **options))

    assert (reply.settings, reply.adapter) == (settings, adapter)
    assert server.requests[0].response.settings


async def test_a_batch_gives_each_input_its_reply_or_its_error(caller: Caller, server: ScriptedServer) -> None:
    whole = pb.GenerateResponse(id="gen-2", sequences=[pb.Sequence(text="Hi", finish=STOPPED)])
    failed = RpcStatus(code=grpc.StatusCode.INVALID_ARGUMENT.value[0], message="batch.inputs[1]: too long")
    server.answers["Generate"] = pb.GenerateResponse(
        id="gen-1", usage=USAGE, results=[pb.BatchResult(response=whole), pb.BatchResult(status=failed)]
    )

    batch = await caller.call("generate_batch", ["One", [1, 2]], max_tokens=5)

    first, second = batch
    assert first.text == "Hi"
    assert isinstance(second, BadRequestError)
    assert "too long" in str(second)
    assert (len(batch), batch[0].id, batch.id, batch.usage.prompt_tokens) == (2, "gen-2", "gen-1", 3)
    with pytest.raises(BadRequestError, match="too long"):
        _ = batch.replies
    assert [each.WhichOneof("input") for each in server.requests[0].batch.inputs] == ["prompt", "token_ids"]
    assert server.requests[0].stopping.max_tokens == 5


async def test_what_concerns_the_whole_batch_is_raised(caller: Caller, server: ScriptedServer) -> None:
    server.refuse(grpc.StatusCode.NOT_FOUND, "MODEL_NOT_FOUND")

    with pytest.raises(NotFoundError):
        await caller.call("generate_batch", ["One"])
