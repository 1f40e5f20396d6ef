"""Names each request, says so in the reply's `x-request-id`, and logs one line about it when it has ended."""

import re
import time
import uuid
from dataclasses import asdict, dataclass
from typing import cast

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from penstock.errors import APIError
from penstock.openai_shape.embedding_types import EmbeddingUsage
from penstock.openai_shape.types import CompletionUsage

log = structlog.get_logger("penstock.gateway")

_ACCEPTED_ID = re.compile(r"[A-Za-z0-9._:/=+-]{1,128}")  # what GenerateRequest.request_id allows
_MOST_CHARACTERS = 256  # of a path or a model's name; callers can make them megabytes long
_SCOPE_KEY = "penstock.request"


def shortened(text: str) -> str:
    """The beginning of a text that a caller chose the length of."""
    return text if len(text) <= _MOST_CHARACTERS else text[: _MOST_CHARACTERS - 3] + "..."


@dataclass(slots=True)
class RequestRecord:
    """What the log says of a request: never its text or its key. None is left out."""

    request_id: str
    method: str
    path: str
    status: int | None = None
    model: str | None = None
    stream: bool | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    error: str | None = None
    reason: str | None = None

    def asks(self, model: str | None, stream: bool) -> None:
        """Take what the body asks for."""
        self.model, self.stream = model and shortened(model), stream

    def answers(self, model: str, usage: CompletionUsage | EmbeddingUsage | None) -> None:
        """Take what a reply or a chunk says: the model, if none was asked for, and the tokens, where it has them."""
        self.model = self.model or model
        if usage is not None:
            self.prompt_tokens = usage.prompt_tokens
        if isinstance(usage, CompletionUsage):
            self.completion_tokens = usage.completion_tokens

    def fail(self, error: Exception) -> None:
        """Take the kind of an error and, of one that has it, the contract's reason; not its text."""
        self.error, self.reason = type(error).__name__, error.reason if isinstance(error, APIError) else None


def record_of(scope: Scope) -> RequestRecord:
    """The record of the request that `scope` belongs to."""
    return cast(RequestRecord, scope[_SCOPE_KEY])


class RequestLog:
    """Outermost middleware, so that no reply is without its id and no request without its line."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        request_id = _request_id(Headers(scope=scope).get("x-request-id"))
        record = scope[_SCOPE_KEY] = RequestRecord(request_id, scope["method"], shortened(scope["path"]))
        structlog.contextvars.bind_contextvars(request_id=request_id)
        started = time.monotonic()
        try:
            await self._app(scope, receive, _naming(send, record))
        finally:
            _write(record, time.monotonic() - started)


def _request_id(given: str | None) -> str:
    return given if given is not None and _ACCEPTED_ID.fullmatch(given) else uuid.uuid4().hex


def _naming(send: Send, record: RequestRecord) -> Send:
    async def send_with_id(message: Message) -> None:
        if message["type"] == "http.response.start":
            record.status = message["status"]
            MutableHeaders(scope=message)["x-request-id"] = record.request_id
        await send(message)

    return send_with_id


def _write(record: RequestRecord, seconds: float) -> None:
    known = {name: value for name, value in asdict(record).items() if value is not None}
    log.info("request", **known, duration_ms=round(seconds * 1000, 3))
