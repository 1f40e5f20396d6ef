"""What the result classes share: they read like openai-python's models, without pydantic."""

from __future__ import annotations

import dataclasses
import json
from typing import Any, ClassVar

_KEYS: dict[type, tuple[str, ...]] = {}  # the fields that dumps have, by class
Fields = dict[str, Any]


class Shape:
    """Base of slotted dataclasses: attributes, `["key"]`, `get`, and the dumps of openai-python's models.

    Fields whose name begins with an underscore, and those of `_OURS`, are attributes only: no dump has them.
    """

    __slots__ = ()

    # Fields that OpenAI leaves out of its JSON, rather than sending null, when they have no value.
    _OMITTED_IF_NONE: ClassVar[frozenset[str]] = frozenset()
    # Fields that OpenAI does not have.
    _OURS: ClassVar[frozenset[str]] = frozenset()

    def __getitem__(self, key: str) -> Any:
        if key not in self._keys():
            raise KeyError(key)
        return getattr(self, key)

    def get(self, key: str, default: Any = None) -> Any:
        """The field `key`, or `default` if there is none."""
        return getattr(self, key) if key in self._keys() else default

    def model_dump(self, *, mode: str = "python", exclude_unset: bool = False, exclude_none: bool = False) -> Fields:
        """All fields as plain values. `exclude_unset` leaves out what OpenAI's JSON would not have."""
        return {
            key: _plain(value, mode, exclude_unset, exclude_none)
            for key in self._keys()
            if not self._left_out(key, value := getattr(self, key), exclude_unset, exclude_none)
        }

    def to_dict(self) -> Fields:
        """The JSON object that OpenAI would send."""
        return self.model_dump(exclude_unset=True)

    def to_json(self, *, indent: int | None = 2) -> str:
        """`to_dict` as JSON."""
        return self.model_dump_json(indent=indent, exclude_unset=True)

    def dict(self) -> Fields:
        """`model_dump` by its older name, which programs still call."""
        return self.model_dump()

    def json(self) -> str:
        """`model_dump_json` by its older name, which programs still call."""
        return self.model_dump_json()

    def model_dump_json(
        self, *, indent: int | None = None, exclude_unset: bool = False, exclude_none: bool = False
    ) -> str:
        """`model_dump` as JSON; on one line unless `indent` is given."""
        fields = self.model_dump(mode="json", exclude_unset=exclude_unset, exclude_none=exclude_none)
        separators = (",", ":") if indent is None else None
        return json.dumps(fields, ensure_ascii=False, indent=indent, separators=separators)

    @classmethod
    def _keys(cls) -> tuple[str, ...]:
        keys = _KEYS.get(cls)
        if keys is None:
            names = (field.name for field in dataclasses.fields(cls))  # type: ignore[arg-type]
            keys = _KEYS[cls] = tuple(n for n in names if not n.startswith("_") and n not in cls._OURS)
        return keys

    def _left_out(self, key: str, value: object, exclude_unset: bool, exclude_none: bool) -> bool:
        return value is None and (exclude_none or (exclude_unset and key in self._OMITTED_IF_NONE))


def fields_of(shape: Shape) -> Fields:
    """Every field of it as it is, those that no dump has among them: what its class can be called with."""
    return {field.name: getattr(shape, field.name) for field in dataclasses.fields(shape)}  # type: ignore[arg-type]


def _plain(value: object, mode: str, exclude_unset: bool, exclude_none: bool) -> object:
    if value is None or isinstance(value, (str, int, float)):
        return value
    if isinstance(value, list):
        return [_plain(item, mode, exclude_unset, exclude_none) for item in value]
    if isinstance(value, Shape) or hasattr(value, "model_dump"):  # parsed answers are pydantic's
        return value.model_dump(mode=mode, exclude_unset=exclude_unset, exclude_none=exclude_none)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return value
