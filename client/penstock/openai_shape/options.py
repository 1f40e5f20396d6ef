"""The keyword arguments of `penstock.requests` that an OpenAI call becomes, and where each came from. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from penstock.arguments import ArgumentTypeError, ArgumentValueError
from penstock.errors import BadRequestError

RequestT = TypeVar("RequestT")

_HEAD = re.compile(r"\w+")


class Options:
    """Collects keyword arguments. Errors name the caller's own parameters, not what these became."""

    def __init__(self) -> None:
        self.arguments: dict[str, Any] = {}
        self._sources: dict[str, str] = {}

    def set(self, name: str, value: object, source: str) -> None:
        """Set the keyword argument `name`, which the caller knows as `source`."""
        self.arguments[name] = value
        self._sources[name] = source

    def take(self, given: Mapping[str, Any], names: Mapping[str, str]) -> None:
        """Set what is given of the parameters that are keys of `names`; the values there are the keywords."""
        for source in names.keys() & given.keys():
            self.set(names[source], given[source], source)

    def copy(self) -> Options:
        """The same, to be changed by itself."""
        copied = Options()
        copied.arguments, copied._sources = dict(self.arguments), dict(self._sources)
        return copied

    def request(self, make: Callable[..., RequestT]) -> RequestT:
        """What `make` makes of the keyword arguments. Raises BadRequestError with `param`."""
        try:
            return make(**self.arguments)
        except (ArgumentTypeError, ArgumentValueError) as error:
            raise bad_request(error, self._sources) from error


def bad_request(error: ArgumentTypeError | ArgumentValueError, sources: Mapping[str, str]) -> BadRequestError:
    """The error with the caller's name in the place of the keyword argument's."""
    head = _HEAD.match(error.argument)
    name = head.group() if head else error.argument
    param = sources.get(name, name) + error.argument[len(name) :]
    return BadRequestError(param + str(error)[len(error.argument) :], param=param)
