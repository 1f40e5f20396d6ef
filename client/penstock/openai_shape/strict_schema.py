"""The strict form of a JSON Schema, as OpenAI wants it: objects have all their properties and no others. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_SCHEMAS_BY_NAME = ("$defs", "definitions", "properties")
_LISTS_OF_SCHEMAS = ("anyOf", "allOf", "oneOf", "prefixItems")
_SCHEMAS = ("items", "additionalProperties")


def strict_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A copy in which every object requires each of its properties and, unless it says otherwise, allows no further."""
    strict = {key: _strict(key, value) for key, value in schema.items()}
    if "properties" in schema:
        strict["required"] = list(schema["properties"])
    if schema.get("type") == "object":
        strict.setdefault("additionalProperties", False)
    if strict.get("default", ...) is None:  # what may be null says so in its type
        del strict["default"]
    return strict


def _strict(keyword: str, value: Any) -> Any:
    if keyword in _SCHEMAS_BY_NAME and isinstance(value, Mapping):
        return {name: _strict_if_schema(each) for name, each in value.items()}
    if keyword in _LISTS_OF_SCHEMAS and isinstance(value, list):
        return [_strict_if_schema(each) for each in value]
    return _strict_if_schema(value) if keyword in _SCHEMAS else value


def _strict_if_schema(value: Any) -> Any:
    """`true` and `false` are schemas too."""
    return strict_schema(value) if isinstance(value, Mapping) else value
