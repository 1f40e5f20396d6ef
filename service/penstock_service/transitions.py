r"""The life of a generation: one table. Pure.

    PREPARING ---> RUNNING ---> ENDING ---> CLOSED
         \_____________________/

PREPARING  the engine does not have the job yet: it waits for a place, then its prompt is rendered and tokenized
RUNNING    the engine works on it
ENDING     the engine is done with it, and how the call ends is fixed; the reader has not read everything yet
CLOSED     everything is released

Whatever happens to a generation is one of these events. What the table does not name changes nothing: it came too late.
"""

from enum import Enum, auto
from typing import NamedTuple


class State(Enum):
    """Where a generation stands."""

    PREPARING = auto()
    RUNNING = auto()
    ENDING = auto()
    CLOSED = auto()


class Event(Enum):
    """What can happen to a generation."""

    SUBMITTED = auto()  # the engine has the job
    FINISHED = auto()  # the engine has completed it
    FAILED = auto()  # the engine refused it or gave it up
    DEADLINE = auto()  # the call's time is over, or nearly so if a partial answer is wanted
    CANCELLED = auto()  # its caller ended it
    DRAINED = auto()  # the service stops and waits no longer
    SLOW_READER = auto()  # too much lies unread, or for too long
    LEFT = auto()  # the reader is done, or gone: its task ends


class Transition(NamedTuple):
    """What an event does."""

    state: State
    aborts: bool = False  # the engine must stop working on the job
    decides: bool = False  # the event is how the call ends


_DECIDED_BY_ENGINE = Transition(State.ENDING, decides=True)
_DECIDED_BY_US = Transition(State.ENDING, aborts=True, decides=True)

_AT_WORK: dict[Event, Transition] = {
    Event.FINISHED: _DECIDED_BY_ENGINE,
    Event.FAILED: _DECIDED_BY_ENGINE,
    Event.DEADLINE: _DECIDED_BY_US,
    Event.CANCELLED: _DECIDED_BY_US,
    Event.DRAINED: _DECIDED_BY_US,
    Event.SLOW_READER: _DECIDED_BY_US,
    Event.LEFT: Transition(State.CLOSED, aborts=True),
}

TABLE: dict[State, dict[Event, Transition]] = {
    State.PREPARING: {Event.SUBMITTED: Transition(State.RUNNING), **_AT_WORK},
    State.RUNNING: _AT_WORK,
    State.ENDING: {
        # The engine is done, but this reader would hold the rest for ever.
        Event.SLOW_READER: Transition(State.ENDING, decides=True),
        Event.LEFT: Transition(State.CLOSED),
    },
    State.CLOSED: {},
}
