"""Holds a message against a table of limits: every field that is set, and nothing of what is not. Pure.

The table is laid out by the message's descriptor once, so that a check costs by what the caller set.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence, Sized
from itertools import islice
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from penstock_service.errors import InvalidRequest, Violation
from penstock_service.limit_table import Limit, Range

_NONE = Limit()


class Checker:
    """Checks messages of one type, `template` being where they stand in the request."""

    def __init__(self, descriptor: Any, table: Mapping[str, Limit], template: str = "") -> None:
        self._checks: dict[str, Callable[[Any, str], Iterator[Violation]]] = {}
        self._required: list[tuple[str, Range]] = []
        for field in descriptor.fields:
            path = template + field.name
            limit = table.get(path, _NONE)
            if (check := _check_of(field, limit, table, path)) is not None:
                self._checks[field.name] = check
            if limit.entries is not None and not limit.entries.holds(0):
                self._required.append((field.name, limit.entries))

    def violations(self, message: Message, path: str = "") -> Iterator[Violation]:
        """Every field of `message` that the table does not allow; `path` is what stands before its fields' names."""
        for field, value in message.ListFields():
            check = self._checks.get(field.name)
            if check is not None:
                yield from check(value, path + field.name)
        for name, count in self._required:
            if not getattr(message, name):
                yield Violation(path + name, f"must have {count} entries, got 0")


def _check_of(
    field: FieldDescriptor, limit: Limit, table: Mapping[str, Limit], path: str
) -> Callable[[Any, str], Iterator[Violation]] | None:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return _map_check(field, limit, table, path)
    if field.message_type is not None:
        return _message_check(field, limit, table, path)
    one = _entry_check(field, limit)
    if one is None or not field.is_repeated:
        return one
    return lambda values, at: _each(values, at, limit, one)


def _message_check(
    field: FieldDescriptor, limit: Limit, table: Mapping[str, Limit], path: str
) -> Callable[[Any, str], Iterator[Violation]] | None:
    message_type = field.message_type
    assert message_type is not None  # noqa: S101 - the caller has looked
    inside = f"{path}[]." if field.is_repeated else f"{path}."
    if not any(key.startswith(inside) for key in table):  # what the table does not know is somebody else's to check
        return (lambda values, at: _count_violations(values, at, limit)) if limit.entries else None
    inner = Checker(message_type, table, inside)
    if field.is_repeated:
        return lambda values, at: _each(values, at, limit, lambda one, here: inner.violations(one, f"{here}."))
    return lambda one, at: inner.violations(one, f"{at}.")


def _map_check(
    field: FieldDescriptor, limit: Limit, table: Mapping[str, Limit], path: str
) -> Callable[[Any, str], Iterator[Violation]]:
    entry = field.message_type
    assert entry is not None  # noqa: S101 - the caller has looked
    key, value = (entry.fields_by_name[name] for name in ("key", "value"))
    key_check = _check_of(key, table.get(f"{path}{{key}}", _NONE), table, f"{path}{{key}}")
    value_check = _check_of(value, table.get(f"{path}{{value}}", _NONE), table, f"{path}{{value}}")

    def check(entries: Mapping[Any, Any], at: str) -> Iterator[Violation]:
        if over := list(_count_violations(entries, at, limit)):
            yield from over
            return
        for name, one in entries.items():
            here = f"{at}[{_short(name)}]"
            for judge, what in ((key_check, name), (value_check, one)):
                if judge is not None:
                    yield from judge(what, here)

    return check


def _entry_check(field: FieldDescriptor, limit: Limit) -> Callable[[Any, str], Iterator[Violation]] | None:
    if field.enum_type is not None:
        names = {value.number: value.name for value in field.enum_type.values}
        return lambda number, at: _enum_violations(number, at, names)
    if (allowed := limit.value) is not None:
        return lambda number, at: _value_violations(number, at, allowed)
    if (size := limit.size) is not None:
        return lambda text, at: _size_violations(text, at, size)
    return None


def _each(
    values: Sequence[Any], at: str, limit: Limit, check: Callable[[Any, str], Iterator[Violation]]
) -> Iterator[Violation]:
    if over := list(_count_violations(values, at, limit)):
        yield from over
        return
    numbers = limit.value
    if numbers is not None and numbers.holds(min(values)) and numbers.holds(max(values)):  # fast: prompts can be long
        return
    found = (violation for place, one in enumerate(values) for violation in check(one, f"{at}[{place}]"))
    yield from islice(found, InvalidRequest.MOST_VIOLATIONS)


def _count_violations(values: Sized, at: str, limit: Limit) -> Iterator[Violation]:
    if limit.entries is not None and not limit.entries.holds(len(values)):
        yield Violation(at, f"must have {limit.entries} entries, got {len(values)}")


def _value_violations(number: float, at: str, allowed: Range) -> Iterator[Violation]:
    if not allowed.holds(number):
        got = f"{number:g}" if isinstance(number, float) else str(number)
        yield Violation(at, f"must be {allowed}, got {got}")


def _size_violations(text: str | bytes, at: str, allowed: Range) -> Iterator[Violation]:
    size = len(text.encode() if isinstance(text, str) else text)
    if not allowed.holds(size):
        yield Violation(at, f"must have {allowed} bytes, got {size}")


def _enum_violations(number: int, at: str, names: Mapping[int, str]) -> Iterator[Violation]:
    if number not in names:
        known = ", ".join(name for value, name in names.items() if value)
        yield Violation(at, f"must be one of {known}, got {number}")


def _short(key: object) -> str:
    text = str(key)
    return text if len(text) <= 64 else f"{text[:61]}..."
