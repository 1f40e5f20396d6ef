"""Closed sets of plain facts, and the questions that they answer."""

from random import Random

from training.exchange import Exchange, Weighted, a, compose_from, joined, sentence
from training.fact_table import CAPITALS, COLOURS, DAYS, MONTHS, NUMBER_OF, OPPOSITES, SEASONS, TOOLS

COLOUR_OF = {thing: colour for colour, things in COLOURS.items() for thing in things}
CAPITAL_OF = dict(pair.split("/") for pair in CAPITALS.split("|"))


def both_ways(pairs: str) -> dict[str, str]:
    """Each word with its opposite; where a word stands in two pairs, its first one counts."""
    found: dict[str, str] = {}
    for pair in pairs.split():
        one, other = pair.split("/")
        found.setdefault(one, other)
        found.setdefault(other, one)
    return found


OPPOSITE_OF = both_ways(OPPOSITES)


def is_are(thing: str) -> str:
    return f"{sentence(thing)} is"


def colour(rng: Random) -> Exchange:
    thing = rng.choice(list(COLOUR_OF))
    bare = thing.removeprefix("a ").removeprefix("an ").removeprefix("the ")
    question = rng.choice(
        (
            f"What colour is {thing}?",
            f"What color is {thing}?",
            f"What is the colour of {thing}?",
            f"What is the color of {thing}?",
            f"Which colour does {thing} have?",
            f"Tell me the colour of {thing}.",
            f"What colour is the {bare}?",
            f"What color is the {bare}?",
        )
    )
    return Exchange(question, f"{is_are(thing)} {COLOUR_OF[thing]}.", COLOUR_OF[thing])


def is_it_coloured(rng: Random) -> Exchange:
    thing = rng.choice(list(COLOUR_OF))
    true = COLOUR_OF[thing]
    asked = rng.choice((true, rng.choice(list(COLOURS))))
    if asked == true:
        return Exchange(f"Is {thing} {asked}?", f"Yes, {thing} is {true}.", "yes")
    return Exchange(f"Is {thing} {asked}?", f"No, {thing} is {true}.", "no")


def thing_of_colour(rng: Random) -> Exchange:
    wanted = rng.choice(list(COLOURS))
    things = COLOURS[wanted][: rng.choice((1, 1, 2, 3))]
    number = {1: "something", 2: "two things that are", 3: "three things that are"}[len(things)]
    verb = "is" if len(things) == 1 else "are"
    answer = f"{sentence(joined(things))} {verb} {wanted}."
    return Exchange(rng.choice((f"Name {number} {wanted}.", f"Tell me {number} {wanted}.")), answer)


def opposite(rng: Random) -> Exchange:
    word = rng.choice(list(OPPOSITE_OF))
    question = rng.choice(
        (
            f"What is the opposite of {word}?",
            f"Tell me the opposite of {word}.",
            f"Opposite of {word}?",
            f"What is the reverse of {word}?",
        )
    )
    return Exchange(question, f"The opposite of {word} is {OPPOSITE_OF[word]}.", OPPOSITE_OF[word])


def capital(rng: Random) -> Exchange:
    country, city = rng.choice(list(CAPITAL_OF.items()))
    if rng.random() < 0.15:
        return Exchange(f"Which country has {city} as its capital?", f"{city} is the capital of {country}.")
    question = rng.choice(
        (
            f"What is the capital of {country}?",
            f"What is the capital of {country}?",
            f"What's the capital of {country}?",
            f"Which city is the capital of {country}?",
            f"Tell me the capital of {country}.",
            f"Capital of {country}?",
            f"Name the capital of {country}.",
        )
    )
    return Exchange(question, f"The capital of {country} is {city}.", city)


def neighbour_in_order(rng: Random) -> Exchange:
    kind, names = rng.choice((("day", DAYS), ("month", MONTHS), ("season", SEASONS)))
    at = rng.randrange(len(names))
    after = rng.random() < 0.65
    found = names[(at + (1 if after else -1)) % len(names)]
    verb = rng.choice(("comes", "is")) + (" after" if after else " before")
    return Exchange(f"Which {kind} {verb} {names[at]}?" if rng.random() < 0.6 else f"What {kind} {verb} {names[at]}?",
                    f"{sentence(found)} comes {'after' if after else 'before'} {names[at]}.", found)  # fmt: skip


def whole_order(rng: Random) -> Exchange:
    what, names = rng.choice((("days of the week", DAYS), ("months of the year", MONTHS), ("seasons", SEASONS)))
    question = rng.choice(("Name the {}.", "What are the {}?", "List the {}.", "Tell me the {} in order.")).format(what)
    return Exchange(question, f"The {what} are {joined(list(names))}.")


def how_many(rng: Random) -> Exchange:
    asked, (word, answer) = rng.choice(list(NUMBER_OF.items()))
    return Exchange(f"How many {asked}?", answer, word)


def tool(rng: Random) -> Exchange:
    name, (purpose, place) = rng.choice(list(TOOLS.items()))
    where = f"You find it {place}."
    style = rng.random()
    if style < 0.2:
        return Exchange(f"Where do I find {a(name)}?", f"You find {a(name)} {place}.")
    if style < 0.45:
        need = rng.choice(
            (f"What do I need for {purpose}?", f"What is good for {purpose}?", f"What do I use for {purpose}?")
        )
        return Exchange(need, f"For {purpose} you need {a(name)}.", name)
    asked = rng.choice(
        ("What is {} for?", "What is {} used for?", "What do you do with {}?", "What does {} do?", "What is {}?")
    )
    start = "is a thing for" if asked == "What is {}?" else "is for"
    return Exchange(asked.format(a(name)), f"{sentence(a(name))} {start} {purpose}.", more=where)


def any_fact(rng: Random) -> Exchange:
    question = rng.choice(
        ("Tell me a fact.", "Tell me something I do not know.", "Tell me a fun fact.", "Teach me something.")
    )
    return Exchange(question, rng.choice((colour, opposite, capital, tool))(rng).answer)


FACTS: Weighted = (
    (any_fact, 0.4),
    (colour, 4),
    (is_it_coloured, 1),
    (thing_of_colour, 1),
    (opposite, 3),
    (capital, 3),
    (neighbour_in_order, 2),
    (whole_order, 0.7),
    (how_many, 1),
    (tool, 3),
)


def fact(rng: Random) -> Exchange:
    return compose_from(FACTS, rng)
