"""Bad input gets an error that names every wrong field, and hurts nobody."""

import grpc
import pytest
import structlog

from penstock.v1 import generation_pb2 as pb
from penstock.v1 import models_pb2
from tests.conftest import OpenService, Running
from tests.rpc.bad_requests import BAD_REQUESTS, bad_request
from tests.rpc.error_details import failure_of


@pytest.mark.parametrize("name", BAD_REQUESTS)
async def test_every_wrong_field_is_named_and_the_next_call_works(simulated: Running, name: str) -> None:
    request, fields = bad_request(name)

    for method in (simulated.generation.Generate, simulated.generation.StreamGenerate):
        failure = await failure_of(method(request))

        assert failure.code is grpc.StatusCode.INVALID_ARGUMENT
        assert (failure.reason, failure.domain) == ("INVALID_FIELD", "penstock")
        assert failure.fields == fields
        assert all(field in failure.text for field in fields)
    assert await simulated.generation.Generate(pb.GenerateRequest(prompt="Hello", stopping={"max_tokens": 1}))
    assert simulated.engine.running == 0


@pytest.mark.parametrize("raw", [b"\xff\xff\xff\xff", b"\x0a\x02\xff\xfe"], ids=["no protobuf", "no UTF-8"])
async def test_bytes_that_are_no_request_are_a_bad_request_too(simulated: Running, raw: bytes) -> None:
    for method in ("Generation/Generate", "Models/GetModel"):
        with structlog.testing.capture_logs() as lines:
            failure = await failure_of(simulated.channel.unary_unary(f"/penstock.v1.{method}")(raw))

        assert (failure.code, failure.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
        assert failure.fields == ["request"]
        assert [line["code"] for line in lines] == ["INVALID_ARGUMENT"]


async def test_a_hundred_wrong_fields_fit_into_the_metadata_of_one_error(simulated: Running) -> None:
    ids = pb.TokenIds(ids=[-1] * 100)

    failure = await failure_of(simulated.generation.Generate(pb.GenerateRequest(token_ids=ids)))

    assert failure.fields == [f"token_ids.ids[{position}]" for position in range(16)]


@pytest.mark.parametrize(
    "given",
    [
        {"prompt": "x" * 400},
        {"token_ids": {"ids": [1] * 100}},
        {"conversation": {"messages": [{"role": "ROLE_USER", "content": [{"text": "x" * 400}]}]}},
        {"prompt": "x" * 1_000_000},
    ],
    ids=["prompt", "token ids", "conversation", "prompt that is not even tokenized"],
)
async def test_a_prompt_longer_than_the_context_says_so(open_service: OpenService, given: dict[str, object]) -> None:
    running = await open_service(simulated={"context_length": 100})

    failure = await failure_of(running.generation.Generate(pb.GenerateRequest(**given)))

    assert failure.code is grpc.StatusCode.INVALID_ARGUMENT
    assert failure.reason == "CONTEXT_LENGTH"
    assert failure.fields == [field + ".ids" if field == "token_ids" else field for field in given]
    assert "context" in failure.text


async def test_an_unknown_model_is_not_found_and_its_name_is_cut_short(simulated: Running) -> None:
    requests = [
        simulated.generation.Generate(pb.GenerateRequest(prompt="Hello", model="gpt-9" * 100)),
        simulated.models.GetModel(models_pb2.GetModelRequest(name="gpt-9" * 100)),
    ]

    for call in requests:
        failure = await failure_of(call)

        assert failure.code is grpc.StatusCode.NOT_FOUND
        assert failure.reason == "MODEL_NOT_FOUND"
        assert "'builtin'" in failure.text
        assert len(failure.text) < 200


async def test_a_model_without_a_name_is_a_wrong_field(simulated: Running) -> None:
    failure = await failure_of(simulated.models.GetModel(models_pb2.GetModelRequest()))

    long = await failure_of(simulated.models.GetModel(models_pb2.GetModelRequest(name="é" * 257)))

    assert (failure.code, failure.fields) == (grpc.StatusCode.INVALID_ARGUMENT, ["name"])
    assert (long.code, long.fields) == (grpc.StatusCode.INVALID_ARGUMENT, ["name"])


async def test_a_message_over_the_limit_is_refused(open_service: OpenService) -> None:
    running = await open_service(max_message_bytes=4096)

    failure = await failure_of(running.generation.Generate(pb.GenerateRequest(prompt="x" * 5000)))

    assert failure.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert failure.retry_after is None


async def test_more_tokens_than_the_context_has_are_no_error(open_service: OpenService) -> None:
    running = await open_service(simulated={"context_length": 20})

    stopping = {"max_tokens": 2**31 - 1, "ignore_eos": True}
    reply = await running.generation.Generate(pb.GenerateRequest(prompt="Hello", stopping=stopping))

    assert reply.sequences[0].finish.reason == pb.FINISH_REASON_CONTEXT_LENGTH
    assert reply.usage.prompt_tokens + reply.usage.completion_tokens == 20
