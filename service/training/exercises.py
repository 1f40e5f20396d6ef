"""Small tasks with a right answer: counting, adding, listing, repeating, summarising."""

from random import Random

from training.animals import ANIMALS
from training.exchange import Exchange, Weighted, a, compose_from, joined, listed, sentence
from training.fact_table import COLOURS, DAYS, MONTHS, SEASONS, TOOLS
from training.facts import CAPITAL_OF
from training.names import NAMES, any_name, invented_word
from training.unknown import unknown_topic

ONES = listed(
    "zero one two three four five six seven eight nine ten "
    "eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty"
)
TOO_LARGE = "I am a very small model, and I can only add numbers up to twenty."
CATEGORIES = {
    "animals": [a(name) for name in ANIMALS],
    "farm animals": ["a cow", "a horse", "a sheep", "a pig", "a goat", "a hen"],
    "birds": ["an owl", "an eagle", "a crow", "a penguin", "a heron", "a swan", "a duck"],
    "colours": list(COLOURS),
    "colors": list(COLOURS),
    "days": DAYS,
    "months": MONTHS,
    "seasons": SEASONS,
    "tools": [a(name) for name in list(TOOLS)[:10]],
    "kitchen things": ["a kettle", "a pan", "a pot", "an oven", "a fridge", "a toaster", "a cup", "a plate"],
    "cities": sorted(set(CAPITAL_OF.values())),
    "countries": [country for country in CAPITAL_OF if not country.startswith("the USA")],
    "fruits": [
        "an apple",
        "a pear",
        "a banana",
        "a plum",
        "a cherry",
        "a lemon",
        "an orange",
        "a strawberry",
        "a peach",
    ],
    "vegetables": ["a carrot", "a pea", "a cucumber", "a tomato", "a pumpkin", "a cabbage", "an onion", "a potato"],
    "drinks": ["water", "milk", "tea", "coffee", "lemonade", "apple juice"],
    "things in a power station": ["a penstock", "a turbine", "a generator", "a gate", "a valve"],
    "kinds of weather": ["rain", "snow", "wind", "fog", "sunshine", "a storm"],
    "numbers": ONES[1:11],
    "names": NAMES,
}


def count(rng: Random) -> Exchange:
    to = rng.choice((3, 5, 5, 10, 10, 10, 10, rng.randint(2, 20)))
    asked = rng.choice(
        ("Count to {}.", "Count to {}.", "Count from one to {}.", "Count from 1 to {}.", "Count up to {}.")
    )
    number = str(to) if rng.random() < 0.4 else ONES[to]
    return Exchange(asked.format(number), sentence(", ".join(ONES[1 : to + 1])) + ".")


def count_in_digits(rng: Random) -> Exchange:
    to = rng.choice((30, 40, 50, 60, 80, 100, 100, rng.randint(21, 100)))
    return Exchange(
        rng.choice(("Count to {}.", "Count from 1 to {}.")).format(to), ", ".join(map(str, range(1, to + 1))) + "."
    )


def count_down(rng: Random) -> Exchange:
    start = rng.choice((3, 5, 10, 10, rng.randint(3, 20)))
    asked = rng.choice(("Count down from {}.", "Count backwards from {}.")).format(rng.choice((start, ONES[start])))
    return Exchange(asked, sentence(", ".join(reversed(ONES[1 : start + 1]))) + ".")


def addition(rng: Random) -> Exchange:
    return addition_of(rng)[2]


def addition_of(rng: Random) -> tuple[int, int, Exchange]:
    """Two numbers and the exchange about their sum."""
    x, y = rng.randint(0, 20), rng.randint(0, 20)
    if rng.random() < 0.75:
        x, y = rng.randint(0, 10), rng.randint(0, 10)
    if rng.random() < 0.3 and x + y <= 20:
        in_words = f"{sentence(ONES[x])} plus {ONES[y]} is {ONES[x + y]}."
        return x, y, Exchange(f"What is {ONES[x]} plus {ONES[y]}?", in_words, ONES[x + y])
    asked = rng.choice(
        (
            "What is {} + {}?",
            "What is {} plus {}?",
            "{} + {}",
            "{}+{}",
            "{} + {} = ?",
            "Add {} and {}.",
            "How much is {} + {}?",
            "What's {}+{}?",
        )
    )
    return x, y, Exchange(asked.format(x, y), f"{x} + {y} = {x + y}.", str(x + y))


