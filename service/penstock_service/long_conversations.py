"""Keeps the event loop free of conversations with many parts, of which each costs Python some 30 µs.

6 to check it and to count its bytes, 25 for vLLM and the chat template. They are looked at by a single thread, so that
two threads and not many want the interpreter; see SWITCH_SECONDS for how long it keeps the loop waiting. It rests for
half of the time, whatever is sent. What waits for it has no place and no quota yet, so tenants take turns there, and
each has a bound of its own.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import TypeVar

from penstock.v1.generation_pb2 import GenerateRequest
from penstock_service.errors import Overloaded
from penstock_service.limit_table import MOST_BATCH_INPUTS
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
# Of all that one tenant has with the thread: sixteen of the longest, which take it two to five seconds.
MOST_OF_TENANT = 1 << 15

_thread = RestingThread("long conversations")
_of_tenants: Counter[str] = Counter()


async def off_loop_if_long(request: GenerateRequest, look: Callable[[], T], input_of_batch: bool = False) -> T:
    """What `look` makes of the request. Raises Overloaded where the caller's tenant has too much looked at already."""
    size = _entries(request)
    if size <= (MOST_ON_LOOP_OF_INPUT if input_of_batch else MOST_ON_LOOP):
        return look()
    tenant = caller.get().name
    with _among_tenants(tenant, size):
        return await _thread.run(tenant, size, look)


def is_long(request: GenerateRequest) -> bool:
    """Whether its conversations, one or those of a batch, have too much for the event loop."""
    return _entries(request) > MOST_ON_LOOP


@contextmanager
def _among_tenants(tenant: str, size: int) -> Iterator[None]:
    """Count what the tenant has with the thread. One conversation is taken whatever its size."""
    if _of_tenants[tenant] and _of_tenants[tenant] + size > MOST_OF_TENANT:
        raise Overloaded("too many long conversations wait to be looked at")
    _of_tenants[tenant] += size
    try:
        yield
    finally:
        _of_tenants[tenant] -= size
        if not _of_tenants[tenant]:
            del _of_tenants[tenant]


def _entries(request: GenerateRequest) -> int:
    """Messages, parts and tool calls; of very many messages these alone, for to look into them is what takes long."""
    inputs = request.batch.inputs[:MOST_BATCH_INPUTS]
    conversations = [request.conversation, *(one.conversation for one in inputs)]
    messages = sum(len(conversation.messages) for conversation in conversations)
    if messages > MOST_ON_LOOP:
        return messages
    said = chain.from_iterable(conversation.messages for conversation in conversations)
    return messages + sum(len(message.content) + len(message.tool_calls) for message in said)
