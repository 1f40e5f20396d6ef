"""Embed: each input has its own outcome, and what concerns the whole call is its error."""

import asyncio
from typing import Any

import grpc
import pytest

from penstock.v1 import generation_pb2 as pb
from penstock_service.errors import InvalidRequest, Overloaded, Unavailable, Violation
from tests.conftest import OpenService, Running, eventually
from tests.faults.faulty_engine import HeldLoading
from tests.rpc.embedding_engine import EmbeddingEngine
from tests.rpc.error_details import failure_in, failure_of

# What is wrong with one input -> the input, and the fields that its status names.
BAD_INPUTS: dict[str, tuple[pb.EmbedInput, list[str]]] = {
    "nothing": (pb.EmbedInput(), ["inputs[1].input"]),
    "empty text": (pb.EmbedInput(text=""), ["inputs[1].text"]),
    "no token ids": (pb.EmbedInput(token_ids=pb.TokenIds()), ["inputs[1].token_ids.ids"]),
    "token ids outside the vocabulary": (
        pb.EmbedInput(token_ids=pb.TokenIds(ids=[5, -1, 10_000_000])),
        ["inputs[1].token_ids.ids[1]", "inputs[1].token_ids.ids[2]"],
    ),
    "text that cannot fit": (pb.EmbedInput(text="x" * 1_000_000), ["inputs[1].text"]),
    "what the engine refuses": (pb.EmbedInput(text="refused"), ["inputs[1].text"]),
}

# What is wrong with the call -> the request's fields, and the fields that the error names.
BAD_REQUESTS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "no inputs": ({"inputs": []}, ["inputs"]),
    "too many inputs": ({"inputs": [pb.EmbedInput(text="x")] * 65}, ["inputs"]),
    "no dimensions": ({"dimensions": 0}, ["dimensions"]),
    "negative dimensions": ({"dimensions": -5}, ["dimensions"]),
    "request id with a line break": ({"request_id": "a\nb"}, ["request_id"]),
    "side that does not exist": ({"prompt_options": {"truncation_side": 9}}, ["prompt_options.truncation_side"]),
    "truncated to nothing": ({"prompt_options": {"truncate_tokens": 0}}, ["prompt_options.truncate_tokens"]),
    "everything at once": (
        {"inputs": [], "dimensions": 0, "request_id": "é", "prompt_options": {"truncate_tokens": 2**31 - 1}},
        ["dimensions", "inputs", "prompt_options.truncate_tokens", "request_id"],
    ),
}


@pytest.fixture
async def embedding(open_service: OpenService) -> Running:
    """A service whose engine embeds."""
    return await open_service(load=EmbeddingEngine.load)


def request(*texts: str, **fields: Any) -> pb.EmbedRequest:
    return pb.EmbedRequest(**{"inputs": [pb.EmbedInput(text=text) for text in texts], **fields})


async def test_every_input_has_its_vector_in_its_place_and_usage_is_their_sum(embedding: Running) -> None:
    reply = await embedding.generation.Embed(
        pb.EmbedRequest(inputs=[{"text": "abc"}, {"token_ids": {"ids": [4, 5]}}, {"text": "a"}], request_id="caller:1")
    )

    assert [list(result.embedding.values) for result in reply.results] == [[97, 98, 99], [4, 5], [97]]
    assert [result.embedding.prompt_tokens for result in reply.results] == [3, 2, 1]
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (6, 0)
    assert (reply.model, reply.request_id) == ("builtin", "caller:1")
    assert reply.id


@pytest.mark.parametrize("name", BAD_INPUTS)
async def test_a_bad_input_has_a_status_of_its_own_and_hurts_no_other(embedding: Running, name: str) -> None:
    bad, fields = BAD_INPUTS[name]
    embedding.engine.errors = {"refused": InvalidRequest([Violation("text", "is not for me")])}

    reply = await embedding.generation.Embed(pb.EmbedRequest(inputs=[{"text": "a"}, bad, {"text": "b"}]))

    failure = failure_in(reply.results[1].status)
    assert (failure.code, failure.domain) == (grpc.StatusCode.INVALID_ARGUMENT, "penstock")
    assert failure.reason == ("CONTEXT_LENGTH" if name == "text that cannot fit" else "INVALID_FIELD")
    assert failure.fields == fields
    assert [list(reply.results[place].embedding.values) for place in (0, 2)] == [[97], [98]]
    assert reply.usage.prompt_tokens == 2


