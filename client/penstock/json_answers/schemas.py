"""The `schema` of client.json: a dict, JSON text, or a pydantic model. Neither pydantic nor jsonschema is imported
before a schema needs it."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from penstock import arguments
from penstock.arguments import ArgumentTypeError, ArgumentValueError


class PydanticModel(Protocol):
    """The class of a pydantic model (version 2)."""

    def model_json_schema(self) -> dict[str, Any]: ...

    def model_validate(self, obj: object) -> object: ...


SchemaLike = Mapping[str, Any] | str | type[Any]


class Schema:
    """What a document must be. Without one: an object or a list, of whatever."""

    def __init__(self, schema: Mapping[str, Any] | None, validate: Callable[[Any], Any]) -> None:
        self.schema = schema
        self.validate = validate  # the value that the caller gets; raises ValueError with what is wrong


def read_schema(schema: object, checked: bool) -> Schema:
    """The caller's `schema`. TypeError or ValueError if it is none, ImportError if what it needs is not installed.

    checked: whether documents are held against a schema here; not needed of those that the server made to follow it.
    """
    if schema is None:
        return Schema(None, _object_or_list)
    if isinstance(schema, type):
        return _of_model(schema)
    given = _given(schema)
    return Schema(given, _validator(given) if checked else _as_it_is)


def _of_model(model: type[Any]) -> Schema:
    if not callable(getattr(model, "model_json_schema", None)) or not callable(getattr(model, "model_validate", None)):
        raise ArgumentTypeError("schema", "a dict, JSON as a str, or a pydantic model", model)
    described: PydanticModel = model  # type: ignore[assignment]
    return Schema(described.model_json_schema(), described.model_validate)  # pydantic's errors are ValueErrors


def _given(schema: object) -> Mapping[str, Any]:
    if not isinstance(schema, str):
        return arguments.mapping("schema", schema, "a dict, JSON as a str, or a pydantic model")
    try:
        read = json.loads(arguments.text("schema", schema))
    except (ValueError, RecursionError) as error:
        raise ArgumentValueError("schema", f"is no JSON: {error}") from error
    return arguments.mapping("schema", read, "a JSON object")


def _validator(schema: Mapping[str, Any]) -> Callable[[Any], Any]:
    try:
        jsonschema = importlib.import_module("jsonschema")
        referencing = importlib.import_module("referencing")
    except ImportError as error:
        raise ImportError("to check a schema here takes jsonschema: pip install 'penstock[json]'") from error
    kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    try:
        kind.check_schema(schema)
    except jsonschema.exceptions.SchemaError as error:
        raise ArgumentValueError("schema", f"is no JSON Schema: {error.message}") from error
    validator = kind(schema, registry=referencing.Registry())  # its own would fetch what the schema refers to

    def validate(value: Any) -> Any:
        try:
            for error in validator.iter_errors(value):
                raise ValueError(f"{error.json_path}: {error.message}")
        except referencing.exceptions.Unresolvable as error:
            raise ArgumentValueError("schema", f"refers to {error.ref!r}, which is not in it") from error
        return value

    return validate


def _object_or_list(value: Any) -> Any:
    if not isinstance(value, (dict, list)):
        raise ValueError("it is neither an object nor a list")
    return value


def _as_it_is(value: Any) -> Any:
    return value
