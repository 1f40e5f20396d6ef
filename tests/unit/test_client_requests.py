"""Keyword arguments become a GenerateRequest, or an error that names the argument."""

from typing import Any

import pytest

from penstock.arguments import ArgumentTypeError
from penstock.generate_options import BatchOptions, GenerateOptions
from penstock.requests import batch_request, generate_request
from penstock.v1 import generation_pb2 as pb


def test_every_keyword_lands_in_its_field() -> None:
    request = generate_request(
        "Once",
        model="tiny",
        request_id="job",
        temperature=0,
        top_p=0.5,
        top_k=4,
        min_p=0.1,
        frequency_penalty=1,
        presence_penalty=-1.5,
        repetition_penalty=1.1,
        seed=-(2**63),
        max_tokens=7,
        min_tokens=0,
        stop=["a", "b"],
        stop_token_ids=(5, 6),
        include_stop=True,
        ignore_eos=False,
        return_text=True,
        return_token_ids=True,
        max_delay_ms=5,
        priority=-3,
        on_deadline="return_partial",
        logit_bias={5: -100, 6: 0.5},
        bad_words=["rude"],
        allowed_token_ids=range(3),
        logprobs=0,
        prompt_logprobs=2,
        skip_special_tokens=False,
        spaces_between_special_tokens=False,
        return_settings=True,
        num_sequences=3,
        cache_salt="mine",
        bypass_prefix_cache=True,
        regex="a+",
        thinking=False,
        reasoning_effort="high",
        max_reasoning_tokens=0,
        include_reasoning=False,
        truncate_prompt_tokens=9,
        truncation_side="right",
        add_special_tokens=False,
        parse_special_tokens=True,
    )

    assert request == pb.GenerateRequest(
        prompt="Once",
        model="tiny",
        request_id="job",
        sampling=pb.SamplingOptions(
            temperature=0,
            top_p=0.5,
            top_k=4,
            min_p=0.1,
            frequency_penalty=1,
            presence_penalty=-1.5,
            repetition_penalty=1.1,
            seed=-(2**63),
            logit_bias={5: -100, 6: 0.5},
            bad_words=["rude"],
            allowed_token_ids=[0, 1, 2],
        ),
        stopping=pb.StoppingOptions(
            max_tokens=7, min_tokens=0, stop=["a", "b"], stop_token_ids=[5, 6], include_stop=True, ignore_eos=False
        ),
        response=pb.ResponseOptions(
            text=True,
            token_ids=True,
            max_delay_ms=5,
            logprobs=0,
            prompt_logprobs=2,
            skip_special_tokens=False,
            spaces_between_special_tokens=False,
            settings=True,
        ),
        structured_output=pb.StructuredOutput(regex="a+"),
        reasoning=pb.ReasoningOptions(enabled=False, effort=pb.REASONING_EFFORT_HIGH, max_tokens=0, include=False),
        num_sequences=3,
        priority=-3,
        cache_salt="mine",
        on_deadline=pb.ON_DEADLINE_RETURN_PARTIAL,
        bypass_prefix_cache=True,
        prompt_options=pb.PromptOptions(
            truncate_tokens=9,
            truncation_side=pb.TRUNCATION_SIDE_RIGHT,
            add_special_tokens=False,
            parse_special_tokens=True,
        ),
    )


# Fields whose keyword has another name, because all keywords share one space.
KEYWORDS = {
    "response.text": "return_text",
    "response.token_ids": "return_token_ids",
    "response.settings": "return_settings",
    "conversation.messages": "messages",
    "tool_choice.mode": "tool_choice",
    "tool_choice.name": "tool_choice",
    "tool_choice.parallel": "parallel_tool_calls",
    "reasoning.enabled": "thinking",
    "reasoning.effort": "reasoning_effort",
    "reasoning.max_tokens": "max_reasoning_tokens",
    "reasoning.include": "include_reasoning",
    "prompt_options.truncate_tokens": "truncate_prompt_tokens",
}
GROUPS = {
    *("conversation", "sampling", "stopping", "response", "structured_output"),
    *("tool_choice", "reasoning", "prompt_options"),
}


