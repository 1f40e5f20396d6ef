"""Tolerates the doubled and trailing slashes that come of joining base URLs and paths by hand."""

import re
from urllib.parse import unquote

from starlette.types import ASGIApp, Receive, Scope, Send

_SLASHES = re.compile(rb"/{2,}")


def tidy(raw_path: bytes) -> str:
    """The decoded path without empty segments. Slashes that the caller encoded (in a model's id) stay as they are."""
    return unquote(_SLASHES.sub(b"/", raw_path).rstrip(b"/").decode("ascii", "replace")) or "/"


class TidyPaths:
    """Middleware that routes by the tidy path."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope["path"] = tidy(scope["raw_path"])
        await self._app(scope, receive, send)
