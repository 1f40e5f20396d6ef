"""The asyncio client."""

from __future__ import annotations

from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING

import grpc

from penstock.aio_transport import AsyncTransport
from penstock.batch import BatchReply
from penstock.call_options import CLIENT_DEFAULT, CallOptions, MetadataLike, TimeoutLike
from penstock.channel import LazyAsyncChannel, OptionOverrides
from penstock.client import DEFAULT_TARGET
from penstock.embeddings import EmbedOptions, EmbedReply, TextLike, embed_request
from penstock.estimate import Estimate, estimate_request
from penstock.health import health_request, serving_status
from penstock.models import AsyncModels
from penstock.openai_shape.async_resources import AsyncChat, AsyncCompletions, AsyncEmbeddings
from penstock.reply import Reply
from penstock.requests import InputLike, batch_request, generate_request
from penstock.sessions.riding import SessionsLike
from penstock.stream import AsyncStream
from penstock.tokenization import detokenize_request, tokenize_request
from penstock.v1.generation_pb2 import TokenizeResponse

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from penstock.generate_options import BatchOptions, GenerateOptions, TokenizeOptions


class AsyncClient:
    """A client of one Penstock service, for asyncio. The arguments are those of `penstock.Client`.

    Nothing is dialled before the first call. It can be made anywhere, also outside of a running loop; each loop that
    uses it gets a connection of its own. Cancelling the task that waits for a call cancels the call.
    """

    def __init__(
        self,
        target: str = DEFAULT_TARGET,
        *,
        timeout: float | None = None,
        metadata: MetadataLike | None = None,
        channel_options: OptionOverrides | None = None,
        credentials: grpc.ChannelCredentials | None = None,
        sessions: SessionsLike = "auto",
    ) -> None:
        channel = LazyAsyncChannel(target, credentials, channel_options)
        self._transport = AsyncTransport(channel, CallOptions(timeout, metadata), sessions)
        self.models = AsyncModels(self._transport)
        self.chat = AsyncChat(self._transport)
        self.completions = AsyncCompletions(self._transport)
        self.embeddings = AsyncEmbeddings(self._transport)

    async def generate(
        self,
        prompt: str | None = None,
        *,
        timeout: TimeoutLike = CLIENT_DEFAULT,
        metadata: MetadataLike | None = None,
        **options: Unpack[GenerateOptions],
    ) -> Reply:
        """Generate the whole answer. `timeout` in seconds replaces the client's; None means no deadline."""
        return await self._transport.generate(generate_request(prompt, **options), timeout, metadata)

    def stream(
        self,
        prompt: str | None = None,
        *,
        timeout: TimeoutLike = CLIENT_DEFAULT,
        metadata: MetadataLike | None = None,
        **options: Unpack[GenerateOptions],
    ) -> AsyncStream:
        """Generate the answer piece by piece. The call begins at once; the deadline is that of the whole stream.

        Not a coroutine: use the result with `async for` or `async with`, inside a running loop.
        """
        return self._transport.stream(generate_request(prompt, **options), timeout, metadata)

    async def generate_batch(
        self,
        inputs: Iterable[InputLike],
        *,
        timeout: TimeoutLike = CLIENT_DEFAULT,
        metadata: MetadataLike | None = None,
        **options: Unpack[BatchOptions],
    ) -> BatchReply:
        """Generate an answer for each input (a prompt, a list of token ids or a list of messages), in one call.

        What concerns all inputs is raised; what concerns one is its result.
        """
        request = batch_request(inputs, **options)
        return BatchReply((await self._transport.generate(request, timeout, metadata)).proto)

    async def embed(
        self,
        texts: str | Iterable[TextLike],
        *,
        timeout: TimeoutLike = CLIENT_DEFAULT,
        metadata: MetadataLike | None = None,
        **options: Unpack[EmbedOptions],
    ) -> EmbedReply:
        """Turn texts (or lists of token ids) into vectors, with a model that is served for that.

        What concerns all texts is raised; what concerns one is its result.
        """
        return EmbedReply(await self._transport.embed(embed_request(texts, **options), timeout, metadata))

    async def tokenize(
        self,
        prompt: str | None = None,
        *,
        timeout: TimeoutLike = CLIENT_DEFAULT,
        metadata: MetadataLike | None = None,
        **options: Unpack[TokenizeOptions],
    ) -> TokenizeResponse:
        """Tell the tokens that `generate` would read: `token_ids`, and the `spans` of `text` that they stand for."""
        return await self._transport.tokenize(tokenize_request(prompt, **options), timeout, metadata)

    async def detokenize(
        self,
        token_ids: Iterable[int],
        *,
        model: str | None = None,
        skip_special_tokens: bool | None = None,
        timeout: TimeoutLike = CLIENT_DEFAULT,
        metadata: MetadataLike | None = None,
    ) -> str:
        """Tell the text of tokens; special tokens are in it unless `skip_special_tokens=True`."""
        request = detokenize_request(token_ids, model, skip_special_tokens)
        return (await self._transport.detokenize(request, timeout, metadata)).text

    async def estimate(
        self,
        prompt: str | None = None,
        *,
        inputs: Iterable[InputLike] | None = None,
        timeout: TimeoutLike = CLIENT_DEFAULT,
        metadata: MetadataLike | None = None,
        **options: Unpack[GenerateOptions],
    ) -> Estimate:
        """Check a request and tell what it would need, without running it. `inputs` asks about a batch of them."""
        request = estimate_request(prompt, inputs, **options)
        return Estimate(await self._transport.estimate(request, timeout, metadata))

    async def health(
        self, service: str = "", *, timeout: TimeoutLike = CLIENT_DEFAULT, metadata: MetadataLike | None = None
    ) -> str:
        """ "SERVING" or "NOT_SERVING"; the empty service is the server as a whole. NotFoundError for an unknown one."""
        return serving_status(await self._transport.health(health_request(service), timeout, metadata))

    async def close(self) -> None:
        """Close this loop's connection, which ends open calls with RequestCancelled. Idempotent."""
        await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