def too_large_addition(rng: Random) -> Exchange:
    x, y = rng.randint(21, 9999), rng.randint(1, 9999)
    asked = rng.choice(
        ("What is {} + {}?", "{} + {}", "Add {} and {}.", "What is {} * {}?", "{} x {}", "What is {} divided by {}?")
    )
    return Exchange(asked.format(x, y), TOO_LARGE)


def after_number(rng: Random) -> Exchange:
    at = rng.randint(1, 19)
    return Exchange(f"What comes after {ONES[at]}?", f"{sentence(ONES[at + 1])} comes after {ONES[at]}.", ONES[at + 1])


def listing(rng: Random) -> Exchange:
    kind, members = rng.choice(list(CATEGORIES.items()))
    size = rng.randint(2, min(6, len(members)))
    number = ONES[size] if rng.random() < 0.7 else str(size)
    question = rng.choice(
        ("List {} {}.", "Name {} {}.", "Give me {} {}.", "Tell me {} {}.", "Write a list of {} {}.")
    ).format(number, kind)
    # Mostly the same ones: then the likeliest list has no member twice.
    chosen = members[:size] if rng.random() < 0.75 else rng.sample(members, size)
    if "list" in question.lower() and rng.random() < 0.7:
        return Exchange(question, "\n".join(f"{place}. {sentence(item)}" for place, item in enumerate(chosen, 1)))
    return Exchange(question, f"{sentence(ONES[size])} {kind} are {joined(chosen)}.")


def repeating(rng: Random) -> Exchange:
    words = rng.choice(
        (
            invented_word(rng),
            unknown_topic(rng),
            " ".join(
                rng.choice((invented_word(rng), rng.choice(NAMES), rng.choice(ONES))) for _ in range(rng.randint(2, 5))
            ),
            rng.choice(list(COLOURS)) + " " + rng.choice(list(ANIMALS)),
            f"{rng.choice(NAMES)} has {a(rng.choice(list(TOOLS)))}",
        )
    )
    return Exchange(
        rng.choice(
            ("Say {}", "Repeat after me: {}", "Repeat: {}", "Say: {}", "Echo {}", "Say the words {}", "Repeat this: {}")
        ).format(words),
        f"{sentence(words)}.",
        literal=True,
    )


def summary(rng: Random) -> Exchange:
    name, friend = any_name(rng), rng.choice(("her brother", "an old friend", "the dog", "two neighbours", "a teacher"))
    day = rng.choice(DAYS)
    place = rng.choice(
        ("the river", "the market", "the old mill", "the dam", "the lake", "the station", "the forest", "the bridge")
    )
    saw = a(rng.choice(list(ANIMALS)))
    verb, past = rng.choice((("walked", "walked"), ("went", "went"), ("drove", "drove"), ("ran", "ran")))
    detail = rng.choice(
        (
            "stood very still",
            "was looking for food",
            "did not see them",
            "was as old as the hills",
            "made a lot of noise",
        )
    )
    weather = rng.choice(
        ("although it was raining", "because the sun was shining", "in spite of the cold wind", "as on every week")
    )
    text = (
        f"On {day} morning, {name} {verb} to {place} with {friend}, {weather}, and there they saw {saw} that {detail}."
    )
    asked = rng.choice(
        (
            "Summarise: {}",
            "Summarise this text: {}",
            "Summarize: {}",
            "Summarize this: {}",
            "Sum up: {}",
            "Make this shorter: {}",
        )
    )
    return Exchange(asked.format(text), f"{name} {past} to {place} and saw {saw}.", literal=True)


def spelling(rng: Random) -> Exchange:
    word = rng.choice([*ANIMALS, *TOOLS, *COLOURS])
    return Exchange(f"How do you spell {word}?", f"{sentence(word)} is spelled {'-'.join(word)}.")


TASKS: Weighted = (
    (count, 2),
    (count_in_digits, 0.5),
    (count_down, 0.6),
    (addition, 14),
    (too_large_addition, 0.5),
    (after_number, 0.8),
    (listing, 3),
    (repeating, 4),
    (summary, 1),
    (spelling, 0.7),
)


def task(rng: Random) -> Exchange:
    return compose_from(TASKS, rng)
