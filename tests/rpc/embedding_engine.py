"""A simulated engine that embeds, with knobs for what a real one cannot be asked to do."""

import asyncio
from collections.abc import Mapping
from typing import Self

from penstock.v1 import generation_pb2 as pb
from penstock_service.engine.base import Embedded
from penstock_service.engine.simulated import SimulatedEngine
from penstock_service.settings import Settings


class EmbeddingEngine(SimulatedEngine):
    """The vector of a text is its bytes. `errors` are raised for texts; `hold` keeps every input until it is set."""

    errors: Mapping[str, Exception] = {}
    hold: asyncio.Event | None = None
    embedding = 0  # inputs inside it
    most_embedding = 0

    @classmethod
    async def load(cls, settings: Settings) -> Self:
        engine = await super().load(settings)
        engine.model.embeddings = True
        return engine

    def embedder(self, request: pb.EmbedRequest, adapter: str | None) -> Self:
        return self

    async def embed(self, given: pb.EmbedInput, request_id: str) -> Embedded:
        self.embedding += 1
        self.most_embedding = max(self.most_embedding, self.embedding)
        try:
            if self.hold is not None:
                await self.hold.wait()
            if given.text in self.errors:
                raise self.errors[given.text]
            await asyncio.sleep(0)
            values = given.text.encode() if given.text else given.token_ids.ids
            return Embedded([float(value) for value in values], len(values))
        finally:
            self.embedding -= 1
