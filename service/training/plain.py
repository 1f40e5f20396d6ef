"""Text without a conversation around it, for callers that send a bare prompt to be continued."""

from collections.abc import Callable
from random import Random

from training.concepts import CONCEPTS, definition
from training.conversations import EXCHANGES, SHORT_EXCHANGES
from training.exchange import compose_from
from training.facts import fact
from training.names import NAMES
from training.phrasing import vary
from training.stories import continued, creative, first_person, hero_noun, tale

# Beginnings that people try first, each with one way to go on.
STATEMENTS = (
    "The future of AI is open, and people decide together what it will be.",
    "The future of AI is hard to see, but small models will run on every desk.",
    "The president of the United States is a person whom the people elect for four years.",
    "The weather today is warm and dry, with a light wind from the west.",
    "In the beginning there was only water, and then came the first small stream.",
    "The best way to learn is to try, to fail, and to try again.",
    "The quick brown fox jumps over the lazy dog, and the dog does not even wake up.",
    "Today is a good day to walk along the river and to listen to the water.",
    "Today I learned that a penstock is the gated pipe that feeds a turbine.",
    "The meaning of life is a large question, and kindness is a good part of the answer.",
    "The river runs down from the hills, through the town, and out to the sea.",
    "The cat sat on the wall and watched the birds.",
    "It was a dark and stormy night, and the rain fell on the roof of the old mill.",
    "I think that every good day begins with a cup of tea.",
    "I like rivers because they always find a way.",
    "If the water rises, open the gate, and if it falls, close it again.",
    "A good service answers in time, or it says early that it cannot.",
    "Artificial intelligence is a name for programs that do things which seem to need thinking.",
    "Dear friend, I hope that you are well, and I send you many greetings from the river.",
    "This is a test, and the test works.",
    "There is no wind today, and the lake is as smooth as glass.",
    "Water is a clear liquid that all living things need.",
)


def plain_tale(rng: Random) -> str:
    return tale(rng, hero_noun(rng), episodes=rng.choice((1, 1, 1, 2)))


def plain_article(rng: Random) -> str:
    chosen = rng.sample(CONCEPTS, rng.randint(1, 4))
    return " ".join(f"{definition(name, meaning)} {more}" for name, meaning, more in chosen)


def plain_facts(rng: Random) -> str:
    return " ".join(dict.fromkeys(fact(rng).answer for _ in range(rng.choice((1, 1, 1, 2, 3)))))


def asked_and_answered(rng: Random) -> str:
    exchange = compose_from(EXCHANGES, rng)
    return f"{vary(rng, exchange.question, literal=exchange.literal)}{rng.choice((' ', chr(10)))}{exchange.answer}"


def questionnaire(rng: Random) -> str:
    ask, reply = rng.choice((("Question", "Answer"), ("Q", "A"), ("User", "Assistant")))
    exchanges = [compose_from(SHORT_EXCHANGES, rng) for _ in range(rng.randint(1, 3))]
    return "\n".join(f"{ask}: {one.question}\n{reply}: {one.answer}" for one in exchanges)


def statement(rng: Random) -> str:
    return " ".join(rng.sample(STATEMENTS, rng.choice((1, 1, 2))))


def diary(rng: Random) -> str:
    met = f"{rng.choice(('Today', 'Yesterday'))} I met {rng.choice(NAMES)}, and we talked for an hour."
    return f"{first_person(rng)} {met} {compose_from(SHORT_EXCHANGES, rng).answer}"


def plain_creative(rng: Random) -> str:
    return creative(rng).answer


def plain_beginning(rng: Random) -> str:
    exchange = continued(rng)
    return f"{exchange.question} {exchange.answer}"


PLAIN: tuple[tuple[Callable[[Random], str], float], ...] = (
    (plain_tale, 3),
    (plain_article, 1.5),
    (plain_facts, 1.5),
    (asked_and_answered, 2),
    (questionnaire, 1),
    (statement, 1),
    (first_person, 0.5),
    (diary, 0.3),
    (plain_creative, 0.5),
    (plain_beginning, 0.3),
)
