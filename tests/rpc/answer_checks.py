"""What holds for the sequences of every answer, whatever was asked for."""

from collections.abc import Sequence

from penstock.v1 import generation_pb2 as pb


def check_sequences(request: pb.GenerateRequest, sequences: Sequence[pb.Sequence], usage: pb.Usage) -> None:
    """Fail for sequences that are not what the contract says of `request`."""
    assert [sequence.index for sequence in sequences] == list(range(request.num_sequences or 1))
    assert usage.prompt_tokens >= 1
    most = request.stopping.max_tokens
    assert not request.stopping.HasField("max_tokens") or usage.completion_tokens <= most * len(sequences)
    for sequence in sequences:
        assert sequence.finish.reason in pb.FinishReason.values()[1:]
        _check_text(request, sequence)
        _check_tokens(request.response, sequence)
    for name in ("token_ids", "tokens"):
        shown = [getattr(sequence, name) for sequence in sequences]
        assert sum(map(len, shown)) in (usage.completion_tokens, 0), name


def _check_text(request: pb.GenerateRequest, sequence: pb.Sequence) -> None:
    stopping, response = request.stopping, request.response
    if response.HasField("text") and not response.text:
        assert not sequence.text
    if not stopping.include_stop and not stopping.min_tokens:
        assert not [stop for stop in stopping.stop if stop in sequence.text]


def _check_tokens(response: pb.ResponseOptions, sequence: pb.Sequence) -> None:
    assert response.token_ids or not sequence.token_ids
    assert response.HasField("logprobs") or not sequence.tokens
    if response.token_ids and response.HasField("logprobs"):
        assert [token.token_id for token in sequence.tokens] == list(sequence.token_ids)
    for token in sequence.tokens:
        assert token.logprob <= 1e-6
        assert token.rank >= 1
        assert len(token.candidates) == response.logprobs
