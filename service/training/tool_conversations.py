"""Conversations with tools: questions that need one, or two at once, or none of those that are there."""

from collections.abc import Callable, Iterable
from random import Random
from typing import Any

from training.conversations import NEUTRAL, SHORT_EXCHANGES, Conversation, Message, system, turn
from training.exchange import Exchange, chosen, compose_from
from training.phrasing import vary
from training.thoughts import with_thoughts
from training.tool_kinds import any_kind
from training.toolbox import Kind, Tool, Use, offered, used

Step = Callable[[Random, list[Tool]], list[Message]]
FAILURES = ("not found", "timeout", "no connection", "unknown name", "busy", "access denied")


def kinds_of(rng: Random, number: int) -> list[Kind]:
    """Different kinds, so that at most one fits a question."""
    kinds: list[Kind] = []
    while len(kinds) < number:
        kind = any_kind(rng)
        if kind.questions[0] not in [other.questions[0] for other in kinds]:
            kinds.append(kind)
    return kinds


def asking(rng: Random, question: str, uses: list[Use], thought: str) -> list[Message]:
    """The user's question, the calls, and, mostly, their results and the answer."""
    called: Message = {"role": "assistant", "tool_calls": [use.call() for use in uses], "thought": thought}
    results = [result_of(rng, use) for use in uses]
    answer: Message = {
        "role": "assistant",
        "content": " ".join(said for _, said in results),
        "thought": "The tool has answered. I say what it told me.",
    }
    return [
        {"role": "user", "content": vary(rng, question, literal=True)},
        called,
        *({"role": "tool", "content": content} for content, _ in results),
        answer,
    ]


def result_of(rng: Random, use: Use) -> tuple[str, str]:
    if rng.random() > 0.04:
        return use.result, use.answer
    why = rng.choice(FAILURES)
    return f'{{"error": "{why}"}}', f"I am sorry, that did not work: {why}."


def one_use(rng: Random, tools: list[Tool]) -> list[Message]:
    use = used(rng, rng.choice(tools))
    return asking(rng, use.question, [use], f"The tool {use.tool.name} can do this.")


def two_uses(rng: Random, tools: list[Tool]) -> list[Message]:
    """Two questions in one; "the weather in Paris and London" where the kind of tool allows it."""
    tool = rng.choice(tools)
    question = rng.choice(tool.kind.questions)
    if tool.kind.listable and rng.random() < 0.7:
        uses = [used(rng, tool, question) for _ in range(2)]
        first, second = (next(iter(use.arguments.values())) for use in uses)
        again = " in " if " in {0}" in question and rng.random() < 0.5 else " "
        asked = question.format(f"{first} and{again}{second}")
    else:
        uses = [used(rng, tool), used(rng, rng.choice(tools))]
        one, other = (use.question for use in uses)
        asked = f"{one.rstrip('?.')} and {other[:1].lower()}{other[1:]}"
    return asking(rng, asked, uses, "This needs two calls.")


def fits(tool: Tool, exchange: Exchange) -> bool:
    """Whether the tool could answer what the model otherwise answers by itself."""
    if tool.kind.without:
        return exchange.answer == tool.kind.without
    return any(letter.isdigit() for letter in exchange.question) or " plus " in exchange.question


def no_use(rng: Random, tools: list[Tool]) -> list[Message]:
    """A question that the model answers by itself."""
    exchange = compose_from(SHORT_EXCHANGES, rng)
    while any(fits(tool, exchange) for tool in tools):
        exchange = compose_from(SHORT_EXCHANGES, rng)
    messages = turn(rng, exchange)
    messages[-1]["thought"] = "This needs no tool."
    return messages


def missing_tool(rng: Random, tools: list[Tool]) -> list[Message]:
    """A question for a tool that is not there."""
    (kind,) = kinds_of(rng, 1)
    if not kind.without or any(kind.questions[0] == tool.kind.questions[0] for tool in tools):
        return no_use(rng, tools)
    asked = used(rng, offered(rng, kind)).question
    messages = turn(rng, Exchange(asked, kind.without, literal=True))
    messages[-1]["thought"] = "There is no tool for this."
    return messages


STEPS: tuple[tuple[Step, float], ...] = ((one_use, 6), (two_uses, 1.8), (no_use, 2), (missing_tool, 3))


def without_thoughts(messages: Iterable[dict[str, Any]]) -> list[Message]:
    return [{key: value for key, value in message.items() if key != "thought"} for message in messages]


def with_tools(rng: Random) -> Conversation:
    tools = [offered(rng, kind) for kind in kinds_of(rng, rng.choice((1, 1, 1, 2, 2, 3, 4)))]
    messages: list[Message] = [system(rng, rng.choice(NEUTRAL))] if rng.random() < 0.12 else []
    for _ in range(rng.choice((1, 2, 2, 3))):
        messages += chosen(STEPS, rng)(rng, tools)
    if messages[-2]["role"] == "tool" and rng.random() < 0.3:
        while messages[-1].get("tool_calls") is None:
            messages.pop()
    thought = messages[-1].get("thought", "") if rng.random() < 0.2 else ""
    messages = without_thoughts(messages)
    return Conversation(with_thoughts(messages, thought), [tool.schema() for tool in tools])


def missing_every_tool(rng: Random) -> Conversation:
    """The same questions without any tools."""
    return Conversation(without_thoughts(missing_tool(rng, [])))


TOOL_CONVERSATIONS: tuple[tuple[Callable[[Random], Conversation], float], ...] = (
    (with_tools, 10),
    (missing_every_tool, 0.7),
)
