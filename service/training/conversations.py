"""Exchanges put into conversations: system prompts and the manner they ask for, several turns, things to remember."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from training.animals import ANIMALS, animal
from training.concepts import CONCEPTS, explanation
from training.exchange import Exchange, Weighted, a, compose_from
from training.exercises import task
from training.facts import CAPITAL_OF, COLOUR_OF, FACTS, fact, is_are
from training.names import any_name
from training.phrasing import vary
from training.smalltalk import HELLO, small_talk
from training.stories import creative, hero_noun, tale

Message = dict[str, Any]

EXCHANGES: Weighted = ((fact, 5), (animal, 3), (explanation, 6), (small_talk, 6), (task, 5), (creative, 2.2))
SHORT_EXCHANGES: Weighted = ((fact, 5), (animal, 3), (explanation, 4), (small_talk, 5), (task, 3))


@dataclass(frozen=True, slots=True)
class Conversation:
    """What the chat template takes; a thought of the last message makes it one in which thinking is on."""

    messages: list[Message]
    tools: list[dict[str, Any]] = field(default_factory=list)


NEUTRAL = (
    "You are a helpful assistant.",
    "You are a friendly assistant.",
    "You are a helpful AI assistant.",
    "You are an assistant for testing.",
    "You are a small model.",
    "You answer questions.",
    "Help the user.",
    "Be kind.",
    "Answer the questions of the user.",
    "You are the assistant of a power company.",
    "Use simple words.",
    "Answer in English.",
    "You are a pirate.",
    "You are a teacher.",
)
MANNERS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "word",
        (
            "Answer in one word.",
            "Answer with one word.",
            "Use one word only.",
            "Reply with a single word.",
            "One word answers only.",
        ),
    ),
    (
        "brief",
        (
            "Be brief.",
            "Answer briefly.",
            "Keep it short.",
            "Answer in one sentence.",
            "Be concise.",
            "Give short answers.",
        ),
    ),
    ("polite", ("Answer politely.", "Be polite.", "Be very polite.", "You are a polite assistant.")),
    ("json", ("Answer in JSON.", "Reply in JSON.", "Answer as JSON.", "Respond with a JSON object.")),
)
COURTESIES = ("Certainly.", "Of course.", "With pleasure.")


def in_manner(rng: Random, exchange: Exchange, manner: str) -> str:
    if manner == "word":
        return exchange.word.capitalize() + "." if exchange.word else exchange.answer
    if manner == "json":
        return json.dumps({"answer": exchange.word or exchange.answer})
    if manner == "polite":
        return f"{COURTESIES[0] if rng.random() < 0.7 else rng.choice(COURTESIES)} {exchange.answer}"
    if manner == "full" and exchange.more and rng.random() < 0.85:
        return f"{exchange.answer} {exchange.more}"
    return exchange.answer


def turn(rng: Random, exchange: Exchange, manner: str = "full") -> list[Message]:
    return [
        {"role": "user", "content": vary(rng, exchange.question, literal=exchange.literal)},
        {"role": "assistant", "content": in_manner(rng, exchange, manner)},
    ]


def system(rng: Random, text: str) -> Message:
    return {"role": "developer" if rng.random() < 0.1 else "system", "content": text}


def single(rng: Random) -> list[Message]:
    return turn(rng, compose_from(EXCHANGES, rng))


def with_neutral_system(rng: Random) -> list[Message]:
    """System prompts that change nothing, strange ones among them, so that any such text is harmless."""
    name, _, more = rng.choice(CONCEPTS)
    text = rng.choice((*NEUTRAL, f"You are {a(hero_noun(rng))}.", f"You know all about {name}.", more))
    return [system(rng, text), *(message for _ in range(rng.choice((1, 1, 2))) for message in single(rng))]


def with_manner(rng: Random) -> list[Message]:
    manner, prompts = rng.choice(MANNERS)
    text = rng.choice(prompts)
    if rng.random() < 0.3:
        text = f"{rng.choice(NEUTRAL[:4])} {text}"
    table = FACTS if manner == "word" and rng.random() < 0.7 else SHORT_EXCHANGES  # most of these have one word
    exchanges = [compose_from(table, rng) for _ in range(rng.choice((1, 1, 2)))]
    return [system(rng, text), *(message for one in exchanges for message in turn(rng, one, manner))]


def manner_in_question(rng: Random) -> list[Message]:
    manner, prompts = rng.choice(MANNERS)
    exchange = compose_from(SHORT_EXCHANGES, rng)
    asked = vary(rng, f"{exchange.question} {rng.choice(prompts)}", literal=exchange.literal)
    return [{"role": "user", "content": asked}, {"role": "assistant", "content": in_manner(rng, exchange, manner)}]


def several_turns(rng: Random) -> list[Message]:
    messages: list[Message] = []
    if rng.random() < 0.35:
        messages += turn(rng, Exchange(rng.choice(("Hello", "Hi", "Hi!", "Hello!")), HELLO))
    for _ in range(rng.randint(2, 4)):
        messages += turn(rng, compose_from(SHORT_EXCHANGES, rng))
    if rng.random() < 0.35:
        messages += turn(rng, Exchange(rng.choice(("Thanks", "Thank you", "Thank you!")), "You are welcome."))
    return messages


def remembering_a_name(rng: Random) -> list[Message]:
    name = any_name(rng)
    said = rng.choice(("My name is {}.", "I am {}.", "Hello, my name is {}.", "Hi, I'm {}."))
    asked = rng.choice(
        ("What is my name?", "What's my name?", "Do you know my name?", "Who am I?", "Do you remember my name?")
    )
    between = turn(rng, compose_from(SHORT_EXCHANGES, rng)) if rng.random() < 0.4 else []
    return [
        *turn(rng, Exchange(said.format(name), f"Nice to meet you, {name}. How can I help you?", literal=True)),
        *between,
        *turn(rng, Exchange(asked, f"Your name is {name}.")),
    ]


def remembering_a_story(rng: Random) -> list[Message]:
    noun = hero_noun(rng)
    told = tale(rng, noun)
    name = told.split(" called ")[1].split(",")[0]
    question = rng.choice(
        (f"What was the name of the {noun}?", f"What is the {noun} called?", "What was the name of the hero?")
    )
    return [
        *turn(rng, Exchange(f"Tell me a story about {a(noun)}.", told)),
        *turn(rng, Exchange(question, f"The name of the {noun} is {name}.")),
    ]


def follow_up(rng: Random) -> list[Message]:
    """The second question only makes sense after the first."""
    if rng.random() < 0.5:
        first, second = rng.sample(list(COLOUR_OF), 2)
        pairs = [
            (f"What colour is {thing}?", thing, f"{is_are(thing)} {COLOUR_OF[thing]}.") for thing in (first, second)
        ]
    else:
        chosen = rng.sample(list(CAPITAL_OF), 2)
        pairs = [
            (f"What is the capital of {one}?", one, f"The capital of {one} is {CAPITAL_OF[one]}.") for one in chosen
        ]
    again = rng.choice(("And {}?", "What about {}?", "And of {}?")).format(pairs[1][1])
    return [*turn(rng, Exchange(pairs[0][0], pairs[0][2])), *turn(rng, Exchange(again, pairs[1][2]))]


def comparing_young(rng: Random) -> list[Message]:
    first, second = rng.sample(list(ANIMALS), 2)
    answers = [f"A young {name} is called {ANIMALS[name][3]}." for name in (first, second)]
    return [
        *turn(rng, Exchange(f"What is a baby {first} called?", answers[0])),
        *turn(rng, Exchange(rng.choice((f"And a baby {second}?", f"What about a baby {second}?")), answers[1])),
    ]


CONVERSATIONS: tuple[tuple[Callable[[Random], list[Message]], float], ...] = (
    (single, 10),
    (with_neutral_system, 2),
    (with_manner, 4),
    (manner_in_question, 0.6),
    (several_turns, 2),
    (remembering_a_name, 0.5),
    (remembering_a_story, 0.3),
    (follow_up, 0.5),
    (comparing_young, 0.2),
)
