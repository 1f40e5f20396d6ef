"""Tools, thoughts and forms over HTTP, read by openai-python, unmodified."""

import json

import openai
import pydantic
import pytest
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam

from penstock.v1 import generation_pb2 as pb
from tests.gateway.scripted_upstream import MODEL, Script, ScriptedUpstream

QUESTION: list[ChatCompletionMessageParam] = [{"role": "user", "content": "What is 1 + 1?"}]
ADD: ChatCompletionToolParam = {
    "type": "function",
    "function": {"name": "add", "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}}},
}
CALLING = Script(
    deltas=[
        pb.SequenceDelta(reasoning="Hm."),
        pb.SequenceDelta(tool_calls=[pb.ToolCallDelta(index=0, id="call-1", name="add", arguments='{"a"')]),
        pb.SequenceDelta(tool_calls=[pb.ToolCallDelta(index=0, arguments=": 1}")]),
    ],
    finish=pb.FINISH_REASON_TOOL_CALLS,
)


async def test_a_model_that_calls_a_tool_and_reads_its_result(
    ai: openai.AsyncOpenAI, upstream: ScriptedUpstream
) -> None:
    upstream.script = CALLING
    first = await ai.chat.completions.create(model=MODEL, messages=QUESTION, tools=[ADD], tool_choice="required")
    message = first.choices[0].message
    assert message.tool_calls
    call = message.tool_calls[0]
    assert call.type == "function"
    assert (call.id, call.function.name, json.loads(call.function.arguments)) == ("call-1", "add", {"a": 1})
    assert first.choices[0].finish_reason == "tool_calls"

    upstream.script = Script()
    said: ChatCompletionMessageParam = message.to_dict()  # type: ignore[assignment]
    result: ChatCompletionMessageParam = {"role": "tool", "tool_call_id": call.id, "content": "2"}
    second = await ai.chat.completions.create(model=MODEL, messages=[*QUESTION, said, result], tools=[ADD])

    assert second.choices[0].message.content == "Once upon a time"
    asked, answered = upstream.requests[1].conversation.messages[1:]
    assert asked.tool_calls[0] == pb.ToolCall(id="call-1", name="add", arguments='{"a": 1}')
    assert asked.reasoning == "Hm."
    assert answered.tool_call_id == "call-1"
    assert upstream.requests[0].tool_choice.mode == pb.TOOL_CHOICE_MODE_REQUIRED


async def test_the_stream_helper_puts_calls_together(ai: openai.AsyncOpenAI, upstream: ScriptedUpstream) -> None:
    upstream.script = CALLING

    async with ai.chat.completions.stream(model=MODEL, messages=QUESTION, tools=[ADD]) as stream:
        kinds = {event.type async for event in stream}
        final = await stream.get_final_completion()

    assert "tool_calls.function.arguments.done" in kinds
    call = (final.choices[0].message.tool_calls or [])[0]
    assert (call.id, call.function.name, call.function.arguments) == ("call-1", "add", '{"a": 1}')
    assert final.choices[0].finish_reason == "tool_calls"


async def test_thoughts_come_under_both_names(ai: openai.AsyncOpenAI, upstream: ScriptedUpstream) -> None:
    """metagpt/provider/openai_api.py and dbgpt's chatgpt.py read reasoning_content, vLLM's examples reasoning."""
    upstream.script = Script(deltas=[pb.SequenceDelta(reasoning="Hm."), pb.SequenceDelta(text="2")])
    extra = {"chat_template_kwargs": {"enable_thinking": True}}

    whole = await ai.chat.completions.create(model=MODEL, messages=QUESTION, reasoning_effort="low", extra_body=extra)
    stream = await ai.chat.completions.create(model=MODEL, messages=QUESTION, stream=True)
    deltas = [chunk.choices[0].delta async for chunk in stream]

    message = whole.choices[0].message
    assert (message.content, message.model_extra) == ("2", {"reasoning": "Hm.", "reasoning_content": "Hm."})
    for name in ("reasoning", "reasoning_content"):
        assert "".join(getattr(delta, name, None) or "" for delta in deltas) == "Hm."
    assert upstream.requests[0].reasoning == pb.ReasoningOptions(enabled=True, effort=pb.REASONING_EFFORT_LOW)


class Sum(pydantic.BaseModel):
    total: int


async def test_an_answer_is_parsed_into_a_model(ai: openai.AsyncOpenAI, upstream: ScriptedUpstream) -> None:
    upstream.script = Script(pieces=('{"total"', ": 2}"))

    reply = await ai.chat.completions.parse(model=MODEL, messages=QUESTION, response_format=Sum)

    assert reply.choices[0].message.parsed == Sum(total=2)
    schema = json.loads(upstream.requests[0].structured_output.json_schema)
    assert schema["properties"]["total"]["type"] == "integer"


@pytest.mark.parametrize(
    ("body", "form"),
    [
        ({"response_format": {"type": "json_object"}}, "json_object"),
        ({"guided_regex": "[0-9]+"}, "regex"),
        ({"structured_outputs": {"choice": ["yes", "no"]}}, "choice"),
    ],
)
@pytest.mark.parametrize("route", ["chat", "completions"])
async def test_vllms_and_openais_forms_reach_the_service(
    ai: openai.AsyncOpenAI, upstream: ScriptedUpstream, body: dict[str, object], form: str, route: str
) -> None:
    if route == "chat":
        await ai.chat.completions.create(model=MODEL, messages=QUESTION, extra_body=body)
    else:
        await ai.completions.create(model=MODEL, prompt="Is it?", extra_body=body)

    assert upstream.requests[0].structured_output.WhichOneof("constraint") == form


async def test_logprobs_are_read_by_their_names(ai: openai.AsyncOpenAI, upstream: ScriptedUpstream) -> None:
    token = pb.TokenInfo(text="Hi", token_bytes=b"Hi", logprob=-0.5)
    upstream.script = Script(deltas=[pb.SequenceDelta(text="Hi", tokens=[token])])

    chat = await ai.chat.completions.create(model=MODEL, messages=QUESTION, logprobs=True)
    text = await ai.completions.create(model=MODEL, prompt="Once", logprobs=2)

    assert chat.choices[0].logprobs is not None
    assert [each.logprob for each in chat.choices[0].logprobs.content or []] == [-0.5]
    assert text.choices[0].logprobs is not None
    assert text.choices[0].logprobs.token_logprobs == [-0.5]
    assert [request.response.logprobs for request in upstream.requests] == [0, 2]
