"""Has vLLM compile at the start what it leaves to the first request that needs it."""

import structlog
from vllm import SamplingParams
from vllm.v1.engine.async_llm import AsyncLLM

log = structlog.get_logger()


async def compile_first_step(llm: AsyncLLM) -> None:
    """Generate one token with log probabilities in every engine process of `llm`, where such are served.

    What ranks tokens (vllm/v1/sample/ops/logprobs.py) is compiled in the first step that needs it, and nothing else
    runs meanwhile: 3 s on an idle machine, and longer than the 9 s that count as a stall on a busy one. vLLM's second
    model runner ranks by kernels of its own, for each number of log probabilities another, which this leaves alone.

    A model that refuses such a request is served all the same. Raises what an engine dies of.
    """
    if "generate" not in await llm.get_supported_tasks() or llm.model_config.max_logprobs == 0:
        return
    ranks = llm.vllm_config.parallel_config.data_parallel_size_local
    try:
        for rank in range(ranks) if ranks > 1 else (None,):
            await _generate(llm, rank)
    except Exception as error:  # whatever vLLM's versions raise for what they refuse
        if llm.errored:
            raise
        cause = error.__cause__ or error
        log.warning("the first request with log probabilities will wait for vLLM to compile", error=repr(cause))


async def _generate(llm: AsyncLLM, rank: int | None) -> None:
    params = SamplingParams(max_tokens=1, logprobs=1)
    async for _ in llm.generate({"prompt_token_ids": [0]}, params, "penstock-first-step", data_parallel_rank=rank):
        pass
