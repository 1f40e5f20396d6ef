"""Tool calls, thoughts, logprobs, several choices and vectors, field for field what openai-python's types accept."""

import base64
import struct
from typing import Any

import grpc
import pytest
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types import Completion as OpenAICompletion
from openai.types import CreateEmbeddingResponse as OpenAIEmbeddings
from openai.types.chat import ChatCompletion as OpenAIChatCompletion
from openai.types.chat import ChatCompletionChunk as OpenAIChunk

from penstock import RateLimitError
from penstock.v1 import generation_pb2 as pb
from penstock.v1.mirrors_pb2 import RpcStatus
from tests.client.conftest import Caller
from tests.client.scripted_server import ScriptedServer

MESSAGES = [{"role": "user", "content": "1 + 1?"}]
TOOL = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
CALLS = [
    pb.ToolCall(id="call-1", name="add", arguments='{"a": 1}'),
    pb.ToolCall(id="call-2", name="now", arguments="{}"),
]
CALLING = pb.Finish(reason=pb.FINISH_REASON_TOOL_CALLS)
STOPPED = pb.Finish(reason=pb.FINISH_REASON_STOP)
LENGTH = pb.Finish(reason=pb.FINISH_REASON_LENGTH)
THOUGHT = pb.Usage(prompt_tokens=3, completion_tokens=5, reasoning_tokens=2)


def delta(index: int, finish: pb.Finish | None = None, **fields: Any) -> pb.SequenceDelta:
    return pb.SequenceDelta(index=index, finish=finish, **fields)


def token(text: str, raw: bytes | None = None, logprob: float = -0.5, **fields: Any) -> pb.TokenInfo:
    candidates = [pb.TokenCandidate(text=text, token_bytes=raw or text.encode(), logprob=logprob, rank=1)]
    return pb.TokenInfo(text=text, token_bytes=raw or text.encode(), logprob=logprob, candidates=candidates, **fields)


def answers(server: ScriptedServer, *sequences: pb.Sequence, usage: pb.Usage = THOUGHT) -> None:
    server.answers["Generate"] = pb.GenerateResponse(id="gen-1", model="tiny", sequences=sequences, usage=usage)


