"""Tools as a caller offers them, what a user wants of them, the calls, their results, and the answers."""

import json
from collections.abc import Callable, Collection
from dataclasses import dataclass
from random import Random
from typing import Any

from training.names import invented_word
from training.tool_table import KEYS, PARAMETER_NAMES
from training.unknown import OFFER

Value = str | int | float
Outcome = dict[str, Value]
NOT_ABLE = f"I am a very small model, and I cannot answer that. {OFFER}"


@dataclass(frozen=True, slots=True)
class Parameter:
    names: tuple[str, ...]
    value: Callable[[Random], Value]
    type: str = "string"
    choices: tuple[str, ...] = ()
    # An optional parameter is asked for by adding this to the question.
    phrase: str = ""


@dataclass(frozen=True, slots=True)
class Kind:
    """One thing that tools do. Questions and answers have the values of the parameters as {0}, {1}."""

    names: tuple[str, ...]
    descriptions: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    questions: tuple[str, ...]
    # What the tool tells, by the names that the answer has for it.
    outcome: Callable[[Random, list[Value]], Outcome]
    answer: str
    # Whether "{0} and {0}" in the question makes sense.
    listable: bool = False
    # What is said when no tool of this kind is there; empty where the model can answer by itself.
    without: str = NOT_ABLE


@dataclass(frozen=True, slots=True)
class Tool:
    """A kind of tool under the names of one caller."""

    kind: Kind
    name: str
    description: str
    parameters: dict[str, Parameter]

    def schema(self) -> dict[str, Any]:
        """The tool as OpenAI's API has it."""
        properties = {
            name: {"type": one.type, **({"enum": list(one.choices)} if one.choices else {})}
            for name, one in self.parameters.items()
        }
        required = [name for name, one in self.parameters.items() if not one.phrase]
        parameters = {"type": "object", "properties": properties, "required": required}
        function = {"name": self.name, "description": self.description, "parameters": parameters}
        return {"type": "function", "function": function}


@dataclass(frozen=True, slots=True)
class Use:
    """One use of a tool: the question that needs it, the call, what the tool returns, and what to say then."""

    question: str
    tool: Tool
    arguments: dict[str, Value]
    result: str
    answer: str

    def call(self) -> dict[str, Any]:
        return {"type": "function", "function": {"name": self.tool.name, "arguments": self.arguments}}


def offered(rng: Random, kind: Kind) -> Tool:
    kept = [one for one in kind.parameters if not one.phrase or rng.random() < 0.5]
    names: dict[str, Parameter] = {}
    for one in kept:
        names[parameter_name(rng, one, taken=names)] = one
    description = rng.choice(kind.descriptions)
    end = "." if description and rng.random() < 0.25 else ""
    return Tool(kind, rng.choice(kind.names), f"{description}{end}", names)


def parameter_name(rng: Random, parameter: Parameter, taken: Collection[str]) -> str:
    """A name that fits, or one that the model cannot guess and so has to read."""
    style = rng.random()
    names: Collection[str] = parameter.names
    if style < 0.2:
        names = PARAMETER_NAMES
    elif style < 0.35:
        names = (invented_word(rng), f"{invented_word(rng)}_{rng.choice(parameter.names)}")
    return rng.choice([name for name in dict.fromkeys(names) if name not in taken] or list(parameter.names))


def used(rng: Random, tool: Tool, question: str | None = None) -> Use:
    """A use of the tool, with a question of its kind or with the given one ({0} stays where the value belongs)."""
    asked = question or rng.choice(tool.kind.questions)
    arguments: dict[str, Value] = {}
    added = ""
    for name, parameter in tool.parameters.items():
        if parameter.phrase and (question or rng.random() < 0.6):
            continue
        arguments[name] = parameter.value(rng)
        added += parameter.phrase.format(arguments[name]) if parameter.phrase else ""
    values = list(arguments.values())
    outcome = tool.kind.outcome(rng, values)
    end = asked[-1] if added and asked[-1] in ".?" else ""
    asked = asked.format(*values)
    return Use(
        question=f"{asked.removesuffix(end)}{added}{end}",
        tool=tool,
        arguments=arguments,
        result=returned(rng, outcome, arguments),
        answer=tool.kind.answer.format(*values, **outcome),
    )


def returned(rng: Random, outcome: Outcome, arguments: dict[str, Value]) -> str:
    """The outcome as tools write it: bare, as JSON, with other keys, or with the arguments repeated."""
    if rng.random() < 0.35:
        return ", ".join(str(value) for value in outcome.values())
    body: Outcome = {}
    if arguments and rng.random() < 0.25:
        name = next(iter(arguments))
        body[name] = arguments[name]
    for key, value in outcome.items():
        body[rng.choice(KEYS.get(key, (key,)))] = value
    return json.dumps(body, ensure_ascii=False)
