"""What an engine is asked beside generating: never for ever, and never taken for a hang."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from penstock_service.errors import Unavailable
from tests.conftest import eventually

pytest.importorskip("vllm", reason="vLLM is not installed here: `make test` installs it")

from penstock_service.engine.vllm import control_calls
from penstock_service.engine.vllm.control_calls import ControlCalls
from penstock_service.engine.vllm.controls import Controls
from penstock_service.engine.vllm.refusals import translated


class FakeLLM:
    """An AsyncLLM that answers nothing before it is told to."""

    vllm_config = SimpleNamespace(profiler_config=SimpleNamespace(profiler="torch"))

    def __init__(self) -> None:
        self.errored = False
        self.answers = asyncio.Event()
        self.is_asked = asyncio.Event()
        self.asked: list[str] = []

    def __getattr__(self, name: str) -> Any:
        async def answer(*_: object, **__: object) -> bool:
            self.asked.append(name)
            self.is_asked.set()
            await self.answers.wait()
            return True

        return answer


@pytest.fixture
def llm() -> Any:
    return FakeLLM()


@pytest.fixture
def calls(llm: Any) -> ControlCalls:
    return ControlCalls(llm)


@pytest.fixture
def controls(llm: Any, calls: ControlCalls) -> Controls:
    return Controls(llm, calls)


async def asked(llm: Any, controls: Controls, what: str) -> "asyncio.Task[object]":
    given = (False,) if what == "reset_prefix_cache" else ()
    asking = asyncio.create_task(getattr(controls, what)(*given))
    await llm.is_asked.wait()
    return asking


@pytest.mark.parametrize("what", ["sleep", "wake", "reset_prefix_cache", "start_profile"])
async def test_it_ends_when_the_engine_dies_meanwhile(llm: Any, controls: Controls, what: str) -> None:
    asking = await asked(llm, controls, what)

    llm.errored = True

    async with asyncio.timeout(5):
        with pytest.raises(Unavailable) as raised:
            await asking
    assert raised.value.reason == "ENGINE_DEAD"


async def test_it_ends_when_the_engine_never_answers(
    controls: Controls, calls: ControlCalls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_calls, "MOST_SECONDS", 0.05)

    with pytest.raises(Unavailable) as raised:
        await controls.wake()

    assert raised.value.reason == "ENGINE_STALLED"
    assert calls.running == 0  # from now on the watchdog judges


async def test_the_engine_is_occupied_until_it_has_answered_whoever_leaves(
    llm: Any, controls: Controls, calls: ControlCalls
) -> None:
    asking = await asked(llm, controls, "start_profile")

    asking.cancel()
    await asyncio.wait([asking])
    assert calls.running == 1

    llm.answers.set()
    await eventually(lambda: not calls.running, "an answer")
    await controls.stop_profile()
    assert llm.asked == ["start_profile", "stop_profile"]  # it was started, and known to be


@pytest.mark.parametrize("error", [RuntimeError("cannot schedule new futures after shutdown"), ValueError("closed")])
def test_whatever_comes_from_a_dead_engine_means_that_it_is_dead(llm: Any, error: Exception) -> None:
    llm.errored = True

    with pytest.raises(Unavailable) as raised, translated("prompt", llm):
        raise error

    assert raised.value.reason == "ENGINE_DEAD"
