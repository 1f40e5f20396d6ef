"""The step at the start, where vLLM refuses it or dies of it."""

from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
import structlog

pytest.importorskip("vllm", reason="vLLM is not installed here: `make test` installs it")

from penstock_service.engine.vllm.first_step import compile_first_step


class Llm:
    """What the step needs of an AsyncLLM: it has generated what is in `ranks`, or fails."""

    def __init__(self, ranks: int = 1, tasks: tuple[str, ...] = ("generate",), max_logprobs: int = 20) -> None:
        self.model_config = SimpleNamespace(max_logprobs=max_logprobs)
        self.vllm_config = SimpleNamespace(parallel_config=SimpleNamespace(data_parallel_size_local=ranks))
        self.errored = False
        self.failure: Exception | None = None
        self.ranks: list[int | None] = []
        self._tasks = tasks

    async def get_supported_tasks(self) -> tuple[str, ...]:
        return self._tasks

    async def generate(self, prompt: Any, params: Any, request_id: str, data_parallel_rank: Any) -> AsyncIterator[str]:
        assert (params.logprobs, params.max_tokens) == (1, 1)
        if self.failure is not None:
            raise self.failure
        self.ranks.append(data_parallel_rank)
        yield "a token"


async def stepped(llm: Llm) -> list[dict[str, Any]]:
    """What is logged."""
    with structlog.testing.capture_logs() as logged:
        await compile_first_step(llm)  # type: ignore[arg-type]
    return [dict(line) for line in logged]


async def test_every_engine_process_has_one() -> None:
    one, three = Llm(), Llm(ranks=3)

    assert await stepped(one) == await stepped(three) == []

    assert (one.ranks, three.ranks) == ([None], [0, 1, 2])


@pytest.mark.parametrize("llm", [Llm(tasks=("embed",)), Llm(max_logprobs=0)], ids=["embeds", "no log probabilities"])
async def test_without_log_probabilities_there_is_none(llm: Llm) -> None:
    await stepped(llm)

    assert llm.ranks == []


async def test_a_model_that_refuses_it_is_served_all_the_same() -> None:
    llm = Llm()
    llm.failure = RuntimeError("no such prompt")

    (line,) = await stepped(llm)

    assert (line["log_level"], line["error"]) == ("warning", "RuntimeError('no such prompt')")


async def test_an_engine_that_dies_of_it_does_not_start() -> None:
    llm = Llm()
    llm.failure, llm.errored = RuntimeError("dead"), True

    with pytest.raises(RuntimeError, match="dead"):
        await stepped(llm)
