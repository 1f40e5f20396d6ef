"""The official SDK over gRPC: `openai.OpenAI(http_client=penstock.openai.http_client(client), api_key="-")`.

What the SDK asks of OpenAI's HTTP API is answered here by the client's facade, in this process: there is no HTTP server
and no connection but the client's own. Whatever builds on the SDK, LangChain's ChatOpenAI for one, can use it so.
Needs the extra: pip install 'penstock[openai]'.
"""

from __future__ import annotations

import importlib
import uuid
from collections.abc import AsyncIterator, Iterator
from importlib.metadata import version
from operator import attrgetter
from typing import TYPE_CHECKING, Any, overload

from penstock.aio import AsyncClient
from penstock.arguments import ArgumentTypeError
from penstock.client import Client
from penstock.errors import APIError
from penstock.openai_shape import server_sent_events
from penstock.openai_shape.async_streams import AsyncChatCompletionStream, AsyncCompletionStream
from penstock.openai_shape.errors import error_response
from penstock.openai_shape.http_calls import HttpRequest, http_call
from penstock.openai_shape.shape import Shape
from penstock.openai_shape.streams import ChatCompletionStream, CompletionStream

try:
    # The SDK takes clients of the library that it uses itself: httpx2 from 3.0 on, httpx before.
    _library = "httpx" if int(version("openai").partition(".")[0]) < 3 else "httpx2"
    importlib.import_module(_library)
except ImportError as error:
    raise ImportError("penstock.openai needs the openai package: pip install 'penstock[openai]'") from error

if TYPE_CHECKING:
    import httpx2 as httpx
else:
    httpx = importlib.import_module(_library)


@overload
def http_client(client: Client) -> httpx.Client: ...


@overload
def http_client(client: AsyncClient) -> httpx.AsyncClient: ...


def http_client(client: Client | AsyncClient) -> httpx.Client | httpx.AsyncClient:
    """An `http_client` for openai.OpenAI, or for openai.AsyncOpenAI if it is given an AsyncClient.

    It answers chat completions, completions, embeddings and models, whatever the base URL; anything else is a 404. The
    SDK's `timeout` limits the call, or each wait of a stream; without one the client's own limits hold. The client has
    retried what can be: failures come with `x-should-retry: false`, so that the SDK does not multiply that. An
    interrupted connection is the error of its status (503, 504), never openai.APIConnectionError. Closing it leaves
    `client` open. TypeError for what is no client.
    """
    if isinstance(client, Client):
        return httpx.Client(transport=_Transport(client), timeout=None, trust_env=False)
    if isinstance(client, AsyncClient):
        return httpx.AsyncClient(transport=_AsyncTransport(client), timeout=None, trust_env=False)
    raise ArgumentTypeError("client", "a penstock.Client or a penstock.AsyncClient", client)


class _Transport(httpx.BaseTransport):
    def __init__(self, client: Client) -> None:
        self._client = client

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request_id = _request_id(request)
        try:
            call = http_call(_received(request, request.read()), request_id)
            result = attrgetter(call.function)(self._client)(**call.arguments)
        except APIError as error:
            return _refusal(error, request_id)
        return _streamed(_Events(result), request_id) if call.stream else _whole(result, request_id)


class _AsyncTransport(httpx.AsyncBaseTransport):
    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        request_id = _request_id(request)
        try:
            call = http_call(_received(request, await request.aread()), request_id)
            result = await attrgetter(call.function)(self._client)(**call.arguments)
        except APIError as error:
            return _refusal(error, request_id)
        return _streamed(_AsyncEvents(result), request_id) if call.stream else _whole(result, request_id)


class _Events(httpx.SyncByteStream):
    """The body of a stream: an event as each piece comes. Closing the response ends the generation."""

    def __init__(self, pieces: ChatCompletionStream | CompletionStream) -> None:
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        try:
            for piece in self._pieces:
                yield server_sent_events.chunk_event(piece)
        except APIError as error:
            yield server_sent_events.error_event(error)
        else:
            yield server_sent_events.DONE

    def close(self) -> None:
        self._pieces.close()


class _AsyncEvents(httpx.AsyncByteStream):
    """The body of a stream: an event as each piece comes. Closing the response ends the generation."""

    def __init__(self, pieces: AsyncChatCompletionStream | AsyncCompletionStream) -> None:
        self._pieces = pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for piece in self._pieces:
                yield server_sent_events.chunk_event(piece)
        except APIError as error:
            yield server_sent_events.error_event(error)
        else:
            yield server_sent_events.DONE

    async def aclose(self) -> None:
        await self._pieces.close()


def _received(request: httpx.Request, body: bytes) -> HttpRequest:
    limits: dict[str, Any] = request.extensions.get("timeout", {})
    return HttpRequest(request.method, request.url.path, request.headers, limits, body)


def _request_id(request: httpx.Request) -> str:
    return request.headers.get("x-request-id") or uuid.uuid4().hex


def _whole(result: Shape, request_id: str) -> httpx.Response:
    headers = {"content-type": "application/json", "x-request-id": request_id}
    return httpx.Response(200, headers=headers, content=result.model_dump_json(exclude_unset=True).encode())


def _streamed(events: _Events | _AsyncEvents, request_id: str) -> httpx.Response:
    return httpx.Response(200, headers={**server_sent_events.HEADERS, "x-request-id": request_id}, stream=events)


def _refusal(error: APIError, request_id: str) -> httpx.Response:
    refusal = error_response(error)
    headers = {**refusal.headers, "x-should-retry": "false", "x-request-id": request_id}
    return httpx.Response(refusal.status, headers=headers, json=refusal.body)
