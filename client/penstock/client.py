"""The blocking client."""

from __future__ import annotations

from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING

import grpc

from penstock.batch import BatchReply
from penstock.call_options import CLIENT_DEFAULT, CallOptions, MetadataLike, TimeoutLike
from penstock.channel import LazyChannel, OptionOverrides
from penstock.embeddings import EmbedOptions, EmbedReply, TextLike, embed_request
from penstock.estimate import Estimate, estimate_request
from penstock.health import health_request, serving_status
from penstock.models import Models
from penstock.openai_shape.resources import Chat, Completions, Embeddings
from penstock.reply import Reply
from penstock.requests import InputLike, batch_request, generate_request
from penstock.sessions.riding import SessionsLike
from penstock.stream import Stream
from penstock.tokenization import detokenize_request, tokenize_request
from penstock.transport import Transport
from penstock.v1.generation_pb2 import TokenizeResponse

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from penstock.generate_options import BatchOptions, GenerateOptions, TokenizeOptions

DEFAULT_TARGET = "localhost:50051"


class Client:
    """A client of one Penstock service. Threads may share it.

    target: a gRPC target, "host:port" or "dns:///name:port" for all addresses behind a name.
    timeout: the default deadline of each call, in seconds; None for none.
    metadata: sent with each call; a call's own entry of the same key replaces it.
    channel_options: gRPC channel options that replace those of penstock.channel by name.
    credentials: the channel's credentials (grpc.ssl_channel_credentials()); None for plain text.
    sessions: whether streams share one RPC, which makes them cheaper and changes nothing else: "auto" (those that begin
        while two others are open), "always" or "never". A stream with metadata of its own has an RPC of its own.

    Nothing is dialled before the first call. Every call can raise the errors of penstock.errors, TypeError or
    ValueError for wrong arguments, and RuntimeError once the client is closed.
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
        channel = LazyChannel(target, credentials, channel_options)
        self._transport = Transport(channel, CallOptions(timeout, metadata), sessions)
        self.models = Models(self._transport)
        self.chat = Chat(self._transport)
        self.completions = Completions(self._transport)
        self.embeddings = Embeddings(self._transport)

    def generate(
        self,
        prompt: str | None = None,
        *,
        timeout: TimeoutLike = CLIENT_DEFAULT,
        metadata: MetadataLike | None = None,
        **options: Unpack[GenerateOptions],
    ) -> Reply:
        """Generate the whole answer. `timeout` in seconds replaces the client's; None means no deadline."""
        return self._transport.generate(generate_request(prompt, **options), timeout, metadata)

    def stream(
        self,
        prompt: str | None = None,
        *,
        timeout: TimeoutLike = CLIENT_DEFAULT,
        metadata: MetadataLike | None = None,
        **options: Unpack[GenerateOptions],
    ) -> Stream:
        """Generate the answer piece by piece. The call begins at once; the deadline is that of the whole stream."""
        return self._transport.stream(generate_request(prompt, **options), timeout, metadata)

    def generate_batch(
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
        return BatchReply(self._transport.generate(request, timeout, metadata).proto)

    def embed(
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
        return EmbedReply(self._transport.embed(embed_request(texts, **options), timeout, metadata))

    def tokenize(
        self,
        prompt: str | None = None,
        *,
        timeout: TimeoutLike = CLIENT_DEFAULT,
        metadata: MetadataLike | None = None,
        **options: Unpack[TokenizeOptions],
    ) -> TokenizeResponse:
        """Tell the tokens that `generate` would read: `token_ids`, and the `spans` of `text` that they stand for."""
        return self._transport.tokenize(tokenize_request(prompt, **options), timeout, metadata)

    def detokenize(
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
        return self._transport.detokenize(request, timeout, metadata).text

    def estimate(
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
        return Estimate(self._transport.estimate(request, timeout, metadata))

    def health(
        self, service: str = "", *, timeout: TimeoutLike = CLIENT_DEFAULT, metadata: MetadataLike | None = None
    ) -> str:
        """ "SERVING" or "NOT_SERVING"; the empty service is the server as a whole. NotFoundError for an unknown one."""
        return serving_status(self._transport.health(health_request(service), timeout, metadata))

    def close(self) -> None:
        """Close the connection, which ends open calls with RequestCancelled. Idempotent."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
