"""Explanations in plain words: water and machines, the network, language models, and the everyday world."""

from random import Random

from training.concept_table import COMPUTING, WATER, WHY, WORLD
from training.exchange import Exchange, Weighted, compose_from, sentence

Concept = tuple[str, str, str]


def rows(table: str) -> list[Concept]:
    return [tuple(line.split("|")) for line in table.strip().splitlines()]  # type: ignore[misc]


CONCEPTS = [*rows(WATER), *rows(COMPUTING), *rows(WORLD)]
REASONS = [tuple(line.split("|")) for line in WHY.strip().splitlines()]

ASKED = (
    "What is {}?",
    "What is {}?",
    "Explain {}.",
    "Explain {} in simple words.",
    "Explain {} in one sentence.",
    "Explain {} to a child.",
    "Tell me about {}.",
    "Tell me something about {}.",
    "Describe {}.",
    "What do you know about {}?",
    "What does {} mean?",
    "Explain what {} is.",
    "Can you explain {}?",
    "Write a sentence about {}.",
    "Write a short text about {}.",
    "Define {}.",
)
BRIEF = ("in one sentence", "Write a sentence", "Define")


def definition(name: str, meaning: str) -> str:
    return f"{sentence(name)} is {meaning}."


def concept(rng: Random) -> Exchange:
    # The project's own words are asked for first, so they come up more often than the rest.
    name, meaning, more = (
        rng.choice(CONCEPTS) if rng.random() < 0.85 else rng.choice([*CONCEPTS[:5], *rows(COMPUTING)[:12]])
    )
    bare = name.removeprefix("a ").removeprefix("an ").removeprefix("the ")
    asked = rng.choice(ASKED)
    question = asked.format(bare if rng.random() < 0.15 else name)
    more = "" if any(hint in asked for hint in BRIEF) else more
    return Exchange(question, definition(name, meaning), more=more)


def reason(rng: Random) -> Exchange:
    question, answer = rng.choice(REASONS)
    return Exchange(question, answer)


def what_is_called(rng: Random) -> Exchange:
    name, meaning, _ = rng.choice(CONCEPTS)
    return Exchange(f"What do you call {meaning}?", f"It is called {name}.")


EXPLANATIONS: Weighted = ((concept, 8), (reason, 3), (what_is_called, 0.5))


def explanation(rng: Random) -> Exchange:
    return compose_from(EXPLANATIONS, rng)
