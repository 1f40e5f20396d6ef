"""Messages of any type by their descriptors: mostly what a table of limits allows, now and then anything at all."""

from collections.abc import Callable, Mapping
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import strategies as st

from penstock_service.limit_table import Limit, Range

Draw = Callable[[st.SearchStrategy[Any]], Any]

_NONE = Limit()
_INTEGERS = {
    FieldDescriptor.CPPTYPE_INT32: 2**31,
    FieldDescriptor.CPPTYPE_INT64: 2**63,
}
# What JSON, templates, tokenizers and logs could stumble on.
_STRANGE_TEXTS = [
    "",
    "\0",
    " ",
    "\n",
    "%s{}",
    "../..",
    "<|end|>",
    "<|begin|><|user|>",
    "{",
    "null",
    "[" * 200,
    "\ufeff",
]
_STRANGE_TEXTS += ["\u202e", "e\u0301" * 40, "👋🏽", "\U0010ffff", "x" * 5000, '{"type": "object"}', "a" * 129]


class MessageMaker:
    """Makes messages out of drawn values.

    `table` has the limits of fields by path, as in limit_table; `special` has strategies for the values, or entries,
    of fields that need more than limits. Of 16 values `boldness` are not from either.
    """

    def __init__(
        self,
        draw: Draw,
        table: Mapping[str, Limit],
        special: Mapping[str, st.SearchStrategy[Any]],
        boldness: int,
    ) -> None:
        self._draw = draw
        self._table = table
        self._special = special
        self._boldness = boldness

    def message(self, descriptor: Descriptor, template: str = "") -> Message:
        """A message with some of its fields; `template` is what stands before their paths."""
        made: Message = GetMessageClass(descriptor)()
        plain = [field for field in descriptor.fields if not _in_choice(field)]
        for field in plain:
            path = template + field.name
            if self._one_in(3) or (self._required(path) and not self._bold()):
                self._set(made, field, path)
        for oneof in descriptor.oneofs:
            if _in_choice(oneof.fields[0]) and not (self._bold() and self._one_in(2)):
                field = self._draw(st.sampled_from(list(oneof.fields)))
                self._set(made, field, template + field.name)
        return made

    def _required(self, path: str) -> bool:
        entries = self._table.get(path, _NONE).entries
        return entries is not None and not entries.holds(0)

    def _set(self, made: Message, field: FieldDescriptor, path: str) -> None:
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            self._set_entries(getattr(made, field.name), field, path)
        elif field.is_repeated:
            getattr(made, field.name).extend([self._value(field, path, "[]") for _ in range(self._count(path))])
        elif field.message_type is not None:
            getattr(made, field.name).CopyFrom(self._value(field, path, ""))
        else:
            setattr(made, field.name, self._value(field, path, ""))

    def _set_entries(self, entries: Any, field: FieldDescriptor, path: str) -> None:
        key, value = field.message_type.fields
        for _ in range(self._count(path)):
            name = self._value(key, f"{path}{{key}}", "")
            given = self._value(value, f"{path}{{value}}", "")
            if value.message_type is not None:
                entries[name].CopyFrom(given)
            else:
                entries[name] = given

    def _count(self, path: str) -> int:
        allowed = self._table.get(path, _NONE).entries or Range(0)
        if self._bold():
            return int(self._draw(st.sampled_from([0, 1, 2, 17, 129])))
        low = int(allowed.low or 0)
        return int(self._draw(st.integers(low, max(low, min(int(allowed.high or 3), 3)))))

    def _value(self, field: FieldDescriptor, path: str, suffix: str) -> Any:
        limit = self._table.get(path, _NONE)
        if not self._bold():
            if (special := self._special.get(path + suffix)) is not None:
                return self._draw(special)
            if field.message_type is None and (allowed := _allowed(field, limit)) is not None:
                return self._draw(allowed)
        if field.message_type is not None:
            return self.message(field.message_type, f"{path}{suffix}.")
        return self._draw(_anything(field))

    def _bold(self) -> bool:
        return bool(self._boldness) and int(self._draw(st.integers(0, 15))) < self._boldness

    def _one_in(self, count: int) -> bool:
        return int(self._draw(st.integers(0, count - 1))) == 0


def _in_choice(field: FieldDescriptor) -> bool:
    """Whether it is one of a real oneof; `optional` fields are in one of their own."""
    oneof = field.containing_oneof
    return oneof is not None and not oneof.name.startswith("_")


def _allowed(field: FieldDescriptor, limit: Limit) -> st.SearchStrategy[Any] | None:
    if field.enum_type is not None:
        return st.sampled_from([value.number for value in field.enum_type.values])
    if limit.value is not None:
        return _numbers(field, limit.value)
    if limit.size is not None and field.type == FieldDescriptor.TYPE_STRING:
        least, most = int(limit.size.low or 0), int(limit.size.high or 0)
        return st.text(st.characters(codec="ascii"), min_size=least, max_size=min(most, 12))
    return None


def _numbers(field: FieldDescriptor, allowed: Range) -> st.SearchStrategy[Any]:
    if field.cpp_type in _INTEGERS:
        least, most = int(allowed.low or 0), int(min(allowed.high or 2**31 - 1, 2**31 - 1))
        return st.integers(least, most) | st.sampled_from([least, most])
    return st.floats(allowed.low, allowed.high, exclude_min=allowed.above) | st.sampled_from([allowed.high])


def _anything(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    if field.enum_type is not None:
        return st.integers(-1, 7) | st.sampled_from([99, 2**31 - 1, -(2**31)])
    if (beyond := _INTEGERS.get(field.cpp_type)) is not None:
        return st.integers(-beyond, beyond - 1) | st.sampled_from([-beyond, -1, 0, 1, 2, beyond - 1])
    if field.cpp_type == FieldDescriptor.CPPTYPE_DOUBLE:
        return st.floats() | st.sampled_from([float("nan"), float("inf"), -0.0, 5e-324, 1e300])
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return st.booleans()
    if field.type == FieldDescriptor.TYPE_BYTES:
        return st.binary(max_size=64)
    return st.text(max_size=40) | st.sampled_from(_STRANGE_TEXTS)
