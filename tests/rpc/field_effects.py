"""What each field of a GenerateRequest changes on real vLLM, by the field's path; test_field_effects runs them.

An effect gets a `Caller` and fails if the field does not do what the contract says.
"""

import asyncio
import json
import re
import time
from collections.abc import Awaitable, Callable
from importlib.resources import files
from typing import Any

import grpc

from penstock.v1 import generation_pb2 as pb
from tests.rpc.error_details import failure_of

Effect = Callable[["Caller"], Awaitable[None]]
EFFECTS: dict[str, Effect] = {}
# Those that need a chat template with tools, thinking and variables: tests/rpc/talkative_model.
TEMPLATED: set[Effect] = set()

GREEDY = {"temperature": 0.0}
SEEDED = {"temperature": 1.0, "seed": 7}
PROMPT = "Once upon a time"
CITY = {"type": "object", "properties": {"city": {"type": "string", "maxLength": 8}}, "required": ["city"]}
WEATHER = {"name": "get_weather", "description": "The weather of a city", "parameters": json.dumps(CITY)}
TIME = {"name": "get_time", "description": "The time in a city", "parameters": json.dumps(CITY)}


class Caller:
    """Calls Generate with defaults that make answers short and repeatable."""

    def __init__(self, generation: Any, tokenizer: Any) -> None:
        self.generation = generation
        self.tokenizer = tokenizer

    async def whole(self, tokens: int = 24, **fields: Any) -> pb.GenerateResponse:
        """The reply."""
        fields = {"sampling": GREEDY, "stopping": {"max_tokens": tokens, "ignore_eos": True}, **fields}
        fields["response"] = {"token_ids": True, **fields.get("response", {})}
        if not any(name in fields for name in ("prompt", "token_ids", "conversation", "batch")):
            fields["prompt"] = PROMPT
        return await self.generation.Generate(pb.GenerateRequest(**fields))

    async def text(self, **fields: Any) -> str:
        """The text of the only sequence."""
        return (await self.whole(**fields)).sequences[0].text

    async def ids(self, **fields: Any) -> list[int]:
        """The tokens of the only sequence."""
        return list((await self.whole(**fields)).sequences[0].token_ids)

    async def refused(self, **fields: Any) -> Any:
        """The failure."""
        return await failure_of(self.generation.Generate(pb.GenerateRequest(**{"prompt": PROMPT, **fields})))

    async def prompt_text(self, **fields: Any) -> str:
        """What the model reads, special tokens and all."""
        reply = await self.whole(tokens=1, **fields, response={"prompt_logprobs": 0})
        return b"".join(token.token_bytes for token in reply.prompt).decode()


def said(text: str = "Hello", role: str = "ROLE_USER", **fields: Any) -> dict[str, Any]:
    return {"role": role, "content": [{"text": text}], **fields}


def talk(*messages: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"messages": list(messages) or [said()], **fields}


def changes(*paths: str, templated: bool = False) -> Callable[[Effect], Effect]:
    """Register the effect of fields; `templated` if it needs the model of that kind."""

    def register(effect: Effect) -> Effect:
        if templated:
            TEMPLATED.add(effect)
        for path in paths:
            assert path not in EFFECTS
            EFFECTS[path] = effect
        return effect

    return register


# Input.


@changes("prompt")
async def _(caller: Caller) -> None:
    assert await caller.text(prompt="Once upon a time") != await caller.text(prompt="Hello")


@changes("token_ids.ids")
async def _(caller: Caller) -> None:
    ids = caller.tokenizer.encode(PROMPT)
    assert await caller.ids(token_ids={"ids": ids}) == await caller.ids()


@changes("conversation.messages[].role", "conversation.messages[].content[].text")
async def _(caller: Caller) -> None:
    read = await caller.prompt_text(
        conversation=talk(said("Be short", "ROLE_SYSTEM"), said("Hi"), said("Yes", "ROLE_ASSISTANT"), said("No"))
    )
    assert re.search(r"system.*Be short.*user.*Hi.*assistant.*Yes.*user.*No.*assistant", read, re.DOTALL)
    developer = await caller.prompt_text(conversation=talk(said("Be short", "ROLE_DEVELOPER"), said("Hi")))
    assert "Be short" in developer


