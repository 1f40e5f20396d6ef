"""What the replies about several inputs share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar

from penstock.errors import APIError
from penstock.statuses import from_rpc_status
from penstock.v1.generation_pb2 import BatchResult, EmbedResponse, EmbedResult, GenerateResponse, Usage

ProtoT = TypeVar("ProtoT", GenerateResponse, EmbedResponse)
ResultT = TypeVar("ResultT")


class Results(Generic[ProtoT, ResultT]):
    """What became of each input, in their order: iterate it, index it, or take `results`.

    A result is what was asked for, or the error with which its input failed.
    """

    __slots__ = ("proto", "results")

    def __init__(self, proto: ProtoT, results: list[ResultT | APIError]) -> None:
        self.proto: ProtoT = proto
        self.results = results

    @property
    def usage(self) -> Usage:
        """What was counted, over all inputs."""
        return self.proto.usage

    @property
    def id(self) -> str:
        """The server's own id of this call."""
        return self.proto.id

    @property
    def model(self) -> str:
        """The model that answered, by its own name."""
        return self.proto.model

    @property
    def request_id(self) -> str:
        """The `request_id` of the call; empty if it had none."""
        return self.proto.request_id

    def __iter__(self) -> Iterator[ResultT | APIError]:
        return iter(self.results)

    def __len__(self) -> int:
        return len(self.results)

    def __getitem__(self, index: int) -> ResultT | APIError:
        return self.results[index]

    def _all(self) -> list[ResultT]:
        """The results, if no input failed. Raises the error of the first that did."""
        succeeded: list[ResultT] = []
        for result in self.results:
            if isinstance(result, APIError):
                raise result
            succeeded.append(result)
        return succeeded


OutcomeT = TypeVar("OutcomeT", BatchResult, EmbedResult)


def outcomes(
    results: Sequence[OutcomeT], read: Callable[[OutcomeT], ResultT], request_id: str
) -> list[ResultT | APIError]:
    """What `read` makes of each result, or the error that its status means."""
    return [
        from_rpc_status(result.status, request_id or None) if result.HasField("status") else read(result)
        for result in results
    ]
