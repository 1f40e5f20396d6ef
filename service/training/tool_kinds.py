"""The kinds of tools that the model sees: those of the table, and ones that do or tell anything about anything."""

from random import Random

from training.exchange import chosen, sentence
from training.names import invented_word
from training.tool_kind_table import KINDS
from training.tool_table import NOUNS, PROPERTIES, VERBS
from training.tool_values import detail, done, thing
from training.toolbox import Kind, Parameter

SHARE_OF_PROPERTIES = 0.25
SHARE_OF_DEEDS = 0.2


def looking_up(noun: str, shown: str) -> Kind:
    """A tool that tells one property of a thing: what people's own tools mostly do."""
    return Kind(
        names=(f"get_{noun}", f"find_{noun}", f"lookup_{noun}", f"{noun}_of", f"read_{noun}", f"get_{noun}_of"),
        descriptions=(f"Get the {shown} of something", f"The {shown} of an item", f"Look up the {shown}", ""),
        parameters=(Parameter(("name", "name", "id", "item", "key", "user", "order", "object", "person"), thing),),
        questions=(
            f"What is the {shown} of {{0}}?",
            f"What is the {shown} of {{0}}?",
            f"Get the {shown} of {{0}}.",
            f"Tell me the {shown} of {{0}}.",
            f"Find the {shown} of {{0}}.",
            f"Look up the {shown} of {{0}}.",
            f"I need the {shown} of {{0}}.",
        ),
        outcome=detail,
        answer=f"The {shown} of {{0}} is {{result}}.",
        listable=True,
    )


def doing(verb: str, noun: str) -> Kind:
    """A tool that does one thing to one thing."""
    shown = noun.replace("_", " ")
    return Kind(
        names=(f"{verb}_{noun}", f"{verb}_{noun}", f"{verb}_the_{noun}", f"{noun}_{verb}", f"do_{verb}_{noun}"),
        descriptions=(f"{sentence(verb)} a {shown}", f"{verb} the {shown}", f"{sentence(verb)} one {shown}", ""),
        parameters=(Parameter((noun, noun, "name", "id", f"{noun}_id", f"{noun}_name"), thing),),
        questions=(
            f"{sentence(verb)} the {shown} {{0}}.",
            f"{sentence(verb)} the {shown} {{0}}.",
            f"{sentence(verb)} {shown} {{0}}.",
            f"Can you {verb} the {shown} {{0}}?",
            f"I want to {verb} the {shown} {{0}}.",
        ),
        outcome=done,
        answer=f"Done: {verb} the {shown} {{0}}.",
    )


def any_deed(rng: Random) -> Kind:
    return doing(rng.choice(VERBS), rng.choice(NOUNS) if rng.random() < 0.8 else invented_word(rng))


def any_property(rng: Random) -> Kind:
    noun = rng.choice(PROPERTIES) if rng.random() < 0.8 else invented_word(rng)
    return looking_up(noun, noun.replace("_", " "))


def any_kind(rng: Random) -> Kind:
    if rng.random() < SHARE_OF_PROPERTIES:
        return any_property(rng)
    if rng.random() < SHARE_OF_DEEDS:
        return any_deed(rng)
    return chosen(KINDS, rng)