@pytest.mark.parametrize("name", BAD_REQUESTS)
async def test_what_is_wrong_for_all_inputs_fails_the_call(embedding: Running, name: str) -> None:
    fields, wrong = BAD_REQUESTS[name]

    failure = await failure_of(embedding.generation.Embed(request("hello", **fields)))

    assert (failure.code, failure.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
    assert sorted(failure.fields) == wrong


async def test_what_we_did_not_expect_is_internal_for_that_input_and_tells_nothing(embedding: Running) -> None:
    embedding.engine.errors = {"b": KeyError("/secret/path")}

    reply = await embedding.generation.Embed(request("a", "b"))

    failure = failure_in(reply.results[1].status)
    assert (failure.code, failure.reason) == (grpc.StatusCode.INTERNAL, "INTERNAL")
    assert reply.id in failure.text
    assert "secret" not in failure.text
    assert reply.results[0].HasField("embedding")


async def test_a_dead_engine_fails_the_call(embedding: Running) -> None:
    embedding.engine.errors = {"b": Unavailable("ENGINE_DEAD")}

    failure = await failure_of(embedding.generation.Embed(request("a", "b")))

    assert (failure.code, failure.reason) == (grpc.StatusCode.UNAVAILABLE, "ENGINE_DEAD")
    assert failure.retry_after == 1


async def test_how_long_inputs_are_in_the_engine_is_learnt(embedding: Running) -> None:
    embedding.engine.hold = asyncio.Event()
    call = embedding.generation.Embed(request("a"))
    await eventually(lambda: embedding.engine.embedding == 1, "it runs")
    embedding.engine.hold.set()
    await call

    embedding.engine.errors = {"b": Overloaded()}
    failure = await failure_of(embedding.generation.Embed(request("b")))

    assert failure.retry_after is not None
    assert failure.retry_after < 1  # what is told while nothing has been measured


async def test_a_full_queue_fails_the_call_if_nothing_got_in(embedding: Running) -> None:
    embedding.engine.errors = {"b": Overloaded(), "c": Overloaded()}

    some = await embedding.generation.Embed(request("a", "b"))
    none = await failure_of(embedding.generation.Embed(request("b", "c")))

    assert some.results[0].HasField("embedding")
    assert failure_in(some.results[1].status).reason == "OVERLOADED"
    assert (none.code, none.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
    assert 0 < (none.retry_after or 0) <= 1  # by how long the input before was in the engine


async def test_sixteen_inputs_of_a_call_are_in_the_engine_at_a_time(embedding: Running) -> None:
    embedding.engine.hold = asyncio.Event()
    call = embedding.generation.Embed(request(*map(str, range(64))))
    await eventually(lambda: embedding.engine.embedding == 16, "16 are in the engine")

    embedding.engine.hold.set()
    reply = await call

    assert embedding.engine.most_embedding == 16
    assert all(result.HasField("embedding") for result in reply.results)


async def test_a_caller_that_leaves_takes_its_inputs_out_of_the_engine(embedding: Running) -> None:
    embedding.engine.hold = asyncio.Event()
    call = embedding.generation.Embed(request("a", "b"))
    await eventually(lambda: embedding.engine.embedding == 2, "both are in the engine")

    call.cancel()

    await eventually(lambda: embedding.engine.embedding == 0, "the engine is idle")


async def test_the_deadline_takes_the_inputs_out_of_the_engine(embedding: Running) -> None:
    embedding.engine.hold = asyncio.Event()

    call = embedding.generation.Embed(request("a", "b"), timeout=0.3)

    assert await call.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await eventually(lambda: embedding.engine.embedding == 0, "the engine is idle")


async def test_a_drain_ends_the_call_with_unavailable(embedding: Running) -> None:
    embedding.engine.hold = asyncio.Event()
    call = embedding.generation.Embed(request("a"))
    await eventually(lambda: embedding.engine.embedding == 1, "it is in the engine")

    embedding.service.hurry()

    failure = await failure_of(call)
    assert (failure.code, failure.reason) == (grpc.StatusCode.UNAVAILABLE, "DRAINING")
    assert embedding.engine.embedding == 0


async def test_a_model_that_generates_does_not_embed(simulated: Running) -> None:
    failure = await failure_of(simulated.generation.Embed(request("hello")))

    assert (failure.code, failure.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "FEATURE_OFF")


async def test_a_model_that_embeds_does_not_generate_and_has_tokens_all_the_same(embedding: Running) -> None:
    hello = pb.GenerateRequest(prompt="hello")
    for call in (embedding.generation.Generate(hello), embedding.generation.StreamGenerate(hello)):
        failure = await failure_of(call)
        assert (failure.code, failure.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "FEATURE_OFF")

    assert (await embedding.generation.Tokenize(pb.TokenizeRequest(prompt="hello"))).token_ids
    assert embedding.engine.running == 0


async def test_an_unknown_model_is_not_found(embedding: Running) -> None:
    failure = await failure_of(embedding.generation.Embed(request("hello", model="other")))

    assert (failure.code, failure.reason) == (grpc.StatusCode.NOT_FOUND, "MODEL_NOT_FOUND")


async def test_while_loading_it_is_refused(open_service: OpenService) -> None:
    running = await open_service(load=HeldLoading(), ready=False)

    failure = await failure_of(running.generation.Embed(request("hello")))

    assert (failure.code, failure.reason) == (grpc.StatusCode.UNAVAILABLE, "LOADING")
