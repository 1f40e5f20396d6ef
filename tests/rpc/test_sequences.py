"""Several sequences, logprobs, forms and calls of tools on real vLLM, streamed and whole, on both ways through it."""

import asyncio
import hashlib
import json
from collections.abc import Iterable
from importlib.resources import files
from typing import Any

import grpc
import pytest

from penstock.v1 import generation_pb2 as pb
from penstock.v1 import models_pb2
from tests.conftest import Running, eventually
from tests.rpc.error_details import failure_of
from tests.rpc.field_effects import GREEDY, TIME, WEATHER, said, talk

pytestmark = [pytest.mark.real_vllm, pytest.mark.timeout(600)]

SEEDED = {"temperature": 1.0, "seed": 7}
REQUIRED = {"tools": [WEATHER, TIME], "tool_choice": {"mode": "TOOL_CHOICE_MODE_REQUIRED"}}
BOMB = {
    "type": "object",
    "properties": {f"p{number}": {"type": "string"} for number in range(300)},
    "minProperties": 100,
    "maxProperties": 200,
}


@pytest.fixture(params=["lean", "public"])
def served(request: pytest.FixtureRequest, real: Running, real_by_public_way: Running) -> Running:
    """The service on each of its two ways to run a request in vLLM."""
    return real if request.param == "lean" else real_by_public_way


def request(**fields: Any) -> pb.GenerateRequest:
    defaults = {"sampling": GREEDY, "stopping": {"max_tokens": 32, "ignore_eos": True}, "response": {"token_ids": True}}
    if "structured_output" in fields:
        defaults["stopping"] = {"max_tokens": 32}
    given = {**defaults, **fields}
    if "conversation" not in given:
        given.setdefault("prompt", "Once upon a time")
    return pb.GenerateRequest(**given)


def joined(chunks: Iterable[pb.GenerateChunk]) -> list[pb.Sequence]:
    """A stream's deltas, put together as a caller does it."""
    sequences: dict[int, pb.Sequence] = {}
    for delta in (delta for chunk in chunks for delta in chunk.deltas):
        one = sequences.setdefault(delta.index, pb.Sequence(index=delta.index))
        one.text += delta.text
        one.reasoning += delta.reasoning
        one.token_ids.extend(delta.token_ids)
        one.tokens.extend(delta.tokens)
        for call in delta.tool_calls:
            if call.index == len(one.tool_calls):
                one.tool_calls.add(id=call.id, name=call.name)
            one.tool_calls[call.index].arguments += call.arguments
        if delta.HasField("finish"):
            assert not one.HasField("finish")
            one.finish.CopyFrom(delta.finish)
    return [sequences[index] for index in sorted(sequences)]


async def streamed(running: Running, sent: pb.GenerateRequest, **options: Any) -> list[pb.GenerateChunk]:
    return [chunk async for chunk in running.generation.StreamGenerate(sent, **options)]


@pytest.mark.parametrize(
    "fields",
    [
        {"num_sequences": 3, "sampling": SEEDED},
        {"num_sequences": 2, "sampling": SEEDED, "response": {"logprobs": 2, "prompt_logprobs": 1, "token_ids": True}},
        {"structured_output": {"regex": "[a-f]{6}"}, "stopping": {"max_tokens": 32}},
        {"num_sequences": 2, "sampling": SEEDED, "stopping": {"max_tokens": 64, "stop": ["a"]}},
        {"prompt": "Grüße 👋", "sampling": SEEDED, "response": {"logprobs": 1, "token_ids": True}},
    ],
    ids=["sequences", "logprobs", "form", "stop text", "characters of several tokens"],
)
async def test_a_stream_is_the_whole_answer_in_pieces(served: Running, fields: dict[str, Any]) -> None:
    whole = await served.generation.Generate(request(**fields))
    chunks = await streamed(served, request(**fields))

    assert joined(chunks) == list(whole.sequences)
    assert list(chunks[0].prompt) == list(whole.prompt)
    assert [chunk.seq for chunk in chunks] == list(range(len(chunks)))
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
    for sequence in whole.sequences:
        assert sequence.HasField("finish")
        if sequence.tokens:
            assert [token.token_id for token in sequence.tokens] == list(sequence.token_ids)


async def test_calls_of_tools_are_streamed_as_they_are_written(served: Running) -> None:
    sent = request(conversation=talk(said("What is the weather in Rome?")), **REQUIRED, stopping={"max_tokens": 200})

    (whole,) = (await served.generation.Generate(sent)).sequences
    chunks = await streamed(served, sent)

    (parts,) = joined(chunks)
    names = [(call.name, json.loads(call.arguments)) for call in whole.tool_calls]
    assert [(call.name, json.loads(call.arguments)) for call in parts.tool_calls] == names
    assert parts.finish.reason == whole.finish.reason == pb.FINISH_REASON_TOOL_CALLS
    assert sum(bool(delta.tool_calls) for chunk in chunks for delta in chunk.deltas) > 1
    assert all(call.id for call in (*parts.tool_calls, *whole.tool_calls))