@changes(
    "conversation.messages[].content[].image.data",
    "conversation.messages[].content[].image.url",
    "conversation.messages[].content[].audio.data",
    "conversation.messages[].content[].audio.url",
)
async def _(caller: Caller) -> None:
    for kind in ("image", "audio"):
        for source in ({"data": b"\x89PNG"}, {"url": "https://example.com/a"}):
            message = {"role": "ROLE_USER", "content": [{"text": "What is it?"}, {kind: source}]}
            failure = await caller.refused(prompt=None, conversation=talk(message))
            assert (failure.code, failure.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "FEATURE_OFF")
            assert kind in failure.text


@changes(
    "conversation.messages[].tool_calls[].id",
    "conversation.messages[].tool_calls[].name",
    "conversation.messages[].tool_calls[].arguments",
    "conversation.messages[].tool_call_id",
    "conversation.messages[].name",
    templated=True,
)
async def _(caller: Caller) -> None:
    call = {"id": "call-1", "name": "get_weather", "arguments": '{"city": "Rome"}'}
    asked = {"role": "ROLE_ASSISTANT", "tool_calls": [call]}
    result = said("It is sunny", "ROLE_TOOL", tool_call_id="call-1", name="get_weather")
    read = await caller.prompt_text(conversation=talk(said("Weather?"), asked, result), tools=[WEATHER])
    assert read.index("get_weather") < read.rindex("Rome") < read.index("get_weather (call-1) says: It is sunny")
    stray = await caller.refused(prompt=None, conversation=talk(said("Hi", tool_call_id="call-1")))
    assert stray.fields == ["conversation.messages[0].tool_call_id"]


@changes("conversation.messages[].reasoning", templated=True)
async def _(caller: Caller) -> None:
    failure = await caller.refused(prompt=None, conversation=talk(said("Hi", reasoning="hm")))
    assert failure.fields == ["conversation.messages[0].reasoning"]
    thought = said("Yes", "ROLE_ASSISTANT", reasoning="hm")
    assert "hm ... Yes" in await caller.prompt_text(conversation=talk(said("Hi"), thought, said("No")))


@changes("conversation.add_generation_prompt")
async def _(caller: Caller) -> None:
    with_start = await caller.prompt_text(conversation=talk())
    without = await caller.prompt_text(conversation=talk(add_generation_prompt=False))
    assert with_start.startswith(without)
    assert len(with_start) > len(without)


@changes("conversation.continue_final_message")
async def _(caller: Caller) -> None:
    messages = (said("Tell me a story"), said("Once upon a", "ROLE_ASSISTANT"))
    assert (await caller.prompt_text(conversation=talk(*messages, continue_final_message=True))).endswith("Once upon a")


@changes(
    "conversation.template_arguments{value}.flag",
    "conversation.template_arguments{value}.integer",
    "conversation.template_arguments{value}.number",
    "conversation.template_arguments{value}.text",
    templated=True,
)
async def _(caller: Caller) -> None:
    values = (
        ({"flag": True}, "True"),
        ({"integer": 7}, "7"),
        ({"number": 0.5}, "0.5"),
        ({"text": "a pirate"}, "a pirate"),
    )
    for value, shown in values:
        read = await caller.prompt_text(conversation=talk(template_arguments={"persona": value}))
        assert f"You are {shown}" in read
    failure = await caller.refused(prompt=None, conversation=talk(template_arguments={"tokenize": {"flag": False}}))
    assert failure.fields == ["conversation.template_arguments[tokenize]"]
    assert "permitted: mood, persona" in failure.text


@changes("batch.inputs")
async def _(caller: Caller) -> None:
    ids = caller.tokenizer.encode(PROMPT)
    inputs = [{"prompt": PROMPT}, {"token_ids": {"ids": ids}}, {"conversation": talk()}, {"prompt": ""}, {}]
    reply = await caller.whole(batch={"inputs": inputs})
    texts = [result.response.sequences[0].text for result in reply.results[:3]]
    assert texts == [await caller.text(), await caller.text(), await caller.text(conversation=talk())]
    assert [result.status.code for result in reply.results] == [0, 0, 0, 3, 3]
    assert reply.usage.completion_tokens == 3 * 24


@changes("model")
async def _(caller: Caller) -> None:
    assert (await caller.refused(model="another")).reason == "MODEL_NOT_FOUND"
    assert await caller.text(model="builtin") == await caller.text()


