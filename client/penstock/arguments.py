"""Reads one argument of a call: the right type, or an error that names the argument. Pure."""

from __future__ import annotations

import json
import operator
from collections.abc import Iterable, Mapping


class ArgumentTypeError(TypeError):
    """An argument has the wrong type. `argument` is its name, with the place inside it: "messages[1].role"."""

    def __init__(self, argument: str, expected: str, value: object) -> None:
        super().__init__(f"{argument} must be {expected}, not {type(value).__name__}")
        self.argument = argument


class ArgumentValueError(ValueError):
    """An argument has the right type and an impossible value. `argument` is its name, as for ArgumentTypeError."""

    def __init__(self, argument: str, problem: str) -> None:
        super().__init__(f"{argument} {problem}")
        self.argument = argument


def text(argument: str, value: object) -> str:
    """`value`, which must be a str that UTF-8 can carry."""
    if not isinstance(value, str):
        raise ArgumentTypeError(argument, "a str", value)
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ArgumentValueError(argument, "has a lone surrogate, which UTF-8 cannot carry") from None
    return value


def one_of(argument: str, value: object, allowed: Iterable[str]) -> str:
    """`value`, which must be one of the allowed texts."""
    given = text(argument, value)
    if given not in allowed:
        raise ArgumentValueError(argument, f"is {given[:32]!r}; it must be one of {', '.join(allowed)}")
    return given


def mapping(argument: str, value: object, expected: str) -> Mapping[str, object]:
    """`value`, which must be a dict or the like; `expected` says in the error what it would have."""
    if not isinstance(value, Mapping):
        raise ArgumentTypeError(argument, expected, value)
    return value


def json_text(argument: str, value: object) -> str:
    """`value` as JSON: text is taken for JSON already, a dict is written as JSON."""
    if isinstance(value, str):
        return text(argument, value)
    fields = mapping(argument, value, "a dict, or JSON as a str")
    try:
        return text(argument, json.dumps(fields, ensure_ascii=False, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise ArgumentValueError(argument, f"cannot be written as JSON: {error}") from error


def flag(argument: str, value: object) -> bool:
    """`value`, which must be a bool."""
    if not isinstance(value, bool):
        raise ArgumentTypeError(argument, "a bool", value)
    return value


def number(argument: str, value: object) -> float:
    """`value` as a float: any real number but a bool (numpy's too)."""
    if isinstance(value, bool) or not hasattr(value, "__float__"):
        raise ArgumentTypeError(argument, "a number", value)
    try:
        return float(value)
    except OverflowError:
        raise ArgumentValueError(argument, "is too large for a double") from None


def integer(argument: str, value: object) -> int:
    """`value` as a signed int of 32 bits: any integer but a bool (numpy's too)."""
    return _integer(argument, value, 32)


def long_integer(argument: str, value: object) -> int:
    """`value` as a signed int of 64 bits."""
    return _integer(argument, value, 64)


def _integer(argument: str, value: object, bits: int) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise ArgumentTypeError(argument, "an int", value)
    number = operator.index(value)
    if not -(1 << (bits - 1)) <= number < 1 << (bits - 1):
        raise ArgumentValueError(argument, f"does not fit {bits} bits")
    return number


def integers(argument: str, value: object) -> list[int]:
    """`value`, an iterable of ints of 32 bits, as a list."""
    return [integer(f"{argument}[{i}]", item) for i, item in enumerate(items(argument, value, "ints"))]


def texts(argument: str, value: object) -> list[str]:
    """`value`, a str or an iterable of them, as a list."""
    if isinstance(value, str):
        return [text(argument, value)]
    return [text(f"{argument}[{i}]", item) for i, item in enumerate(items(argument, value, "str"))]


def items(argument: str, value: object, of: str) -> Iterable[object]:
    """`value`, which must be an iterable that is neither text nor a mapping."""
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
        raise ArgumentTypeError(argument, f"a list of {of}", value)
    return value
