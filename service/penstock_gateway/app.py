"""The gateway as one ASGI application: routes, and what wraps each request."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from penstock import AsyncClient, Retry
from penstock_gateway.drain import Drain
from penstock_gateway.errors import HANDLERS
from penstock_gateway.paths import TidyPaths
from penstock_gateway.request_log import RequestLog
from penstock_gateway.routes import absent
from penstock_gateway.routes.embeddings import Embeddings
from penstock_gateway.routes.generation import Generation
from penstock_gateway.routes.health import Health
from penstock_gateway.routes.models import Models
from penstock_gateway.routes.ollama import Ollama
from penstock_gateway.settings import Settings

# Whoever calls over HTTP repeats what failed, as OpenAI's clients do; two loops would multiply the attempts.
TRIED_ONCE = Retry(attempts=1)

READABLE_BY_WEB_PAGES = ("x-request-id", "retry-after", "retry-after-ms", "x-should-retry")


def create_app(settings: Settings, drain: Drain) -> ASGIApp:
    """The application for `settings`. Nothing is dialled before the first request."""
    client = AsyncClient(settings.upstream, tls=settings.tls, retry=TRIED_ONCE)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with client:
            yield

    app = Starlette(
        routes=_routes(client, settings, drain),
        middleware=_middleware(settings),
        exception_handlers=HANDLERS,
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False  # TidyPaths has done it
    return RequestLog(TidyPaths(app))


def _routes(client: AsyncClient, settings: Settings, drain: Drain) -> list[BaseRoute]:
    generation, models = Generation(client, settings, drain), Models(client, settings)
    ollama = Ollama(client, settings, drain)
    return [
        Route("/v1/chat/completions", generation.chat_completions, methods=["POST"]),
        Route("/v1/completions", generation.completions, methods=["POST"]),
        Route("/v1/embeddings", Embeddings(client, settings, drain).create, methods=["POST"]),
        Route("/v1/models", models.list, methods=["GET"]),
        Route("/v1/models/{id:path}", models.retrieve, methods=["GET"]),
        Route("/api/chat", ollama.chat, methods=["POST"]),
        Route("/api/embed", ollama.embed, methods=["POST"]),
        Route("/health", Health(client).show, methods=["GET"]),
        *(Route(path, absent.not_offered, methods=absent.METHODS) for path in absent.PATHS),
    ]


def _middleware(settings: Settings) -> list[Middleware]:
    if not settings.cors_origin:
        return []
    return [
        Middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origin,
            allow_methods=["GET", "POST"],
            allow_headers=["*"],
            expose_headers=READABLE_BY_WEB_PAGES,
        )
    ]