# Sampling.


@changes("sampling.temperature")
async def _(caller: Caller) -> None:
    hot = await asyncio.gather(*(caller.text(sampling={"temperature": 2.0}) for _ in range(4)))
    cold = await asyncio.gather(*(caller.text(sampling={"temperature": 0.0}) for _ in range(4)))
    assert len(set(hot)) > 1 == len(set(cold))


@changes("sampling.top_p", "sampling.top_k", "sampling.min_p")
async def _(caller: Caller) -> None:
    for only_the_likeliest in ({"top_p": 1e-6}, {"top_k": 1}, {"min_p": 1.0}):
        reply = await caller.whole(sampling={"temperature": 2.0, **only_the_likeliest}, response={"logprobs": 1})
        # Two tokens can be equally likely.
        assert all(token.logprob == token.candidates[0].logprob for token in reply.sequences[0].tokens)


@changes("sampling.frequency_penalty", "sampling.presence_penalty", "sampling.repetition_penalty")
async def _(caller: Caller) -> None:
    plain = await caller.ids(tokens=64)
    for penalty in ({"frequency_penalty": 2.0}, {"presence_penalty": 2.0}, {"repetition_penalty": 3.0}):
        assert await caller.ids(tokens=64, sampling={**GREEDY, **penalty}) != plain


@changes("sampling.seed")
async def _(caller: Caller) -> None:
    texts = [await caller.text(sampling={"temperature": 1.0, "seed": seed}) for seed in (1, 1, 2, -1, -1)]
    assert texts[0] == texts[1] != texts[2]
    assert texts[3] == texts[4]


@changes("sampling.logit_bias{key}", "sampling.logit_bias{value}")
async def _(caller: Caller) -> None:
    first, *_ = await caller.ids()
    assert (await caller.ids(sampling={**GREEDY, "logit_bias": {first: -100.0}}))[0] != first
    assert await caller.ids(tokens=3, sampling={**GREEDY, "logit_bias": {65: 100.0}}) == [65] * 3


@changes("sampling.bad_words")
async def _(caller: Caller) -> None:
    def tokens(text: str) -> int:
        return len(caller.tokenizer.encode(text, add_special_tokens=False))

    word = next(word for word in (await caller.text()).split() if tokens(word) == tokens(f" {word}"))
    assert word not in (await caller.text(sampling={**GREEDY, "bad_words": [word]})).split()


@changes("sampling.allowed_token_ids")
async def _(caller: Caller) -> None:
    assert set(await caller.ids(sampling={**SEEDED, "allowed_token_ids": [65, 66]})) <= {65, 66}


# Stopping.


@changes("stopping.max_tokens")
async def _(caller: Caller) -> None:
    assert [len(await caller.ids(tokens=count)) for count in (1, 7)] == [1, 7]


@changes("stopping.min_tokens", "stopping.stop_token_ids")
async def _(caller: Caller) -> None:
    third = (await caller.ids())[2]
    stopped = await caller.whole(stopping={"max_tokens": 24, "stop_token_ids": [third]})
    assert stopped.sequences[0].finish.stop_token_id == third
    later = await caller.whole(stopping={"max_tokens": 24, "min_tokens": 12, "stop_token_ids": [third]})
    assert later.usage.completion_tokens >= 12 > stopped.usage.completion_tokens


@changes("stopping.stop", "stopping.include_stop")
async def _(caller: Caller) -> None:
    text = await caller.text()
    word = text.split()[3]
    without = await caller.whole(stopping={"max_tokens": 24, "stop": [word]})
    assert without.sequences[0].text == text[: text.index(word)]
    assert without.sequences[0].finish.stop_text == word
    assert await caller.text(stopping={"max_tokens": 24, "stop": [word], "include_stop": True}) == (
        text[: text.index(word)] + word
    )


@changes("stopping.ignore_eos")
async def _(caller: Caller) -> None:
    ends = await caller.whole(conversation=talk(), stopping={"max_tokens": 200})
    goes_on = await caller.whole(conversation=talk(), stopping={"max_tokens": 200, "ignore_eos": True})
    assert ends.usage.completion_tokens < goes_on.usage.completion_tokens == 200
    assert ends.sequences[0].finish.reason == pb.FINISH_REASON_STOP


# Response.


