"""vLLM's processes wait for each other without taking a core."""

import time
from typing import Any

import pytest

pytest.importorskip("vllm")


def test_a_wait_for_shared_memory_takes_next_to_no_cpu_time(monkeypatch: pytest.MonkeyPatch) -> None:
    from vllm.distributed.device_communicators import shm_broadcast
    from vllm.distributed.device_communicators.shm_broadcast import SpinCondition

    from penstock_service.engine.vllm.waiting_asleep import register

    monkeypatch.setattr(shm_broadcast, "sched_yield", shm_broadcast.sched_yield)
    register()
    waiting: Any = SpinCondition.__new__(SpinCondition)
    waiting.is_reader, waiting.busy_loop_s, waiting.last_read = True, 60, time.monotonic()

    began, cpu = time.monotonic(), time.process_time()
    while time.monotonic() - began < 0.2:
        waiting.wait(1000)

    assert time.process_time() - cpu < 0.1
