"""A conversation with very many parts holds up nobody else, and has a limit."""

import asyncio
import threading

import pytest

from penstock.v1 import generation_pb2 as pb
from penstock_service import features
from penstock_service.long_conversations import MOST_ON_LOOP, is_long
from tests.conftest import OpenService, Running
from tests.rpc.error_details import failure_of


def conversation(messages: int, parts: int = 1) -> pb.GenerateRequest:
    content = [pb.ContentPart(text="a")] * parts
    said = [pb.Message(role=pb.ROLE_USER, content=content)] * messages
    return pb.GenerateRequest(conversation={"messages": said}, stopping={"max_tokens": 2})


async def test_a_long_one_is_looked_at_beside_the_event_loop_and_answered(
    open_service: OpenService, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[str] = []
    check = features.check

    def noted(*arguments: object) -> None:
        threads.append(threading.current_thread().name)
        check(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(features, "check", noted)
    running = await open_service(simulated={"context_length": 1 << 16})

    for request in (conversation(2048), conversation(4)):
        assert (await running.generation.Generate(request)).usage.completion_tokens

    assert [name.startswith("long conversations") for name in threads] == [True, False]


async def test_too_many_parts_in_all_are_refused_by_their_number(simulated: Running) -> None:
    failure = await failure_of(simulated.generation.Generate(conversation(100, parts=64)))

    assert failure.fields == ["conversation.messages"]


async def test_in_a_batch_it_is_one_of_the_inputs_that_is_wrong(simulated: Running) -> None:
    inputs = [{"conversation": conversation(messages, parts=64).conversation} for messages in (1, 100)]

    reply = await simulated.generation.Generate(pb.GenerateRequest(batch={"inputs": inputs}))

    assert [result.WhichOneof("outcome") for result in reply.results] == ["response", "status"]


@pytest.mark.parametrize(
    "request_",
    [
        conversation(MOST_ON_LOOP),
        conversation(8, parts=64),
        pb.GenerateRequest(batch={"inputs": [{"conversation": conversation(8).conversation}] * 64}),
    ],
    ids=["messages", "parts", "inputs"],
)
def test_whatever_there_is_much_of_makes_it_long(request_: pb.GenerateRequest) -> None:
    assert is_long(request_)
    assert not is_long(conversation(20, parts=2))


async def test_while_one_is_looked_at_others_are_answered(open_service: OpenService) -> None:
    running = await open_service(simulated={"context_length": 1 << 16})
    long = [asyncio.create_task(_answered(running, conversation(2048))) for _ in range(10)]

    assert await _answered(running, conversation(1))

    assert not all(task.done() for task in long)
    assert all(await asyncio.gather(*long))


async def _answered(running: Running, request: pb.GenerateRequest) -> bool:
    return (await running.generation.Generate(request)).usage.completion_tokens > 0