@changes("response.text", "response.token_ids")
async def _(caller: Caller) -> None:
    ids_only = await caller.whole(response={"text": False, "token_ids": True})
    text_only = await caller.whole(response={"token_ids": False})
    assert (ids_only.sequences[0].text, list(text_only.sequences[0].token_ids)) == ("", [])
    assert list(ids_only.sequences[0].token_ids) == await caller.ids()


@changes("response.max_delay_ms")
async def _(caller: Caller) -> None:
    """It takes a busy server to hold output back (test_pacing); at 0 every token has a chunk of its own."""
    sent = pb.GenerateRequest(prompt=PROMPT, stopping={"max_tokens": 9, "ignore_eos": True})
    sent.response.max_delay_ms = 0
    sent.response.token_ids = True
    chunks = [chunk async for chunk in caller.generation.StreamGenerate(sent)]
    assert chunks[-1].timings.chunk_count == len(chunks)
    assert sum(len(chunk.deltas[0].token_ids) for chunk in chunks) == 9


@changes("response.logprobs")
async def _(caller: Caller) -> None:
    for wanted in (0, 3):
        (sequence,) = (await caller.whole(response={"logprobs": wanted})).sequences
        assert [token.token_id for token in sequence.tokens] == list(sequence.token_ids)
        assert b"".join(token.token_bytes for token in sequence.tokens).decode() == sequence.text
        assert all(token.rank <= 2 and token.logprob <= 0 for token in sequence.tokens)  # greedy, with ties
        assert {len(token.candidates) for token in sequence.tokens} == {wanted}
    assert not (await caller.whole()).sequences[0].tokens


@changes("response.prompt_logprobs")
async def _(caller: Caller) -> None:
    reply = await caller.whole(prompt="Grüße 👋", response={"prompt_logprobs": 2})
    assert [token.token_id for token in reply.prompt] == caller.tokenizer.encode("Grüße 👋")
    assert b"".join(token.token_bytes for token in reply.prompt).decode().endswith("Grüße 👋")
    assert [token.HasField("logprob") for token in reply.prompt] == [False, *[True] * (len(reply.prompt) - 1)]
    assert {len(token.candidates) for token in reply.prompt[1:]} == {2}


@changes("response.skip_special_tokens", "response.spaces_between_special_tokens")
async def _(caller: Caller) -> None:
    end = caller.tokenizer.eos_token
    forced = {"sampling": {**GREEDY, "logit_bias": {caller.tokenizer.eos_token_id: 100.0}}, "tokens": 2}
    assert end not in await caller.text(**forced)
    shown = await caller.text(**forced, response={"skip_special_tokens": False, "spaces_between_special_tokens": False})
    assert shown == end + end


@changes("response.settings")
async def _(caller: Caller) -> None:
    settings = (await caller.whole(sampling=SEEDED, response={"settings": True})).settings
    config = json.loads(files("penstock_service").joinpath("builtin/generation_config.json").read_text())
    assert (settings.sampling.seed, settings.sampling.top_p) == (7, config["top_p"])
    assert (settings.stopping.max_tokens, settings.num_sequences) == (24, 1)
    assert not (await caller.whole()).HasField("settings")


# Forms and tools.


@changes("structured_output.json_schema")
async def _(caller: Caller) -> None:
    answer = json.loads(await caller.text(structured_output={"json_schema": json.dumps(CITY)}, **ENDING))
    assert list(answer) == ["city"]


@changes("structured_output.json_object")
async def _(caller: Caller) -> None:
    assert (
        (await caller.text(structured_output={"json_object": {}}, stopping={"max_tokens": 4})).lstrip().startswith("{")
    )


@changes("structured_output.regex")
async def _(caller: Caller) -> None:
    assert re.fullmatch(
        r"[0-9]{3}-[a-c]{2}", await caller.text(structured_output={"regex": "[0-9]{3}-[a-c]{2}"}, **ENDING)
    )


@changes("structured_output.choice.options")
async def _(caller: Caller) -> None:
    assert await caller.text(structured_output={"choice": {"options": ["penstock", "turbine"]}}, **ENDING) in (
        "penstock",
        "turbine",
    )


@changes("structured_output.grammar")
async def _(caller: Caller) -> None:
    grammar = 'root ::= "yes" | "no, " [0-9] [0-9]'
    assert re.fullmatch("yes|no, [0-9]{2}", await caller.text(structured_output={"grammar": grammar}, **ENDING))


