"""One request in the words of OpenAI's API, with vLLM's additions to it, and in those of the contract."""

import json
from dataclasses import dataclass
from typing import Any

from penstock.v1 import generation_pb2 as pb

COMPLETIONS, CHAT = "/v1/completions", "/v1/chat/completions"
STORY = "Once upon a time"
QUESTION = [("user", "What is the capital of France?")]
GREEDY: dict[str, Any] = {"temperature": 0.0}
SEEDED: dict[str, Any] = {"temperature": 1.0, "top_p": 1.0, "seed": 11}
ROLES = {name.removeprefix("ROLE_").lower(): number for name, number in pb.Role.items()}

CITY = {
    "type": "object",
    "properties": {"city": {"enum": ["Paris", "Zürich"]}, "days": {"type": "integer", "minimum": 1, "maximum": 9}},
    "required": ["city", "days"],
    "additionalProperties": False,
}
EMPTY = {"type": "object", "properties": {}, "additionalProperties": False}
TAG = {
    "type": "structural_tag",
    "format": {
        "type": "tag",
        "begin": "<answer>",
        "content": {"type": "json_schema", "json_schema": CITY},
        "end": "</answer>",
    },
}
TOOLS = {"get_weather": CITY, "get_time": EMPTY}


@dataclass(frozen=True)
class Case:
    """One request, both ways."""

    path: str
    body: dict[str, Any]
    request: pb.GenerateRequest


def completion(
    prompt: str | list[int] = STORY,
    sampling: dict[str, Any] = GREEDY,
    stopping: dict[str, Any] | None = None,
    body: dict[str, Any] | None = None,
    **fields: Any,
) -> Case:
    """A completion; `sampling` and `stopping` have the same names on both sides, `body` and `fields` differ."""
    given: Any = {"token_ids": {"ids": prompt}} if isinstance(prompt, list) else {"prompt": prompt}
    return _case(COMPLETIONS, {"prompt": prompt}, given, sampling, stopping, body, fields)


def chat(
    messages: list[tuple[str, str]] = QUESTION,
    sampling: dict[str, Any] = GREEDY,
    stopping: dict[str, Any] | None = None,
    body: dict[str, Any] | None = None,
    conversation: dict[str, Any] | None = None,
    **fields: Any,
) -> Case:
    """A chat; further fields of the conversation are in `conversation`, the rest is as in `completion`."""
    said = [{"role": role, "content": text} for role, text in messages]
    turns = [pb.Message(role=ROLES[role], content=[pb.ContentPart(text=text)]) for role, text in messages]
    given = {"conversation": {"messages": turns, **(conversation or {})}}
    return _case(CHAT, {"messages": said}, given, sampling, stopping, body, fields)


def _case(
    path: str,
    asked: dict[str, Any],
    given: dict[str, Any],
    sampling: dict[str, Any],
    stopping: dict[str, Any] | None,
    body: dict[str, Any] | None,
    fields: dict[str, Any],
) -> Case:
    stopping = {"max_tokens": 20} if stopping is None else stopping
    shown = {"return_token_ids": True, "return_tokens_as_token_ids": True}
    response = {"token_ids": True, **fields.pop("response", {})}
    request = pb.GenerateRequest(**given, sampling=sampling, stopping=stopping, response=response, **fields)
    return Case(path, {"model": "builtin", **asked, **sampling, **stopping, **shown, **(body or {})}, request)


def logprobs(count: int, **rest: Any) -> Case:
    """A completion with logprobs."""
    return completion(body={"logprobs": count}, response={"logprobs": count}, **rest)


def chat_logprobs(count: int, **rest: Any) -> Case:
    """A chat with logprobs."""
    return chat(body={"logprobs": True, "top_logprobs": count}, response={"logprobs": count}, **rest)


def prompt_logprobs(count: int, **rest: Any) -> Case:
    """A completion with the logprobs of its prompt."""
    return completion(body={"prompt_logprobs": count}, response={"prompt_logprobs": count}, **rest)


def constrained(make: Any = completion, tokens: int = 40, **constraint: Any) -> Case:
    """An answer of a form; `constraint` has vLLM's name for it and its value."""
    ((name, value),) = constraint.items()
    ours: Any = {
        "json": lambda: {"json_schema": json.dumps(value)},
        "json_object": lambda: {"json_object": {}},
        "choice": lambda: {"choice": {"options": value}},
    }.get(name, lambda: {name: value})()
    stopping = {"max_tokens": tokens}
    return make(body={"structured_outputs": {name: value}}, structured_output=ours, stopping=stopping)


def tools(
    choice: str | None,
    messages: list[tuple[str, str]] = QUESTION,
    body: dict[str, Any] | None = None,
    **fields: Any,
) -> Case:
    """A chat with tools; `choice` is a mode or the name of a tool."""
    functions = [{"name": name, "description": "", "parameters": schema} for name, schema in TOOLS.items()]
    ours = [{**function, "parameters": json.dumps(function["parameters"])} for function in functions]
    if choice == "required" or choice in TOOLS:  # which the contract makes strict
        functions = [{**function, "strict": True} for function in functions]
    body = {"tools": [{"type": "function", "function": function} for function in functions], **(body or {})}
    fields["tools"] = ours
    if choice in TOOLS:
        body["tool_choice"] = {"type": "function", "function": {"name": choice}}
        fields["tool_choice"] = {**fields.get("tool_choice", {}), "name": choice}
    elif choice is not None:
        body["tool_choice"] = choice
        fields["tool_choice"] = {**fields.get("tool_choice", {}), "mode": f"TOOL_CHOICE_MODE_{choice.upper()}"}
    return chat(messages, stopping={"max_tokens": 60}, body=body, **fields)


def stopped(**stopping: Any) -> Case:
    body = {"include_stop_str_in_output": True} if stopping.get("include_stop") else {}
    case = completion(stopping={"max_tokens": 40, **stopping}, body=body)
    case.body.pop("include_stop", None)
    return case


def truncated(tokens: int, side: str, make: Any = completion, given: Any = STORY * 4) -> Case:
    options = {"truncate_tokens": tokens, "truncation_side": f"TRUNCATION_SIDE_{side.upper()}"}
    return make(given, body={"truncate_prompt_tokens": tokens, "truncation_side": side}, prompt_options=options)


def parts(*texts: str) -> Case:
    """One turn in parts."""
    case = chat([("user", "")])
    case.body["messages"][0]["content"] = [{"type": "text", "text": text} for text in texts]
    turn = case.request.conversation.messages[0]
    turn.ClearField("content")
    turn.content.extend(pb.ContentPart(text=text) for text in texts)
    return case


def tool_result() -> Case:
    """A conversation in which a tool was called."""
    arguments = '{"city": "Paris", "days": 3}'
    case = tools("auto", [("user", "The weather in Paris?"), ("assistant", ""), ("tool", '{"weather": "sunny"}')])
    called, result = case.body["messages"][1:]
    call = {"id": "call-1", "type": "function", "function": {"name": "get_weather", "arguments": arguments}}
    called |= {"content": None, "tool_calls": [call]}
    result["tool_call_id"] = "call-1"
    turn, answer = case.request.conversation.messages[1:]
    turn.ClearField("content")
    turn.tool_calls.add(id="call-1", name="get_weather", arguments=arguments)
    answer.tool_call_id = "call-1"
    return case
