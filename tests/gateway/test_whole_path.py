"""The gateway in front of the service itself, with the simulated engine."""

import asyncio
import json
from typing import Any

import httpx
import openai
import pytest

from tests.conftest import OpenService, Running, eventually
from tests.gateway.running_gateway import serve_gateway

CHAT: dict[str, Any] = {"model": "builtin", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 8}


async def test_a_stream_says_what_the_whole_reply_says(simulated: Running) -> None:
    async with (
        serve_gateway(upstream=simulated.address) as url,
        openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="EMPTY", max_retries=0) as ai,
    ):
        whole = await ai.chat.completions.create(**CHAT)
        stream = await ai.chat.completions.create(**CHAT, stream=True)
        streamed = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
        listed = [model.id async for model in ai.models.list()]

    assert streamed == whole.choices[0].message.content
    assert whole.choices[0].finish_reason == "length"
    assert whole.usage is not None
    assert whole.usage.completion_tokens == 8
    assert listed == ["builtin"]


async def test_the_service_names_the_callers_wrong_argument(simulated: Running) -> None:
    async with (
        serve_gateway(upstream=simulated.address) as url,
        openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="EMPTY", max_retries=0) as ai,
    ):
        with pytest.raises(openai.BadRequestError) as hot:
            await ai.chat.completions.create(**CHAT, temperature=9)
        with pytest.raises(openai.BadRequestError) as long:
            await ai.completions.create(model="builtin", prompt="x" * 100_000)
        with pytest.raises(openai.NotFoundError) as absent:
            await ai.completions.create(model="gpt-4", prompt="Hi")

    assert hot.value.param == "temperature"
    assert long.value.code == "context_length_exceeded"
    assert absent.value.code == "model_not_found"


async def test_max_tokens_beyond_the_context_is_no_error(open_service: OpenService) -> None:
    """MetaGPT always sends max_tokens 4096."""
    small = await open_service(simulated={"context_length": 32})
    async with serve_gateway(upstream=small.address) as url, httpx.AsyncClient(base_url=url) as http:
        reply = await http.post("/v1/chat/completions", json=CHAT | {"max_tokens": 4096})

    assert reply.status_code == 200
    assert reply.json()["choices"][0]["finish_reason"] == "length"


@pytest.mark.parametrize("stream", [False, True])
async def test_hanging_up_ends_the_generation(stuck: Running, stream: bool) -> None:
    async with serve_gateway(upstream=stuck.address) as url, httpx.AsyncClient(base_url=url) as http:
        asking = asyncio.create_task(http.post("/v1/chat/completions", json=CHAT | {"stream": stream}))
        await eventually(lambda: stuck.service.lifecycle.running == 1)

        asking.cancel()

        await eventually(lambda: stuck.service.lifecycle.running == 0)


async def test_while_the_model_loads_callers_learn_when_to_come_back(open_service: OpenService) -> None:
    loading = await open_service(ready=False, simulated={"load_seconds": 3600})
    async with serve_gateway(upstream=loading.address) as url, httpx.AsyncClient(base_url=url) as http:
        health = await http.get("/health")
        chat = await http.post("/v1/chat/completions", json=CHAT)

    assert (health.status_code, health.json()) == (503, {"status": "NOT_SERVING"})
    assert chat.status_code == 503
    assert chat.headers["retry-after"] == "5"
    assert chat.json()["error"]["code"] == "loading"


@pytest.mark.real_vllm
@pytest.mark.timeout(600)
async def test_the_official_client_gets_sentences_from_the_real_model(real: Running) -> None:
    messages: Any = [{"role": "user", "content": "What is a penstock?"}]
    async with (
        serve_gateway(upstream=real.address) as url,
        openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="EMPTY", max_retries=0) as ai,
    ):
        whole = await ai.chat.completions.create(model="builtin", messages=messages, temperature=0)
        stream = await ai.chat.completions.create(model="builtin", messages=messages, temperature=0, stream=True)
        deltas = [chunk.choices[0].delta.content or "" async for chunk in stream]
        completion = await ai.completions.create(model="builtin", prompt="Once upon a time", max_tokens=8)

    answer = whole.choices[0].message.content or ""
    assert "turbine" in answer
    assert whole.choices[0].finish_reason == "stop"
    assert "".join(deltas) == answer
    assert len(deltas) > 5
    assert completion.usage is not None
    assert completion.usage.completion_tokens == 8


ADD: Any = {
    "type": "function",
    "function": {
        "name": "add",
        "parameters": {
            "type": "object",
            "properties": {"a": {"type": "integer", "minimum": 0, "maximum": 9}},
            "required": ["a"],
        },
    },
}


@pytest.mark.real_vllm
@pytest.mark.timeout(600)
async def test_the_official_client_gets_calls_forms_and_logprobs_from_the_real_model(real: Running) -> None:
    # The penalty keeps a small model from filling the form with white space.
    asked: Any = {"model": "builtin", "messages": CHAT["messages"], "temperature": 0, "frequency_penalty": 2}
    tools: Any = {"tools": [ADD], "tool_choice": "required"}
    form: Any = {"type": "json_schema", "json_schema": {"name": "sum", "schema": ADD["function"]["parameters"]}}
    async with (
        serve_gateway(upstream=real.address) as url,
        openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="EMPTY", max_retries=0) as ai,
    ):
        create = ai.chat.completions.create
        called = await create(**asked, **tools)
        async with ai.chat.completions.stream(**asked, **tools) as stream:
            streamed = await stream.get_final_completion()
        formed = await create(**asked, response_format=form)
        likely = await create(**asked, logprobs=True, top_logprobs=2, n=2, max_tokens=3)

    for completion in (called, streamed):
        call: Any = (completion.choices[0].message.tool_calls or [])[0]
        assert call.function.name == "add"
        assert 0 <= json.loads(call.function.arguments)["a"] <= 9
        assert completion.choices[0].finish_reason == "tool_calls"
    assert 0 <= json.loads(formed.choices[0].message.content or "")["a"] <= 9
    assert [choice.index for choice in likely.choices] == [0, 1]
    for choice in likely.choices:
        assert choice.logprobs is not None
        assert [len(token.top_logprobs) for token in choice.logprobs.content or []] == [2, 2, 2]
