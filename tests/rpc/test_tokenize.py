"""Tokenize and Detokenize: what they answer, and what they refuse."""

import grpc
import pytest

from penstock.v1 import generation_pb2 as pb
from tests.conftest import OpenService, Running
from tests.faults.faulty_engine import HeldLoading, without_chat
from tests.rpc.error_details import failure_of

HELLO = pb.ContentPart(text="hello")
USER = pb.Message(role=pb.ROLE_USER, content=[HELLO])

BAD_TOKENIZE_REQUESTS: dict[str, tuple[pb.TokenizeRequest, list[str]]] = {
    "no input": (pb.TokenizeRequest(), ["input"]),
    "no messages": (pb.TokenizeRequest(conversation=pb.Conversation()), ["conversation.messages"]),
    "message without role": (
        pb.TokenizeRequest(conversation=pb.Conversation(messages=[USER, pb.Message(content=[HELLO])])),
        ["conversation.messages[1].role"],
    ),
    "tools without a conversation": (
        pb.TokenizeRequest(prompt="hello", tools=[pb.Tool(name="look")]),
        ["tools"],
    ),
    "truncated to nothing": (
        pb.TokenizeRequest(prompt="hello", prompt_options=pb.PromptOptions(truncate_tokens=0)),
        ["prompt_options.truncate_tokens"],
    ),
    "no input and a wrong option": (
        pb.TokenizeRequest(prompt_options=pb.PromptOptions(truncate_tokens=-1)),
        ["input", "prompt_options.truncate_tokens"],
    ),
}

BAD_DETOKENIZE_REQUESTS: dict[str, tuple[pb.DetokenizeRequest, list[str]]] = {
    "no token ids": (pb.DetokenizeRequest(), ["token_ids"]),
    "token ids outside the vocabulary": (
        pb.DetokenizeRequest(token_ids=pb.TokenIds(ids=[1, 10_000_000, 2, -1])),
        ["token_ids.ids[1]", "token_ids.ids[3]"],
    ),
    "more wrong ones than an error shows": (
        pb.DetokenizeRequest(token_ids=pb.TokenIds(ids=[-1] * 100)),
        [f"token_ids.ids[{position}]" for position in range(16)],
    ),
}


@pytest.mark.parametrize("text", ["", "abc", "abcd", "Once upon a time", "Grüße aus Zürich 👋"])
async def test_tokens_number_what_generate_counts_and_their_spans_are_parts_of_the_text(
    simulated: Running, text: str
) -> None:
    reply = await simulated.generation.Tokenize(pb.TokenizeRequest(prompt=text))

    if text:
        generated = await simulated.generation.Generate(pb.GenerateRequest(prompt=text, stopping={"max_tokens": 1}))
        assert len(reply.token_ids) == generated.usage.prompt_tokens
    assert (reply.text, reply.model) == (text, "builtin")
    assert len(reply.spans) == len(reply.token_ids)
    covered = {place for span in reply.spans for place in range(span.start, span.end)}
    assert covered == set(range(len(text)))
    assert [span.start for span in reply.spans] == sorted(span.start for span in reply.spans)


async def test_the_text_of_a_conversation_is_told(simulated: Running) -> None:
    conversation = pb.Conversation(messages=[USER, USER])

    reply = await simulated.generation.Tokenize(pb.TokenizeRequest(conversation=conversation))
    generated = await simulated.generation.Generate(
        pb.GenerateRequest(conversation=conversation, stopping={"max_tokens": 1})
    )

    assert "hello" in reply.text
    assert len(reply.token_ids) == generated.usage.prompt_tokens


async def test_a_text_may_be_longer_than_the_context_up_to_the_models_bytes(open_service: OpenService) -> None:
    running = await open_service(simulated={"context_length": 100})
    longest = running.engine.model.max_prompt_bytes

    reply = await running.generation.Tokenize(pb.TokenizeRequest(prompt="x" * longest))
    failure = await failure_of(running.generation.Tokenize(pb.TokenizeRequest(prompt="x" * (longest + 1))))

    assert len(reply.token_ids) > 100
    assert (failure.code, failure.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
    assert failure.fields == ["prompt"]
    assert str(longest) in failure.text


async def test_what_was_generated_comes_back_from_its_tokens(simulated: Running) -> None:
    request = pb.GenerateRequest(prompt="Hello", stopping={"max_tokens": 8, "ignore_eos": True})
    request.response.token_ids = True
    sequence = (await simulated.generation.Generate(request)).sequences[0]

    reply = await simulated.generation.Detokenize(pb.DetokenizeRequest(token_ids=pb.TokenIds(ids=sequence.token_ids)))

    assert (reply.text, reply.model) == (sequence.text, "builtin")


async def test_special_tokens_have_a_text_unless_they_are_left_out(simulated: Running) -> None:
    ids = pb.TokenIds(ids=[7, 0])

    shown = await simulated.generation.Detokenize(pb.DetokenizeRequest(token_ids=ids))
    without = await simulated.generation.Detokenize(pb.DetokenizeRequest(token_ids=ids, skip_special_tokens=True))

    assert shown.text.startswith(without.text)
    assert len(shown.text) > len(without.text) > 0


async def test_no_tokens_are_no_text(simulated: Running) -> None:
    reply = await simulated.generation.Detokenize(pb.DetokenizeRequest(token_ids=pb.TokenIds()))

    assert reply.text == ""


@pytest.mark.parametrize("name", BAD_TOKENIZE_REQUESTS)
async def test_every_wrong_field_of_tokenize_is_named(simulated: Running, name: str) -> None:
    request, fields = BAD_TOKENIZE_REQUESTS[name]

    failure = await failure_of(simulated.generation.Tokenize(request))

    assert (failure.code, failure.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
    assert sorted(failure.fields) == fields


@pytest.mark.parametrize("name", BAD_DETOKENIZE_REQUESTS)
async def test_every_wrong_field_of_detokenize_is_named(simulated: Running, name: str) -> None:
    request, fields = BAD_DETOKENIZE_REQUESTS[name]

    failure = await failure_of(simulated.generation.Detokenize(request))

    assert (failure.code, failure.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
    assert failure.fields == fields


async def test_an_unknown_model_is_not_found(simulated: Running) -> None:
    for call in (
        simulated.generation.Tokenize(pb.TokenizeRequest(prompt="x", model="other")),
        simulated.generation.Detokenize(pb.DetokenizeRequest(token_ids=pb.TokenIds(), model="other")),
    ):
        failure = await failure_of(call)
        assert (failure.code, failure.reason) == (grpc.StatusCode.NOT_FOUND, "MODEL_NOT_FOUND")


async def test_a_conversation_needs_a_chat_template(open_service: OpenService) -> None:
    running = await open_service(load=without_chat())

    failure = await failure_of(
        running.generation.Tokenize(pb.TokenizeRequest(conversation=pb.Conversation(messages=[USER])))
    )

    assert (failure.code, failure.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "FEATURE_OFF")


async def test_while_loading_both_are_refused(open_service: OpenService) -> None:
    running = await open_service(load=HeldLoading(), ready=False)

    for call in (
        running.generation.Tokenize(pb.TokenizeRequest(prompt="x")),
        running.generation.Detokenize(pb.DetokenizeRequest(token_ids=pb.TokenIds())),
    ):
        failure = await failure_of(call)
        assert (failure.code, failure.reason) == (grpc.StatusCode.UNAVAILABLE, "LOADING")
