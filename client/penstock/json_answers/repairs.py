"""Mends JSON that a model wrote almost right. The extra `json` brings the library for it.

The library never fails: it makes something of any text. So its result counts only if it is the kind of document that
the text begins as, and whoever asks for a repair validates what comes of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from penstock.json_answers.documents import Parsed, SeveralDocumentsError, documents, parse, parse_first

JsonValue = Any

# A string, whole or not, or a comment.
_STRING_OR_COMMENT = re.compile(r'"(?:[^"\\\n]|\\.)*"?|//[^\n]*|#[^\n]*|/\*.*?\*/', re.DOTALL)


def repair_library() -> Callable[[str], JsonValue]:
    """Turns almost-JSON into its value. ImportError with a sentence if the extra is missing."""
    try:
        import json_repair
    except ImportError as error:
        raise ImportError("repair=True needs json-repair: pip install 'penstock[json]'") from error
    return partial(json_repair.loads, skip_json_loads=True)


def read_json(text: str, repair: bool) -> list[Parsed | ValueError]:
    """What may be the document of a model's answer, the likeliest first: mended if it has to be and may, or why not.

    Never empty. Objects come before lists, for a short list among words is often a note: "see [2]".
    """
    try:
        return [Parsed(parse(text), repaired=False)]
    except ValueError:
        found = documents(text)
    objects: list[Parsed | ValueError] = []
    lists: list[Parsed | ValueError] = []
    while found:
        read = _read(found, repair)
        (objects if found[0].startswith("{") else lists).append(read)
        found = [read.rest] if isinstance(read, Parsed) and read.rest else []
    return [*objects, *lists] or [ValueError("there is no JSON document in it")]


def _read(found: list[str], repair: bool) -> Parsed | ValueError:
    try:
        return _read_first(found, repair)
    except ValueError as error:
        return error


def _read_first(found: list[str], repair: bool) -> Parsed:
    attempts = [_attempt(each, repair) for each in found]
    for parsed in attempts:
        if isinstance(parsed, Parsed):
            return parsed
    problems = [problem for problem in attempts if isinstance(problem, ValueError)]
    if not repair or any(isinstance(problem, SeveralDocumentsError) for problem in problems):
        raise problems[0]
    return Parsed(_mended(found[0]), repaired=True)


def _attempt(found: str, repair: bool) -> Parsed | ValueError:
    try:
        parsed = parse_first(found)
    except ValueError as error:
        return error
    if parsed.repaired and not repair:
        return ValueError("there are braces too many after the JSON document")
    return parsed


def _mended(found: str) -> JsonValue:
    try:
        return parse_first(without_comments(found)).value
    except ValueError:
        pass
    try:
        value = repair_library()(found)  # which tells comments from single-quoted strings that look like them
    except RecursionError:
        raise ValueError("the JSON is nested too deep") from None
    if not isinstance(value, dict if found.startswith("{") else list):
        raise ValueError("it is no JSON that can be mended")
    return value


def without_comments(text: str) -> str:
    """The text without `//`, `#` and `/* */` comments, except inside strings in double quotes."""
    return _STRING_OR_COMMENT.sub(lambda found: found[0] if found[0].startswith('"') else "", text)


def with_schemas_keys(value: JsonValue, schema: Mapping[str, Any]) -> JsonValue:
    """The value with keys as the schema writes them, where they differ in case only and the right one is missing."""
    return _rekeyed(value, schema, schema)


def _rekeyed(value: JsonValue, schema: object, root: Mapping[str, Any]) -> JsonValue:
    schemas = _alternatives(schema, root)
    if isinstance(value, list):
        items = [each["items"] for each in schemas if "items" in each]
        return [_rekeyed(item, {"anyOf": items}, root) for item in value]
    if not isinstance(value, dict):
        return value
    properties: dict[str, list[object]] = {}
    for each in schemas:
        for name, form in each.get("properties", {}).items():
            properties.setdefault(name, []).append(form)
    rest = [each["additionalProperties"] for each in schemas if "additionalProperties" in each]
    names = {key: _right_name(key, value, properties) for key in value}
    return {
        names[key]: _rekeyed(member, {"anyOf": properties.get(names[key], rest)}, root) for key, member in value.items()
    }


def _right_name(key: str, value: Mapping[str, object], properties: Mapping[str, object]) -> str:
    if key in properties:
        return key
    alike = [name for name in properties if name.casefold() == key.casefold() and name not in value]
    rivals = [other for other in value if other.casefold() == key.casefold()]
    return alike[0] if len(alike) == 1 and len(rivals) == 1 else key


def _alternatives(schema: object, root: Mapping[str, Any], seen: tuple[str, ...] = ()) -> list[Mapping[str, Any]]:
    """The schema with what it refers to and is put together from; references into itself end at their repetition."""
    if not isinstance(schema, Mapping):
        return []
    found = [schema]
    reference = schema.get("$ref")
    if isinstance(reference, str) and reference not in seen:
        found += _alternatives(_referred(reference, root), root, (*seen, reference))
    for name in ("allOf", "anyOf", "oneOf"):
        for part in schema.get(name, ()):
            found += _alternatives(part, root, seen)
    return found


def _referred(reference: str, root: Mapping[str, Any]) -> object:
    """What a reference within the schema ("#/$defs/Person") means; None for others."""
    place: object = root
    if not reference.startswith("#"):
        return None
    for step in reference[1:].split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        place = place.get(name) if isinstance(place, Mapping) else None
    return place
