"""From a request of OpenAI's HTTP API to the function of the facade that answers it. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from penstock.errors import NotFoundError
from penstock.openai_shape.body import chat_arguments, completion_arguments, embedding_arguments, json_object
from penstock.timeouts import Timeout

# Headers that are HTTP's own or the SDK's, and those that say something to the call in another way.
_NOT_METADATA = re.compile(
    r"accept.*|authorization|api-key|connection|content-.*|cookie|expect|host|idempotency-key|keep-alive|openai-.*"
    r"|te|trailer|transfer-encoding|upgrade|user-agent|x-request-id|x-stainless-.*|grpc-.*|.*-bin"
)
_CARRIED_NAME = re.compile(r"[a-z0-9_.-]+")
_CARRIED_VALUE = re.compile(r"[ -~]*")

_MODELS = re.compile(r".*/models(?:/(?P<model>.+))?")
_POSTED: dict[str, tuple[str, Callable[[Mapping[str, Any]], dict[str, Any]]]] = {
    "/chat/completions": ("chat.completions.create", chat_arguments),
    "/completions": ("completions.create", completion_arguments),
    "/embeddings": ("embeddings.create", embedding_arguments),
}


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """What arrived.

    path: decoded; what is before OpenAI's own part of it (`/v1`) is passed over.
    headers: with names in small letters.
    limits: httpx's timeouts in seconds, of which "connect" and "read" count.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    limits: Mapping[str, float | None]
    body: bytes


@dataclass(frozen=True, slots=True)
class HttpCall:
    """function: where the client has it, "chat.completions.create". arguments: its keyword arguments."""

    function: str
    arguments: dict[str, Any]

    @property
    def stream(self) -> bool:
        """Whether the answer comes as server-sent events."""
        return bool(self.arguments.get("stream"))


def http_call(request: HttpRequest, request_id: str) -> HttpCall:
    """The call that a request asks for. Raises NotFoundError for another route, and BadRequestError with `param`."""
    models = _MODELS.fullmatch(request.path)
    if models and request.method == "GET":
        return _lookup(models["model"], _limits(request, stream=False))
    for ending, (function, read) in _POSTED.items():
        if request.method == "POST" and request.path.endswith(ending):
            return _posted(function, read(json_object(request.body)), request, request_id)
    raise NotFoundError(f"{request.method} {request.path[:256]}: there is no such route")


def _lookup(model: str | None, limits: dict[str, Any]) -> HttpCall:
    return HttpCall("models.retrieve", {"model": model, **limits}) if model else HttpCall("models.list", limits)


def _posted(function: str, arguments: dict[str, Any], request: HttpRequest, request_id: str) -> HttpCall:
    beside = _limits(request, arguments.get("stream", False))
    beside["extra_body"] = {"request_id": request_id, **arguments.get("extra_body", {})}
    beside["extra_headers"] = {name: value for name, value in request.headers.items() if _is_metadata(name, value)}
    if "idempotency-key" in request.headers and function != "embeddings.create":
        beside["idempotency_key"] = request.headers["idempotency-key"]
    return HttpCall(function, {**arguments, **beside})


def _limits(request: HttpRequest, stream: bool) -> dict[str, Any]:
    """How long httpx waits between two reads is, for a whole answer, all of the call's time."""
    read, connect = request.limits.get("read"), request.limits.get("connect")
    if read is None and connect is None:
        return {}
    limits = Timeout(first_token=read, idle=read) if stream else Timeout(total=read)
    return {"timeout": replace(limits, connect=connect)}


def _is_metadata(name: str, value: str) -> bool:
    carried = _CARRIED_NAME.fullmatch(name) and _CARRIED_VALUE.fullmatch(value)
    return bool(carried) and not _NOT_METADATA.fullmatch(name)
