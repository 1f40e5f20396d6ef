"""The exact bytes of a stream."""

import json
from typing import Any

import grpc
import httpx

from penstock.openai_shape import server_sent_events
from tests.gateway.scripted_upstream import Failure, Script, ScriptedUpstream

CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
TEXT = {"model": "tiny", "prompt": "Hi", "stream": True}


def events_of(body: bytes) -> list[dict[str, Any]]:
    """The JSON of each event, after checking that there is nothing but such events and the final [DONE]."""
    *events, done, rest = body.split(b"\n\n")
    assert done == b"data: [DONE]"
    assert rest == b""
    for event in events:
        assert event.startswith(b"data: {")
        assert b"\n" not in event
    return [json.loads(event.removeprefix(b"data: ")) for event in events]


async def test_a_chat_stream_is_role_content_finish_and_done(
    http: httpx.AsyncClient, upstream: ScriptedUpstream
) -> None:
    reply = await http.post("/v1/chat/completions", json=CHAT)

    events = events_of(reply.content)
    deltas = [event["choices"][0]["delta"] for event in events]
    assert "".join(delta.get("content") or "" for delta in deltas) == "Once upon a time"
    assert [delta.get("role") for delta in deltas] == ["assistant"] + [None] * (len(deltas) - 1)
    assert [event["choices"][0]["finish_reason"] for event in events] == [None] * (len(events) - 1) + ["stop"]
    assert {event["object"] for event in events} == {"chat.completion.chunk"}
    assert len({(event["id"], event["created"], event["model"]) for event in events}) == 1


async def test_a_text_stream_carries_texts(http: httpx.AsyncClient, upstream: ScriptedUpstream) -> None:
    reply = await http.post("/v1/completions", json=TEXT)

    events = events_of(reply.content)
    assert "".join(event["choices"][0]["text"] for event in events) == "Once upon a time"
    assert {event["object"] for event in events} == {"text_completion"}
    assert events[-1]["choices"][0]["finish_reason"] == "stop"


async def test_a_stream_says_what_it_is_to_clients_and_to_proxies(
    http: httpx.AsyncClient, upstream: ScriptedUpstream
) -> None:
    reply = await http.post("/v1/chat/completions", json=CHAT)

    assert reply.status_code == 200
    assert reply.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert reply.headers["cache-control"] == "no-cache"
    assert reply.headers["x-accel-buffering"] == "no"
    assert "content-length" not in reply.headers


async def test_usage_rides_on_the_finish_chunk_unless_it_was_asked_for(
    http: httpx.AsyncClient, upstream: ScriptedUpstream
) -> None:
    unasked = events_of((await http.post("/v1/chat/completions", json=CHAT)).content)
    asked = events_of(
        (await http.post("/v1/chat/completions", json=CHAT | {"stream_options": {"include_usage": True}})).content
    )

    assert all(event["choices"] for event in unasked)
    assert [bool(event.get("usage")) for event in unasked] == [False] * (len(unasked) - 1) + [True]
    assert unasked[-1]["usage"]["total_tokens"] == 10
    assert [event["choices"] == [] for event in asked] == [False] * (len(asked) - 1) + [True]
    assert [event["usage"] for event in asked[:-1]] == [None] * (len(asked) - 1)
    assert asked[-1]["usage"]["total_tokens"] == 10


async def test_no_text_can_break_a_line(http: httpx.AsyncClient, upstream: ScriptedUpstream) -> None:
    """Readers that split lines as Python does, httpx's among them, end a line at more characters than \\n."""
    text = "a\nb\r\nc\x0bd\x0ce\x1cf\x85g\u2028h\u2029i\x00\u65e5\U0001f600"
    upstream.script = Script(pieces=(text,))

    async with http.stream("POST", "/v1/chat/completions", json=CHAT) as reply:
        lines = [line async for line in reply.aiter_lines() if line]

    events = [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]
    assert lines[-1] == "data: [DONE]"
    assert "".join(event["choices"][0]["delta"].get("content") or "" for event in events) == text


async def test_an_error_before_the_first_chunk_is_a_status(http: httpx.AsyncClient, upstream: ScriptedUpstream) -> None:
    upstream.script = Script(failure=Failure(grpc.StatusCode.NOT_FOUND, "no such model", "MODEL_NOT_FOUND"))

    reply = await http.post("/v1/chat/completions", json=CHAT)

    assert reply.status_code == 404
    assert reply.headers["content-type"] == "application/json"
    assert reply.json()["error"]["code"] == "model_not_found"


async def test_an_error_after_the_first_chunk_is_the_last_event(
    http: httpx.AsyncClient, upstream: ScriptedUpstream
) -> None:
    upstream.script = Script(after=2, failure=Failure(grpc.StatusCode.UNAVAILABLE, "engine died", "ENGINE_DEAD"))

    reply = await http.post("/v1/completions", json=TEXT)

    *events, last, rest = reply.content.split(b"\n\n")
    assert reply.status_code == 200
    assert len(events) >= 1
    assert b"[DONE]" not in reply.content
    assert rest == b""
    assert last.startswith(b'data: {"error": {')
    assert set(json.loads(last.removeprefix(b"data: "))["error"]) == {"message", "type", "param", "code"}


async def test_chunks_arrive_as_they_are_made(http: httpx.AsyncClient, upstream: ScriptedUpstream) -> None:
    upstream.script = Script(after=1, hold=True)

    async with http.stream("POST", "/v1/completions", json=TEXT) as reply:
        pieces = reply.aiter_bytes()
        first = await anext(pieces)
        await upstream.held.wait()
        upstream.released.set()
        rest = b"".join([piece async for piece in pieces])

    assert first.startswith(b"data: {")
    assert rest.endswith(b"data: [DONE]\n\n")


def test_an_event_escapes_what_json_leaves_raw() -> None:
    escaped = server_sent_events.event('{"a":"\u2028\x85\u2029\u00e9"}')

    assert escaped == 'data: {"a":"\\u2028\\u0085\\u2029\u00e9"}\n\n'.encode()
