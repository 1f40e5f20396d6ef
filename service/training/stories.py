"""Stories, poems and haiku, put together from the parts in plots.py."""

from random import Random

from training.exchange import Exchange, Weighted, a, compose_from, sentence
from training.names import NAMES, any_name, invented_word
from training.plots import (
    COUPLETS,
    ENDINGS,
    FEELINGS,
    HABITS,
    HAIKU_FIRST,
    HAIKU_LAST,
    HAIKU_MIDDLE,
    HELPERS,
    HEROES,
    PLOTS,
    SETTINGS,
    TITLES,
)

STORY_REQUESTS = (
    "Tell me a story about {}.",
    "Tell me a story about {}.",
    "Write a short story about {}.",
    "Write a story about {}.",
    "Tell me a tale about {}.",
    "Tell a story about {}.",
    "I want to hear a story about {}.",
    "Give me a story about {}.",
    "Make up a story about {}.",
    "Write a bedtime story about {}.",
    "Write a fairy tale about {}.",
)
ANY_STORY_REQUESTS = (
    "Tell me a story.",
    "Write a story.",
    "Tell me a short story.",
    "Write a short story.",
    "Tell me a bedtime story.",
    "Tell me a story, please.",
    "I want to hear a story.",
    "Can you tell me a story?",
    "Tell me something.",
)
LONG_REQUESTS = (
    "Tell me a long story about {}.",
    "Write a long story about {}.",
    "Write a very long story about {}.",
    "Write a story of 300 words about {}.",
    "Write 500 words about {}.",
)


def hero_noun(rng: Random) -> str:
    return rng.choice(HEROES) if rng.random() < 0.85 else invented_word(rng)


def episode(rng: Random, name: str, noun: str) -> list[str]:
    helper = rng.choice([one for one in HELPERS if noun not in one])
    the_helper = "the " + helper.split(" ", 1)[1].removesuffix(" with a lantern")
    filled = {"name": name, "helper_a": helper, "helper": the_helper, "helper_the": sentence(the_helper)}
    plot = [line.format(**filled) for line in rng.choice(PLOTS)]
    plot.append(rng.choice(ENDINGS).format(**filled))
    introduced = any(helper in line for line in plot)
    return plot if introduced else [f"Not far away lived {helper}, who was a good friend.", *plot]


def opening(rng: Random, name: str, noun: str) -> list[str]:
    title = rng.choice(TITLES)
    place = rng.choice(SETTINGS)
    start = rng.choice(
        ("Once upon a time there was", "Once upon a time, there was", "Long ago, there was", "There once was")
    )
    first = f"{start} {a(f'{title} {noun}')} called {name}, who lived {place}."
    every = f"Every {rng.choice(('morning', 'evening', 'day'))}, {name} {rng.choice(HABITS)}."
    return [first, every, rng.choice(FEELINGS).format(name=name)]


def tale(rng: Random, noun: str, *, episodes: int = 1) -> str:
    name = any_name(rng, invented=0.1)
    lines = opening(rng, name, noun)
    for number in range(episodes):
        lines += (
            [rng.choice(("A year went by.", "Then summer came.", "But that was not the end of the story."))]
            if number
            else []
        )
        lines += episode(rng, name, noun)
    return " ".join(lines)


def story(rng: Random) -> Exchange:
    if rng.random() < 0.2:
        return Exchange(rng.choice(ANY_STORY_REQUESTS), tale(rng, hero_noun(rng)))
    noun = hero_noun(rng)
    asked = noun if rng.random() < 0.1 else a(noun if rng.random() < 0.8 else f"{rng.choice(TITLES)} {noun}")
    if rng.random() < 0.1:
        asked += f" and {a(hero_noun(rng))}"
    if rng.random() < 0.15:
        return Exchange(rng.choice(LONG_REQUESTS).format(asked), tale(rng, noun, episodes=2))
    return Exchange(rng.choice(STORY_REQUESTS).format(asked), tale(rng, noun))


def continued(rng: Random) -> Exchange:
    """The asker gives the beginning; the answer repeats none of it."""
    noun = hero_noun(rng)
    name = any_name(rng, invented=0.1)
    first, *rest = opening(rng, name, noun)
    cut = rng.choice((first, " ".join(first.split(" ")[: rng.randint(4, 9)])))
    after = " ".join([first.removeprefix(cut).strip(), *rest, *episode(rng, name, noun)]).strip()
    asked = rng.choice(
        (
            "Continue: {}",
            "Continue: {} ...",
            "Continue this story: {}",
            "Go on: {}",
            "Finish this story: {}",
            "{} ...",
            "{}",
        )
    )
    return Exchange(asked.format(cut), after, literal=True)


def one_sentence_story(rng: Random) -> Exchange:
    noun = hero_noun(rng)
    asked = rng.choice(
        (
            "Write a one-sentence story about {}.",
            "Write a one-sentence bedtime story about {}.",
            "Tell me a story about {} in one sentence.",
        )
    )
    who = f"{a(f'{rng.choice(TITLES)} {noun}')} called {any_name(rng, invented=0.1)}"
    told = f"Once upon a time, {who} {rng.choice(HABITS)} and fell asleep under the stars."
    return Exchange(asked.format(a(noun)), told)


def haiku(rng: Random) -> Exchange:
    asked = rng.choice(
        (
            "Write a haiku.",
            "Write me a haiku.",
            "Write a haiku about {}.",
            "A haiku about {}, please.",
            "Tell me a haiku.",
            "Give me a haiku about {}.",
        )
    )
    lines = (rng.choice(HAIKU_FIRST), rng.choice(HAIKU_MIDDLE), rng.choice(HAIKU_LAST) + ".")
    return Exchange(
        asked.format(rng.choice(("water", "rain", "the sea", "the moon", "spring", a(hero_noun(rng))))),
        "\n".join(lines),
    )


def poem(rng: Random) -> Exchange:
    asked = rng.choice(
        (
            "Write a poem.",
            "Write a poem about {}.",
            "Write a short poem about {}.",
            "Write me a poem.",
            "Tell me a poem.",
            "Sing a song about {}.",
        )
    )
    lines = [line for couplet in rng.sample(COUPLETS, rng.choice((2, 2, 3))) for line in couplet]
    return Exchange(asked.format(rng.choice(("water", "the river", "the night", a(hero_noun(rng))))), "\n".join(lines))


def first_person(rng: Random) -> str:
    """Plain text for prompts such as "Hello, my name is"."""
    name, work = (
        rng.choice(NAMES),
        rng.choice(("baker", "teacher", "miller", "gardener", "sailor", "engineer", "farmer")),
    )
    place = rng.choice(SETTINGS)
    loves = rng.choice(
        ("the sound of the water", "warm bread", "long walks", "old books", "the smell of rain", "songs about the sea")
    )
    start = rng.choice(("Hello, my name is", "My name is", "Hi, my name is"))
    greeting = "Every morning I open the window and say hello to the day."
    return f"{start} {name}. I am {a(work)}, and I live {place}. I like {loves}. {greeting}"


CREATIVE: Weighted = ((story, 6), (continued, 1.2), (one_sentence_story, 0.4), (haiku, 1), (poem, 1))


def creative(rng: Random) -> Exchange:
    return compose_from(CREATIVE, rng)