@changes("structured_output.structural_tag")
async def _(caller: Caller) -> None:
    form = {"type": "tag", "begin": "<n>", "content": {"type": "regex", "pattern": "[0-9]{2}"}, "end": "</n>"}
    tag = json.dumps({"type": "structural_tag", "format": form})
    assert re.fullmatch("<n>[0-9]{2}</n>", await caller.text(structured_output={"structural_tag": tag}, **ENDING))


@changes("tools[].name", "tools[].description", "tools[].parameters", "tools[].strict", templated=True)
async def _(caller: Caller) -> None:
    read = await caller.prompt_text(conversation=talk(), tools=[WEATHER])
    assert all(text in read for text in ("get_weather", "The weather of a city", "city"))
    for strict in (True, False):
        named = {"tools": [{**WEATHER, "strict": strict}], "tool_choice": {"name": "get_weather"}}
        (call,) = (await caller.whole(conversation=talk(), **named, **ENDING)).sequences[0].tool_calls
        assert isinstance(json.loads(call.arguments), dict) or not strict


@changes("tool_choice.mode", templated=True)
async def _(caller: Caller) -> None:
    required = await caller.whole(
        conversation=talk(), tools=[WEATHER, TIME], tool_choice={"mode": "TOOL_CHOICE_MODE_REQUIRED"}, **ENDING
    )
    (sequence,) = required.sequences
    assert sequence.finish.reason == pb.FINISH_REASON_TOOL_CALLS
    assert {call.name for call in sequence.tool_calls} <= {"get_weather", "get_time"}
    assert all(json.loads(call.arguments).keys() == {"city"} and call.id for call in sequence.tool_calls)
    none = await caller.prompt_text(conversation=talk(), tools=[WEATHER], tool_choice={"mode": "TOOL_CHOICE_MODE_NONE"})
    assert "get_weather" not in none


@changes("tool_choice.name")
async def _(caller: Caller) -> None:
    named = await caller.whole(conversation=talk(), tools=[WEATHER, TIME], tool_choice={"name": "get_time"}, **ENDING)
    assert [call.name for call in named.sequences[0].tool_calls] == ["get_time"]


@changes("tool_choice.parallel")
async def _(caller: Caller) -> None:
    once = await caller.whole(
        conversation=talk(),
        tools=[WEATHER, TIME],
        tool_choice={"mode": "TOOL_CHOICE_MODE_REQUIRED", "parallel": False},
        **ENDING,
    )
    assert len(once.sequences[0].tool_calls) == 1


@changes("reasoning.enabled", "reasoning.effort", templated=True)
async def _(caller: Caller) -> None:
    question = talk(said("What is 2 plus 3?"))
    plain = await caller.prompt_text(conversation=question)
    for asked in ({"enabled": True}, {"effort": "REASONING_EFFORT_HIGH"}):
        assert await caller.prompt_text(conversation=question, reasoning=asked) != plain
        thinking = await caller.whole(conversation=question, reasoning=asked, **LONG)
        assert thinking.sequences[0].reasoning
        assert thinking.usage.reasoning_tokens > 0
    for asked in ({"enabled": False}, {"effort": "REASONING_EFFORT_NONE"}):
        assert await caller.prompt_text(conversation=question, reasoning=asked) == plain


@changes("reasoning.include", templated=True)
async def _(caller: Caller) -> None:
    hidden = await caller.whole(
        conversation=talk(said("What is 2 plus 3?")), reasoning={"enabled": True, "include": False}, **LONG
    )
    assert not hidden.sequences[0].reasoning
    assert hidden.usage.reasoning_tokens > 0


@changes("reasoning.max_tokens")
async def _(caller: Caller) -> None:
    """It needs a server that knows what thoughts begin and end with; this one says that it does not."""
    failure = await caller.refused(prompt=None, conversation=talk(), reasoning={"enabled": True, "max_tokens": 4})
    assert failure.code is grpc.StatusCode.FAILED_PRECONDITION


# The rest.


@changes("num_sequences")
async def _(caller: Caller) -> None:
    reply = await caller.whole(num_sequences=3, sampling=SEEDED)
    alone = [await caller.text(sampling={**SEEDED, "seed": seed}) for seed in (7, 8, 9)]
    assert [sequence.text for sequence in reply.sequences] == alone
    assert reply.usage.completion_tokens == 3 * 24


