"""The asyncio client."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import aclosing
from types import TracebackType
from typing import TYPE_CHECKING

import grpc

from penstock.aio_transport import AsyncTransport
from penstock.api_key import with_api_key
from penstock.batch import BatchReply
from penstock.batch_progress import progress_bar
from penstock.batch_runs import BatchRun, Collected, Result, batch_requests, checked_concurrency, completed_async
from penstock.caching.aio_cached_transport import AsyncCachedTransport
from penstock.call_options import CallOptions, MetadataLike, SharedOptions, split
from penstock.channel import Dialer
from penstock.channel_options import OptionOverrides
from penstock.client import DEFAULT_TARGET
from penstock.embeddings import EmbedReply, TextLike, embed_request
from penstock.endpoints.asyncio_pool import AsyncEndpointPool
from penstock.endpoints.settings import PoolSettings
from penstock.endpoints.targets import parse_targets
from penstock.estimate import Estimate, estimate_request
from penstock.health import health_request, serving_status
from penstock.hooks import Observers
from penstock.json_answers.answers import JsonAnswer, JsonQuestion
from penstock.models import AsyncModels
from penstock.observed import Observed
from penstock.openai_shape.async_resources import AsyncChat, AsyncCompletions, AsyncEmbeddings
from penstock.openai_shape.beta import Beta
from penstock.reply import Reply
from penstock.requests import InputLike, batch_request, generate_request
from penstock.retry import Retry
from penstock.sessions.riding import SessionsLike
from penstock.status import GenerationStatus, generation_status, status_request
from penstock.stream import AsyncStream
from penstock.tasks import needed, open_store
from penstock.terms import client_defaults
from penstock.timeouts import Timeout
from penstock.tokenization import detokenize_request, tokenize_request
from penstock.v1.generation_pb2 import TokenizeResponse

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from penstock.caching.cache import Cache
    from penstock.embeddings import EmbedCall
    from penstock.generate_options import BatchCall, GenerateCall, TokenizeCall
    from penstock.json_answers.schemas import SchemaLike
    from penstock.tasks.asyncio_tasks import AsyncTasks
    from penstock.tls import Tls


class AsyncClient(Observed):
    """A client of one Penstock service, for asyncio. The arguments are those of `penstock.Client`.

    Nothing is dialled before the first call. It can be made anywhere, also outside of a running loop; each loop that
    uses it gets connections of its own. Cancelling the task that waits for a call cancels the call.
    """

    _transport: AsyncTransport

    def __init__(
        self,
        target: str | Sequence[str] = DEFAULT_TARGET,
        *,
        api_key: str | None = None,
        tls: Tls | bool | None = None,
        credentials: grpc.ChannelCredentials | None = None,
        metadata: MetadataLike | None = None,
        channel_options: OptionOverrides | None = None,
        proxy: str | None = None,
        timeout: Timeout | float | None = None,
        tiers: Mapping[str, Timeout | float] | None = None,
        adaptive: bool = True,
        retry: Retry | None = None,
        resume: bool = False,
        cache: Cache | None = None,
        state: str | os.PathLike[str] | None = None,
        sessions: SessionsLike = "auto",
    ) -> None:
        observers = Observers()
        dialer = Dialer(credentials, tls, channel_options, proxy)
        pool = AsyncEndpointPool(PoolSettings(parse_targets(target), dialer, emit=observers.emit))
        defaults = client_defaults(timeout, tiers, with_api_key(api_key, metadata), retry, resume)
        transport = AsyncCachedTransport(
            pool, defaults, sessions, observers=observers, group=str(target), adaptive=adaptive
        )
        self._store = open_store(state)
        if self._store is not None:
            transport.record(self._store.begin)
        self._wire(transport.with_cache(cache))

    def _wire(self, transport: AsyncTransport) -> None:
        self._transport = transport
        self._observers = transport.observers
        self.models = AsyncModels(transport)
        self.chat = AsyncChat(transport)
        self.beta = Beta(self.chat)
        self.completions = AsyncCompletions(transport)
        self.embeddings = AsyncEmbeddings(transport)

    def with_options(self, **options: Unpack[SharedOptions]) -> Self:
        """A client with other defaults that shares all else with this one: closing either closes both."""
        copy = object.__new__(type(self))
        copy.__dict__.update(self.__dict__)
        copy._wire(self._transport.with_options(**options))
        return copy

    async def generate(self, prompt: str | None = None, **options: Unpack[GenerateCall]) -> Reply:
        """Generate the whole answer."""
        call, fields = split(options)
        return await self._transport.generate(generate_request(prompt, **fields), self._transport.terms(**call))

    def stream(self, prompt: str | None = None, **options: Unpack[GenerateCall]) -> AsyncStream:
        """Generate the answer piece by piece. The call begins at once; the total limit is that of the whole stream.

        Not a coroutine: use the result with `async for` or `async with`, inside a running loop.
        """
        call, fields = split(options)
        return self._transport.stream(generate_request(prompt, **fields), self._transport.terms(**call))

    def resume(self, token: str, **options: Unpack[CallOptions]) -> AsyncStream:
        """Read on where a stream was interrupted: `token` is the `resume_token` of its error.

        The first chunk is the one after the last that came. NotFoundError once the server has given the generation up;
        ValueError for what is no token.
        """
        return self._transport.resume(token, self._transport.terms(**options))

    async def generate_batch(self, inputs: Iterable[InputLike], **options: Unpack[BatchCall]) -> BatchReply:
        """Generate an answer for each input (a prompt, a list of token ids or a list of messages), in one call.

        What concerns all inputs is raised; what concerns one is its result.
        """
        call, fields = split(options)
        request = batch_request(inputs, **fields)
        return BatchReply((await self._transport.generate(request, self._transport.terms(**call))).proto)

    async def batch(
        self,
        inputs: Iterable[InputLike],
        *,
        concurrency: int = 16,
        progress: bool = False,
        return_exceptions: bool = True,
        **options: Unpack[BatchCall],
    ) -> BatchRun:
        """Generate an answer for each input, in calls of their own, `concurrency` (1 to 1024) of them at a time.

        inputs: as for generate_batch; a generator is read as calls end. progress: draws a bar (extra `cli`).
        return_exceptions: whether an error is its input's result; if not, the first one is raised and ends the rest.

        The total limit is that of all calls together.
        """
        collected = Collected(return_exceptions)
        results = self.batch_as_completed(inputs, concurrency=concurrency, **options)
        async with aclosing(results):
            with progress_bar(inputs, progress) as advance:
                async for index, result in results:
                    collected.add(index, result)
                    advance()
        return collected.run()

    def batch_as_completed(
        self, inputs: Iterable[InputLike], *, concurrency: int = 16, **options: Unpack[BatchCall]
    ) -> AsyncGenerator[tuple[int, Result], None]:
        """What `batch` returns, one at a time: each input's place and its result, in the order in which calls end.

        Leaving the loop early cancels the calls that still run. Not a coroutine: use it with `async for`.
        """
        call, fields = split(options)
        terms = self._transport.terms(**call)
        requests = batch_requests(inputs, **fields)
        return completed_async(
            lambda request: self._transport.stream(request, terms), requests, checked_concurrency(concurrency)
        )

    async def json(
        self,
        prompt: str | None = None,
        *,
        schema: SchemaLike | None = None,
        constrain: bool = True,
        repair: bool = False,
        **options: Unpack[GenerateCall],
    ) -> JsonAnswer:
        """Generate a JSON document: `.value`, and whether it had to be `.repaired`. Raises InvalidJSONError.

        schema: a JSON Schema as a dict or as text, or a pydantic model, whose instance is the value. None: any object.
        constrain: whether the server makes the model write such a document; False for models that are not to be made.
        repair: whether almost-JSON is mended (extra `json`). What was cut off at a limit never is.
        """
        call, fields = split(options)
        question = JsonQuestion(prompt, schema, constrain, repair, **fields)
        return question.read(await self._transport.generate(question.request, self._transport.terms(**call)))

    async def embed(self, texts: str | Iterable[TextLike], **options: Unpack[EmbedCall]) -> EmbedReply:
        """Turn texts (or lists of token ids) into vectors, with a model that is served for that.

        What concerns all texts is raised; what concerns one is its result.
        """
        call, fields = split(options)
        return EmbedReply(await self._transport.embed(embed_request(texts, **fields), self._transport.terms(**call)))

    async def tokenize(self, prompt: str | None = None, **options: Unpack[TokenizeCall]) -> TokenizeResponse:
        """Tell the tokens that `generate` would read: `token_ids`, and the `spans` of `text` that they stand for."""
        call, fields = split(options)
        return await self._transport.tokenize(tokenize_request(prompt, **fields), self._transport.terms(**call))

    async def detokenize(
        self,
        token_ids: Iterable[int],
        *,
        model: str | None = None,
        skip_special_tokens: bool | None = None,
        **options: Unpack[CallOptions],
    ) -> str:
        """Tell the text of tokens; special tokens are in it unless `skip_special_tokens=True`."""
        request = detokenize_request(token_ids, model, skip_special_tokens)
        return (await self._transport.detokenize(request, self._transport.terms(**options))).text

    async def estimate(
        self, prompt: str | None = None, *, inputs: Iterable[InputLike] | None = None, **options: Unpack[GenerateCall]
    ) -> Estimate:
        """Check a request and tell what it would need, without running it. `inputs` asks about a batch of them."""
        call, fields = split(options)
        request = estimate_request(prompt, inputs, **fields)
        return Estimate(await self._transport.estimate(request, self._transport.terms(**call)))

    async def health(self, service: str = "", **options: Unpack[CallOptions]) -> str:
        """ "SERVING" or "NOT_SERVING"; the empty service is the server as a whole. NotFoundError for an unknown one."""
        return serving_status(await self._transport.health(health_request(service), self._transport.terms(**options)))

    @property
    def tasks(self) -> AsyncTasks:
        """The unfinished streams of `state`, of this process and of others. ValueError without `state`."""
        from penstock.tasks.asyncio_tasks import AsyncTasks

        return AsyncTasks(needed(self._store), self._transport)

    async def status(
        self,
        id: str | None = None,
        *,
        idempotency_key: str | None = None,
        request_id: str | None = None,
        **options: Unpack[CallOptions],
    ) -> GenerationStatus:
        """Tell where a generation is, by one of its names. NotFoundError if no server has it (any more)."""
        request = status_request(id, idempotency_key=idempotency_key, request_id=request_id)
        return generation_status(await self._transport.get_generation(request, self._transport.terms(**options)))

    async def close(self) -> None:
        """Close this loop's connections, which ends open calls with RequestCancelled. Idempotent."""
        await self._transport.close()
        if self._store is not None:
            await asyncio.to_thread(self._store.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
