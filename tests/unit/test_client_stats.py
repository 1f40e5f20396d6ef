"""What a client counts."""

import pytest

from penstock.errors import APIConnectionError, APIError, RateLimitError, RequestCancelled
from penstock.events import CacheHit, CallEnded, CallStarted, Hedged, Resumed, Retried, Slow
from penstock.hooks import Observers
from penstock.stats import MOST_SERIES, OTHER_MODELS, RECENT_CALLS, RECENT_GAPS, CallStats, Percentiles, percentiles

GONE = APIConnectionError("gone")


def run(
    observers: Observers,
    model: str = "tiny",
    tier: str | None = None,
    *,
    error: APIError | None = None,
    seconds: float = 2.0,
    first_token: float | None = 1.0,
    gaps: tuple[float, ...] = (),
    tokens: int | None = 10,
) -> CallStarted:
    """One stream, from its start to its end."""
    call = CallStarted("StreamGenerate", model, tier)
    observers.emit(call)
    observers.emit(
        CallEnded(
            call,
            seconds,
            error,
            first_token_seconds=first_token,
            gaps=gaps,
            completion_tokens=tokens,
            prompt_tokens=None if tokens is None else 3,
        )
    )
    return call


def only(observers: Observers) -> CallStats:
    (stats,) = observers.statistics.snapshot()
    return stats


def test_calls_are_counted_by_method_model_and_tier() -> None:
    observers = Observers()

    run(observers, "tiny", "chat")
    run(observers, "tiny", "chat")
    run(observers, "tiny")
    run(observers, "big", "chat")

    keys = {(one.method, one.model, one.tier): one.ended for one in observers.statistics.snapshot()}
    assert keys == {
        ("StreamGenerate", "tiny", "chat"): 2,
        ("StreamGenerate", "tiny", None): 1,
        ("StreamGenerate", "big", "chat"): 1,
    }


def test_errors_are_counted_by_the_name_of_their_status() -> None:
    observers = Observers()

    run(observers)
    run(observers, error=GONE)
    run(observers, error=GONE)
    run(observers, error=RateLimitError("full"))
    run(observers, error=RequestCancelled("left early"))

    stats = only(observers)
    assert (stats.ended, stats.ok) == (5, 1)
    assert stats.errors == {"UNAVAILABLE": 2, "RESOURCE_EXHAUSTED": 1, "CANCELLED": 1}


def test_a_call_is_in_flight_from_its_start_to_its_end() -> None:
    observers = Observers()
    call = CallStarted("Generate", "tiny")

    observers.emit(call)
    assert only(observers).in_flight == 1
    observers.emit(CallEnded(call, 1.0))

    assert only(observers).in_flight == 0


def test_what_was_done_for_a_call_is_counted() -> None:
    observers = Observers()
    call = run(observers)

    observers.emit(Retried(call, 2, 0.1, GONE))
    observers.emit(Retried(call, 3, 0.2, GONE))
    observers.emit(Hedged(call, 1.0, "b:1"))
    observers.emit(Resumed(call, "resume", 7, GONE))
    observers.emit(CacheHit("StreamGenerate", "tiny"))

    stats = only(observers)
    assert (stats.retries, stats.hedges, stats.resumed, stats.cache_hits, stats.ended) == (2, 1, 1, 1, 1)


def test_tokens_a_second_are_those_of_a_stream_after_its_first_chunk() -> None:
    observers = Observers()

    run(observers, seconds=3.0, first_token=1.0, tokens=30)
    run(observers, seconds=2.0, first_token=1.0, tokens=30)
    run(observers, seconds=9.0, first_token=None, tokens=None, error=GONE)

    stats = only(observers)
    assert stats.tokens_per_second == 20
    assert (stats.prompt_tokens, stats.completion_tokens) == (6, 60)


def test_percentiles_are_those_of_samples_that_were_seen() -> None:
    assert percentiles(range(1, 101)) == Percentiles(p50=50, p95=95, p99=99, samples=100)
    assert percentiles([3.0]) == Percentiles(3.0, 3.0, 3.0, 1)
    assert percentiles([1.0, 2.0]) == Percentiles(1.0, 2.0, 2.0, 2)
    assert percentiles([]) is None


def test_first_tokens_gaps_and_whole_calls_have_percentiles() -> None:
    observers = Observers()

    run(observers, seconds=4.0, first_token=0.5, gaps=(0.1, 0.2))
    run(observers, seconds=2.0, first_token=None, tokens=None)

    stats = only(observers)
    assert stats.seconds == Percentiles(2.0, 4.0, 4.0, 2)
    assert stats.first_token == Percentiles(0.5, 0.5, 0.5, 1)
    assert stats.gap == Percentiles(0.1, 0.2, 0.2, 2)


def test_without_a_sample_there_is_none() -> None:
    observers = Observers()
    observers.emit(CallStarted("Embed"))

    stats = only(observers)

    assert (stats.seconds, stats.first_token, stats.gap, stats.tokens_per_second) == (None, None, None, None)


def test_only_recent_samples_are_kept_and_all_calls_counted() -> None:
    observers = Observers()

    for _ in range(RECENT_CALLS + 10):
        run(observers, gaps=(0.1,) * 8)

    stats = only(observers)
    assert stats.ended == RECENT_CALLS + 10
    assert stats.seconds is not None
    assert stats.seconds.samples == RECENT_CALLS
    assert stats.gap is not None
    assert stats.gap.samples == RECENT_GAPS


def test_models_without_end_are_counted_together_from_some_number_on() -> None:
    observers = Observers()

    for number in range(MOST_SERIES + 5):
        run(observers, f"model-{number}")

    snapshot = observers.statistics.snapshot()
    assert len(snapshot) == MOST_SERIES + 1
    assert {one.model: one.ended for one in snapshot}[OTHER_MODELS] == 5


@pytest.mark.parametrize(("first_token", "slow"), [(0.29, False), (0.31, True)])
def test_a_first_token_is_slow_at_three_times_what_is_usual(first_token: float, slow: bool) -> None:
    observers, heard = Observers(), []
    observers.on("slow", heard.append)
    for _ in range(20):
        run(observers, first_token=0.1)

    call = run(observers, first_token=first_token)

    assert [(type(event), event.call, event.first_token_seconds) for event in heard] == (
        [(Slow, call, first_token)] if slow else []
    )


def test_nothing_is_slow_before_it_is_known_what_is_usual() -> None:
    observers, heard = Observers(), []
    observers.on("slow", heard.append)

    for _ in range(19):
        run(observers, first_token=0.1)
    run(observers, first_token=100.0)

    assert heard == []
