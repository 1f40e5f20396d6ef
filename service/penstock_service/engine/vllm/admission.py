"""Whether vLLM would take a request now, by the limits that its operator set (0.26 has none); how many wait in it."""

from prometheus_client import REGISTRY
from vllm.v1.engine.async_llm import AsyncLLM

from penstock_service.errors import Overloaded, ServiceError, Unavailable


def refusal(llm: AsyncLLM, sequences: int) -> ServiceError | None:
    """With what AsyncLLM.check_admission would refuse so many sequences, which counts refusals and so is not asked."""
    if llm.errored:
        return Unavailable("ENGINE_DEAD")
    config = llm.vllm_config.scheduler_config
    most_requests = getattr(config, "max_num_queued_reqs", None)  # running ones included
    if most_requests is not None and _requests(llm) + sequences > most_requests:
        return Overloaded()
    most_tokens = getattr(config, "max_num_queued_tokens", None)
    if most_tokens is not None and llm.get_num_queued_tokens() >= most_tokens:
        return Overloaded()
    return None


def waiting() -> int | None:
    """How many requests the scheduler had not begun at its last step, of all front ends; None without statistics."""
    told = _gauge("vllm:num_requests_waiting")
    return int(sum(told)) if told else None


def kv_cache_usage() -> float | None:
    """The part of the KV cache in use at the last step, of the fullest engine; None without statistics."""
    return max(_gauge("vllm:kv_cache_usage_perc"), default=None)


def _gauge(name: str) -> list[float]:
    """What each engine has last told, of all front ends."""
    families = REGISTRY.restricted_registry([name]).collect()
    return [sample.value for family in families for sample in family.samples]


def _requests(llm: AsyncLLM) -> int:
    """How many the engine has, of all front ends if there are several."""
    shared = llm.admission_stats
    return int(shared.get_num_requests() if shared is not None else llm.get_num_unfinished_requests())