@pytest.mark.parametrize("method", ["Generate", "StreamGenerate"])
async def test_a_partial_answer_has_every_sequence(served: Running, method: str) -> None:
    sent = request(num_sequences=3, stopping={"ignore_eos": True}, on_deadline=pb.ON_DEADLINE_RETURN_PARTIAL)

    if method == "Generate":
        reply = await served.generation.Generate(sent, timeout=0.8)
        sequences, usage = list(reply.sequences), reply.usage
    else:
        chunks = await streamed(served, sent, timeout=0.8)
        sequences, usage = joined(chunks), chunks[-1].usage

    assert [sequence.index for sequence in sequences] == [0, 1, 2]
    assert {sequence.finish.reason for sequence in sequences} == {pb.FINISH_REASON_DEADLINE}
    assert all(sequence.text for sequence in sequences)
    assert usage.completion_tokens == sum(len(sequence.token_ids) for sequence in sequences)
    await eventually(lambda: served.engine.running == 0)


async def test_a_cancelled_call_frees_all_its_sequences(served: Running) -> None:
    call = served.generation.StreamGenerate(request(num_sequences=4, stopping={"ignore_eos": True}))
    await call.read()

    call.cancel()

    await eventually(lambda: served.engine.running == 0)
    assert not served.engine._several


async def test_a_constraint_that_takes_too_long_is_refused_and_nobody_else_waits(served: Running) -> None:
    others = asyncio.create_task(
        streamed(served, request(stopping={"max_tokens": 300, "ignore_eos": True}, response={"max_delay_ms": 0}))
    )
    bomb = {**BOMB, "description": f"not compiled before, for {id(served)}"}

    failure = await failure_of(served.generation.Generate(request(structured_output={"json_schema": json.dumps(bomb)})))

    assert (failure.code, failure.fields) == (grpc.StatusCode.INVALID_ARGUMENT, ["structured_output.json_schema"])
    assert "2 s of CPU" in failure.text
    assert (await others)[-1].usage.completion_tokens == 300
    good = await served.generation.Generate(request(structured_output={"regex": "ok"}, stopping={"max_tokens": 9}))
    assert good.sequences[0].text == "ok"


async def test_schemas_of_tools_are_bounded_as_well(served: Running) -> None:
    # One level down, where the template does not show it.
    parameters = {"type": "object", "title": f"another {id(served)}", "properties": {"it": BOMB}}
    tool = {"name": "f", "parameters": json.dumps(parameters)}

    failure = await failure_of(
        served.generation.Generate(request(conversation=talk(), tools=[tool], tool_choice={"name": "f"}))
    )

    assert (failure.code, failure.fields) == (grpc.StatusCode.INVALID_ARGUMENT, ["tools"])


async def test_malformed_constraints_between_good_ones_hurt_nobody(served: Running) -> None:
    good = request(structured_output={"grammar": 'root ::= "yes"'}, stopping={"max_tokens": 9})
    for bad in ({"grammar": "root ::= ("}, {"regex": "(["}, {"json_schema": '{"type": "nothing"}'}):
        assert (await served.generation.Generate(good)).sequences[0].text == "yes"
        failure = await failure_of(served.generation.Generate(request(structured_output=bad)))
        assert failure.fields == [f"structured_output.{next(iter(bad))}"]
    assert (await served.generation.Generate(good)).sequences[0].text == "yes"


@pytest.mark.parametrize("method", ["Generate", "StreamGenerate"])
async def test_a_form_that_the_sampling_options_rule_out_is_a_wrong_request(served: Running, method: str) -> None:
    sent = request(structured_output={"choice": {"options": ["yes"]}}, sampling={"allowed_token_ids": [7, 8]})

    failure = await failure_of(getattr(served.generation, method)(sent))

    assert (failure.code, failure.fields) == (grpc.StatusCode.INVALID_ARGUMENT, ["structured_output"])


async def test_a_limit_of_thoughts_needs_a_server_that_knows_them(served: Running) -> None:
    failure = await failure_of(served.generation.Generate(request(reasoning={"max_tokens": 4})))

    assert (failure.code, failure.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "FEATURE_OFF")


async def test_the_model_tells_what_it_can_do(served: Running) -> None:
    model = await served.models.GetModel(models_pb2.GetModelRequest(name="builtin"))

    assert model.tool_parser == "hermes"
    assert model.max_logprobs == 20
    assert "json_schema" in model.structured_outputs
    assert list(model.modalities) == [models_pb2.MODALITY_TEXT]
    told = {(limit.field, limit.kind): limit.maximum for limit in model.limits}
    assert told["num_sequences", models_pb2.LIMIT_KIND_VALUE] == 8
    assert told["stopping.stop", models_pb2.LIMIT_KIND_COUNT] == 16
    assert told["sampling.top_k", models_pb2.LIMIT_KIND_VALUE] == model.vocabulary_size


async def test_the_model_tells_the_digest_of_its_weights(real: Running) -> None:
    weights = hashlib.sha256(files("penstock_service").joinpath("builtin/model.safetensors").read_bytes()).hexdigest()
    printed = f"{weights}  model.safetensors\n"

    model = await real.models.GetModel(models_pb2.GetModelRequest(name="builtin"))

    assert model.digest == f"sha256:{hashlib.sha256(printed.encode()).hexdigest()}"
