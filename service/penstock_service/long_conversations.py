"""Keeps the event loop free of conversations with many parts: to look at one takes Python some 20 µs for each message.

They are looked at by a single thread. It takes turns with the loop's thread, of which there are then two and not many
that want the interpreter; see SWITCH_SECONDS for how long it keeps the loop waiting.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from penstock.v1.generation_pb2 import Conversation, GenerateRequest
from penstock_service.limit_table import MOST_BATCH_INPUTS

T = TypeVar("T")

# For sys.setswitchinterval: what the loop's thread waits for another one, at each of its wake-ups. Python's 5 ms are as
# long as the steps of a fast engine.
SWITCH_SECONDS = 0.0005
# Messages, parts and tool calls together: 2 ms.
MOST_ON_LOOP = 192

_thread = ThreadPoolExecutor(1, thread_name_prefix="long conversations")


async def off_loop_if_long(request: GenerateRequest, look: Callable[[], T]) -> T:
    """What `look` makes of the request."""
    if not is_long(request):
        return look()
    return await asyncio.get_running_loop().run_in_executor(_thread, look)


def is_long(request: GenerateRequest) -> bool:
    """Whether its conversations, one or those of a batch, have too much for the event loop."""
    conversations = (request.conversation, *(one.conversation for one in request.batch.inputs[:MOST_BATCH_INPUTS]))
    left = MOST_ON_LOOP
    for conversation in conversations:
        left -= _entries(conversation, left)
        if left < 0:
            return True
    return False


def _entries(conversation: Conversation, most: int) -> int:
    messages = conversation.messages
    if len(messages) > most:
        return len(messages)
    return len(messages) + sum(len(message.content) + len(message.tool_calls) for message in messages)