@changes("priority")
async def _(caller: Caller) -> None:
    assert "priority" in (await caller.refused(priority=1)).text


@changes("cache_salt", "bypass_prefix_cache")
async def _(caller: Caller) -> None:
    prompt = f"{time.monotonic_ns()} " * 12
    await caller.whole(prompt=prompt, tokens=1)
    cached = [
        (await caller.whole(prompt=prompt, tokens=1, **fields)).usage.cached_prompt_tokens
        for fields in ({}, {"bypass_prefix_cache": True}, {"cache_salt": "a"}, {"cache_salt": "a"}, {"cache_salt": "b"})
    ]
    assert cached[0] > 0
    assert cached[3] > 0
    assert (cached[1], cached[2], cached[4]) == (0, 0, 0)


@changes("on_deadline")
async def _(caller: Caller) -> None:
    sent = pb.GenerateRequest(prompt=PROMPT, stopping={"ignore_eos": True})
    sent.on_deadline = pb.ON_DEADLINE_RETURN_PARTIAL
    reply = await caller.generation.Generate(sent, timeout=0.5)
    assert reply.sequences[0].finish.reason == pb.FINISH_REASON_DEADLINE


@changes("request_id")
async def _(caller: Caller) -> None:
    assert (await caller.whole(request_id="a/b")).request_id == "a/b"


@changes("resumable")
async def _(caller: Caller) -> None:
    sent = pb.GenerateRequest(prompt=PROMPT, sampling=GREEDY, stopping={"max_tokens": 24, "ignore_eos": True})
    sent.resumable = True
    stream = caller.generation.StreamGenerate(sent)
    first = await stream.read()
    stream.cancel()
    rest = caller.generation.Resume(pb.ResumeRequest(id=first.id, next_seq=1))
    text = first.deltas[0].text + "".join([chunk.deltas[0].text async for chunk in rest])
    assert text == await caller.text()
    assert (await caller.refused(resumable=True)).fields == ["resumable"]


@changes("idempotency_key")
async def _(caller: Caller) -> None:
    key = f"order-{time.monotonic_ns()}"
    first = await caller.whole(sampling=SEEDED, idempotency_key=key)
    assert await caller.whole(sampling=SEEDED, idempotency_key=key) == first
    assert (await caller.refused(idempotency_key=key)).reason == "KEY_REUSED"


@changes("prompt_options.truncate_tokens", "prompt_options.truncation_side")
async def _(caller: Caller) -> None:
    ids = caller.tokenizer.encode("one two three four five six seven", add_special_tokens=False)
    for side, kept in (("LEFT", ids[-4:]), ("RIGHT", ids[:4])):
        options = {"truncate_tokens": 4, "truncation_side": f"TRUNCATION_SIDE_{side}"}
        reply = await caller.whole(token_ids={"ids": ids}, prompt_options=options, response={"prompt_logprobs": 0})
        assert [token.token_id for token in reply.prompt] == kept


@changes("prompt_options.add_special_tokens")
async def _(caller: Caller) -> None:
    whole, bare = [
        (await caller.whole(prompt_options={"add_special_tokens": add})).usage.prompt_tokens for add in (True, False)
    ]
    assert whole - bare == len(caller.tokenizer.encode("")) > 0


@changes("prompt_options.parse_special_tokens")
async def _(caller: Caller) -> None:
    end = caller.tokenizer.eos_token
    as_text = await caller.whole(prompt=f"Hi{end}")
    as_token = await caller.whole(prompt=f"Hi{end}", prompt_options={"parse_special_tokens": True})
    assert as_token.usage.prompt_tokens < as_text.usage.prompt_tokens
    typed = await caller.whole(tokens=1, conversation=talk(said(f"Hi{end}")), response={"prompt_logprobs": 0})
    assert caller.tokenizer.eos_token_id not in [token.token_id for token in typed.prompt]
    assert f"Hi{end}" in b"".join(token.token_bytes for token in typed.prompt).decode()


ENDING: dict[str, Any] = {"stopping": {"max_tokens": 200}}
LONG: dict[str, Any] = {"stopping": {"max_tokens": 300}}
