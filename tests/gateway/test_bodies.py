import asyncio
import json
from collections.abc import AsyncIterator

import httpx
import pytest

from tests.gateway.running_gateway import serve_gateway
from tests.gateway.scripted_upstream import ScriptedUpstream

CHAT = {"messages": [{"role": "user", "content": "Hi"}]}
OPENAI_CHAT_FIELDS = [
    "audio", "frequency_penalty", "function_call", "functions", "logit_bias", "logprobs", "max_completion_tokens",
    "max_tokens", "metadata", "modalities", "model", "n", "parallel_tool_calls", "prediction", "presence_penalty",
    "prompt_cache_key", "reasoning_effort", "response_format", "safety_identifier", "seed", "service_tier", "stop",
    "store", "stream", "stream_options", "temperature", "tool_choice", "tools", "top_logprobs", "top_p", "user",
    "verbosity", "web_search_options",
]  # fmt: skip


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "application/x-www-form-urlencoded", ""])
async def test_the_content_type_does_not_matter(
    http: httpx.AsyncClient, upstream: ScriptedUpstream, content_type: str
) -> None:
    reply = await http.post(
        "/v1/chat/completions",
        content=json.dumps(CHAT),
        headers={"content-type": content_type, "accept": "image/png"},
    )

    assert reply.status_code == 200


async def test_unknown_fields_are_ignored_and_every_optional_field_may_be_null(
    http: httpx.AsyncClient, upstream: ScriptedUpstream
) -> None:
    body = CHAT | dict.fromkeys(OPENAI_CHAT_FIELDS) | {"surprise": {"a": [1]}, "user": "u-1", "store": False}

    reply = await http.post("/v1/chat/completions", json=body)

    assert reply.status_code == 200


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b"1", b'"text"', b"\xff\xfe{", b"[" * 100_000, b'{"prompt": 1' + b"1" * 5000 + b"}"],
    ids=["empty", "cut", "list", "null", "number", "string", "not utf-8", "deep", "long number"],
)
async def test_what_is_no_json_object_is_refused_in_a_sentence(
    http: httpx.AsyncClient, upstream: ScriptedUpstream, body: bytes
) -> None:
    reply = await http.post("/v1/completions", content=body)

    assert reply.status_code == 400
    assert "JSON" in reply.json()["error"]["message"]
    assert reply.json()["error"]["type"] == "invalid_request_error"
    assert upstream.requests == []


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/v1/chat/completions", {}, "messages"),
        ("/v1/chat/completions", {"messages": [{"role": "robot", "content": "Hi"}]}, "messages"),
        ("/v1/chat/completions", CHAT | {"temperature": "hot"}, "temperature"),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "\ud800"}]}, "messages"),
        ("/v1/completions", {}, "prompt"),
        ("/v1/completions", {"prompt": {"a": 1}}, "prompt"),
    ],
)
async def test_a_wrong_argument_is_refused_by_name(
    http: httpx.AsyncClient, upstream: ScriptedUpstream, path: str, body: object, param: str
) -> None:
    reply = await http.post(path, content=json.dumps(body))

    assert reply.status_code == 400
    assert reply.json()["error"]["param"].startswith(param)
    assert upstream.requests == []


async def test_a_large_body_is_refused_unread(
    upstream: ScriptedUpstream, upstream_server: tuple[str, ScriptedUpstream]
) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(64):
            yield b" " * 1024

    async with (
        serve_gateway(upstream=upstream_server[0], max_body_bytes=2048) as url,
        httpx.AsyncClient(base_url=url) as http,
    ):
        announced = await http.post("/v1/completions", content=b" " * 65_536)
        chunked = await http.post("/v1/completions", content=pieces())
        within = await http.post("/v1/completions", content=json.dumps({"prompt": "Hi"}).ljust(2048))

    assert (announced.status_code, chunked.status_code, within.status_code) == (413, 413, 200)
    assert "2048" in announced.json()["error"]["message"]


async def test_a_body_that_nobody_waited_for_is_not_asked_for(gateway: str, upstream: ScriptedUpstream) -> None:
    """`Expect: 100-continue`, which curl sends before large bodies, is answered with the refusal itself."""
    url = httpx.URL(gateway)
    head = f"POST /v1/completions HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: {1 << 40}\r\n\r\n"

    reader, writer = await asyncio.open_connection(url.host, url.port)
    writer.write(head.encode())
    status_line = await reader.readline()
    writer.close()

    assert status_line.split()[1] == b"413"
