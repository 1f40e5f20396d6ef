"""Requests to fuzz the service with: many of them run, and the others are wrong in all the ways there are."""

import json
from typing import Any

from hypothesis import strategies as st

from penstock.v1 import generation_pb2 as pb
from penstock_service.limit_table import ModelLimits, limits_of
from tests.rpc.descriptor_strategies import MessageMaker

MOST_TOKENS = 16

_TEXTS = st.sampled_from(["Once upon a time", "Hi", "東京 👋", "<|end|>", "a\0b", " ", "the " * 300]) | st.text(
    min_size=1, max_size=40
)
_NAMES = ["get_weather", "get_time", "f"]
_SCHEMAS: list[Any] = [
    {"type": "object"},
    {
        "type": "object",
        "properties": {"city": {"enum": ["Paris", "é"]}, "n": {"type": "integer"}},
        "required": ["city"],
    },
    {"type": "object", "properties": {"next": {"$ref": "#"}}},
    {"type": "object", "properties": {"a": {"type": "array", "items": {"type": "number"}, "maxItems": 2}}},
    {"type": "array", "items": {"anyOf": [{"type": "null"}, {"const": 3}]}},
    {"type": "string", "pattern": "^[a-c]{1,4}$"},
    {},
    True,
    {"type": "nothing"},
    {"type": "string", "format": "date-time"},
    {"type": "object", "multipleOf": 3},
    {"$ref": "#/nowhere"},
]
_KEYWORDS = ["type", "properties", "items", "enum", "anyOf", "required", "const", "minimum", "pattern", "$ref"]
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from(["type", "object", "string", "$ref", "#", "enum"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_KEYWORDS), inner, max_size=3),
    max_leaves=8,
)
_SCHEMA_TEXTS = (st.sampled_from(_SCHEMAS) | _JSON).map(json.dumps)
_PARAMETERS = st.sampled_from([*map(json.dumps, _SCHEMAS[:4]), ""])
_REGEXES = ["[ab]{1,3}", r"\d{2}", "(a|b)*c", "", "(", "[", "a{2,1}", "(?=x)", r"\p{L}+", "^a$", ".*", "(a*)*", "é"]
_GRAMMARS = ['root ::= "a" | "b"', 'root ::= root "a" | "b"', 'a ::= "x"', "root ::= ", "root ::= [a-", 'root ::= "é"+']
_TAG_FORMATS: list[Any] = [
    {"type": "const_string", "value": "ok"},
    {"type": "json_schema", "json_schema": {"type": "object"}},
    {"type": "any_text"},
    {"type": "tag", "begin": "<a>", "content": {"type": "any_text"}, "end": "</a>"},
    {"type": "unheard of"},
]


def _tag(form: Any) -> str:
    return json.dumps({"type": "structural_tag", "format": form})


@st.composite
def _turn(draw: st.DrawFn) -> pb.Message:
    role = draw(st.sampled_from(["SYSTEM", "DEVELOPER", "USER", "USER", "USER", "ASSISTANT", "TOOL"]))
    turn = pb.Message(role=f"ROLE_{role}", content=[pb.ContentPart(text=draw(_TEXTS))])
    if role == "TOOL":
        turn.tool_call_id = "call-1"
    if role == "ASSISTANT" and draw(st.booleans()):
        arguments = draw(st.sampled_from(["", "{}", '{"city": "Paris"}', "{", "[1]", "null", "3"]))
        turn.tool_calls.add(id="call-1", name="get_weather", arguments=arguments)
        turn.reasoning = draw(st.sampled_from(["", "Hm.", "</think>"]))
    return turn


_TOOLS = st.builds(
    pb.Tool,
    name=st.sampled_from(_NAMES),
    description=_TEXTS,
    parameters=_PARAMETERS,
    strict=st.none() | st.booleans(),
)
_IDS = st.builds(pb.TokenIds, ids=st.lists(st.integers(0, 2047), min_size=1, max_size=6))
_CONVERSATIONS = st.builds(pb.Conversation, messages=st.lists(_turn(), min_size=1, max_size=3))


def _special(model_name: str) -> dict[str, st.SearchStrategy[Any]]:
    """What the table of limits does not say, by path."""
    return {
        "prompt": _TEXTS,
        "model": st.sampled_from(["", model_name]),
        "conversation.messages[]": _turn(),
        "batch.inputs[]": st.builds(pb.BatchInput, prompt=_TEXTS)
        | st.builds(pb.BatchInput, token_ids=_IDS)
        | st.builds(pb.BatchInput, conversation=_CONVERSATIONS),
        "conversation.continue_final_message": st.just(False),
        "conversation.template_arguments{value}": st.builds(pb.TemplateArgument, flag=st.booleans()),
        "structured_output.json_schema": _SCHEMA_TEXTS,
        "structured_output.regex": st.sampled_from(_REGEXES) | st.text("ab(|)[]*+?{1,}\\d.^$-", max_size=12),
        "structured_output.choice": st.builds(
            pb.Choice, options=st.sets(st.sampled_from(["a", "b", "yes", "no", "é"]), min_size=1)
        ),
        "structured_output.grammar": st.sampled_from(_GRAMMARS),
        "structured_output.structural_tag": st.sampled_from(_TAG_FORMATS).map(_tag),
        "tools[]": _TOOLS,
        "tool_choice": st.builds(pb.ToolChoice, mode=st.sampled_from(range(4)), parallel=st.booleans())
        | st.builds(pb.ToolChoice, name=st.sampled_from(_NAMES)),
        "reasoning.max_tokens": st.integers(0, 8),
        "priority": st.just(0),
        "stopping.max_tokens": st.integers(1, MOST_TOKENS),
        "stopping.min_tokens": st.integers(0, 2),
        "num_sequences": st.integers(1, 3),
        "request_id": st.text("abcXYZ019._:/=+-", max_size=12),
        "idempotency_key": st.text("abcXYZ019._:/=+-", max_size=12),
        "resumable": st.sampled_from([False, False, True]),
        "response.logprobs": st.integers(0, 5),
        "response.prompt_logprobs": st.integers(0, 3),
    }


@st.composite
def generate_requests(draw: st.DrawFn, limits: ModelLimits, model_name: str) -> pb.GenerateRequest:
    """A request; about half of them have nothing wrong that limits could tell."""
    boldness = draw(st.sampled_from([0, 0, 0, 1, 1, 6]))
    maker = MessageMaker(draw, limits_of(limits), _special(model_name), boldness)
    request = maker.message(pb.GenerateRequest.DESCRIPTOR)
    assert isinstance(request, pb.GenerateRequest)
    if boldness <= 1:
        _reconcile(request)
    if not request.stopping.HasField("max_tokens") and draw(st.integers(0, 9)):
        request.stopping.max_tokens = MOST_TOKENS
    return request


def _reconcile(request: pb.GenerateRequest) -> None:
    """Take out what does not go together, and what most servers do not have."""
    kind = request.WhichOneof("input")
    if kind == "conversation":
        request.conversation.ClearField("template_arguments")
    request.reasoning.ClearField("max_tokens")
    tools = {tool.name: tool for tool in request.tools} if kind == "conversation" else {}
    del request.tools[:]
    request.tools.extend(tools.values())
    choice = request.tool_choice
    if not tools or (choice.WhichOneof("choice") == "name" and choice.name not in tools):
        request.ClearField("tool_choice")
    if tools:
        request.ClearField("structured_output")
    if tools or request.stopping.stop:
        request.response.ClearField("text")
    if request.stopping.HasField("max_tokens") and request.stopping.min_tokens > request.stopping.max_tokens:
        request.stopping.ClearField("min_tokens")
