"""`penstock.openai.http_client` answers in the process what the gateway answers over HTTP, byte for byte."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import grpc
import httpx
import httpx2
import pytest

from penstock import AsyncClient, Retry
from penstock.openai import http_client
from penstock.v1 import generation_pb2 as pb
from tests.gateway.scripted_upstream import MODEL, SLASHED_MODEL, Failure, Script, ScriptedUpstream

CHAT = {"model": MODEL, "messages": [{"role": "user", "content": "Hi"}]}
TEXT = {"model": MODEL, "prompt": "Hi"}
EMBED = {"model": MODEL, "input": "Hi"}
CALLING = Script(
    finish=pb.FINISH_REASON_TOOL_CALLS,
    deltas=[
        pb.SequenceDelta(reasoning="Hm. \u2028"),
        pb.SequenceDelta(tool_calls=[pb.ToolCallDelta(index=0, id="call-1", name="add", arguments="{}")]),
    ],
)
FULL = Failure(grpc.StatusCode.RESOURCE_EXHAUSTED, reason="QUOTA", retry_delay_ms=1500)
WRONG = Failure(grpc.StatusCode.INVALID_ARGUMENT, violations=[("sampling.temperature", "is 9; at most 2")])
DEAD = Failure(grpc.StatusCode.UNAVAILABLE, reason="ENGINE_DEAD")


@pytest.fixture
async def in_process(upstream_server: tuple[str, ScriptedUpstream]) -> AsyncIterator[httpx2.AsyncClient]:
    async with AsyncClient(upstream_server[0], retry=Retry(attempts=1)) as client:
        async with http_client(client) as http:
            yield http


@pytest.mark.parametrize(
    ("method", "path", "body", "script"),
    [
        ("POST", "/v1/chat/completions", CHAT, Script()),
        ("POST", "/v1/chat/completions", CHAT, CALLING),
        ("POST", "/v1/chat/completions", {**CHAT, "stream": True}, Script()),
        ("POST", "/v1/chat/completions", {**CHAT, "stream": True}, CALLING),
        ("POST", "/v1/chat/completions", {**CHAT, "stream": True, "stream_options": {"include_usage": True}}, Script()),
        ("POST", "/v1/chat/completions", {**CHAT, "stream": True}, Script(failure=DEAD, after=2)),
        ("POST", "/v1/chat/completions", {**CHAT, "stream": True}, Script(failure=DEAD)),
        ("POST", "/v1/chat/completions", CHAT, Script(failure=FULL)),
        ("POST", "/v1/chat/completions", CHAT, Script(failure=WRONG)),
        ("POST", "/v1/chat/completions", {**CHAT, "n": "many"}, Script()),
        ("POST", "/v1/chat/completions", [], Script()),
        ("POST", "/v1/completions", TEXT, Script()),
        ("POST", "/v1/completions", {**TEXT, "stream": True}, Script()),
        ("POST", "/v1/embeddings", EMBED, Script(vectors=[[0.5, 1.0]])),
        ("POST", "/v1/embeddings", {**EMBED, "encoding_format": "base64"}, Script(vectors=[[0.5, 1.0]])),
        ("GET", "/v1/models", None, Script()),
        ("GET", f"/v1/models/{SLASHED_MODEL}", None, Script()),
        ("GET", "/v1/models/meta-llama%2FLlama-3", None, Script()),
        ("GET", "/v1/models/absent", None, Script()),
        ("GET", "/v1/nothing", None, Script()),
    ],
)
async def test_it_answers_as_the_gateway_does(
    http: httpx.AsyncClient,
    in_process: httpx2.AsyncClient,
    upstream: ScriptedUpstream,
    method: str,
    path: str,
    body: Any,
    script: Script,
) -> None:
    upstream.script = script

    over_http = await http.request(method, path, json=body, headers={"x-request-id": "job-7"})
    directly = await in_process.request(method, f"http://penstock{path}", json=body, headers={"x-request-id": "job-7"})

    assert directly.status_code == over_http.status_code
    assert without_time(directly.content) == without_time(over_http.content)
    for name in ("content-type", "cache-control", "retry-after", "retry-after-ms", "x-request-id"):
        assert directly.headers.get(name) == over_http.headers.get(name), name


def without_time(body: bytes) -> bytes:
    """`created` is the time of the call."""
    return re.sub(rb'"created": ?\d+', b'"created": 0', body)
