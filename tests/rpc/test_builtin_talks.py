"""The built-in model calls tools that it is given, answers from what they return, and thinks when it is asked to."""

import json

import pytest

from penstock import AsyncClient
from tests.conftest import Running

pytestmark = [pytest.mark.real_vllm, pytest.mark.timeout(600)]

WEATHER = {
    "name": "get_weather",
    "description": "Get the weather for a city",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
TIME = {
    "name": "get_time",
    "description": "Get the current time in a city",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
QUESTION = {"role": "user", "content": "What is the weather in Paris?"}


async def test_it_calls_the_tool_that_answers_the_question_and_says_what_came_back(real: Running) -> None:
    async with AsyncClient(real.address) as client:
        asked = await client.generate(messages=[QUESTION], tools=[WEATHER, TIME], temperature=0)
        (call,) = asked.tool_calls
        result = {"role": "tool", "tool_call_id": call.id, "content": '{"temperature": 21, "condition": "sunny"}'}
        messages = [QUESTION, asked.message, result]
        answer = await client.generate(messages=messages, tools=[WEATHER, TIME], temperature=0)

    assert (call.name, json.loads(call.arguments)) == ("get_weather", {"city": "Paris"})
    assert (asked.text, asked.finish_reason) == ("", "tool_calls")
    assert "sunny" in answer.text
    assert "21" in answer.text
    assert not answer.tool_calls


async def test_its_calls_come_in_pieces_on_a_stream(real: Running) -> None:
    async with AsyncClient(real.address) as client:
        question = {"role": "user", "content": "What is the weather in Paris and what time is it in Tokyo?"}
        async with client.stream(messages=[question], tools=[WEATHER, TIME], temperature=0) as stream:
            pieces = [piece for chunk in [chunk async for chunk in stream] for piece in chunk.tool_calls]
            calls = (await stream.reply()).tool_calls

    assert [(call.name, json.loads(call.arguments)) for call in calls] == [
        ("get_weather", {"city": "Paris"}),
        ("get_time", {"city": "Tokyo"}),
    ]
    assert len(pieces) > len(calls)


async def test_it_answers_by_itself_what_needs_no_tool(real: Running) -> None:
    async with AsyncClient(real.address) as client:
        question = {"role": "user", "content": "What is the capital of France?"}
        answer = await client.generate(messages=[question], tools=[WEATHER], temperature=0)

    assert "Paris" in answer.text
    assert not answer.tool_calls


async def test_it_thinks_in_tags_when_it_is_asked_to(real: Running) -> None:
    question = [{"role": "user", "content": "What is 2 + 3?"}]
    async with AsyncClient(real.address) as client:
        plain = await client.generate(messages=question, temperature=0)
        thoughtful = await client.generate(messages=question, temperature=0, thinking=True)
        async with client.stream(messages=question, temperature=0, thinking=True) as stream:
            chunks = [chunk async for chunk in stream]

    assert (plain.reasoning, plain.text) == ("", "2 + 3 = 5.")
    assert thoughtful.reasoning
    assert thoughtful.text.strip() == plain.text
    assert "think>" not in thoughtful.reasoning + thoughtful.text
    assert 0 < thoughtful.usage.reasoning_tokens < thoughtful.usage.completion_tokens
    assert "".join(chunk.reasoning for chunk in chunks) == thoughtful.reasoning
    assert "".join(chunk.text for chunk in chunks) == thoughtful.text


async def test_it_thinks_before_a_call_too(real: Running) -> None:
    numbers = {"a": {"type": "number"}, "b": {"type": "number"}}
    parameters = {"type": "object", "properties": numbers, "required": list(numbers)}
    multiply = {"name": "multiply", "description": "Multiply two numbers", "parameters": parameters}
    question = {"role": "user", "content": "What is 17 * 23?"}
    async with AsyncClient(real.address) as client:
        asked = await client.generate(messages=[question], tools=[multiply], temperature=0, thinking=True)

    assert asked.reasoning
    assert [(call.name, json.loads(call.arguments)) for call in asked.tool_calls] == [("multiply", {"a": 17, "b": 23})]