def test_every_field_of_the_contract_has_a_keyword() -> None:
    fields = pb.GenerateRequest.DESCRIPTOR.fields_by_name
    # `resumable` is an option of the call: a client that says so has to go on with the stream (`resume=`).
    paths = {name for name in fields if name not in {"prompt", "batch", "resumable", *GROUPS}}
    for group in GROUPS:
        described = fields[group].message_type
        assert described is not None
        paths |= {f"{group}.{name}" for name in described.fields_by_name}

    keywords = {KEYWORDS.get(path, path.rpartition(".")[2]) for path in paths}
    assert keywords == {*GenerateOptions.__annotations__}


@pytest.mark.parametrize("keyword", sorted(GenerateOptions.__annotations__))
def test_every_keyword_of_the_types_is_one_of_the_function(keyword: str) -> None:
    options: dict[str, Any] = {keyword: None}

    assert generate_request("Once", **options) == pb.GenerateRequest(prompt="Once")


def test_none_is_absent() -> None:
    nothing: dict[str, Any] = dict.fromkeys(GenerateOptions.__annotations__)

    assert generate_request("Once", **nothing) == pb.GenerateRequest(prompt="Once")


def test_an_explicit_zero_is_sent() -> None:
    request = generate_request("Once", temperature=0, max_tokens=0)

    assert request.sampling.HasField("temperature")
    assert request.stopping.HasField("max_tokens")


def test_one_stop_text_needs_no_list() -> None:
    assert list(generate_request("Once", stop="end").stopping.stop) == ["end"]


def test_token_ids_are_an_input() -> None:
    assert list(generate_request(token_ids=range(3)).token_ids.ids) == [0, 1, 2]


def test_messages_are_an_input() -> None:
    request = generate_request(
        messages=[
            {"role": "system", "content": "Be brief."},
            {"role": "developer", "content": ""},
            {"role": "user", "content": [{"type": "text", "text": "Hi"}, {"type": "text", "text": "!"}]},
            pb.Message(role=pb.ROLE_ASSISTANT, content=[pb.ContentPart(text="Hello")]),
        ]
    )

    spoken = [(message.role, [part.text for part in message.content]) for message in request.conversation.messages]
    assert spoken == [
        (pb.ROLE_SYSTEM, ["Be brief."]),
        (pb.ROLE_DEVELOPER, [""]),
        (pb.ROLE_USER, ["Hi", "!"]),
        (pb.ROLE_ASSISTANT, ["Hello"]),
    ]


USER = {"role": "user", "content": "Hi"}


def test_a_batch_has_inputs_of_every_kind_and_shares_its_options() -> None:
    request = batch_request(["Once", (1, 2), [USER]], temperature=0, add_generation_prompt=False)

    assert request.sampling.temperature == 0
    assert request.WhichOneof("input") == "batch"
    text, ids, chat = request.batch.inputs
    assert (text.prompt, list(ids.token_ids.ids), chat.conversation.messages[0].content[0].text) == (
        "Once",
        [1, 2],
        "Hi",
    )
    assert chat.conversation.HasField("add_generation_prompt")
    assert {*BatchOptions.__annotations__} == {*GenerateOptions.__annotations__} - {"messages", "token_ids"}


@pytest.mark.parametrize("name", ["prompt", "messages", "token_ids"])
def test_a_batch_has_its_inputs_in_one_place(name: str) -> None:
    options: dict[str, Any] = {name: "x"}

    with pytest.raises(TypeError, match=name):
        batch_request(["Once"], **options)


def test_a_wrong_input_of_a_batch_is_named_by_its_place() -> None:
    with pytest.raises(ArgumentTypeError) as caught:
        batch_request(["Once", [USER, 5]])  # type: ignore[list-item]

    assert caught.value.argument == "inputs[1][1]"
