"""Where calls go: the endpoints of a target, and the channels to each. `pool` and `asyncio_pool` do the I/O."""
