"""Greetings, small talk, and who the model is."""

from random import Random

from training.exchange import Exchange, Weighted, compose_from
from training.names import any_name
from training.talk_table import JOKES, SMALL_TALK
from training.unknown import not_known

HELLO = "Hello! How can I help you?"
IDENTITY = "I am the built-in model of Penstock, a small model for trying the service."
WHO = (
    "Who are you?",
    "What are you?",
    "Who is this?",
    "Introduce yourself.",
    "Tell me about yourself.",
    "Which model are you?",
    "What model is this?",
    "Hi, who are you?",
    "Hello, who are you?",
    "Who am I talking to?",
)


def parse(table: str) -> list[tuple[list[str], str]]:
    split = [line.split(">") for line in table.strip().splitlines()]
    return [(questions.split("|"), answer) for questions, answer in split]


TALKS = parse(SMALL_TALK)


def greeting(rng: Random) -> Exchange:
    return Exchange(rng.choice(TALKS[0][0]), HELLO, "Hello")


def talk(rng: Random) -> Exchange:
    questions, answer = rng.choice(TALKS)
    return Exchange(rng.choice(questions), answer)


def identity(rng: Random) -> Exchange:
    return Exchange(rng.choice(WHO), IDENTITY, "Penstock", more="You can ask me simple questions or ask for a story.")


def introduction(rng: Random) -> Exchange:
    name = any_name(rng)
    said = rng.choice(
        ("My name is {}.", "I am {}.", "Hello, my name is {}.", "Hi, I'm {}.", "Hello, I am {}.", "Call me {}.")
    )
    return Exchange(said.format(name), f"Nice to meet you, {name}. How can I help you?", literal=True)


def joke(rng: Random) -> Exchange:
    asked = (
        "Tell me a joke.",
        "Tell me a joke about water.",
        "Do you know a joke?",
        "Make me laugh.",
        "Say something funny.",
    )
    return Exchange(rng.choice(asked), rng.choice(JOKES))


SMALL_TALKS: Weighted = ((greeting, 1.2), (talk, 5), (identity, 1.5), (introduction, 1.5), (joke, 0.6), (not_known, 7))


def small_talk(rng: Random) -> Exchange:
    return compose_from(SMALL_TALKS, rng)
