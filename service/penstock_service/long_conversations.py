"""Keeps the event loop free of conversations with many parts, of which each costs Python some 30 µs.

6 to check it and to count its bytes, 25 for vLLM and the chat template. They are looked at by a single thread, so that
two threads and not many want the interpreter; see SWITCH_SECONDS for how long it keeps the loop waiting. It rests for
half of the time, whatever is sent, and tenants take turns there. What waits to be checked has not been let in yet, so
each tenant has a bound for that.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain, islice
from typing import TypeVar

from penstock.v1.generation_pb2 import Conversation, GenerateRequest
from penstock_service.errors import Overloaded
from penstock_service.limit_table import MOST_BATCH_INPUTS, MOST_MESSAGES
from penstock_service.resting_thread import RestingThread
from penstock_service.tenant import caller

T = TypeVar("T")

# For sys.setswitchinterval: what the loop's thread waits for another one, at each of its wake-ups. Python's 5 ms are as
# long as the steps of a fast engine.
SWITCH_SECONDS = 0.0005
# Messages, parts and tool calls together: 2 ms.
MOST_ON_LOOP = 192
# The same of an input of a batch, whose inputs come one right after the other.
MOST_ON_LOOP_OF_INPUT = MOST_ON_LOOP // MOST_BATCH_INPUTS
# A text of so many bytes is tokenized in the time that a message takes.
BYTES_OF_ENTRY = 128
# Of all that one tenant waits to have checked: the thread takes a second or so, rests included.
MOST_OF_TENANT = 1 << 17

_thread = RestingThread("long conversations")
_of_tenants: Counter[str] = Counter()


async def off_loop_if_long(request: GenerateRequest, look: Callable[[], T], input_of_batch: bool = False) -> T:
    """What `look` makes of a request that is not let in yet. Raises Overloaded where its tenant has too many there."""
    if not is_long(request, MOST_ON_LOOP_OF_INPUT if input_of_batch else MOST_ON_LOOP):
        return look()
    size = _size(request)
    with _among_tenants(caller.get().name, size):
        return await _thread.run(caller.get().name, size, look)


async def off_loop(request: GenerateRequest, look: Callable[[], T]) -> T:
    """What `look` makes of a long one that was checked."""
    return await _thread.run(caller.get().name, _size(request), look)


def is_long(request: GenerateRequest, most: int = MOST_ON_LOOP) -> bool:
    """Whether its conversations, one or those of a batch, have too much for the event loop."""
    messages = _messages(request)
    return messages > most or (messages > 0 and _entries(request) > most)


@contextmanager
def _among_tenants(tenant: str, size: int) -> Iterator[None]:
    """Count what the tenant waits to have checked. One conversation is taken whatever its size."""
    if _of_tenants[tenant] and _of_tenants[tenant] + size > MOST_OF_TENANT:
        raise Overloaded("too many long conversations wait to be looked at")
    _of_tenants[tenant] += size
    try:
        yield
    finally:
        _of_tenants[tenant] -= size
        if not _of_tenants[tenant]:
            del _of_tenants[tenant]


def _size(request: GenerateRequest) -> int:
    """How much there is to do, in messages."""
    return _entries(request) + request.ByteSize() // BYTES_OF_ENTRY


def _entries(request: GenerateRequest) -> int:
    """Messages, and of as many as one conversation may have their parts and tool calls: of 2 048 this takes 1 ms."""
    said = islice(chain.from_iterable(each.messages for each in _conversations(request)), MOST_MESSAGES)
    return _messages(request) + sum(len(message.content) + len(message.tool_calls) for message in said)


def _messages(request: GenerateRequest) -> int:
    return sum(len(conversation.messages) for conversation in _conversations(request))


def _conversations(request: GenerateRequest) -> Iterator[Conversation]:
    yield request.conversation
    for one in request.batch.inputs[:MOST_BATCH_INPUTS]:
        yield one.conversation
