"""The requests that frameworks send and the way that they read the replies, copied from their sources."""

import asyncio
import json
import shutil

import httpx
import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam

from tests.gateway.scripted_upstream import MODEL, ScriptedUpstream

STORY = "Once upon a time"
MESSAGES: list[ChatCompletionMessageParam] = [
    {"role": "system", "content": "You are a helpful assistant."},
    {"role": "user", "content": "Tell a story."},
]


async def test_metagpt_streams_and_counts(ai: openai.AsyncOpenAI, upstream: ScriptedUpstream) -> None:
    """metagpt/provider/openai_api.py: skips chunks without choices, reads usage where there is a finish_reason."""
    request = {"messages": MESSAGES, "max_tokens": 4096, "temperature": 0.0, "model": MODEL, "timeout": 600}
    collected, usage = [], None

    stream = await ai.chat.completions.create(**request, stream=True)  # type: ignore[call-overload]
    async for chunk in stream:
        if not chunk.choices:
            continue
        delta = chunk.choices[0].delta
        collected.append(delta.content or "")
        if chunk.choices[0].finish_reason and getattr(chunk, "usage", None):
            usage = openai.types.CompletionUsage(**dict(chunk.usage))

    assert "".join(collected) == STORY
    assert usage is not None
    assert usage.total_tokens == 10
    assert upstream.requests[0].stopping.max_tokens == 4096
    assert upstream.requests[0].sampling.HasField("temperature")


async def test_metagpt_without_a_stream(ai: openai.AsyncOpenAI, upstream: ScriptedUpstream) -> None:
    reply = await ai.chat.completions.create(messages=MESSAGES, max_tokens=4096, temperature=0.0, model=MODEL)

    assert reply.choices[0].message.content == STORY
    assert reply.usage is not None
    assert not getattr(reply.choices[0].message, "tool_calls", None)


async def test_dbgpt_reads_lines(http: httpx.AsyncClient, upstream: ScriptedUpstream) -> None:
    """dbgpt/model/utils/chatgpt_utils.py: other lines than `data: ` are text, choices[0]["delta"] is there."""
    body = {"messages": MESSAGES, "stream": True, "model": MODEL, "max_tokens": 256}
    headers = {"Authorization": "Bearer EMPTY", "Accept": "*/*"}
    text = ""

    async with http.stream("POST", "/v1/chat/completions", json=body, headers=headers) as reply:
        async for line in reply.aiter_lines():
            if not line:
                continue
            assert line.startswith("data: ")
            if line.startswith("data: [DONE]"):
                break
            obj = json.loads(line[len("data: ") :])
            assert "error_code" not in obj
            delta = obj["choices"][0]["delta"]
            if delta.get("content") is not None:
                text += delta["content"]

    assert text == STORY


async def test_dbgpt_takes_usage_from_a_chunk_with_a_choice(ai: openai.AsyncOpenAI, upstream: ScriptedUpstream) -> None:
    """dbgpt/model/proxy/llms/chatgpt.py: `usage` of any chunk that has a choice, and of a whole reply."""
    usages = []
    async for chunk in await ai.chat.completions.create(messages=MESSAGES, model=MODEL, stream=True):
        assert len(chunk.choices) > 0
        assert chunk.choices[0].delta is not None
        if chunk.usage:
            usages.append(chunk.usage.model_dump())
    whole = await ai.chat.completions.create(messages=MESSAGES, model=MODEL)

    assert [usage["total_tokens"] for usage in usages] == [10]
    assert whole.usage is not None
    assert whole.usage.model_dump()["total_tokens"] == 10


async def test_langchain_renames_max_tokens_and_sends_stream_false(
    http: httpx.AsyncClient, upstream: ScriptedUpstream
) -> None:
    body = {"model": MODEL, "messages": MESSAGES, "stream": False, "max_completion_tokens": 12}

    reply = await http.post("/v1/chat/completions", json=body)

    assert reply.json()["choices"][0]["message"] == {"role": "assistant", "content": STORY, "refusal": None}
    assert reply.json()["usage"]["total_tokens"] == 10
    assert upstream.requests[0].stopping.max_tokens == 12


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
async def test_curl(gateway: str, upstream: ScriptedUpstream) -> None:
    body = json.dumps({"model": MODEL, "messages": MESSAGES, "stream": True})
    curl = await asyncio.create_subprocess_exec(
        "curl", "-sN", f"{gateway}/v1/chat/completions", "-d", body, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await curl.communicate()

    assert curl.returncode == 0
    assert out.startswith(b"data: {")
    assert out.endswith(b"data: [DONE]\n\n")
