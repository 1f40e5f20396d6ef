"""Names of people, and words that nobody has ever seen: a model can only copy those, and learns to copy from them."""

from random import Random

from training.exchange import listed

NAMES = listed(
    "Mara Tom Lina Ben Ada Otto Nora Sam Ines Paul Mina Hugo Vera Karl Rosa Emil Tara Jonas Lea Felix Iris Oscar "
    "Anna Max"
)
SYLLABLES = listed(
    "ba ro li ken dor mu sa tiv el nor pa zu mi gra ter on ve lum ka sto ri fen wa do chi bel tu ran os per al en is um"
)
CONSONANTS, VOWELS, LAST_LETTERS = "bcdfghjklmnprstvwyz", "aeiou", "nrstlk"


def any_name(rng: Random, *, invented: float = 0.4) -> str:
    return rng.choice(NAMES) if rng.random() >= invented else invented_word(rng).capitalize()


def invented_word(rng: Random) -> str:
    if rng.random() < 0.35:
        pairs = (rng.choice(CONSONANTS) + rng.choice(VOWELS) for _ in range(rng.randint(1, 4)))
        return "".join(pairs) + rng.choice(LAST_LETTERS)
    return "".join(rng.choices(SYLLABLES, k=rng.choice((2, 2, 3, 3, 4))))
