"""Judges structured output by what can be seen without compiling it. Pure: no clock, no I/O.

What passes is small enough to be handed to a compiler, which may still refuse it; no more than that is promised.
"""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from penstock.v1 import generation_pb2 as pb
from penstock_service.errors import Violation

# The contract's figures (StructuredOutput in generation.proto).
MOST_DOCUMENT_BYTES = 64 * 1024
MOST_REGEX_BYTES = 1024
MOST_OPTIONS = 256
MOST_OPTION_BYTES = 1024
MOST_PROPERTIES = 1000
# vLLM's own limit is 64 (MAX_STRUCTURED_OUTPUT_JSON_NESTING).
MOST_LEVELS = 32
# What a structural tag wraps around its schemas; as vLLM's STRUCTURAL_TAG_WRAPPER_NESTING.
MOST_TAG_LEVELS = MOST_LEVELS + 16
# An automaton has a state for each repetition: `(.{0,1000}){1000}` would have a million.
MOST_REPETITIONS = 10_000

_REFERENCES = frozenset({"$ref", "$dynamicRef", "$recursiveRef"})
# JSON Schema keywords whose objects map names to schemas, and those whose values are not schemas.
_NAMED_SCHEMAS = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
_DATA = frozenset({"const", "default", "enum", "examples"})
_PROPERTIES = frozenset({"properties", "patternProperties"})
# Escapes and character classes first: braces and brackets mean nothing in them.
_REGEX_TOKEN = re.compile(r"\\[uxpP]\{[^}]*\}|\\.|\[(?:\\.|[^\]\\])*\]?|\{(\d+)(?:,(\d*))?\}|.", re.DOTALL)
_SHOWN_CHARACTERS = 64


def violations(constraint: pb.StructuredOutput, field: str) -> Iterator[Violation]:
    """What is wrong with `constraint`, which the request has under `field`."""
    kind = constraint.WhichOneof("constraint")
    where = f"{field}.{kind}"
    match kind:
        case None:
            names = ", ".join(each.name for each in constraint.DESCRIPTOR.oneofs_by_name["constraint"].fields)
            yield Violation(field, f"has no constraint: set one of {names}")
        case "json_schema":
            yield from schema_violations(constraint.json_schema, where)
        case "regex":
            yield from (Violation(where, wrong) for wrong in _wrong_with_regex(constraint.regex))
        case "choice":
            yield from _choice_violations(constraint.choice.options, f"{where}.options")
        case "grammar":
            yield from (Violation(where, wrong) for wrong in _wrong_with_grammar(constraint.grammar))
        case "structural_tag":
            yield from (Violation(where, wrong) for wrong in _wrong_with_tag(constraint.structural_tag))


def schema_violations(text: str, field: str) -> Iterator[Violation]:
    """What is wrong with a JSON Schema, which the request has under `field`; an empty one is wrong."""
    for wrong in _wrong_with_document(text, MOST_LEVELS):
        yield Violation(field, wrong)


def _wrong_with_regex(regex: str) -> Iterator[str]:
    if (wrong := _wrong_size(regex, MOST_REGEX_BYTES)) is not None:
        yield wrong
    elif "\0" in regex:  # vLLM refuses it too: its converter does not handle it
        yield "must not contain NUL"
    elif (repetitions := _repetitions(regex)) > MOST_REPETITIONS:
        shown = str(repetitions) if repetitions < 10**9 else "10^9 or more"
        yield f"must have counted repetitions that multiply to at most {MOST_REPETITIONS}, got {shown}"


def _wrong_with_grammar(grammar: str) -> Iterator[str]:
    if (wrong := _wrong_size(grammar, MOST_DOCUMENT_BYTES)) is not None:
        yield wrong
    elif "::=" not in grammar:  # vLLM would take it for another language, Lark's
        yield 'must be EBNF, with rules such as root ::= "a"; there is no ::= in it'


def _wrong_with_tag(text: str) -> Iterator[str]:
    wrong = None
    for wrong in _wrong_with_document(text, MOST_TAG_LEVELS):
        yield wrong
    if wrong is None and "structures" in json.loads(text):  # vLLM would take it for xgrammar's older form
        yield "must be a structural tag with a format; the older form with structures is not served"


