"""How vLLM refuses a request, by version: 0.26 raises ValueError; later ones have exceptions of their own."""

from vllm import exceptions

REFUSED: type[Exception] = getattr(exceptions, "VLLMClientError", ValueError)
"""The request is wrong."""

QUEUE_FULL: type[Exception] | tuple[()] = getattr(exceptions, "GracefulHTTPError", ())
"""The operator's --max-num-queued-reqs or --max-num-queued-tokens is reached; 0.26 has neither."""
