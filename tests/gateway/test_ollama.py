"""Ollama's routes: the requests that its clients send, and the way that they read the replies."""

import json
from typing import Any

import grpc
import httpx
import pytest

from penstock.v1 import generation_pb2 as pb
from tests.gateway.scripted_upstream import MODEL, Failure, Script, ScriptedUpstream

STORY = "Once upon a time"
MESSAGES = [{"role": "user", "content": "Tell a story."}]
CHAT = {"model": MODEL, "messages": MESSAGES}
WHOLE = CHAT | {"stream": False}
ADD = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
CALLING = Script(
    deltas=[
        pb.SequenceDelta(reasoning="Hm."),
        pb.SequenceDelta(tool_calls=[pb.ToolCallDelta(index=0, id="call-1", name="add", arguments='{"a"')]),
        pb.SequenceDelta(tool_calls=[pb.ToolCallDelta(index=0, arguments=": 1}")]),
    ],
    finish=pb.FINISH_REASON_TOOL_CALLS,
)
CALL = {"function": {"name": "add", "arguments": {"a": 1}}}


def lines_of(reply: httpx.Response) -> list[dict[str, Any]]:
    """Each line's object; blank lines would break ollama-python."""
    assert reply.content.endswith(b"\n")
    return [json.loads(line) for line in reply.content[:-1].split(b"\n")]


async def test_a_chat_streams_lines_unless_it_says_otherwise(
    http: httpx.AsyncClient, upstream: ScriptedUpstream
) -> None:
    """metagpt/provider/ollama_api.py drops the last line's text; dbgpt's ollama.py reads its message."""
    reply = await http.post("/api/chat", json=CHAT)

    *texts, last = lines_of(reply)
    assert reply.headers["content-type"] == "application/x-ndjson"
    assert "".join(line["message"]["content"] for line in texts) == STORY
    assert all(line["done"] is False and line["model"] == MODEL for line in texts)
    assert last["message"] == {"role": "assistant", "content": ""}
    assert (last["done"], last["done_reason"]) == (True, "stop")
    assert (last["prompt_eval_count"], last["eval_count"]) == (7, 3)
    assert last["total_duration"] == last["prompt_eval_duration"] + last["eval_duration"]


async def test_a_whole_chat_is_one_object(http: httpx.AsyncClient, upstream: ScriptedUpstream) -> None:
    upstream.script = Script(finish=pb.FINISH_REASON_LENGTH)

    reply = (await http.post("/api/chat", json=WHOLE)).json()

    assert reply["message"] == {"role": "assistant", "content": STORY}
    assert (reply["done"], reply["done_reason"], reply["eval_count"]) == (True, "length", 3)


async def test_its_options_reach_the_service(http: httpx.AsyncClient, upstream: ScriptedUpstream) -> None:
    options = {
        "temperature": 0.3,
        "top_k": 4,
        "repeat_penalty": 1.1,
        "num_predict": 9,
        "stop": ["x"],
        "num_ctx": 4096,
        "mirostat": 0,
    }

    await http.post("/api/chat", json=WHOLE | {"options": options, "keep_alive": "5m"})
    await http.post("/api/chat", json=WHOLE | {"options": {"num_predict": -1}})

    first, second = upstream.requests
    assert first.sampling == pb.SamplingOptions(temperature=0.3, top_k=4, repetition_penalty=1.1)
    assert first.stopping == pb.StoppingOptions(max_tokens=9, stop=["x"])
    assert not second.HasField("stopping")


@pytest.mark.parametrize("stream", [False, True])
async def test_calls_of_tools_are_whole_objects(
    http: httpx.AsyncClient, upstream: ScriptedUpstream, stream: bool
) -> None:
    upstream.script = CALLING

    reply = await http.post("/api/chat", json=CHAT | {"stream": stream, "tools": [ADD], "think": True})

    messages = [line["message"] for line in lines_of(reply)] if stream else [reply.json()["message"]]
    assert [call for message in messages for call in message.get("tool_calls", [])] == [CALL]
    assert "".join(message.get("thinking", "") for message in messages) == "Hm."
    assert upstream.requests[0].tools[0].name == "add"
    assert upstream.requests[0].reasoning.enabled


async def test_a_tools_result_answers_the_call_of_that_tool(
    http: httpx.AsyncClient, upstream: ScriptedUpstream
) -> None:
    now = {"function": {"name": "now", "arguments": {}}}
    said = {"role": "assistant", "content": "", "thinking": "Hm.", "tool_calls": [CALL, now]}
    results = [
        {"role": "tool", "tool_name": "now", "content": "noon"},
        {"role": "tool", "tool_name": "add", "content": "2"},
    ]

    await http.post("/api/chat", json=WHOLE | {"messages": [*MESSAGES, said, *results]})

    asked, first, second = upstream.requests[0].conversation.messages[1:]
    add_id, now_id = (call.id for call in asked.tool_calls)
    assert (first.tool_call_id, second.tool_call_id) == (now_id, add_id)
    assert json.loads(asked.tool_calls[0].arguments) == {"a": 1}
    assert asked.reasoning == "Hm."


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("json", pb.StructuredOutput(json_object=pb.JsonObject())),
        ({"type": "object"}, pb.StructuredOutput(json_schema='{"type": "object"}')),
    ],
)
async def test_the_format_is_the_answers_form(
    http: httpx.AsyncClient, upstream: ScriptedUpstream, form: object, expected: pb.StructuredOutput
) -> None:
    await http.post("/api/chat", json=WHOLE | {"format": form})

    assert upstream.requests[0].structured_output == expected


