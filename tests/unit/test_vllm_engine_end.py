"""How the engine is stopped."""

import asyncio
from types import SimpleNamespace

import pytest

pytest.importorskip("vllm", reason="vLLM is not installed here: `make test` installs it")

from penstock_service.engine.vllm.engine import VllmEngine


async def test_nobody_listens_any_more_when_the_engine_is_stopped_who_would_log_its_end_as_a_failure() -> None:
    listening = asyncio.create_task(asyncio.Event().wait())
    at_shutdown: list[bool] = []
    llm = SimpleNamespace(
        output_handler=listening, shutdown=lambda _seconds: at_shutdown.append(bool(listening.cancelling()))
    )
    engine = VllmEngine.__new__(VllmEngine)
    engine._llm, engine._digest, engine._constraints = llm, None, None

    await engine.close()

    assert at_shutdown == [True]
