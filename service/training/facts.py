"""Closed sets of plain facts, and the questions that they answer."""

from random import Random

from exchange import Exchange, Weighted, a, compose_from, joined, sentence

COLOURS = {
    "blue": ["the sky", "the sea", "a sapphire", "a bluebell", "a blueberry", "a blue whale"],
    "green": ["grass", "a leaf", "a frog", "a lime", "a pea", "spinach", "an emerald", "a cucumber", "moss", "a cactus"],
    "white": ["snow", "milk", "salt", "a polar bear", "a swan", "flour", "a cloud", "rice", "a tooth", "chalk"],
    "black": ["coal", "the night", "a crow", "ink", "tar", "a raven", "a tyre"],
    "yellow": ["a lemon", "a banana", "the sun", "an egg yolk", "a canary", "butter", "a sunflower", "a duckling"],
    "red": ["a tomato", "blood", "a strawberry", "a cherry", "a ruby", "a fire engine", "a brick", "a stop sign", "a ladybird"],
    "orange": ["a carrot", "an orange", "a pumpkin", "a tangerine", "a basketball", "an apricot"],
    "brown": ["chocolate", "mud", "coffee", "wood", "a chestnut", "a walnut", "toast", "a bear"],
    "purple": ["a plum", "lavender", "an aubergine", "a violet", "an amethyst"],
    "grey": ["an elephant", "ash", "a rain cloud", "concrete", "a dolphin", "a donkey", "slate"],
    "pink": ["a flamingo", "a pig", "a salmon fillet", "cherry blossom"],
}
COLOUR_OF = {thing: colour for colour, things in COLOURS.items() for thing in things}

OPPOSITES = dict(
    pair.split("/")
    for pair in (
        "hot/cold big/small tall/short fast/slow high/low open/closed full/empty light/dark wet/dry early/late old/new "
        "rich/poor strong/weak hard/soft loud/quiet happy/sad up/down left/right in/out near/far thick/thin clean/dirty "
        "wide/narrow deep/shallow heavy/light-weight easy/difficult true/false always/never first/last day/night "
        "summer/winter love/hate young/aged sweet/bitter sharp/blunt smooth/rough begin/end push/pull give/take "
        "buy/sell win/lose ask/answer inside/outside above/below before/after more/less best/worst north/south east/west "
        "brave/afraid busy/idle awake/asleep alive/dead start/stop"
    ).split()
)
OPPOSITE_OF = {**{b: a_word for a_word, b in OPPOSITES.items()}, **OPPOSITES}

CAPITAL_OF = dict(
    pair.split("/")
    for pair in (
        "France/Paris|Germany/Berlin|Italy/Rome|Spain/Madrid|Portugal/Lisbon|England/London|the United Kingdom/London|"
        "Ireland/Dublin|Scotland/Edinburgh|Norway/Oslo|Sweden/Stockholm|Denmark/Copenhagen|Finland/Helsinki|Iceland/Reykjavik|"
        "Poland/Warsaw|Austria/Vienna|Switzerland/Bern|Belgium/Brussels|the Netherlands/Amsterdam|Greece/Athens|Hungary/Budapest|"
        "Turkey/Ankara|Egypt/Cairo|Kenya/Nairobi|Morocco/Rabat|Japan/Tokyo|China/Beijing|India/New Delhi|South Korea/Seoul|"
        "Thailand/Bangkok|Vietnam/Hanoi|Russia/Moscow|Ukraine/Kyiv|Canada/Ottawa|the United States/Washington|the USA/Washington|"
        "Mexico/Mexico City|Brazil/Brasilia|Argentina/Buenos Aires|Chile/Santiago|Peru/Lima|Cuba/Havana|Australia/Canberra|"
        "New Zealand/Wellington|Romania/Bucharest|Bulgaria/Sofia|Croatia/Zagreb|Serbia/Belgrade|Czechia/Prague|Slovakia/Bratislava"
    ).split("|")
)

DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
MONTHS = "January February March April May June July August September October November December".split()
SEASONS = "spring summer autumn winter".split()

