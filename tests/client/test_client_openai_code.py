"""Code written for `openai.OpenAI`, run with penstock.Client and with the SDK over its transport: the same comes out.

Each program below is plain openai-python code; `ai` is the client and `lib` the module that the errors come from.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable
from types import ModuleType
from typing import Any

import grpc
import openai
import pytest

import penstock
from penstock.openai import http_client
from penstock.v1 import generation_pb2 as pb
from tests.client.conftest import in_thread
from tests.client.openai_scripts import (
    CITY,
    CITY_DELTAS,
    CUT,
    MESSAGES,
    TOOL_CALL,
    TOOL_DELTAS,
    TOOLS,
    City,
    Script,
    answers,
    embeds,
    plain,
    refuses,
    streams,
    token,
    without_time,
)
from tests.client.scripted_server import ScriptedServer

Program = Callable[[Any, ModuleType], Any]


def whole_chat(ai: Any, lib: ModuleType) -> Any:
    answer = ai.chat.completions.create(
        model="tiny", messages=MESSAGES, max_completion_tokens=9, temperature=0, seed=1, stop=["x"], user="me"
    )
    assert answer._request_id
    return answer.to_dict()


def streamed_chat(ai: Any, lib: ModuleType) -> Any:
    stream = ai.chat.completions.create(
        model="tiny", messages=MESSAGES, stream=True, stream_options={"include_usage": True}, extra_body={"top_k": 3}
    )
    return [chunk.to_dict() for chunk in stream]


def left_early(ai: Any, lib: ModuleType) -> Any:
    with ai.chat.completions.create(model="tiny", messages=MESSAGES, stream=True) as stream:
        return next(stream).to_dict()


def with_tools(ai: Any, lib: ModuleType) -> Any:
    message = ai.chat.completions.create(model="tiny", messages=MESSAGES, tools=TOOLS).choices[0].message
    messages = [*MESSAGES, message, {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "2"}]
    return ai.chat.completions.create(model="tiny", messages=messages, tools=TOOLS).to_dict()


def streamed_tools(ai: Any, lib: ModuleType) -> Any:
    return [chunk.to_dict() for chunk in ai.chat.completions.create(model="tiny", messages=MESSAGES, stream=True)]


def several_choices(ai: Any, lib: ModuleType) -> Any:
    answer = ai.chat.completions.create(model="tiny", messages=MESSAGES, n=2, logprobs=True, top_logprobs=1)
    return answer.model_dump(exclude_none=True)


def completions(ai: Any, lib: ModuleType) -> Any:
    whole = ai.completions.create(model="tiny", prompt=["a", "b"], max_tokens=3)
    pieces = ai.completions.create(model="tiny", prompt="a", stream=True)
    return whole.to_dict(), [piece.to_dict() for piece in pieces]


def embeddings(ai: Any, lib: ModuleType) -> Any:
    floats = ai.embeddings.create(model="tiny", input=["a", "b"])
    packed = ai.embeddings.create(model="tiny", input=["a", "b"], encoding_format="base64")
    assert struct.unpack("<2f", base64.b64decode(packed.data[0].embedding)) == (0.5, -1.25)
    assert floats.data[0].embedding == [0.5, -1.25]
    return floats.to_dict(), packed.to_dict()


def models(ai: Any, lib: ModuleType) -> Any:
    listed = ai.models.list()
    assert [model.id for model in listed] == [model.id for model in listed.data] == ["tiny"]
    return listed.data[0].to_dict(), ai.models.retrieve("prod").to_dict(), ai.models.retrieve(model="tiny").id


def parsed(ai: Any, lib: ModuleType) -> Any:
    answer = ai.chat.completions.parse(model="tiny", messages=MESSAGES, response_format=City)
    assert answer.choices[0].message.parsed == City(name="Ulm")
    assert answer.choices[0].message.refusal is None
    return answer.to_dict()


def parsed_tools(ai: Any, lib: ModuleType) -> Any:
    answer = ai.chat.completions.parse(model="tiny", messages=MESSAGES, tools=TOOLS)
    assert answer.choices[0].message.tool_calls[0].function.parsed_arguments == {"a": 1}
    return answer.to_dict()


def parsed_twice(ai: Any, lib: ModuleType) -> Any:
    """The message of a parsed answer goes into the next call."""
    first = ai.chat.completions.parse(model="tiny", messages=MESSAGES, response_format=City, tools=TOOLS)
    again = ai.chat.completions.create(model="tiny", messages=[*MESSAGES, first.choices[0].message])
    return again.to_dict()


def cut_answer(ai: Any, lib: ModuleType) -> Any:
    with pytest.raises(lib.LengthFinishReasonError) as caught:
        ai.chat.completions.parse(model="tiny", messages=MESSAGES, response_format=City)
    assert isinstance(caught.value, lib.OpenAIError)
    return caught.value.completion.to_dict()


def events_of_text(ai: Any, lib: ModuleType) -> Any:
    events = []
    with ai.chat.completions.stream(model="tiny", messages=MESSAGES, response_format=City) as stream:
        for event in stream:
            if event.type == "content.delta":
                events.append((event.type, event.delta, event.snapshot, event.parsed))
            elif event.type == "content.done":
                events.append((event.type, event.content, event.parsed))
            else:
                events.append((event.type, event.chunk.to_dict(), stream.current_completion_snapshot.id))
        final = stream.get_final_completion()
    assert final.choices[0].message.parsed == City(name="Ulm", inhabitants=3)
    return events, final.choices[0].message.content, final.usage.to_dict()


def events_of_tools(ai: Any, lib: ModuleType) -> Any:
    with ai.chat.completions.stream(model="tiny", messages=MESSAGES, tools=TOOLS) as stream:
        events = [event.to_dict() for event in stream if event.type != "chunk"]
        final = stream.until_done().get_final_completion()
    calls = final.choices[0].message.tool_calls
    return events, final.choices[0].finish_reason, [call.function.to_dict() for call in calls]


def events_of_logprobs(ai: Any, lib: ModuleType) -> Any:
    with ai.chat.completions.stream(model="tiny", messages=MESSAGES, logprobs=True) as stream:
        return [event.to_dict() for event in stream if event.type.startswith("logprobs")]


def cut_stream(ai: Any, lib: ModuleType) -> Any:
    with ai.chat.completions.stream(model="tiny", messages=MESSAGES, response_format=City) as stream:
        seen = [next(stream).type for _ in range(4)]
        with pytest.raises(lib.LengthFinishReasonError) as caught:
            next(stream)
    return seen, caught.value.completion.choices[0].message.content


def failing(ai: Any, lib: ModuleType) -> Any:
    with pytest.raises(lib.APIStatusError) as caught:
        ai.chat.completions.create(model="nope", messages=MESSAGES)
    error = caught.value
    kinds = [name for name in dir(openai) if name.endswith("Error") and isinstance(error, getattr(lib, name, ()))]
    assert isinstance(error, lib.OpenAIError)
    return kinds, error.status_code, error.code, error.param, error.type, error.body, error.response.status_code


def wrong_parameter(ai: Any, lib: ModuleType) -> Any:
    with pytest.raises(lib.BadRequestError) as caught:
        ai.chat.completions.create(model="tiny", messages=MESSAGES, extra_body={"top_k": "many"})
    return caught.value.status_code, caught.value.param, caught.value.body


def failing_stream(ai: Any, lib: ModuleType) -> Any:
    stream = ai.chat.completions.create(model="tiny", messages=MESSAGES, stream=True)
    text = "".join(next(stream).choices[0].delta.content for _ in range(2))
    with pytest.raises(lib.APIError) as caught:
        next(stream)
    return text, caught.value.message, caught.value.code, caught.value.type


def raw(ai: Any, lib: ModuleType) -> Any:
    response = ai.chat.completions.with_raw_response.create(model="tiny", messages=MESSAGES)
    assert response.headers["x-request-id"] == response.request_id
    return response.parse().to_dict(), response.status_code, response.retries_taken


def changed_options(ai: Any, lib: ModuleType) -> Any:
    changed = ai.with_options(timeout=20, max_retries=0)
    omitted = changed.chat.completions.create(model="tiny", messages=MESSAGES, temperature=openai.omit, timeout=10)
    return omitted.to_dict()


PROGRAMS: list[tuple[Program, Script]] = [
    (whole_chat, plain),
    (streamed_chat, plain),
    (left_early, plain),
    (with_tools, answers(TOOL_CALL)),
    (streamed_tools, streams(*TOOL_DELTAS)),
    (several_choices, answers(*(pb.Sequence(index=i, text="a", tokens=[token("a")], finish=CUT) for i in range(2)))),
    (completions, plain),
    (embeddings, embeds),
    (models, plain),
    (parsed, answers(CITY)),
    (parsed_tools, answers(TOOL_CALL)),
    (parsed_twice, answers(CITY)),
    (parsed_twice, answers(TOOL_CALL)),
    (cut_answer, answers(pb.Sequence(text='{"na', finish=CUT))),
    (events_of_text, streams(*CITY_DELTAS)),
    (events_of_tools, streams(*TOOL_DELTAS)),
    (events_of_logprobs, streams(*(pb.SequenceDelta(text=t, tokens=[token(t)]) for t in "ab"), CITY_DELTAS[-1])),
    (cut_stream, streams(CITY_DELTAS[0], pb.SequenceDelta(finish=CUT))),
    (failing, refuses(grpc.StatusCode.NOT_FOUND, "MODEL_NOT_FOUND")),
    (failing, refuses(grpc.StatusCode.INVALID_ARGUMENT, "CONTEXT_LENGTH")),
    (failing, refuses(grpc.StatusCode.UNAUTHENTICATED, "API_KEY")),
    (failing, refuses(grpc.StatusCode.PERMISSION_DENIED, "TENANT")),
    (failing, refuses(grpc.StatusCode.ALREADY_EXISTS, "KEY_REUSED")),
    (failing, refuses(grpc.StatusCode.RESOURCE_EXHAUSTED, "QUOTA")),
    (failing, refuses(grpc.StatusCode.INTERNAL, "INTERNAL")),
    (failing, refuses(grpc.StatusCode.UNAVAILABLE, "DRAINING")),
    (wrong_parameter, plain),
    (failing_stream, refuses(grpc.StatusCode.UNAVAILABLE, "ENGINE_DEAD", after=1)),
    (raw, plain),
    (changed_options, plain),
]


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")  # the SDK's own, about its base64 and its generics
@pytest.mark.parametrize(("program", "script"), PROGRAMS, ids=lambda each: getattr(each, "__name__", ""))
async def test_the_same_code_gives_the_same(server: ScriptedServer, program: Program, script: Script) -> None:
    script(server)

    def run() -> tuple[Any, Any]:
        with penstock.Client(server.target, timeout=20, retry=penstock.Retry(attempts=1)) as client:
            sdk = openai.OpenAI(http_client=http_client(client), api_key="-")
            return program(client, penstock), program(sdk, openai)

    ours, theirs = await in_thread(run)

    assert without_time(ours) == without_time(theirs)
