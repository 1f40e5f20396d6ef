"""A conversation with very many parts holds up nobody else, and has a limit."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from penstock.v1 import generation_pb2 as pb
from penstock_service import features, long_conversations
from penstock_service.long_conversations import MOST_ON_LOOP, is_long
from tests.conftest import OpenService, Running, eventually
from tests.rpc.error_details import failure_in, failure_of
from tests.rpc.identities import sha256


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


@pytest.fixture
def held_look(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """The thread takes no end with what it looks at until this is set."""
    go_on, check = threading.Event(), features.check

    def held(*arguments: Any) -> None:
        if threading.current_thread().name.startswith("long conversations"):
            go_on.wait(60)
        check(*arguments)

    monkeypatch.setattr(features, "check", held)
    yield go_on
    go_on.set()


async def test_while_one_is_looked_at_others_are_answered(
    open_service: OpenService, held_look: threading.Event
) -> None:
    running = await open_service(simulated={"context_length": 1 << 16})
    long = asyncio.create_task(_answered(running, conversation(2048)))

    assert await _answered(running, conversation(1))

    assert not long.done()
    held_look.set()
    assert await long


async def test_an_input_of_a_batch_is_looked_at_there_long_before(
    open_service: OpenService, held_look: threading.Event
) -> None:
    running = await open_service(simulated={"context_length": 1 << 16})
    few = conversation(8).conversation
    batch = asyncio.create_task(_results(running, pb.GenerateRequest(batch={"inputs": [{"conversation": few}] * 2})))

    assert await _answered(running, conversation(8))

    assert not batch.done()
    held_look.set()
    assert await batch == ["response"] * 2


async def test_a_tenant_with_too_many_there_is_refused_and_another_is_not(
    open_service: OpenService, held_look: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = long_conversations._size(conversation(900))
    monkeypatch.setattr(long_conversations, "MOST_OF_TENANT", size + 100)
    running = await open_service(
        simulated={"context_length": 1 << 16}, api_keys=[f"{name}:{sha256(name)}" for name in ("one", "other")]
    )
    first = asyncio.create_task(_answered(running, conversation(900), "one"))
    await eventually(lambda: long_conversations._of_tenants["one"] == size, "the first is looked at")

    failure = await failure_of(running.generation.Generate(conversation(200), metadata=by("one")))
    asked = pb.EstimateRequest(request=conversation(200))
    estimate = await running.generation.Estimate(asked, metadata=by("one"))
    others = asyncio.create_task(_answered(running, conversation(900), "other"))
    await eventually(lambda: long_conversations._of_tenants["other"] == size, "the other's waits")

    assert (failure.code, failure.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
    assert failure_in(estimate.refusal).reason == "OVERLOADED"
    held_look.set()
    assert await first
    assert await others
    assert not long_conversations._of_tenants


def by(tenant: str) -> tuple[tuple[str, str], ...]:
    """Its key is its name."""
    return (("authorization", f"Bearer {tenant}"),)


async def _answered(running: Running, request: pb.GenerateRequest, tenant: str = "") -> bool:
    reply = await running.generation.Generate(request, metadata=by(tenant) if tenant else None)
    return reply.usage.completion_tokens > 0


async def _results(running: Running, request: pb.GenerateRequest) -> list[str]:
    return [result.WhichOneof("outcome") for result in (await running.generation.Generate(request)).results]