@pytest.mark.parametrize(
    ("think", "expected"),
    [
        (False, pb.ReasoningOptions(enabled=False)),
        ("high", pb.ReasoningOptions(enabled=True, effort=pb.REASONING_EFFORT_HIGH)),
    ],
)
async def test_thinking_is_asked_for(
    http: httpx.AsyncClient, upstream: ScriptedUpstream, think: object, expected: pb.ReasoningOptions
) -> None:
    await http.post("/api/chat", json=WHOLE | {"think": think})

    assert upstream.requests[0].reasoning == expected


async def test_pictures_are_parts_of_their_message(http: httpx.AsyncClient, upstream: ScriptedUpstream) -> None:
    message = {"role": "user", "content": "What is this?", "images": ["iVBORw=="]}

    await http.post("/api/chat", json=WHOLE | {"messages": [message]})

    text, picture = upstream.requests[0].conversation.messages[0].content
    assert (text.text, picture.image.data) == ("What is this?", b"\x89PNG")


@pytest.mark.parametrize("given", ["one", ["one", "two"]])
async def test_texts_become_vectors(http: httpx.AsyncClient, upstream: ScriptedUpstream, given: object) -> None:
    upstream.script = Script(vectors=[[1.0, 0.5]])

    reply = (await http.post("/api/embed", json={"model": MODEL, "input": given, "options": {}})).json()

    assert (reply["model"], reply["embeddings"], reply["prompt_eval_count"]) == (MODEL, [[1.0, 0.5]], 2)
    assert upstream.embedded[0].inputs[0].text == "one"


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "messages"),
        ({"messages": [5]}, "messages[0]"),
        ({"messages": [{"role": "tool", "content": "2"}]}, "messages[0]"),
        ({"messages": [{"role": "assistant", "tool_calls": [{}]}]}, "messages[0].tool_calls"),
        ({"messages": [{"role": "user", "images": [5]}]}, "images"),
        ({"options": 5}, "options"),
        ({"options": {"mirostat": 2}}, "options.mirostat"),
        ({"options": {"temperature": "hot"}}, "temperature"),
        ({"format": "xml"}, "format"),
        ({"think": 5}, "think"),
        ({"logprobs": True}, "logprobs"),
    ],
)
async def test_a_wrong_body_is_refused_in_a_sentence(
    http: httpx.AsyncClient, upstream: ScriptedUpstream, body: dict[str, object], says: str
) -> None:
    reply = await http.post("/api/chat", json=({"messages": MESSAGES} if body else {}) | body)

    assert reply.status_code == 400
    assert reply.json().keys() == {"error"}
    assert says in reply.json()["error"]
    assert upstream.requests == []


@pytest.mark.parametrize("stream", [False, True])
async def test_a_refusal_is_a_status(http: httpx.AsyncClient, upstream: ScriptedUpstream, stream: bool) -> None:
    upstream.script = Script(failure=Failure(grpc.StatusCode.NOT_FOUND, "no such model", "MODEL_NOT_FOUND"))

    reply = await http.post("/api/chat", json=CHAT | {"stream": stream})

    assert (reply.status_code, reply.json()) == (404, {"error": "no such model"})


async def test_an_error_in_mid_stream_is_the_last_line(http: httpx.AsyncClient, upstream: ScriptedUpstream) -> None:
    upstream.script = Script(after=2, failure=Failure(grpc.StatusCode.UNAVAILABLE, "engine died", "ENGINE_DEAD"))

    *texts, last = lines_of(await http.post("/api/chat", json=CHAT))

    assert "".join(line["message"]["content"] for line in texts) == "Once upon"
    assert "engine died" in last["error"]


@pytest.mark.parametrize("stream", [False, True])
async def test_arguments_that_are_no_object_are_an_error(
    http: httpx.AsyncClient, upstream: ScriptedUpstream, stream: bool
) -> None:
    call = pb.ToolCallDelta(index=0, id="call-1", name="add", arguments="[1")
    upstream.script = Script(deltas=[pb.SequenceDelta(tool_calls=[call])], finish=pb.FINISH_REASON_TOOL_CALLS)

    reply = await http.post("/api/chat", json=CHAT | {"stream": stream})

    assert reply.status_code == (200 if stream else 500)
    assert "no JSON object" in lines_of(reply)[-1]["error"] if stream else reply.json()["error"]


async def test_its_other_routes_are_not_there(http: httpx.AsyncClient) -> None:
    reply = await http.get("/api/tags")

    assert (reply.status_code, reply.json()) == (404, {"error": "GET /api/tags: there is no such route"})