def _choice_violations(options: Sequence[str], field: str) -> Iterator[Violation]:
    if not 1 <= len(options) <= MOST_OPTIONS:
        yield Violation(field, f"must be 1 to {MOST_OPTIONS} texts, got {len(options)}")
        return
    first: dict[str, int] = {}
    for position, option in enumerate(options):
        if (wrong := _wrong_size(option, MOST_OPTION_BYTES)) is not None:
            yield Violation(f"{field}[{position}]", wrong)
        elif first.setdefault(option, position) != position:
            yield Violation(f"{field}[{position}]", f"must differ from the others, is that of [{first[option]}]")


def _wrong_size(text: str, most: int) -> str | None:
    size = len(text.encode())
    return None if 1 <= size <= most else f"must have 1 to {most} bytes, got {size}"


def _wrong_with_document(text: str, most_levels: int) -> Iterator[str]:
    if (wrong := _wrong_size(text, MOST_DOCUMENT_BYTES)) is not None:
        yield wrong
        return
    try:
        document = json.loads(text, object_pairs_hook=_without_duplicates, parse_constant=_refuse_constant)
    except RecursionError:
        yield _too_deep(most_levels)
    except json.JSONDecodeError as error:
        yield f"must be JSON: {error.msg} at character {error.pos}"
    except _NotInterchangeableError as error:
        yield f"must be JSON: {error}"
    except ValueError:  # Python reads integers of at most 4300 digits
        yield "must be JSON with numbers of usual size"
    else:
        yield from _wrong_with_schemas(document, most_levels)


class _NotInterchangeableError(ValueError):
    """Python's reader takes it; others do not, or differ in what they make of it."""


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise _NotInterchangeableError(f"an object has {_shown(twice)} twice")
    return found


def _refuse_constant(name: str) -> None:
    raise _NotInterchangeableError(f"{name} is not a number of JSON")


def _wrong_with_schemas(document: Any, most_levels: int) -> Iterator[str]:
    if not isinstance(document, dict):
        yield "must be a JSON object"
        return
    if not _nested_within(document, most_levels):
        yield _too_deep(most_levels)
        return
    properties = 0
    for keyword, value in _keywords(document):
        if keyword in _PROPERTIES and isinstance(value, dict):
            properties += len(value)
        yield from _wrong_with_keyword(keyword, value)
    if properties > MOST_PROPERTIES:
        yield f"must have at most {MOST_PROPERTIES} properties in all, got {properties}"


def _wrong_with_keyword(keyword: str, value: Any) -> Iterator[str]:
    if keyword in _REFERENCES and isinstance(value, str) and not value.startswith("#"):
        yield f'has a {keyword} to {_shown(value)}; only those within the schema ("#...") are followed'
    regexes: list[str] = []
    if keyword == "pattern" and isinstance(value, str):
        regexes = [value]
    elif keyword == "patternProperties" and isinstance(value, dict):
        regexes = list(value)
    for regex in filter(None, regexes):  # an empty one is allowed here: everything matches it
        yield from (f"has a pattern {_shown(regex)} that {wrong}" for wrong in _wrong_with_regex(regex))


def _keywords(document: Any) -> Iterator[tuple[str, Any]]:
    """Every keyword of every schema in `document` with its value: no names of properties, nothing inside of data."""
    waiting = [document]
    while waiting:
        node = waiting.pop()
        if isinstance(node, list):
            waiting.extend(node)
        elif isinstance(node, dict):
            for keyword, value in node.items():
                yield keyword, value
                if keyword in _NAMED_SCHEMAS and isinstance(value, dict):
                    waiting.extend(value.values())
                elif keyword not in _DATA:
                    waiting.append(value)


def _nested_within(document: Any, most_levels: int) -> bool:
    level = [document]
    for _ in range(most_levels):
        children = (node.values() if isinstance(node, dict) else node for node in level)
        level = [child for group in children for child in group if isinstance(child, dict | list)]
        if not level:
            return True
    return False


def _too_deep(most_levels: int) -> str:
    return f"must be nested at most {most_levels} deep"


def _repetitions(regex: str) -> int:
    """The greatest product of the counts of repetitions that are inside of each other."""
    groups = [1]  # of each open group, the greatest in it so far
    last = 1  # that of the last atom
    for token in _REGEX_TOKEN.finditer(regex):
        text = token.group()
        if token.group(1) is not None:
            last *= max(1, *(int(count) for count in token.groups() if count))
            groups[-1] = max(groups[-1], last)
        elif text == "(":
            groups.append(1)
            last = 1
        elif text == ")" and len(groups) > 1:
            last = groups.pop()
            groups[-1] = max(groups[-1], last)
        elif text not in "*+?":
            last = 1
    return max(groups)


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}...")
