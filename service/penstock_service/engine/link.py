"""How a front-end process reaches an engine that another process owns."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Link:
    """The place of one front end among `count` at their engine. Nothing in it is tied to a process: it can be sent."""

    index: int
    count: int
    input_address: str  # where the front end listens for the engine to fetch requests
    output_address: str  # where it listens for outputs
    stats_address: str | None  # of the coordinator, where vLLM has several engines
    cache_secret: str  # of the engine's CacheSalts, in hexadecimal digits
    queue_file: str  # shared by all front ends: how many requests each has in the engine
