"""Streams of OpenAI's pieces, for asyncio."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Generator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from penstock.openai_shape.interleave import Interleaved
from penstock.openai_shape.pieces import ChatPieces, CompletionPieces, Pieces
from penstock.openai_shape.results import chat_completion, completion
from penstock.openai_shape.types import ChatCompletion, ChatCompletionChunk, Completion
from penstock.reply import Reply
from penstock.v1.generation_pb2 import GenerateRequest

if TYPE_CHECKING:
    from typing_extensions import Self

    from penstock.openai_shape.interleave import OpenAsyncStream

PieceT = TypeVar("PieceT", ChatCompletionChunk, Completion)


class _AsyncPieceStream(Generic[PieceT]):
    """A streamed answer in OpenAI's shape: `async for` over it, `async with` it, or `await` it first.

    Awaiting or entering it waits for the first chunk, so that a refusal is raised there. Nothing is sent before one of
    the three. Leaving it early ends its generation.
    """

    def __init__(self, source: Interleaved, pieces: Pieces[PieceT]) -> None:
        self._source = source
        self._pieces: Pieces[PieceT] = pieces
        self._ready: deque[PieceT] = deque()
        self._begun = False

    @property
    def _request_id(self) -> str | None:
        return self._pieces.request_id

    def __await__(self) -> Generator[Any, None, Self]:
        return self._begin().__await__()

    async def __aenter__(self) -> Self:
        return await self._begin()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def __aiter__(self) -> AsyncIterator[PieceT]:
        try:
            while (piece := await self._read()) is not None:
                yield piece
        finally:
            await self.close()

    async def __anext__(self) -> PieceT:
        piece = await self._read()
        if piece is None:
            raise StopAsyncIteration
        return piece

    async def close(self) -> None:
        """End the stream, and its generation if that still runs. Idempotent."""
        self._begun = True
        self._ready.clear()
        self._source.close()

    aclose = close

    async def _begin(self) -> Self:
        if not self._begun:
            await self._receive()
        return self

    async def _read(self) -> PieceT | None:
        while not self._ready:
            if not await self._receive():
                return None
        return self._ready.popleft()

    async def _receive(self) -> bool:
        self._begun = True
        try:
            received = await self._source.read()
        except BaseException:
            await self.close()
            raise
        if received is not None:
            self._ready.extend(self._pieces.add(*received))
        return received is not None

    async def _replies(self) -> list[Reply]:
        while await self._receive():
            pass
        return await self._source.replies()


class AsyncChatCompletionStream(_AsyncPieceStream[ChatCompletionChunk]):
    """A streamed chat answer."""

    def __init__(
        self, open_stream: OpenAsyncStream, request: GenerateRequest, created: int, include_usage: bool
    ) -> None:
        self._created = created
        pieces = ChatPieces(created, include_usage, sequences=request.num_sequences or 1)
        super().__init__(Interleaved(open_stream, [request]), pieces)

    async def final(self) -> ChatCompletion:
        """The whole answer, after reading what is left of it. RequestCancelled if the stream was closed early."""
        return chat_completion((await self._replies())[0], self._created)


class AsyncCompletionStream(_AsyncPieceStream[Completion]):
    """Streamed continuations; those of several prompts come interleaved, told apart by the choice's index."""

    def __init__(
        self, open_stream: OpenAsyncStream, requests: Sequence[GenerateRequest], created: int, include_usage: bool
    ) -> None:
        self._created = created
        sequences = requests[0].num_sequences or 1
        pieces = CompletionPieces(created, include_usage, len(requests), sequences)
        super().__init__(Interleaved(open_stream, requests), pieces)

    async def final(self) -> Completion:
        """The whole answer, after reading what is left of it. RequestCancelled if the stream was closed early."""
        return completion(await self._replies(), self._created)
