"""Animals: where they live, what they eat, what they say, and what their young are called."""

from collections.abc import Mapping
from random import Random

from training.exchange import Exchange, Weighted, a, compose_from, sentence

# name: home, food, what it does, young, sound ("" where nobody asks), legs
ANIMALS = {
    "cow": ("on a farm", "grass", "gives milk", "a calf", "moo", "four"),
    "horse": ("in a stable", "hay", "carries riders", "a foal", "neigh", "four"),
    "sheep": ("in a meadow", "grass", "gives wool", "a lamb", "baa", "four"),
    "pig": ("on a farm", "roots and grain", "rolls in the mud", "a piglet", "oink", "four"),
    "goat": ("on a hill", "leaves and grass", "climbs over rocks", "a kid", "bleat", "four"),
    "hen": ("on a farm", "grain", "lays eggs", "a chick", "cluck", "two"),
    "duck": ("on a pond", "water plants", "swims and dives", "a duckling", "quack", "two"),
    "dog": ("in a house", "meat", "guards the house", "a puppy", "woof", "four"),
    "cat": ("in a house", "fish and mice", "sleeps in the sun", "a kitten", "meow", "four"),
    "mouse": ("in a hole", "seeds and cheese", "runs very fast", "a pup", "squeak", "four"),
    "rabbit": ("in a burrow", "carrots and grass", "hops across the field", "a kit", "", "four"),
    "fox": ("in a den", "mice and berries", "hunts at night", "a cub", "", "four"),
    "bear": ("in the forest", "fish and honey", "sleeps all winter", "a cub", "growl", "four"),
    "wolf": ("in the forest", "meat", "howls at the moon", "a pup", "howl", "four"),
    "deer": ("in the forest", "leaves and grass", "runs and jumps", "a fawn", "", "four"),
    "owl": ("in an old tree", "mice", "hunts at night", "an owlet", "hoot", "two"),
    "eagle": ("in the mountains", "fish and rabbits", "flies very high", "an eaglet", "", "two"),
    "crow": ("in a tall tree", "seeds and insects", "finds shiny things", "a chick", "caw", "two"),
    "penguin": ("on the ice", "fish", "swims but cannot fly", "a chick", "", "two"),
    "frog": ("near a pond", "flies", "jumps far", "a tadpole", "croak", "four"),
    "fish": ("in the water", "small water animals", "swims", "a fry", "", "no"),
    "whale": ("in the sea", "very small sea animals", "sings under water", "a calf", "", "no"),
    "dolphin": ("in the sea", "fish", "jumps out of the waves", "a calf", "", "no"),
    "otter": ("by the river", "fish", "floats on its back", "a pup", "", "four"),
    "beaver": ("by the river", "bark and twigs", "builds dams", "a kit", "", "four"),
    "heron": ("by the river", "fish and frogs", "stands very still", "a chick", "", "two"),
    "swan": ("on a lake", "water plants", "glides over the water", "a cygnet", "", "two"),
    "bee": ("in a hive", "nectar", "makes honey", "a larva", "buzz", "six"),
    "ant": ("in an ant hill", "crumbs and seeds", "carries heavy loads", "a larva", "", "six"),
    "spider": ("in a web", "flies", "spins a web", "a spiderling", "", "eight"),
    "butterfly": ("in a garden", "nectar", "flies from flower to flower", "a caterpillar", "", "six"),
    "snail": ("in a garden", "leaves", "carries its house", "a small snail", "", "no"),
    "lion": ("in the grassland", "meat", "sleeps most of the day", "a cub", "roar", "four"),
    "elephant": ("in the grassland", "leaves and bark", "drinks with its trunk", "a calf", "trumpet", "four"),
    "giraffe": ("in the grassland", "leaves from tall trees", "looks over the trees", "a calf", "", "four"),
    "monkey": ("in the forest", "fruit", "swings from branch to branch", "an infant", "", "four"),
    "camel": ("in the desert", "dry plants", "walks far without water", "a calf", "", "four"),
    "snake": ("under a stone", "mice", "moves without legs", "a snakelet", "hiss", "no"),
    "turtle": ("in the sea", "sea grass", "carries a shell", "a hatchling", "", "four"),
    "squirrel": ("in a tree", "nuts", "hides nuts for the winter", "a kit", "", "four"),
}


def animal_in(table: Mapping[str, tuple[str, ...]], rng: Random) -> tuple[str, tuple[str, ...]]:
    return rng.choice(list(table.items()))


def home(rng: Random) -> Exchange:
    name, (place, *_) = animal_in(ANIMALS, rng)
    question = rng.choice(
        (f"Where does {a(name)} live?", f"Where do I find {a(name)}?", f"What is the home of {a(name)}?")
    )
    return Exchange(question, f"{sentence(a(name))} lives {place}.")


def food(rng: Random) -> Exchange:
    name, (_, meal, *_) = animal_in(ANIMALS, rng)
    question = rng.choice(
        (f"What does {a(name)} eat?", f"What do I feed {a(name)}?", f"What is the food of {a(name)}?")
    )
    return Exchange(question, f"{sentence(a(name))} eats {meal}.", meal if " " not in meal else "")


def deed(rng: Random) -> Exchange:
    name, (_, _, does, *_) = animal_in(ANIMALS, rng)
    if rng.random() < 0.3:
        return Exchange(f"Which animal {does}?", f"{sentence(a(name))} {does}.", name)
    return Exchange(f"What does {a(name)} do?", f"{sentence(a(name))} {does}.")


def young(rng: Random) -> Exchange:
    name, (_, _, _, child, _, _) = animal_in(ANIMALS, rng)
    question = rng.choice(
        (f"What is a baby {name} called?", f"What is a young {name} called?", f"What do you call a young {name}?")
    )
    return Exchange(question, f"A young {name} is called {child}.", child.split(" ")[-1])


def sound(rng: Random) -> Exchange:
    loud = {name: row for name, row in ANIMALS.items() if row[4]}
    name, row = animal_in(loud, rng)
    question = rng.choice(
        (f"What sound does {a(name)} make?", f"What does {a(name)} say?", f"How does {a(name)} sound?")
    )
    return Exchange(question, f"{sentence(a(name))} says {row[4]}.", row[4])


def legs(rng: Random) -> Exchange:
    name, row = animal_in(ANIMALS, rng)
    return Exchange(f"How many legs does {a(name)} have?", f"{sentence(a(name))} has {row[5]} legs.", row[5])


def what_is(rng: Random) -> Exchange:
    name, (place, meal, does, *_) = animal_in(ANIMALS, rng)
    question = rng.choice(("What is {}?", "Describe {}.", "Tell me about {}.", "Explain what {} is.")).format(a(name))
    more = f"It eats {meal}, and it {does}."
    return Exchange(question, f"{sentence(a(name))} is an animal that lives {place}.", more=more)


ABOUT_ANIMALS: Weighted = ((home, 1), (food, 1), (deed, 1), (young, 1), (sound, 1), (legs, 0.7), (what_is, 1.5))


def animal(rng: Random) -> Exchange:
    return compose_from(ABOUT_ANIMALS, rng)
