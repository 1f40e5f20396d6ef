"""What a batch returns."""

from __future__ import annotations

from penstock.reply import Reply
from penstock.results import Results, outcomes
from penstock.v1.generation_pb2 import GenerateResponse


class BatchReply(Results[GenerateResponse, Reply]):
    """For each input its Reply, or the APIError with which it failed."""

    __slots__ = ()

    def __init__(self, proto: GenerateResponse) -> None:
        read = outcomes(proto.results, lambda result: Reply(result.response), proto.request_id)
        super().__init__(proto, read)

    @property
    def replies(self) -> list[Reply]:
        """The replies, if no input failed. Raises the error of the first that did."""
        return self._all()
