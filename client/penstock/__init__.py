"""The thin Python client of the Penstock text-generation service.

`Client` and `AsyncClient` are where to begin; `penstock.errors` shows the tree of errors.
"""

from penstock.aio import AsyncClient
from penstock.batch import BatchReply
from penstock.chunk import Chunk, Delta
from penstock.client import Client
from penstock.embeddings import EmbedReply
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
from penstock.estimate import Estimate
from penstock.reply import Answer, Reply
from penstock.stream import AsyncStream, Stream
from penstock.version import __version__

__all__ = [
    "APIConnectionError",
    "APIError",
    "APITimeoutError",
    "Answer",
    "AsyncClient",
    "AsyncStream",
    "AuthenticationError",
    "BadRequestError",
    "BatchReply",
    "Chunk",
    "Client",
    "ConflictError",
    "Delta",
    "EmbedReply",
    "Estimate",
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
