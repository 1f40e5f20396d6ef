"""The thin Python client of the Penstock text-generation service.

`Client` and `AsyncClient` are where to begin; `penstock.errors` shows the tree of errors.
"""

from penstock.aio import AsyncClient
from penstock.batch import BatchReply
from penstock.batch_runs import BatchRun
from penstock.caching.cache import Cache
from penstock.chunk import Chunk, Delta
from penstock.client import Client
from penstock.embeddings import EmbedReply
from penstock.errors import (
    APIConnectionError,
    APIError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    ConflictError,
    ConnectTimeout,
    FirstTokenTimeout,
    IdleTimeout,
    InternalServerError,
    NotFoundError,
    NotSupportedError,
    OpenAIError,
    PermissionDeniedError,
    RateLimitError,
    RequestCancelled,
    RequestTooLargeError,
    ServiceUnavailableError,
    StreamInterrupted,
    UnprocessableEntityError,
    Violation,
)
from penstock.estimate import Estimate
from penstock.json_answers.answers import InvalidJSONError, JsonAnswer
from penstock.openai_shape.finish_errors import ContentFilterFinishReasonError, LengthFinishReasonError
from penstock.reply import Answer, Reply
from penstock.retry import Retry
from penstock.stream import AsyncStream, Stream
from penstock.timeouts import Timeout
from penstock.tls import Tls
from penstock.version import __version__

__all__ = [
    "APIConnectionError",
    "APIError",
    "APIStatusError",
    "APITimeoutError",
    "Answer",
    "AsyncClient",
    "AsyncStream",
    "AuthenticationError",
    "BadRequestError",
    "BatchReply",
    "BatchRun",
    "Cache",
    "Chunk",
    "Client",
    "ConflictError",
    "ConnectTimeout",
    "ContentFilterFinishReasonError",
    "Delta",
    "EmbedReply",
    "Estimate",
    "FirstTokenTimeout",
    "IdleTimeout",
    "InternalServerError",
    "InvalidJSONError",
    "JsonAnswer",
    "LengthFinishReasonError",
    "NotFoundError",
    "NotSupportedError",
    "OpenAIError",
    "PermissionDeniedError",
    "RateLimitError",
    "Reply",
    "RequestCancelled",
    "RequestTooLargeError",
    "Retry",
    "ServiceUnavailableError",
    "Stream",
    "StreamInterrupted",
    "Timeout",
    "Tls",
    "UnprocessableEntityError",
    "Violation",
    "__version__",
]
