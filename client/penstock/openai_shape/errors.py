"""From an error to the HTTP answer that OpenAI's clients, FastChat's and DB-GPT's can all read. Pure."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

from penstock.errors import (
    APIError,
    AuthenticationError,
    BadRequestError,
    ConflictError,
    InternalServerError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    StreamInterrupted,
)

_INTERNAL_TEXT = "internal error"

_TYPES: tuple[tuple[type[APIError], str], ...] = (
    (AuthenticationError, "authentication_error"),
    (PermissionDeniedError, "permission_error"),
    (RateLimitError, "rate_limit_error"),
    (BadRequestError, "invalid_request_error"),
    (NotFoundError, "invalid_request_error"),
    (ConflictError, "invalid_request_error"),
    (InternalServerError, "server_error"),
)

# How the contract's paths begin -> how OpenAI's flat parameters are called.
_PATHS = (
    (re.compile(r"^inputs(\[\d+\])\.(text|token_ids(\.ids)?)"), r"input\1"),
    (re.compile(r"^reasoning\.effort$"), "reasoning_effort"),
    (re.compile(r"^reasoning\.enabled$"), "chat_template_kwargs.enable_thinking"),
    (re.compile(r"^reasoning\.max_tokens$"), "thinking_token_budget"),
    (re.compile(r"^(sampling|stopping|response|prompt_options)\."), ""),
    (re.compile(r"^truncate_tokens$"), "truncate_prompt_tokens"),
    (re.compile(r"^structured_output(\.\w+)?$"), "response_format"),
    (re.compile(r"^num_sequences$"), "n"),
    (re.compile(r"^(tools\[\d+\])\."), r"\1.function."),
    (re.compile(r"^tool_choice\..*"), "tool_choice"),
    (re.compile(r"^conversation(\.messages)?"), "messages"),
    (re.compile(r"^token_ids(\.ids)?"), "prompt"),
    (re.compile(r"^include_stop$"), "include_stop_str_in_output"),
)


@dataclass(frozen=True, slots=True)
class ErrorResponse:
    """An HTTP answer: `status`, `headers` with lower-case names, and the JSON object `body`."""

    status: int
    headers: dict[str, str]
    body: dict[str, Any]

    @property
    def status_code(self) -> int:
        """`status`, as HTTP libraries call it."""
        return self.status

    def json(self) -> dict[str, Any]:
        """`body`, as HTTP libraries call it."""
        return self.body


def error_response(error: Exception) -> ErrorResponse:
    """The answer for `error`. What is no APIError becomes a 500 that tells nothing of it."""
    if not isinstance(error, APIError):
        return ErrorResponse(500, {"x-should-retry": "false"}, error_body(_INTERNAL_TEXT, "server_error", 500))
    status = error.http_status
    return ErrorResponse(
        status, _headers(error), error_body(str(error), _type(error), status, _param(error), error.code)
    )


def error_body(
    message: str, kind: str, status: int, param: str | None = None, code: str | None = None
) -> dict[str, Any]:
    """OpenAI's `error` object beside FastChat's `object`, `message`, `code` (a number there) and DB-GPT's `detail`."""
    return {
        "error": {"message": message, "type": kind, "param": param, "code": code},
        "object": "error",
        "message": message,
        "code": status,
        "detail": message,
    }


def _type(error: APIError) -> str:
    cause = error.cause if isinstance(error, StreamInterrupted) else error
    return next((name for kind, name in _TYPES if isinstance(cause, kind)), "api_error")


def _param(error: APIError) -> str | None:
    if error.param or not isinstance(error, BadRequestError) or not error.violations:
        return error.param
    param = error.violations[0].field
    for path, name in _PATHS:
        param = path.sub(name, param)
    return param


def _headers(error: APIError) -> dict[str, str]:
    """Without x-should-retry OpenAI's clients retry 408, 409, 429 and 5xx; it says so where that is hopeless."""
    if error.retry_after is not None:
        milliseconds = math.ceil(error.retry_after * 1000)
        return {"retry-after": str(math.ceil(error.retry_after)), "retry-after-ms": str(milliseconds)}
    if error.http_status in (429, 503):
        return {}
    return {"x-should-retry": "false"}
