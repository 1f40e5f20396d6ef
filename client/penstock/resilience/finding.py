"""Whether a generation may be found at another replica than the one that was asked. Pure."""

from __future__ import annotations

from penstock.errors import (
    APIConnectionError,
    APIError,
    APITimeoutError,
    ConnectTimeout,
    NotFoundError,
    ServiceUnavailableError,
)


def another_may_have_it(error: APIError) -> bool:
    """Whether to ask the next one: this one does not have it, or cannot be asked."""
    if isinstance(error, APITimeoutError):
        return isinstance(error, ConnectTimeout)  # else there is no time left to ask
    return isinstance(error, (NotFoundError, APIConnectionError, ServiceUnavailableError))
