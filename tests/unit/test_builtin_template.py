"""The built-in model's chat template: plain turns as they were, tools in one line each, calls and thoughts in tags."""

import json
from pathlib import Path
from typing import Any

import pytest
from jinja2 import TemplateError
from transformers import AutoTokenizer

MODEL = Path(__file__).parents[2] / "service" / "penstock_service" / "builtin"
TOKENIZER: Any = AutoTokenizer.from_pretrained(MODEL)
TAGS = ("<think>", "</think>", "<tool_call>", "</tool_call>")
HI = {"role": "user", "content": "Hi"}
HELLO = {"role": "assistant", "content": "Hello!"}


def render(*messages: dict[str, Any], **options: Any) -> str:
    return str(TOKENIZER.apply_chat_template(list(messages), tokenize=False, **options))


def tool(name: str, description: str = "", **parameters: Any) -> dict[str, Any]:
    function = {"name": name, "description": description, "parameters": parameters}
    return {"type": "function", "function": function}


def call(name: str, arguments: Any) -> dict[str, Any]:
    return {"id": f"call-{name}", "type": "function", "function": {"name": name, "arguments": arguments}}


WEATHER = tool(
    "get_weather",
    "Get the weather for a city",
    type="object",
    properties={"city": {"type": "string"}, "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]}},
    required=["city"],
)


def test_plain_turns_have_a_marker_each_whatever_is_said_about_thinking() -> None:
    system, developer = {"role": "system", "content": "Be brief."}, {"role": "developer", "content": "Be kind."}
    expected = (
        "<|begin|><|system|>Be brief.<|end|><|system|>Be kind.<|end|>"
        "<|user|>Hi<|end|><|assistant|>Hello!<|end|><|user|>Hi<|end|>"
    )

    assert render(system, developer, HI, HELLO, HI) == expected
    for options in ({}, {"enable_thinking": False}, {"reasoning_effort": "high"}, {"tools": None}):
        prompt = render(system, developer, HI, HELLO, HI, add_generation_prompt=True, **options)
        assert prompt == f"{expected}<|assistant|>"


def test_a_tool_is_one_line_in_front_of_the_conversation() -> None:
    ping = tool("ping")
    odd = tool(
        "set", "First line.\nSecond line.", type="object", properties={"x": {"type": ["integer", "null"]}, "y": {}}
    )

    assert render(HI, tools=[WEATHER, ping, odd]) == (
        "<|begin|><|system|>Tools:\n"
        "get_weather(city: string, unit?: celsius|fahrenheit): Get the weather for a city\n"
        "ping()\n"
        "set(x?: integer|null, y?: any): First line.<|end|>"
        "<|user|>Hi<|end|>"
    )


def test_ten_tools_take_less_than_a_third_of_the_context() -> None:
    prompt = TOKENIZER(render(HI, tools=[WEATHER] * 10), add_special_tokens=False).input_ids

    assert len(prompt) < TOKENIZER.model_max_length / 3


@pytest.mark.parametrize("form", [dict, lambda arguments: json.dumps(arguments, ensure_ascii=False)])
def test_calls_are_json_in_tags_from_a_dict_or_from_json(form: Any) -> None:
    calls = [call("get_weather", form({"city": "Zürich"})), call("add", form({"a": 1, "b": 2.5}))]
    asked = {"role": "assistant", "content": None, "tool_calls": calls}
    told = {"role": "tool", "tool_call_id": "call-add", "content": "3.5"}

    assert render(HI, asked, told, add_generation_prompt=True) == (
        "<|begin|><|user|>Hi<|end|><|assistant|>"
        '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Zürich"}}\n</tool_call>\n'
        '<tool_call>\n{"name": "add", "arguments": {"a": 1, "b": 2.5}}\n</tool_call><|end|>'
        "<|tool|>3.5<|end|><|assistant|>"
    )


def test_what_is_said_before_a_call_stays_before_it() -> None:
    asked = {"role": "assistant", "content": "One moment.", "tool_calls": [call("ping", "")]}

    assert render(asked).endswith('One moment.\n<tool_call>\n{"name": "ping", "arguments": {}}\n</tool_call><|end|>')


def test_thinking_is_asked_for_in_front_of_the_answer() -> None:
    prompt = render(HI, add_generation_prompt=True, enable_thinking=True)

    assert prompt == "<|begin|><|user|>Hi<|end|><|think|><|assistant|>"


@pytest.mark.parametrize("key", ["reasoning", "reasoning_content"])
def test_thoughts_are_shown_in_the_last_message_and_left_out_of_earlier_ones(key: str) -> None:
    thought = {**HELLO, key: "A greeting."}

    assert render(HI, thought).endswith("<|think|><|assistant|><think>\nA greeting.\n</think>\n\nHello!<|end|>")
    assert render(HI, thought, HI) == render(HI, HELLO, HI)


def test_a_role_that_the_model_does_not_know_is_refused() -> None:
    with pytest.raises(TemplateError, match="knows no role critic"):
        render({"role": "critic", "content": "Hm."})


def test_tags_are_one_token_each_and_stay_in_the_text() -> None:
    for tag in TAGS:
        ids = TOKENIZER(tag, add_special_tokens=False).input_ids
        assert len(ids) == 1
        assert TOKENIZER.decode(ids, skip_special_tokens=True) == tag


def test_vllms_hermes_parser_reads_calls() -> None:
    parsers = pytest.importorskip("vllm.tool_parsers")
    rendered = render({"role": "assistant", "tool_calls": [call("a", {"x": 1}), call("b", {})]})
    made = rendered.partition("<|assistant|>")[2].removesuffix("<|end|>")

    found = parsers.ToolParserManager.get_tool_parser("hermes")(TOKENIZER).extract_tool_calls(made, None)

    assert [(one.function.name, json.loads(one.function.arguments)) for one in found.tool_calls] == [
        ("a", {"x": 1}),
        ("b", {}),
    ]
    assert found.content is None


@pytest.mark.parametrize(
    ("thinking", "made", "expected"),
    [
        ({"enable_thinking": True}, "<think>\nA greeting.\n</think>\n\nHello!", ("\nA greeting.\n", "\n\nHello!")),
        ({"enable_thinking": False}, "Hello!", (None, "Hello!")),
        ({}, "Hello!", (None, "Hello!")),
    ],
)
def test_vllms_deepseek_v3_parser_tells_thoughts_from_the_answer(
    thinking: dict[str, bool], made: str, expected: tuple[str | None, str]
) -> None:
    parsers = pytest.importorskip("vllm.reasoning")
    parser = parsers.ReasoningParserManager.get_reasoning_parser("deepseek_v3")

    assert parser(TOKENIZER, chat_template_kwargs=thinking).extract_reasoning(made, None) == expected
