"""Turns what a route raised into a reply, in OpenAI's shape (`penstock.openai_shape.errors`) or in Ollama's."""

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import ExceptionHandler

from penstock.errors import APIError, BadRequestError, InternalServerError, NotFoundError
from penstock.openai_shape.errors import error_response
from penstock_gateway.disconnect import CallerGoneError
from penstock_gateway.ollama.replies import ollama_error
from penstock_gateway.request_log import record_of, shortened

OLLAMA_PATHS = "/api/"  # whose callers look for Ollama's errors
CALLER_GONE = 499  # nginx's number; nobody but the log sees it


class MethodNotAllowedError(BadRequestError):
    """The route exists, for other methods."""

    http_status = 405


async def _refuse(request: Request, raised: Exception) -> Response:
    error = _told(request, raised)
    record_of(request.scope).fail(error)
    reply = error_response(error)
    body = ollama_error(error) if request.scope["path"].startswith(OLLAMA_PATHS) else reply.body
    allow = raised.headers if isinstance(raised, HTTPException) else None
    return JSONResponse(body, reply.status, {**reply.headers, **(allow or {})})


def _told(request: Request, raised: Exception) -> APIError:
    """What the caller is told."""
    if isinstance(raised, APIError):
        return raised
    if not isinstance(raised, HTTPException):
        request_id = record_of(request.scope).request_id
        return InternalServerError(f"internal error; the gateway's log tells more under request {request_id}")
    what = f"{request.method} {shortened(request.scope['path'])}"
    if raised.status_code == 405:
        return MethodNotAllowedError(f"{what}: this route does not take the method")
    return NotFoundError(f"{what}: there is no such route")


async def _nobody_listens(request: Request, raised: Exception) -> Response:
    record_of(request.scope).fail(raised)
    return Response(status_code=CALLER_GONE)


HANDLERS: dict[type[Exception], ExceptionHandler] = {
    APIError: _refuse,
    HTTPException: _refuse,
    Exception: _refuse,
    CallerGoneError: _nobody_listens,
    ClientDisconnect: _nobody_listens,
}
