"""vLLM's logprobs as the contract's records, one for each token."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from penstock.v1.generation_pb2 import TokenCandidate, TokenInfo
from penstock_service.engine.vllm.token_bytes import TokenBytes


class LogprobRecords:
    """Makes the records of one model's tokens."""

    def __init__(self, tokenizer: Any) -> None:
        self._bytes = TokenBytes(tokenizer)

    def of(
        self, token_ids: Sequence[int], found: Iterable[Mapping[int, Any] | None], candidates: int
    ) -> list[TokenInfo]:
        """A record for each token; `found` is what vLLM has for each place, None where nothing was computed."""
        return [self._record(token, place, candidates) for token, place in zip(token_ids, found, strict=True)]

    def _record(self, token_id: int, place: Mapping[int, Any] | None, candidates: int) -> TokenInfo:
        raw = self._bytes.of(token_id)
        record = TokenInfo(token_id=token_id, token_bytes=raw, text=raw.decode(errors="replace"))
        if place is None:
            return record
        chosen = place[token_id]
        record.logprob, record.rank = chosen.logprob, chosen.rank
        if candidates:
            # Besides the chosen token vLLM gives the likeliest ones, which may include it.
            likeliest = sorted(place.items(), key=lambda entry: entry[1].rank)[:candidates]
            record.candidates.extend(self._candidate(token, info) for token, info in likeliest)
        return record

    def _candidate(self, token_id: int, info: Any) -> TokenCandidate:
        raw = self._bytes.of(token_id)
        text = raw.decode(errors="replace")
        return TokenCandidate(token_id=token_id, token_bytes=raw, text=text, logprob=info.logprob, rank=info.rank)
