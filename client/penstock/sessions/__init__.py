"""Many streams over one `Session` RPC. What is decided here is pure; `blocking` and `asyncio_session` do the I/O."""
