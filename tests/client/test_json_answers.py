"""client.json asks for the form, returns the document, says what it mended, and refuses what was cut off."""

import json
from typing import Any

import grpc
import pytest
from pydantic import BaseModel

from penstock import BadRequestError, Cache, InvalidJSONError
from penstock.v1 import generation_pb2 as pb
from tests.client.conftest import Caller, MakeCaller
from tests.client.scripted_server import ScriptedServer


class Person(BaseModel):
    name: str


SCHEMA = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}


async def test_the_server_makes_the_document_follow_the_schema(caller: Caller, server: ScriptedServer) -> None:
    server.texts = ['{"name": ', '"Ada"}']

    answer = await caller.call("json", "Who?", schema=SCHEMA, max_tokens=9, request_id="job")

    (request,) = server.requests
    assert json.loads(request.structured_output.json_schema) == SCHEMA
    assert (request.prompt, request.stopping.max_tokens) == ("Who?", 9)
    assert (answer.value, answer.repaired, answer.raw) == ({"name": "Ada"}, False, '{"name": "Ada"}')
    assert answer.reply.request_id == "job"


async def test_without_a_schema_any_object_will_do(caller: Caller, server: ScriptedServer) -> None:
    server.texts = ['{"a": [1]}']

    answer = await caller.call("json", messages=[{"role": "user", "content": "Who?"}])

    assert server.requests[0].structured_output.HasField("json_object")
    assert answer.value == {"a": [1]}


async def test_a_pydantic_model_is_the_schema_and_its_instance_the_value(
    caller: Caller, server: ScriptedServer
) -> None:
    server.texts = ['{"name": "Ada"}']

    answer = await caller.call("json", "Who?", schema=Person)

    assert json.loads(server.requests[0].structured_output.json_schema) == Person.model_json_schema()
    assert answer.value == Person(name="Ada")


async def test_an_unconstrained_answer_is_mended_on_request(caller: Caller, server: ScriptedServer) -> None:
    server.texts = ["Here you are:\n```json\n{'NAME': 'Ada', // the first\n}\n```"]

    answer = await caller.call("json", "Who?", schema=SCHEMA, constrain=False, repair=True)

    assert not server.requests[0].HasField("structured_output")
    assert (answer.value, answer.repaired) == ({"name": "Ada"}, True)
    assert answer.raw == server.texts[0]


async def test_what_is_no_json_is_refused_with_the_text(caller: Caller, server: ScriptedServer) -> None:
    server.texts = ["{'name': 'Ada'}"]

    with pytest.raises(InvalidJSONError) as caught:
        await caller.call("json", "Who?", constrain=False)

    assert caught.value.raw == "{'name': 'Ada'}"
    assert caught.value.reply.id == "gen-1"


@pytest.mark.parametrize("options", [{}, {"constrain": False, "repair": True}])
async def test_what_was_cut_off_is_refused_and_never_mended(
    caller: Caller, server: ScriptedServer, options: dict[str, Any]
) -> None:
    server.texts, server.finish = ['{"name": "A'], pb.Finish(reason=pb.FINISH_REASON_LENGTH)

    with pytest.raises(InvalidJSONError, match=r"the answer was cut off at 2 tokens \(length\)"):
        await caller.call("json", "Who?", schema=SCHEMA, **options)


async def test_the_calls_own_errors_are_its_errors(caller: Caller, server: ScriptedServer) -> None:
    server.refuse(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")

    with pytest.raises(BadRequestError):
        await caller.call("json", "Who?", schema=SCHEMA)


async def test_it_takes_the_options_of_a_call(make_caller: MakeCaller, server: ScriptedServer) -> None:
    caller = make_caller(server.target, cache=Cache())
    server.texts = ["{}"]

    for _ in range(2):
        answer = await caller.call("json", "Who?", seed=1, timeout=30, metadata={"x-a": "b"})

    assert answer.reply.cached
    assert server.metadata[-1]["x-a"] == "b"
    assert len(server.requests) == 1
