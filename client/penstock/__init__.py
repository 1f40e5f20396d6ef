"""The thin Python client of the Penstock text-generation service.

`Client` and `AsyncClient` are where to begin; `penstock.errors` shows the tree of errors.
"""

from penstock.aio import AsyncClient
from penstock.client import Client
from penstock.errors import (
    APIConnectionError,
    APIError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    ConflictError,
    InternalServerError,
    NotFoundError,
    NotSupportedError,
    PermissionDeniedError,
    RateLimitError,
    RequestCancelled,
    RequestTooLargeError,
    ServiceUnavailableError,
    StreamInterrupted,
    Violation,
)
from penstock.reply import Chunk, Reply
from penstock.stream import AsyncStream, Stream
from penstock.version import __version__

__all__ = [
    "APIConnectionError",
    "APIError",
    "APITimeoutError",
    "AsyncClient",
    "AsyncStream",
    "AuthenticationError",
    "BadRequestError",
    "Chunk",
    "Client",
    "ConflictError",
    "InternalServerError",
    "NotFoundError",
    "NotSupportedError",
    "PermissionDeniedError",
    "RateLimitError",
    "Reply",
    "RequestCancelled",
    "RequestTooLargeError",
    "ServiceUnavailableError",
    "Stream",
    "StreamInterrupted",
    "Violation",
    "__version__",
]
