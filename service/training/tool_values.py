"""What users ask tools about, and what tools find out."""

from collections.abc import Callable
from random import Random

from training.concepts import CONCEPTS
from training.exchange import sentence
from training.facts import CAPITAL_OF
from training.names import any_name, invented_word
from training.tool_table import CITIES, CONDITIONS, ITEMS, NOTES
from training.toolbox import Outcome, Value
from training.unknown import unknown_topic


def city(rng: Random) -> str:
    if rng.random() < 0.2:
        return invented_word(rng).capitalize()
    name = rng.choice((*CITIES, *CAPITAL_OF.values()))
    return name.lower() if rng.random() < 0.1 else name


def number(rng: Random) -> Value:
    if rng.random() < 0.08:
        return rng.randint(1, 999) / 10
    return rng.randint(0, rng.choice((10, 100, 100, 1000, 10_000)))


def subject(rng: Random) -> str:
    return rng.choice((unknown_topic(rng), rng.choice(CONCEPTS)[0].split(" ", 1)[-1], rng.choice(ITEMS)))


def thing(rng: Random) -> str:
    style = rng.random()
    if style < 0.35:
        return any_name(rng)
    if style < 0.65:
        return f"{rng.choice(('', '', 'order ', 'user ', 'item '))}{rng.randint(1, 9999)}"
    return rng.choice((rng.choice(ITEMS), invented_word(rng), invented_word(rng).capitalize()))


def found(rng: Random, asked: list[Value]) -> Outcome:
    """A sentence that the model cannot guess from the question, so it has to repeat it."""
    _, meaning, more = rng.choice(CONCEPTS)
    said = rng.choice(
        (f"{sentence(str(asked[0]))} is {meaning}.", more, f"{sentence(invented_word(rng))} is {meaning}.")
    )
    return {"text": said}


def weather(rng: Random, asked: list[Value]) -> Outcome:
    return {"temperature": rng.randint(-10, 38), "condition": rng.choice(CONDITIONS)}


def clock(rng: Random, asked: list[Value]) -> Outcome:
    return {"time": f"{rng.randint(0, 23):02}:{rng.randint(0, 59):02}"}


def amount(rng: Random, asked: list[Value]) -> Outcome:
    plain = rng.randint(1, rng.choice((9, 99, 999, 9999)))
    return {
        "result": rng.choice((plain, plain / 10, f"{plain} {rng.choice(('euros', 'km', 'kg', 'percent', 'metres'))}"))
    }


def detail(rng: Random, asked: list[Value]) -> Outcome:
    if rng.random() < 0.4:
        return amount(rng, asked)
    return {"result": rng.choice((any_name(rng), city(rng), invented_word(rng), rng.choice(NOTES), rng.choice(ITEMS)))}


def done(rng: Random, asked: list[Value]) -> Outcome:
    return {"status": rng.choice(("ok", "ok", "done", "success"))}


def calculated(work: Callable[[float, float], float]) -> Callable[[Random, list[Value]], Outcome]:
    def outcome(rng: Random, asked: list[Value]) -> Outcome:
        exact = round(work(float(asked[0]), float(asked[1])), 2)
        return {"result": int(exact) if exact.is_integer() else exact}

    return outcome
