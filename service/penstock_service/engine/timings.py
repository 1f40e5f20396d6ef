"""The arithmetic of Timings. Pure."""

from penstock.v1.generation_pb2 import Timings


def measured(
    received: float, first: float | None, last: float | None, tokens: int, queue_seconds: float | None
) -> Timings:
    """The timings of a generation of `tokens` from its moments on time.monotonic(); None is what nobody measured."""
    timings = Timings()
    if queue_seconds is not None:
        timings.queue_time_ms = 1000 * queue_seconds
    if first is not None:
        timings.time_to_first_token_ms = 1000 * (first - received)
    if last is not None and last > received:
        timings.generation_time_ms = 1000 * (last - received)
        timings.tokens_per_second = tokens / (last - received)
    if first is not None and last is not None and tokens > 1:
        timings.mean_itl_ms = 1000 * (last - first) / (tokens - 1)
    return timings