async def test_a_whole_answer_has_its_calls_and_thoughts(caller: Caller, server: ScriptedServer) -> None:
    answers(server, pb.Sequence(reasoning="Hm.", tool_calls=CALLS, finish=CALLING))

    answer = await caller.chat(messages=MESSAGES, tools=[TOOL], tool_choice="required")

    theirs = OpenAIChatCompletion.model_validate(answer.model_dump(), strict=True)
    message = theirs.choices[0].message
    assert (theirs.choices[0].finish_reason, message.content) == ("tool_calls", None)
    assert message.tool_calls is not None
    assert [call.to_dict() for call in message.tool_calls] == [
        {"id": "call-1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}},
        {"id": "call-2", "type": "function", "function": {"name": "now", "arguments": "{}"}},
    ]
    sent = answer.to_dict()["choices"][0]["message"]
    assert (sent["reasoning"], sent["reasoning_content"]) == ("Hm.", "Hm.")
    assert theirs.usage is not None
    assert theirs.usage.completion_tokens_details is not None
    assert theirs.usage.completion_tokens_details.reasoning_tokens == 2


async def test_an_answer_without_them_does_not_name_them(caller: Caller) -> None:
    answer = await caller.chat(messages=MESSAGES)

    assert answer.to_dict()["choices"][0]["message"].keys() == {"role", "content", "refusal"}
    assert "completion_tokens_details" not in answer.to_dict()["usage"]


async def test_streamed_calls_come_as_openais_own_reader_wants_them(caller: Caller, server: ScriptedServer) -> None:
    server.deltas = [
        [delta(0, reasoning="Hm")],
        [delta(0, reasoning=".", text="Well. ")],
        [delta(0, tool_calls=[pb.ToolCallDelta(index=0, id="call-1", name="add", arguments='{"a"')])],
        [
            delta(
                0,
                tool_calls=[
                    pb.ToolCallDelta(index=0, arguments=": 1}"),
                    pb.ToolCallDelta(index=1, id="call-2", name="now"),
                ],
            )
        ],
        [delta(0, CALLING, tool_calls=[pb.ToolCallDelta(index=1, arguments="{}")])],
    ]

    pieces = await caller.chat(messages=MESSAGES, tools=[TOOL], stream=True)

    state = ChatCompletionStreamState(input_tools=[TOOL])  # type: ignore[list-item]
    for piece in pieces:
        state.handle_chunk(OpenAIChunk.model_validate(piece.to_dict(), strict=True))
    final = state.get_final_completion()
    message = final.choices[0].message
    assert final.choices[0].finish_reason == "tool_calls"
    assert message.content == "Well. "
    assert [(call.id, call.function.name, call.function.arguments) for call in message.tool_calls or []] == [
        ("call-1", "add", '{"a": 1}'),
        ("call-2", "now", "{}"),
    ]
    sent = [piece.to_dict()["choices"][0]["delta"] for piece in pieces]
    assert "".join(each.get("reasoning_content", "") for each in sent) == "Hm."
    assert [each.get("reasoning") for each in sent] == [each.get("reasoning_content") for each in sent]
    calls = [call for each in sent for call in each.get("tool_calls", [])]
    assert [call.get("id") for call in calls] == ["call-1", None, "call-2", None]
    assert [call.get("type") for call in calls] == ["function", None, "function", None]
    assert sent[-1] == {}


async def test_a_chat_tells_how_likely_its_tokens_were(caller: Caller, server: ScriptedServer) -> None:
    tokens = [token("Hi"), token("\ufffd", b"\xc3", float("-inf"))]
    answers(server, pb.Sequence(text="Hi", tokens=tokens, finish=STOPPED))
    server.deltas = [[delta(0, text="Hi", tokens=tokens[:1])], [delta(0, STOPPED, tokens=tokens[1:])]]

    whole = await caller.chat(messages=MESSAGES, logprobs=True, top_logprobs=1)
    pieces = await caller.chat(messages=MESSAGES, logprobs=True, top_logprobs=1, stream=True)

    theirs = OpenAIChatCompletion.model_validate(whole.model_dump(), strict=True)
    assert theirs.choices[0].logprobs is not None
    content = theirs.choices[0].logprobs.content
    assert content is not None
    assert [(each.token, each.bytes, each.logprob) for each in content] == [
        ("Hi", [72, 105], -0.5),
        ("\ufffd", [0xC3], -9999.0),
    ]
    assert [each.logprob for each in content[0].top_logprobs] == [-0.5]
    chunks = [OpenAIChunk.model_validate(piece.model_dump(), strict=True) for piece in pieces]
    streamed = [chunk.choices[0].logprobs for chunk in chunks]
    assert [each for logprobs in streamed if logprobs for each in logprobs.content or []] == content
    assert server.requests[0].response.logprobs == 1


async def test_a_completion_tells_how_likely_its_tokens_were_and_where_they_are(
    caller: Caller, server: ScriptedServer
) -> None:
    tokens = [token("wö"), token("\ufffd", b"\xc3"), token("\ufffd", b"\xb6!"), token("?")]
    answers(server, pb.Sequence(text="wöö!?", tokens=tokens, finish=LENGTH))
    server.deltas = [[delta(0, text="wö", tokens=tokens[:2])], [delta(0, LENGTH, text="ö!?", tokens=tokens[2:])]]

    whole = await caller.complete(prompt="Once", logprobs=1)
    pieces = await caller.complete(prompt="Once", logprobs=1, stream=True)

    theirs = OpenAICompletion.model_validate(whole.model_dump(), strict=True).choices[0].logprobs
    assert theirs is not None
    assert theirs.text_offset == [0, 2, 2, 4]
    assert theirs.token_logprobs == [-0.5] * 4
    assert theirs.tokens == ["wö", "\ufffd", "\ufffd", "?"]
    assert theirs.top_logprobs is not None
    assert theirs.top_logprobs[0] == {"wö": -0.5}
    streamed = [piece.choices[0].logprobs for piece in pieces if piece.choices[0].logprobs]
    assert [offset for each in streamed for offset in each.text_offset] == theirs.text_offset


async def test_a_token_without_candidates_has_none(caller: Caller, server: ScriptedServer) -> None:
    answers(server, pb.Sequence(text="Hi", tokens=[pb.TokenInfo(text="Hi", logprob=-1)], finish=STOPPED))

    whole = await caller.complete(prompt="Once", logprobs=0)

    assert whole.choices[0].logprobs.top_logprobs is None


async def test_each_sequence_is_a_choice(caller: Caller, server: ScriptedServer) -> None:
    answers(
        server,
        pb.Sequence(index=0, text="a", finish=STOPPED),
        pb.Sequence(index=1, text="b", finish=LENGTH),
    )

    chat = await caller.chat(messages=MESSAGES, n=2)
    texts = await caller.complete(prompt=["x", "y"], n=2)

    OpenAIChatCompletion.model_validate(chat.model_dump(), strict=True)
    assert [(each.index, each.message.content, each.finish_reason) for each in chat.choices] == [
        (0, "a", "stop"),
        (1, "b", "length"),
    ]
    assert [(each.index, each.text) for each in texts.choices] == [(0, "a"), (1, "b"), (2, "a"), (3, "b")]


@pytest.mark.parametrize("include_usage", [False, True])
async def test_streamed_choices_keep_openais_rules(caller: Caller, server: ScriptedServer, include_usage: bool) -> None:
    server.deltas = [
        [delta(1, text="b")],
        [delta(0, text="a"), delta(1, STOPPED, text="B")],
        [delta(0, LENGTH, text="A")],
    ]

    pieces = await caller.chat(messages=MESSAGES, n=2, stream=True, stream_options={"include_usage": include_usage})

    by_choice: dict[int, list[Any]] = {0: [], 1: []}
    for piece in pieces:
        OpenAIChunk.model_validate(piece.model_dump(), strict=True)
        for choice in piece.choices:
            by_choice[choice.index].append(choice)
    for index, text, reason in ((0, "aA", "length"), (1, "bB", "stop")):
        choices = by_choice[index]
        assert [each.delta.role for each in choices] == ["assistant"] + [None] * (len(choices) - 1)
        assert "".join(each.delta.content or "" for each in choices) == text
        assert [each.finish_reason for each in choices] == [None] * (len(choices) - 1) + [reason]
    assert [bool(piece.usage) for piece in pieces] == [False] * (len(pieces) - 1) + [True]
    assert bool(pieces[-1].choices) is not include_usage


async def test_streamed_prompts_with_several_choices_each_are_told_apart(
    caller: Caller, server: ScriptedServer
) -> None:
    server.deltas = [[delta(0, text="a"), delta(1, text="b")], [delta(1, STOPPED), delta(0, STOPPED)]]

    pieces = await caller.complete(prompt=["x", "y"], n=2, stream=True)

    texts = ["", "", "", ""]
    finished = []
    for piece in pieces:
        for choice in piece.choices:
            texts[choice.index] += choice.text
            finished += [choice.index] if choice.finish_reason else []
    assert texts == ["a", "b", "a", "b"]
    assert sorted(finished) == [0, 1, 2, 3]


@pytest.fixture
def vectors(server: ScriptedServer) -> list[list[float]]:
    """What the server answers to texts."""
    vectors = [[1.0, 0.5], [-2.0, 0.25]]
    results = [pb.EmbedResult(embedding=pb.Embedding(values=each, prompt_tokens=2)) for each in vectors]
    server.answers["Embed"] = pb.EmbedResponse(
        id="emb-1", model="tiny", results=results, usage=pb.Usage(prompt_tokens=4)
    )
    return vectors


async def test_vectors_have_openais_shape(caller: Caller, vectors: list[list[float]]) -> None:
    answer = await caller.call("embeddings.create", input=["one", "two"], model="tiny", user="me")

    theirs = OpenAIEmbeddings.model_validate(answer.model_dump(), strict=True)
    assert [(each.index, each.embedding) for each in theirs.data] == list(enumerate(vectors))
    assert (theirs.model, theirs.object, theirs.usage.prompt_tokens, theirs.usage.total_tokens) == (
        "tiny",
        "list",
        4,
        4,
    )
    assert answer._request_id == "emb-1"


async def test_vectors_are_base64_if_asked_for(caller: Caller, vectors: list[list[float]]) -> None:
    answer = await caller.call("embeddings.create", input=["one", "two"], encoding_format="base64")

    assert [list(struct.unpack("<2f", base64.b64decode(each.embedding))) for each in answer.data] == vectors


async def test_more_texts_than_a_request_holds_come_back_in_their_order(
    caller: Caller, server: ScriptedServer, vectors: list[list[float]]
) -> None:
    answer = await caller.call("embeddings.create", input=["x"] * 65)

    assert sorted(len(asked.inputs) for asked in server.asked if isinstance(asked, pb.EmbedRequest)) == [1, 64]
    assert [each.index for each in answer.data] == [0, 1, 2, 3]
    assert answer.usage.total_tokens == 8


async def test_a_text_that_fails_fails_the_call(caller: Caller, server: ScriptedServer) -> None:
    full = RpcStatus(code=grpc.StatusCode.RESOURCE_EXHAUSTED.value[0], message="the queue is full")
    server.answers["Embed"] = pb.EmbedResponse(results=[pb.EmbedResult(status=full)])

    with pytest.raises(RateLimitError, match="the queue is full"):
        await caller.call("embeddings.create", input="one")