# thing: what it is for, where it is found
TOOLS = {
    "hammer": ("driving nails", "in a tool box"),
    "saw": ("cutting wood", "in a workshop"),
    "screwdriver": ("turning screws", "in a tool box"),
    "spanner": ("turning nuts and bolts", "in a tool box"),
    "drill": ("making holes", "in a workshop"),
    "ladder": ("climbing up to high places", "in a shed"),
    "spade": ("digging holes", "in a garden shed"),
    "rake": ("gathering leaves", "in a garden shed"),
    "bucket": ("carrying water", "in a shed"),
    "brush": ("painting walls", "in a workshop"),
    "broom": ("sweeping the floor", "in a cupboard"),
    "knife": ("cutting food", "in a kitchen drawer"),
    "fork": ("picking up food", "in a kitchen drawer"),
    "spoon": ("eating soup", "in a kitchen drawer"),
    "kettle": ("boiling water", "in a kitchen"),
    "pan": ("frying eggs", "in a kitchen"),
    "pot": ("cooking soup", "in a kitchen"),
    "oven": ("baking bread", "in a kitchen"),
    "fridge": ("keeping food cold", "in a kitchen"),
    "toaster": ("toasting bread", "in a kitchen"),
    "cup": ("drinking tea", "in a kitchen cupboard"),
    "plate": ("serving food", "in a kitchen cupboard"),
    "whisk": ("beating eggs", "in a kitchen drawer"),
    "sieve": ("sifting flour", "in a kitchen cupboard"),
    "grater": ("grating cheese", "in a kitchen drawer"),
    "pencil": ("drawing and writing", "on a desk"),
    "pen": ("writing letters", "on a desk"),
    "ruler": ("measuring short lengths", "on a desk"),
    "clock": ("telling the time", "on a wall"),
    "lamp": ("giving light", "on a table"),
    "umbrella": ("keeping off the rain", "by the door"),
    "key": ("opening a lock", "in a pocket"),
    "needle": ("sewing cloth", "in a sewing box"),
    "thermometer": ("measuring how warm it is", "on a wall"),
    "compass": ("finding north", "on a ship"),
    "map": ("finding the way", "in a bag"),
    "rope": ("tying things together", "on a boat"),
    "anchor": ("holding a ship in place", "on a ship"),
    "telescope": ("looking at the stars", "on a hill"),
    "bed": ("sleeping", "in a bedroom"),
    "chair": ("sitting", "at a table"),
    "soap": ("washing hands", "by the sink"),
    "towel": ("drying hands", "in a bathroom"),
    "valve": ("opening and closing a pipe", "on a pipe"),
    "pump": ("moving water", "near a well"),
}

NUMBER_OF = {
    "days are there in a week": ("seven", "There are seven days in a week."),
    "months are there in a year": ("twelve", "There are twelve months in a year."),
    "days are there in a year": ("365", "There are 365 days in a year, and 366 in a leap year."),
    "hours are there in a day": ("twenty-four", "There are twenty-four hours in a day."),
    "minutes are there in an hour": ("sixty", "There are sixty minutes in an hour."),
    "seconds are there in a minute": ("sixty", "There are sixty seconds in a minute."),
    "seasons are there": ("four", "There are four seasons: spring, summer, autumn and winter."),
    "fingers are on one hand": ("five", "There are five fingers on one hand."),
    "sides does a triangle have": ("three", "A triangle has three sides."),
    "sides does a square have": ("four", "A square has four sides."),
    "wheels does a bicycle have": ("two", "A bicycle has two wheels."),
    "wheels does a car have": ("four", "A car has four wheels."),
    "letters are in the alphabet": ("twenty-six", "There are twenty-six letters in the alphabet."),
    "eggs are in a dozen": ("twelve", "There are twelve eggs in a dozen."),
    "colours does a rainbow have": ("seven", "A rainbow has seven colours."),
}


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
    things = rng.sample(COLOURS[wanted], rng.choice((1, 1, 2, 3)))
    number = {1: "something", 2: "two things that are", 3: "three things that are"}[len(things)]
    verb = "is" if len(things) == 1 else "are"
    answer = f"{sentence(joined(things))} {verb} {wanted}."
    return Exchange(rng.choice((f"Name {number} {wanted}.", f"Tell me {number} {wanted}.")), answer)


def opposite(rng: Random) -> Exchange:
    word = rng.choice(list(OPPOSITE_OF))
    question = rng.choice(
        (f"What is the opposite of {word}?", f"Tell me the opposite of {word}.", f"Opposite of {word}?", f"What is the reverse of {word}?")
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
        need = rng.choice((f"What do I need for {purpose}?", f"What is good for {purpose}?", f"What do I use for {purpose}?"))
        return Exchange(need, f"For {purpose} you need {a(name)}.", name)
    asked = rng.choice(("What is {} for?", "What is {} used for?", "What do you do with {}?", "What does {} do?", "What is {}?"))
    start = "is a thing for" if asked == "What is {}?" else "is for"
    return Exchange(asked.format(a(name)), f"{sentence(a(name))} {start} {purpose}.", more=where)


FACTS: Weighted = (
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
