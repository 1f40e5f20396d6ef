"""What a service's Prometheus endpoint says of its load. Pure.

The names are those of penstock_service (OpenTelemetry's GenAI conventions) and of vLLM (vllm/v1/metrics/loggers.py),
whose own server therefore can be watched too.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from penstock.cli.histogram import Histogram

if TYPE_CHECKING:
    from prometheus_client.samples import Sample

REQUESTS = "gen_ai_server_request_duration_seconds_count"
FIRST_TOKEN = ("gen_ai_server_time_to_first_token_seconds", "vllm:time_to_first_token_seconds")
# vLLM counts each token, penstock_service each call's mean.
BETWEEN_TOKENS = ("vllm:inter_token_latency_seconds", "gen_ai_server_time_per_output_token_seconds")


@dataclass(frozen=True)
class Reading:
    """One look at the endpoint. None is what the service does not report; counts are since it began.

    kv_cache_usage is a share from 0 to 1, that of the fullest engine; the histograms are in seconds.
    """

    running: float | None = None
    waiting: float | None = None
    kv_cache_usage: float | None = None
    prompt_tokens: float | None = None
    generated_tokens: float | None = None
    calls: float | None = None
    failed_calls: float | None = None
    first_token: Histogram | None = None
    between_tokens: Histogram | None = None


def read_metrics(text: str) -> Reading:
    """Read Prometheus' text format. ValueError if it is something else."""
    from prometheus_client.parser import text_string_to_metric_families  # 50 ms that the other commands need not wait

    samples: dict[str, list[Sample]] = defaultdict(list)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            samples[sample.name].append(sample)
    calls = samples.get(REQUESTS)
    return Reading(
        running=_over_all(sum, samples, "vllm:num_requests_running"),
        waiting=_over_all(sum, samples, "vllm:num_requests_waiting"),
        kv_cache_usage=_over_all(max, samples, "vllm:kv_cache_usage_perc"),
        prompt_tokens=_over_all(sum, samples, "vllm:prompt_tokens_total"),
        generated_tokens=_over_all(sum, samples, "vllm:generation_tokens_total"),
        calls=_over_all(sum, samples, REQUESTS, "vllm:request_success_total"),
        failed_calls=sum(each.value for each in calls if "error_type" in each.labels) if calls else None,
        first_token=_histogram(samples, FIRST_TOKEN),
        between_tokens=_histogram(samples, BETWEEN_TOKENS),
    )


def _over_all(
    combine: Callable[[Iterable[float]], float], samples: Mapping[str, list[Sample]], *names: str
) -> float | None:
    """The first metric that is there, over its models, engines and front ends."""
    found = next((samples[name] for name in names if name in samples), None)
    return None if found is None else combine(sample.value for sample in found)


def _histogram(samples: Mapping[str, list[Sample]], names: Iterable[str]) -> Histogram | None:
    for name in names:
        if found := samples.get(f"{name}_bucket"):
            buckets: dict[float, float] = defaultdict(float)
            for sample in found:
                buckets[float(sample.labels["le"])] += sample.value
            return Histogram.of(buckets)
    return None
