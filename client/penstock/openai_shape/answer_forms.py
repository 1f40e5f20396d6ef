"""OpenAI's `response_format` and vLLM's parameters for the form of an answer. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from penstock import arguments
from penstock.arguments import ArgumentValueError
from penstock.openai_shape.options import Options

# vLLM's older names -> the keyword arguments.
_GUIDED = {
    "guided_choice": "choice",
    "guided_grammar": "grammar",
    "guided_json": "json_schema",
    "guided_regex": "regex",
}
# The fields of vLLM's structured_outputs -> the keyword arguments.
_STRUCTURED = {
    "choice": "choice",
    "grammar": "grammar",
    "json": "json_schema",
    "json_object": "json_object",
    "regex": "regex",
    "structural_tag": "structural_tag",
}

FORM_PARAMETERS = frozenset({"structured_outputs", *_GUIDED})


def take_form(given: Mapping[str, Any], options: Options) -> None:
    """Set what the caller says of the form. ArgumentTypeError, ArgumentValueError."""
    if "response_format" in given:
        _take_response_format(given["response_format"], options)
    if "structured_outputs" in given:
        _take_structured_outputs(given["structured_outputs"], options)
    for name, keyword in _GUIDED.items():
        if given.get(name) not in (None, []):
            options.set(keyword, given[name], name)


def _take_response_format(value: object, options: Options) -> None:
    form = arguments.mapping("response_format", value, "an object with type")
    kind = arguments.one_of("response_format.type", form.get("type"), _TAKE)
    _TAKE[kind](form, options)


def _take_json_schema(form: Mapping[str, Any], options: Options) -> None:
    place = "response_format.json_schema"
    described = arguments.mapping(place, form.get("json_schema"), "an object with name and schema")
    if described.get("schema") is None:
        raise ArgumentValueError(f"{place}.schema", "is required")
    options.set("json_schema", described["schema"], f"{place}.schema")


def _take_structured_outputs(value: object, options: Options) -> None:
    place = "structured_outputs"
    for name, form in arguments.mapping(place, value, "an object with one of " + ", ".join(_STRUCTURED)).items():
        if form in (None, False):
            continue
        if name not in _STRUCTURED:
            raise ArgumentValueError(f"{place}.{name}"[:80], "is not supported")
        options.set(_STRUCTURED[name], form, f"{place}.{name}")


def _take_text(form: Mapping[str, Any], options: Options) -> None:
    """It is what happens anyway."""


def _take_json_object(form: Mapping[str, Any], options: Options) -> None:
    options.set("json_object", True, "response_format")


def _take_structural_tag(form: Mapping[str, Any], options: Options) -> None:
    """vLLM's: the whole object is the tag."""
    options.set("structural_tag", form, "response_format")


_TAKE: dict[str, Callable[[Mapping[str, Any], Options], None]] = {
    "text": _take_text,
    "json_object": _take_json_object,
    "json_schema": _take_json_schema,
    "structural_tag": _take_structural_tag,
}
