"""Lets vLLM's processes sleep while they wait for each other, where they share their cores with everybody else.

The engine and its workers exchange each step through shared memory and wait by calling sched_yield in a loop
(0.32.0, distributed/device_communicators/shm_broadcast.py), which takes a core even of a machine that has two. Linux
6.18 with sched_autogroup then leaves the processes of other sessions without one: on 2 cores a caller in another
terminal got 900 tokens in one piece, 2.8 s late. Asleep between two looks they cost nothing, and steps take as long as
before. Declared as a plugin of vLLM (service/pyproject.toml), because this is in the engine's own processes.
"""

import time
from importlib import import_module
from typing import Any

# Linux adds 50 us of timer slack. A step of the built-in model, the smallest there is, takes 2 000.
_NAP_SECONDS = 50e-6


def register() -> None:
    """Change how this process waits if vLLM runs on the CPU: beside a GPU a core has nothing better to do."""
    from vllm.platforms import current_platform

    if current_platform.is_cpu():
        shm_broadcast: Any = import_module("vllm.distributed.device_communicators.shm_broadcast")
        shm_broadcast.sched_yield = nap


def nap() -> None:
    """In place of vLLM's `sched_yield`."""
    time.sleep(_NAP_SECONDS)
