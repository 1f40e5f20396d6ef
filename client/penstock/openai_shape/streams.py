"""Streams of OpenAI's pieces, blocking."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Generic, TypeVar

from penstock.chunk import Chunk
from penstock.openai_shape.pieces import ChatPieces, CompletionPieces, Pieces
from penstock.openai_shape.results import chat_completion, completion
from penstock.openai_shape.types import ChatCompletion, ChatCompletionChunk, Completion
from penstock.reply import Reply
from penstock.stream import Stream
from penstock.v1.generation_pb2 import GenerateRequest

if TYPE_CHECKING:
    from typing_extensions import Self

PieceT = TypeVar("PieceT", ChatCompletionChunk, Completion)
OpenStream = Callable[[GenerateRequest], Stream]


class _Sequential:
    """The chunks of one request's stream after the other's, each with the request's number."""

    def __init__(self, open_stream: OpenStream, requests: Sequence[GenerateRequest]) -> None:
        self._open = open_stream
        self._waiting = deque(requests)
        self._opened: list[Stream] = []

    def read(self) -> tuple[int, Chunk] | None:
        """The next chunk; None after the last."""
        while True:
            chunk = self._opened[-1].read() if self._opened else None
            if chunk is not None:
                return len(self._opened) - 1, chunk
            if not self._waiting:
                return None
            self._opened.append(self._open(self._waiting.popleft()))

    def replies(self) -> list[Reply]:
        return [stream.reply() for stream in self._opened]

    def close(self) -> None:
        self._waiting.clear()
        for stream in self._opened:
            stream.close()


class _PieceStream(Generic[PieceT]):
    """A streamed answer in OpenAI's shape: iterate it, best inside `with`. Leaving it early ends its generation."""

    def __init__(self, source: _Sequential, pieces: Pieces[PieceT]) -> None:
        self._source = source
        self._pieces: Pieces[PieceT] = pieces
        self._ready: deque[PieceT] = deque()
        self._receive()

    @property
    def _request_id(self) -> str | None:
        return self._pieces.request_id

    def __iter__(self) -> Iterator[PieceT]:
        try:
            while (piece := self._read()) is not None:
                yield piece
        finally:
            self.close()

    def __next__(self) -> PieceT:
        piece = self._read()
        if piece is None:
            raise StopIteration
        return piece

    def close(self) -> None:
        """End the stream, and its generation if that still runs. Idempotent."""
        self._ready.clear()
        self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _read(self) -> PieceT | None:
        while not self._ready:
            if not self._receive():
                return None
        return self._ready.popleft()

    def _receive(self) -> bool:
        try:
            received = self._source.read()
        except BaseException:
            self.close()
            raise
        if received is not None:
            self._ready.extend(self._pieces.add(*received))
        return received is not None

    def _replies(self) -> list[Reply]:
        while self._receive():
            pass
        return self._source.replies()


class ChatCompletionStream(_PieceStream[ChatCompletionChunk]):
    """A streamed chat answer."""

    def __init__(self, open_stream: OpenStream, request: GenerateRequest, created: int, include_usage: bool) -> None:
        self._created = created
        pieces = ChatPieces(created, include_usage, sequences=request.num_sequences or 1)
        super().__init__(_Sequential(open_stream, [request]), pieces)

    def final(self) -> ChatCompletion:
        """The whole answer, after reading what is left of it. RequestCancelled if the stream was closed early."""
        return chat_completion(self._replies()[0], self._created)


class CompletionStream(_PieceStream[Completion]):
    """Streamed continuations; those of several prompts come one after the other."""

    def __init__(
        self, open_stream: OpenStream, requests: Sequence[GenerateRequest], created: int, include_usage: bool
    ) -> None:
        self._created = created
        sequences = requests[0].num_sequences or 1
        pieces = CompletionPieces(created, include_usage, len(requests), sequences)
        super().__init__(_Sequential(open_stream, requests), pieces)

    def final(self) -> Completion:
        """The whole answer, after reading what is left of it. RequestCancelled if the stream was closed early."""
        return completion(self._replies(), self._created)
