"""vLLM's processes wait for each other without taking a core."""

import time
from importlib.metadata import entry_points
from typing import Any

import pytest

pytest.importorskip("vllm")


def test_what_vllm_loads_makes_a_wait_for_shared_memory_take_next_to_no_cpu_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from vllm.distributed.device_communicators import shm_broadcast
    from vllm.distributed.device_communicators.shm_broadcast import SpinCondition

    monkeypatch.setattr(shm_broadcast, "sched_yield", shm_broadcast.sched_yield)
    (plugin,) = entry_points(group="vllm.general_plugins", name="penstock_waiting_asleep")
    plugin.load()()
    waiting: Any = SpinCondition.__new__(SpinCondition)
    waiting.is_reader, waiting.busy_loop_s, waiting.last_read = True, 60, time.monotonic()

    began, cpu = time.monotonic(), time.process_time()
    while time.monotonic() - began < 0.2:
        waiting.wait(1000)

    assert time.process_time() - cpu < 0.1
