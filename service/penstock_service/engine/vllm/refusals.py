"""How vLLM refuses a request, by version: 0.26 raises ValueError; later ones have exceptions of their own."""

from collections.abc import Iterator
from contextlib import contextmanager

from vllm import exceptions
from vllm.v1.engine.async_llm import AsyncLLM
from vllm.v1.engine.exceptions import EngineDeadError

from penstock_service.errors import InvalidRequest, Overloaded, ServiceError, Unavailable, Violation

REFUSED: type[Exception] = getattr(exceptions, "VLLMClientError", ValueError)
"""The request is wrong."""

QUEUE_FULL: type[Exception] | tuple[()] = getattr(exceptions, "GracefulHTTPError", ())
"""The operator's --max-num-queued-reqs or --max-num-queued-tokens is reached; 0.26 has neither."""

# vLLM's own sentences can repeat what the caller sent; error details share 8 KiB of metadata.
_MOST_REFUSAL_CHARACTERS = 256


def as_service_error(error: Exception, field: str, llm: AsyncLLM | None = None) -> ServiceError | None:
    """What vLLM's error means to the caller, who set `field`; None for what only our log should tell.

    Of an `llm` that is dead anything can come: its renderer may be closed already.
    """
    if isinstance(error, ServiceError):
        return error
    if isinstance(error, EngineDeadError) or (llm is not None and llm.errored):
        return Unavailable("ENGINE_DEAD")
    if isinstance(error, REFUSED):
        return InvalidRequest([Violation(field, str(error.args[0])[:_MOST_REFUSAL_CHARACTERS])])
    if isinstance(error, QUEUE_FULL):
        return Overloaded()
    return None


@contextmanager
def translated(field: str, llm: AsyncLLM | None = None) -> Iterator[None]:
    """Raise what vLLM raises in the block as what it means to the caller, who set `field`."""
    try:
        yield
    except Exception as error:
        if (known := as_service_error(error, field, llm)) is None or known is error:
            raise
        raise known from error
