"""`chat.completions.stream`, in both flavours: a streamed chat as events, with the answer put together and parsed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING

from penstock.openai_shape.async_streams import AsyncChatCompletionStream
from penstock.openai_shape.parsed_types import ParsedChatCompletion
from penstock.openai_shape.stream_events import ChatCompletionStreamEvent
from penstock.openai_shape.stream_state import ChatCompletionStreamState
from penstock.openai_shape.streams import ChatCompletionStream

if TYPE_CHECKING:
    from typing_extensions import Self


class ChatEventStream:
    """The events of one answer. Leaving it early ends its generation."""

    def __init__(self, pieces: ChatCompletionStream, state: ChatCompletionStreamState) -> None:
        self._pieces = pieces
        self._state = state
        self._events = self._all()

    def __iter__(self) -> Iterator[ChatCompletionStreamEvent]:
        return self

    def __next__(self) -> ChatCompletionStreamEvent:
        return next(self._events)

    @property
    def current_completion_snapshot(self) -> ParsedChatCompletion:
        """The answer so far; it goes on growing. RuntimeError before the first piece."""
        return self._state.current_completion_snapshot

    def until_done(self) -> Self:
        """Read what is left."""
        for _ in self:
            pass
        return self

    def get_final_completion(self) -> ParsedChatCompletion:
        """The whole answer, parsed, after reading what is left. LengthFinishReasonError if a limit cut it."""
        return self.until_done()._state.get_final_completion()

    def close(self) -> None:
        """End the stream, and its generation if that still runs. Idempotent."""
        self._pieces.close()

    def _all(self) -> Iterator[ChatCompletionStreamEvent]:
        for piece in self._pieces:
            yield from self._state.handle_chunk(piece)


class ChatEventStreamManager:
    """What `chat.completions.stream` returns: `with` it. The call begins there and ends with the block."""

    def __init__(self, begin: Callable[[], ChatCompletionStream], state: ChatCompletionStreamState) -> None:
        self._begin = begin
        self._state = state
        self._stream: ChatEventStream | None = None

    def __enter__(self) -> ChatEventStream:
        self._stream = ChatEventStream(self._begin(), self._state)
        return self._stream

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._stream is not None:
            self._stream.close()


class AsyncChatEventStream:
    """The events of one answer. Leaving it early ends its generation."""

    def __init__(self, pieces: AsyncChatCompletionStream, state: ChatCompletionStreamState) -> None:
        self._pieces = pieces
        self._state = state
        self._events = self._all()

    def __aiter__(self) -> AsyncIterator[ChatCompletionStreamEvent]:
        return self

    async def __anext__(self) -> ChatCompletionStreamEvent:
        return await anext(self._events)

    @property
    def current_completion_snapshot(self) -> ParsedChatCompletion:
        """The answer so far; it goes on growing. RuntimeError before the first piece."""
        return self._state.current_completion_snapshot

    async def until_done(self) -> Self:
        """Read what is left."""
        async for _ in self:
            pass
        return self

    async def get_final_completion(self) -> ParsedChatCompletion:
        """The whole answer, parsed, after reading what is left. LengthFinishReasonError if a limit cut it."""
        await self.until_done()
        return self._state.get_final_completion()

    async def close(self) -> None:
        """End the stream, and its generation if that still runs. Idempotent."""
        await self._pieces.close()

    async def _all(self) -> AsyncIterator[ChatCompletionStreamEvent]:
        while (piece := await anext(self._pieces, None)) is not None:
            for event in self._state.handle_chunk(piece):
                yield event


class AsyncChatEventStreamManager:
    """What `chat.completions.stream` returns: `async with` it. The call begins there and ends with the block."""

    def __init__(self, pieces: AsyncChatCompletionStream, state: ChatCompletionStreamState) -> None:
        self._pieces = pieces
        self._state = state

    async def __aenter__(self) -> AsyncChatEventStream:
        return AsyncChatEventStream(await self._pieces, self._state)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._pieces.close()
