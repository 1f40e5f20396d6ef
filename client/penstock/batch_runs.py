"""Many inputs, each with a call of its own, so many calls at a time. Both flavours."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from typing import TYPE_CHECKING, overload

from penstock import arguments
from penstock.arguments import ArgumentValueError
from penstock.errors import APIError
from penstock.reply import Reply
from penstock.requests import each_request

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from penstock.generate_options import BatchOptions
    from penstock.requests import InputLike
    from penstock.stream import AsyncStream, Stream
    from penstock.v1.generation_pb2 import GenerateRequest

Result = Reply | APIError

# A blocking client has a thread for each; a server's sessions are made for hundreds of calls and not for any number.
MOST_AT_A_TIME = 1024


class BatchRun(Sequence[Result]):
    """What became of each input, in their order: its Reply, or the APIError with which its call failed."""

    __slots__ = ("results",)

    def __init__(self, results: Iterable[Result]) -> None:
        self.results = list(results)

    @property
    def replies(self) -> list[Reply]:
        """The replies, if no call failed. Raises the error of the first input whose call did."""
        replies: list[Reply] = []
        for result in self.results:
            if isinstance(result, APIError):
                raise result
            replies.append(result)
        return replies

    @property
    def errors(self) -> dict[int, APIError]:
        """The errors, by the place of their input."""
        return {index: result for index, result in enumerate(self.results) if isinstance(result, APIError)}

    @overload
    def __getitem__(self, index: int) -> Result: ...

    @overload
    def __getitem__(self, index: slice) -> list[Result]: ...

    def __getitem__(self, index: int | slice) -> Result | list[Result]:
        return self.results[index]

    def __len__(self) -> int:
        return len(self.results)

    def __repr__(self) -> str:
        return f"BatchRun({len(self)} results, {len(self.errors)} of them errors)"


class Collected:
    """The results as they come. `add` raises one that nobody is to get as a result."""

    def __init__(self, return_exceptions: bool) -> None:
        self._return_exceptions = arguments.flag("return_exceptions", return_exceptions)
        self._results: dict[int, Result] = {}

    def add(self, index: int, result: Result) -> None:
        if isinstance(result, APIError) and not self._return_exceptions:
            raise result
        self._results[index] = result

    def run(self) -> BatchRun:
        """All of them, in the order of their inputs."""
        return BatchRun(self._results[index] for index in range(len(self._results)))


def batch_requests(inputs: Iterable[InputLike], **options: Unpack[BatchOptions]) -> Iterator[GenerateRequest]:
    """A request for each input, made when it is its turn. The TypeError or ValueError of a wrong one names it."""
    if options.get("idempotency_key"):
        raise ArgumentValueError("idempotency_key", "cannot go with several inputs: it names one generation")
    return each_request(inputs, **options)


def checked_concurrency(concurrency: object) -> int:
    """How many calls run at a time: 1 to MOST_AT_A_TIME."""
    number = arguments.integer("concurrency", concurrency)
    if not 1 <= number <= MOST_AT_A_TIME:
        raise ArgumentValueError("concurrency", f"is {number}; it must be 1 to {MOST_AT_A_TIME}")
    return number


def completed(
    begin: Callable[[GenerateRequest], Stream], requests: Iterator[GenerateRequest], concurrency: int
) -> Generator[tuple[int, Result], None, None]:
    """The place and the result of each input, in the order of their ends. Leaving it early cancels what still runs.

    The calls are streams, which, unlike unary calls, another thread can cancel.
    """
    waiting = enumerate(requests)
    running: dict[Future[Result], tuple[int, Stream]] = {}
    with ThreadPoolExecutor(concurrency, "penstock-batch") as threads:
        try:
            while True:
                for index, request in islice(waiting, concurrency - len(running)):
                    stream = begin(request)
                    running[threads.submit(_result, stream)] = (index, stream)
                if not running:
                    return
                for ended in wait(running, return_when=FIRST_COMPLETED).done:
                    yield running.pop(ended)[0], ended.result()
        finally:
            for _, stream in running.values():
                stream.close()


async def completed_async(
    begin: Callable[[GenerateRequest], AsyncStream], requests: Iterator[GenerateRequest], concurrency: int
) -> AsyncGenerator[tuple[int, Result], None]:
    """The place and the result of each input, in the order of their ends. Leaving it early cancels what still runs."""
    waiting = enumerate(requests)
    running: dict[asyncio.Task[Result], int] = {}
    try:
        while True:
            for index, request in islice(waiting, concurrency - len(running)):
                running[asyncio.create_task(_async_result(begin(request)))] = index
            if not running:
                return
            ended, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in ended:
                yield running.pop(task), task.result()
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def _result(stream: Stream) -> Result:
    try:
        return stream.reply()
    except APIError as error:
        return error


async def _async_result(stream: AsyncStream) -> Result:
    async with stream:
        try:
            return await stream.reply()
        except APIError as error:
            return error
