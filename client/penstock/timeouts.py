"""How long a call may take: in all, and until which step of it. Pure."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Protocol

from penstock import arguments
from penstock.arguments import ArgumentTypeError, ArgumentValueError

# About 30 years; gRPC's clock overflows somewhere above and would call the deadline past.
FOREVER_SECONDS = 1e9


@dataclass(frozen=True, slots=True)
class Timeout:
    """The limits of a call, in seconds; None is no limit.

    total: the whole call with all its attempts. It is the gRPC deadline, which the server knows and keeps.
    connect: until the connection is there, for the first call that needs it. ConnectTimeout.
    first_token: until the first chunk of a stream. FirstTokenTimeout.
    idle: while a reader waits for the next chunk of a stream. IdleTimeout.
    """

    total: float | None = None
    connect: float | None = None
    first_token: float | None = None
    idle: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "total", seconds("timeout", self.total))
        for name in ("connect", "first_token", "idle"):
            limit = seconds(f"timeout.{name}", getattr(self, name))
            if limit is not None and limit <= 0:
                raise ArgumentValueError(f"timeout.{name}", f"is {limit}; it must be above 0")
            object.__setattr__(self, name, limit)


TimeoutLike = Timeout | float | None


class HasTimeRemaining(Protocol):
    """A servicer's context, of grpc or of grpc.aio."""

    def time_remaining(self) -> float | None: ...


def replaced(base: Timeout, given: object, argument: str = "timeout") -> Timeout:
    """`base` as the caller changes it: a Timeout replaces it, a number its total, and None takes all limits away."""
    if isinstance(given, Timeout):
        return given
    if given is None:
        return Timeout()
    return dataclasses.replace(base, total=seconds(argument, given))


def seconds(argument: str, value: object) -> float | None:
    """`value` if it is None or a number of seconds; one that is past already is allowed and fails at once."""
    if value is None:
        return None
    number = arguments.number(argument, value)
    if math.isnan(number):
        raise ArgumentValueError(argument, "is not a number")
    return number if number < FOREVER_SECONDS else None


def seconds_left(deadline: object) -> float | None:
    """The seconds that a servicer's context has left, or a number of them; None for no deadline."""
    if deadline is None or isinstance(deadline, (int, float)):
        return seconds("deadline", deadline)
    remaining = getattr(deadline, "time_remaining", None)
    if not callable(remaining):
        raise ArgumentTypeError("deadline", "a servicer's context or a number of seconds", deadline)
    return seconds("deadline", remaining())
