"""A conversation's pictures and sounds, as vLLM's processors take them."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from penstock.v1 import generation_pb2 as pb
from penstock_service.engine.vllm.media_fetch import MediaFetcher
from penstock_service.engine.vllm.pictures import decoded_picture
from penstock_service.engine.vllm.refusals import REFUSED
from penstock_service.engine.vllm.sounds import decoded_sound
from penstock_service.errors import FeatureOff, InvalidRequest, Violation
from penstock_service.media_limits import MediaPart, MediaRefused, media_parts, size_violations

# A picture of the largest size takes 60 MB decoded and a conversation has eight: so many conversations' media lie
# decoded in memory at a time. vLLM's processor takes one after the other anyway.
_MOST_DECODED = 2
_DECODERS: Mapping[str, Callable[[bytes], Any]] = {"image": decoded_picture, "audio": decoded_sound}


class Media:
    """Loads the media of conversations: from `fetcher` what is named by URL, decoded in threads of its own."""

    def __init__(self, fetcher: MediaFetcher) -> None:
        self._fetcher = fetcher
        self._turn = asyncio.Semaphore(_MOST_DECODED)
        self._threads = ThreadPoolExecutor(_MOST_DECODED, thread_name_prefix="media")

    @classmethod
    def of(cls, hosts: Collection[str]) -> "Media":
        """With the hosts that the operator permits."""
        return cls(MediaFetcher(hosts))

    @asynccontextmanager
    async def decoded(self, conversation: pb.Conversation) -> AsyncIterator[Mapping[str, list[Any]]]:
        """The media by kind, in order, for the block. Raises InvalidRequest with everything that is wrong."""
        parts = list(media_parts(conversation))
        files = await self._files(parts)
        async with self._turn:
            yield await self._decoded(parts, files)

    async def _files(self, parts: list[MediaPart]) -> list[bytes]:
        wrong: list[Violation] = []

        async def file(part: MediaPart) -> bytes:
            if part.media.WhichOneof("source") == "data":
                return part.media.data
            with _noting(f"{part.field}.url", wrong):
                return await self._fetcher.fetch(part.media.url)
            return b""

        async with asyncio.TaskGroup() as tasks:
            loading = [tasks.create_task(file(part)) for part in parts]
        files = [task.result() for task in loading]
        if violations := [*sorted(wrong), *size_violations(map(len, files))]:
            raise InvalidRequest(violations)
        return files

    async def _decoded(self, parts: list[MediaPart], files: list[bytes]) -> Mapping[str, list[Any]]:
        found: defaultdict[str, list[Any]] = defaultdict(list)
        wrong: list[Violation] = []
        for part, file in zip(parts, files, strict=True):
            with _noting(f"{part.field}.{part.media.WhichOneof('source')}", wrong):
                found[part.kind].append(await self._in_thread(_DECODERS[part.kind], file))
        if wrong:
            raise InvalidRequest(wrong)
        return found

    async def _in_thread(self, decode: Callable[[bytes], Any], file: bytes) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, decode, file)


@contextmanager
def _noting(field: str, wrong: list[Violation]) -> Iterator[None]:
    try:
        yield
    except MediaRefused as refusal:
        wrong.append(Violation(field, str(refusal)))


@contextmanager
def refusing_media() -> Iterator[None]:
    """Raise what a model's processor makes of decoded media in the block as what it means to the caller."""
    try:
        yield
    except REFUSED:
        raise
    except (ValueError, RuntimeError) as error:  # such as sides too short, or a template that shows no pictures
        wrong = "has images or sounds that the model's chat template or processor does not take"
        raise InvalidRequest([Violation("conversation", wrong)]) from error
    except ImportError as error:
        raise FeatureOff("conversation: this server lacks a library that its model reads such media with") from error
