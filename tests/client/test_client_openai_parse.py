"""chat.completions.parse and .stream: what answers are parsed into, and the events on the way."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import pickle
import sys
from typing import Any

import grpc
import openai
import pytest
from pydantic import BaseModel, ValidationError

from penstock import AsyncClient, LengthFinishReasonError, NotFoundError
from penstock.openai import http_client
from penstock.openai_shape.stream_state import ChatCompletionStreamState
from penstock.v1 import generation_pb2 as pb
from tests.client.conftest import Caller
from tests.client.openai_scripts import (
    CALLING,
    CITY,
    CITY_DELTAS,
    CUT,
    MESSAGES,
    STOPPED,
    TOOL_DELTAS,
    TOOLS,
    City,
    answers,
    streams,
    without_time,
)
from tests.client.scripted_server import ScriptedServer


@dataclasses.dataclass
class Town:
    name: str
    inhabitants: int | None = None


@pytest.mark.parametrize(
    ("response_format", "expected"),
    [
        (City, City(name="Ulm")),
        (Town, Town("Ulm")),
        ({"type": "json_schema", "json_schema": {"name": "c", "schema": {}}}, {"name": "Ulm", "inhabitants": None}),
        ({"type": "json_object"}, {"name": "Ulm", "inhabitants": None}),
        ({"type": "text"}, None),
        (None, None),
    ],
)
async def test_an_answer_is_parsed_into_what_was_asked_for(
    caller: Caller, server: ScriptedServer, response_format: Any, expected: Any
) -> None:
    answers(CITY)(server)

    answer = await caller.call("chat.completions.parse", messages=MESSAGES, response_format=response_format)

    message = answer.choices[0].message
    assert message.parsed == expected
    assert message.content == CITY.text
    assert message.refusal is None


async def test_the_schema_is_strict(caller: Caller, server: ScriptedServer) -> None:
    answers(CITY)(server)

    await caller.call("chat.completions.parse", messages=MESSAGES, response_format=Town)

    schema = json.loads(server.requests[0].structured_output.json_schema)
    assert schema["required"] == ["name", "inhabitants"]
    assert schema["additionalProperties"] is False
    assert "default" not in schema["properties"]["inhabitants"]


async def test_text_that_does_not_fit_is_the_types_own_error(caller: Caller, server: ScriptedServer) -> None:
    answers(pb.Sequence(text='{"inhabitants": 3}', finish=STOPPED))(server)

    with pytest.raises(ValidationError):
        await caller.call("chat.completions.parse", messages=MESSAGES, response_format=City)


@pytest.mark.parametrize("response_format", [int, "json", 7])
async def test_what_is_no_type_of_answers_is_refused_before_anything_is_sent(
    caller: Caller, server: ScriptedServer, response_format: Any
) -> None:
    with pytest.raises(TypeError, match="response_format"):
        await caller.call("chat.completions.parse", messages=MESSAGES, response_format=response_format)

    assert not server.requests


async def test_parse_takes_strict_tools_only(caller: Caller, server: ScriptedServer) -> None:
    loose = [{"type": "function", "function": {"name": "add"}}]

    with pytest.raises(ValueError, match=r"tools\[0\].function.strict must be True"):
        await caller.call("chat.completions.parse", messages=MESSAGES, tools=loose)

    assert not server.requests


async def test_parse_does_not_stream(caller: Caller, server: ScriptedServer) -> None:
    with pytest.raises(TypeError, match=r"'stream'; use stream\(\)"):
        await caller.call("chat.completions.parse", messages=MESSAGES, stream=True)

    assert not server.requests


async def test_a_tool_of_pydantics_gives_an_object(caller: Caller, server: ScriptedServer) -> None:
    class Add(BaseModel):
        a: int

    call = pb.ToolCall(id="call-1", name="Add", arguments='{"a": 1}')
    answers(pb.Sequence(tool_calls=[call], finish=CALLING))(server)

    answer = await caller.call("chat.completions.parse", messages=MESSAGES, tools=[openai.pydantic_function_tool(Add)])

    assert answer.choices[0].message.tool_calls[0].function.parsed_arguments == Add(a=1)


async def test_a_cut_answer_is_an_error_that_passes_between_processes(caller: Caller, server: ScriptedServer) -> None:
    answers(pb.Sequence(text='{"na', finish=CUT))(server)

    with pytest.raises(LengthFinishReasonError) as caught:
        await caller.call("chat.completions.parse", messages=MESSAGES, response_format=City)

    assert pickle.loads(pickle.dumps(caught.value)).completion == caught.value.completion  # noqa: S301  # our own


async def test_a_dataclass_without_pydantic_says_what_is_missing(
    caller: Caller, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pydantic", None)

    with pytest.raises(ImportError, match="pip install pydantic"):
        await caller.call("chat.completions.parse", messages=MESSAGES, response_format=Town)


async def test_beta_is_the_same(caller: Caller, server: ScriptedServer) -> None:
    answers(CITY)(server)

    answer = await caller.call("beta.chat.completions.parse", messages=MESSAGES, response_format=City)

    assert answer.choices[0].message.parsed == City(name="Ulm")


async def test_events_for_asyncio_are_openais(server: ScriptedServer) -> None:
    streams(*TOOL_DELTAS)(server)
    seen: list[Any] = []

    async def run(ai: Any) -> None:
        async with ai.chat.completions.stream(model="tiny", messages=MESSAGES, tools=TOOLS) as stream:
            events = [event.to_dict() async for event in stream if event.type != "chunk"]
            final = await stream.get_final_completion()
        calls = [call.function.to_dict() for call in final.choices[0].message.tool_calls]
        seen.append(without_time([events, final.choices[0].message.content, calls]))

    async with AsyncClient(server.target) as client:
        await run(client)
        await run(openai.AsyncOpenAI(http_client=http_client(client), api_key="-"))

    assert seen[0] == seen[1]


async def test_leaving_the_events_ends_the_generation(server: ScriptedServer) -> None:
    server.block_after = 1
    async with AsyncClient(server.target) as client:
        async with client.chat.completions.stream(messages=MESSAGES) as stream:
            event = await anext(stream)
            snapshot = stream.current_completion_snapshot

        await asyncio.wait_for(server.cancelled.wait(), 5)

    assert event.type == "chunk"
    assert snapshot.choices[0].message.role == "assistant"


async def test_a_refusal_is_raised_where_the_stream_is_entered(server: ScriptedServer) -> None:
    server.refuse(grpc.StatusCode.NOT_FOUND, "MODEL_NOT_FOUND")
    async with AsyncClient(server.target) as client:
        with pytest.raises(NotFoundError):
            async with client.chat.completions.stream(messages=MESSAGES):
                pass


async def test_the_pieces_of_create_can_be_added_up_by_hand(caller: Caller, server: ScriptedServer) -> None:
    streams(*CITY_DELTAS)(server)
    state = ChatCompletionStreamState(response_format=City)

    with pytest.raises(RuntimeError, match="nothing"):
        state.current_completion_snapshot  # noqa: B018  # the reading is what fails
    for piece in await caller.chat(messages=MESSAGES, stream=True):
        state.handle_chunk(piece)

    assert state.get_final_completion().choices[0].message.parsed == City(name="Ulm", inhabitants=3)
