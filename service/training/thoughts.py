"""Conversations in which the model thinks before it answers: short thoughts, and sums step by step."""

from collections.abc import Callable
from random import Random

from training.animals import animal
from training.concepts import explanation
from training.conversations import NEUTRAL, SHORT_EXCHANGES, Conversation, Message, system, turn
from training.exchange import Exchange, chosen, compose_from
from training.exercises import TASKS, addition, addition_of
from training.facts import fact
from training.smalltalk import small_talk
from training.stories import story

Thoughtful = tuple[Exchange, str]
OTHER_TASKS = tuple((composer, weight) for composer, weight in TASKS if composer is not addition)


def with_thoughts(messages: list[Message], thought: str) -> list[Message]:
    """The messages with a thought before the last one, which is the model's."""
    return [*messages[:-1], {**messages[-1], "reasoning": thought}] if thought else messages


def counted_on(rng: Random) -> Thoughtful:
    """A sum by counting on from the larger number: each step follows from the one before, and so does the last."""
    x, y, exchange = addition_of(rng)
    large, small = max(x, y), min(x, y)
    steps = (f"{large + step}, {small - step} to go." for step in range(small + 1))
    return exchange, f"I count on. {' '.join(steps)}"


def remembered(rng: Random) -> Thoughtful:
    exchange = compose_from(((fact, 5), (animal, 3)), rng)
    known = exchange.word or exchange.answer
    return exchange, f"The question is: {exchange.question} I remember: {known.removesuffix('.')}."


def explained(rng: Random) -> Thoughtful:
    exchange = explanation(rng)
    return exchange, f"The question is: {exchange.question} I explain it in simple words."


def chatted(rng: Random) -> Thoughtful:
    exchange = small_talk(rng)
    if exchange.answer.startswith("I am a very small model"):
        return exchange, "I have not learned anything about this, and I say so."
    return exchange, "A short and friendly answer will do."


def worked_out(rng: Random) -> Thoughtful:
    return compose_from(OTHER_TASKS, rng), "This is a small task. I do it step by step."


def told(rng: Random) -> Thoughtful:
    return story(rng), "A story needs a hero, a place and a good end."


THOUGHTFUL: tuple[tuple[Callable[[Random], Thoughtful], float], ...] = (
    (counted_on, 6),
    (remembered, 3.5),
    (explained, 1.5),
    (chatted, 2),
    (worked_out, 1),
    (told, 0.3),
)


def thoughtful(rng: Random) -> Conversation:
    exchange, thought = chosen(THOUGHTFUL, rng)(rng)
    messages: list[Message] = [system(rng, rng.choice(NEUTRAL))] if rng.random() < 0.1 else []
    for _ in range(rng.choice((0, 0, 0, 1, 2))):
        messages += turn(rng, compose_from(SHORT_EXCHANGES, rng))
    return Conversation(with_thoughts([*messages, *turn(rng, exchange)], thought))
