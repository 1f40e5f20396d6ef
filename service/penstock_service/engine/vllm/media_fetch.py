"""Fetches media from the hosts that the operator permits."""

import asyncio
import socket
import ssl
from collections.abc import Callable, Collection
from typing import Any

import aiohttp
import structlog
from aiohttp.abc import AbstractResolver, ResolveResult

from penstock_service.limit_table import MOST_IMAGE_BYTES
from penstock_service.logged_errors import summary
from penstock_service.media_addresses import is_public, url_refusal
from penstock_service.media_limits import MediaRefused

MOST_SECONDS = 10.0
_MOST_AT_ONCE = 16
_UNREACHABLE = "cannot be fetched from its host"

log = structlog.get_logger()


class MediaFetcher:
    """Fetches from `hosts`, and there from public addresses only.

    `resolver`, `permitted` (whether an address may be asked) and `tls` are for tests.
    """

    def __init__(
        self,
        hosts: Collection[str],
        *,
        resolver: Callable[[], AbstractResolver] = aiohttp.DefaultResolver,
        permitted: Callable[[str], bool] = is_public,
        tls: ssl.SSLContext | None = None,
        most_seconds: float = MOST_SECONDS,
    ) -> None:
        self._hosts = hosts
        self._resolver = resolver
        self._permitted = permitted
        self._tls = tls
        self._most_seconds = most_seconds
        self._turn = asyncio.Semaphore(_MOST_AT_ONCE)

    async def fetch(self, url: str) -> bytes:
        """The file at `url`. Raises MediaRefused."""
        if refusal := url_refusal(url, self._hosts):
            raise MediaRefused(refusal)
        try:
            async with asyncio.timeout(self._most_seconds), self._turn, self._session() as session:
                # Compressed answers are not asked for, and not unpacked if they come: they could be large.
                async with session.get(url, allow_redirects=False, headers={"Accept-Encoding": "identity"}) as answer:
                    return await _file(answer)
        except TimeoutError:
            raise MediaRefused(f"must come within {self._most_seconds:g} seconds") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # Callers are not told why: it would say what is in the server's network.
            log.info("media not fetched", error=summary(error))
            raise MediaRefused(_UNREACHABLE) from None

    def _session(self) -> aiohttp.ClientSession:
        # The connector connects to what its resolver answers, so to an address that was checked. It is made for each
        # file: connections that are kept would outlive what their host's name means.
        connector = aiohttp.TCPConnector(
            resolver=_CheckedResolver(self._resolver(), self._permitted),
            use_dns_cache=False,
            ssl=self._tls if self._tls is not None else True,
        )
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(),  # ours is around all of it
        )


class _CheckedResolver(AbstractResolver):
    """Refuses a name if any of its addresses may not be asked."""

    def __init__(self, resolver: AbstractResolver, permitted: Callable[[str], bool]) -> None:
        self._resolver = resolver
        self._permitted = permitted

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = await self._resolver.resolve(host, port, family)
        if not all(self._permitted(each["host"]) for each in found):
            raise OSError("an address that may not be asked")
        return found

    async def close(self) -> None:
        await self._resolver.close()


async def _file(answer: Any) -> bytes:
    if answer.status != 200:
        raise MediaRefused(f"must be answered with status 200 (redirects are not followed), got {answer.status}")
    size = answer.content_length or 0
    file = bytearray()
    async for chunk in answer.content.iter_any():
        file += chunk
        if max(len(file), size) > MOST_IMAGE_BYTES:
            raise MediaRefused(f"must be a file of at most {MOST_IMAGE_BYTES} bytes")
    if not file:
        raise MediaRefused("must be a file of at least 1 bytes, got 0")
    return bytes(file)
