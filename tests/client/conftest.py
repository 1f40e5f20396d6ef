"""A server for each test, and both flavours of the client behind one asyncio face.

The server runs on the tests' own loop, so the blocking client is used from other threads.
"""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Callable
from operator import attrgetter
from pathlib import Path
from typing import Any, TypeVar

import pytest

from penstock import AsyncClient, AsyncStream, Chunk, Client, Reply, Stream
from tests.client.lone_client import ROOT, UV
from tests.client.scripted_server import ScriptedServer

T = TypeVar("T")


async def in_thread(function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    return await asyncio.to_thread(function, *args, **kwargs)


class BlockingStream:
    """A Stream, each step in a thread."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream

    async def read(self) -> Chunk | None:
        return await in_thread(self.stream.read)

    async def all(self) -> list[Chunk]:
        return await in_thread(lambda: list(self.stream))

    async def first_of_loop(self) -> Chunk:
        """Begin a bare `for` and leave it at once."""

        def leave() -> Chunk:
            for chunk in self.stream:
                return chunk
            raise AssertionError("no chunk")

        return await in_thread(leave)

    async def first_of_with(self) -> Chunk:
        """Leave a `with` block after the first chunk."""

        def leave() -> Chunk:
            with self.stream as stream:
                return next(stream)

        return await in_thread(leave)

    async def close(self) -> None:
        await in_thread(self.stream.close)

    async def reply(self) -> Reply:
        return await in_thread(self.stream.reply)

    async def call(self, name: str, *args: Any, **options: Any) -> Any:
        """A method of the stream by its name."""
        return await in_thread(getattr(self.stream, name), *args, **options)

    @property
    def text(self) -> str:
        return self.stream.text


class AsyncioStream:
    """An AsyncStream."""

    def __init__(self, stream: AsyncStream) -> None:
        self.stream = stream

    async def read(self) -> Chunk | None:
        return await self.stream.read()

    async def all(self) -> list[Chunk]:
        return [chunk async for chunk in self.stream]

    async def first_of_loop(self) -> Chunk:
        async for chunk in self.stream:
            return chunk
        raise AssertionError("no chunk")

    async def first_of_with(self) -> Chunk:
        async with self.stream as stream:
            return await anext(stream)

    async def close(self) -> None:
        await self.stream.aclose()

    async def reply(self) -> Reply:
        return await self.stream.reply()

    async def call(self, name: str, *args: Any, **options: Any) -> Any:
        """A method of the stream by its name."""
        return await getattr(self.stream, name)(*args, **options)

    @property
    def text(self) -> str:
        return self.stream.text


class BlockingCaller:
    """A Client, each call in a thread."""

    def __init__(self, target: str, **options: Any) -> None:
        self.client = Client(target, **options)

    async def generate(self, *args: Any, **options: Any) -> Reply:
        return await in_thread(self.client.generate, *args, **options)

    async def call(self, name: str, *args: Any, **options: Any) -> Any:
        """A method of the client by its name, such as "models.set_alias"."""
        return await in_thread(attrgetter(name)(self.client), *args, **options)

    def stream(self, *args: Any, **options: Any) -> BlockingStream:
        return BlockingStream(self.client.stream(*args, **options))

    async def health(self, *args: Any, **options: Any) -> str:
        return await in_thread(self.client.health, *args, **options)

    async def models(self) -> Any:
        return await in_thread(self.client.models.list)

    async def model(self, name: str) -> Any:
        return await in_thread(self.client.models.retrieve, name)

    async def chat(self, **parameters: Any) -> Any:
        """The whole answer, or the list of pieces."""

        def run() -> Any:
            result: Any = self.client.chat.completions.create(**parameters)
            return list(result) if parameters.get("stream") else result

        return await in_thread(run)

    async def complete(self, **parameters: Any) -> Any:
        def run() -> Any:
            result: Any = self.client.completions.create(**parameters)
            return list(result) if parameters.get("stream") else result

        return await in_thread(run)

    async def close(self) -> None:
        await in_thread(self.client.close)


class AsyncioCaller:
    """An AsyncClient."""

    def __init__(self, target: str, **options: Any) -> None:
        self.client = AsyncClient(target, **options)

    async def generate(self, *args: Any, **options: Any) -> Reply:
        return await self.client.generate(*args, **options)

    async def call(self, name: str, *args: Any, **options: Any) -> Any:
        """A method of the client by its name, such as "models.set_alias"."""
        return await attrgetter(name)(self.client)(*args, **options)

    def stream(self, *args: Any, **options: Any) -> AsyncioStream:
        return AsyncioStream(self.client.stream(*args, **options))

    async def health(self, *args: Any, **options: Any) -> str:
        return await self.client.health(*args, **options)

    async def models(self) -> Any:
        return await self.client.models.list()

    async def model(self, name: str) -> Any:
        return await self.client.models.retrieve(name)

    async def chat(self, **parameters: Any) -> Any:
        result: Any = self.client.chat.completions.create(**parameters)
        return [piece async for piece in result] if parameters.get("stream") else await result

    async def complete(self, **parameters: Any) -> Any:
        result: Any = self.client.completions.create(**parameters)
        return [piece async for piece in result] if parameters.get("stream") else await result

    async def close(self) -> None:
        await self.client.close()


Caller = BlockingCaller | AsyncioCaller
MakeCaller = Callable[..., Caller]


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    server = ScriptedServer()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture(params=["streams", "session"])
def transport(request: pytest.FixtureRequest) -> dict[str, str]:
    """Each stream by itself, or all over sessions."""
    return {"sessions": "never" if request.param == "streams" else "always"}


@pytest.fixture(params=["sync", "async"])
async def make_caller(request: pytest.FixtureRequest, transport: dict[str, str]) -> AsyncIterator[MakeCaller]:
    """Makes callers of one flavour, on one transport unless they say otherwise, and closes them at the end."""
    kind = BlockingCaller if request.param == "sync" else AsyncioCaller
    made: list[Caller] = []

    def make(target: str, **options: Any) -> Caller:
        made.append(kind(target, **{**transport, **options}))
        return made[-1]

    yield make
    for caller in made:
        await caller.close()


@pytest.fixture
def caller(make_caller: MakeCaller, server: ScriptedServer) -> Caller:
    return make_caller(server.target)


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The client's wheel, built once."""
    if UV is None:
        pytest.skip("uv is not installed")
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run([UV, "build", "--wheel", "--out-dir", folder, ROOT / "client"], check=True, capture_output=True)
    return next(folder.glob("*.whl"))
