"""Output that is more than the text of one sequence: held by sequence, merged until a reader takes it."""

from penstock.v1.generation_pb2 import Finish, GenerateChunk, SequenceDelta


class Deltas:
    """Held deltas of `count` sequences."""

    def __init__(self, count: int, with_token_ids: bool) -> None:
        self._count = count
        self._with_token_ids = with_token_ids
        self._held: dict[int, SequenceDelta] = {}
        self._finished: dict[int, int] = {}  # sequence -> why

    def hold(self, delta: SequenceDelta) -> int:
        """Take a delta over; how many bytes it adds to what is held."""
        if not self._with_token_ids:
            del delta.token_ids[:]
        if delta.HasField("finish"):
            self._finished[delta.index] = delta.finish.reason
        held = self._held.get(delta.index)
        if held is None:
            self._held[delta.index] = delta
        else:
            _merge(held, delta)
        return delta.ByteSize()

    def move(self, chunk: GenerateChunk) -> None:
        """Move what is held into a chunk, by sequence."""
        chunk.deltas.extend(self._held[index] for index in sorted(self._held))
        self._held = {}

    def finish(self, chunk: GenerateChunk, finish: Finish | None) -> None:
        """Finish in a generation's last chunk all sequences that have not ended by themselves."""
        if finish is None:
            return
        there = {delta.index: delta for delta in chunk.deltas}
        for index in self._open():
            delta = there.get(index) or chunk.deltas.add(index=index)
            delta.finish.CopyFrom(finish)

    def finish_reasons(self, finish: Finish | None) -> tuple[int, ...]:
        """Why each sequence ended, those that `finish` ends included."""
        reasons = self._finished | (dict.fromkeys(self._open(), finish.reason) if finish else {})
        return tuple(reasons[index] for index in sorted(reasons))

    def _open(self) -> list[int]:
        return [index for index in range(self._count) if index not in self._finished]


def _merge(held: SequenceDelta, new: SequenceDelta) -> None:
    held.text += new.text
    held.reasoning += new.reasoning
    held.token_ids.extend(new.token_ids)
    held.tokens.extend(new.tokens)
    if new.HasField("finish"):
        held.finish.CopyFrom(new.finish)
    calls = {call.index: call for call in held.tool_calls}
    for call in new.tool_calls:
        if call.index in calls:
            calls[call.index].arguments += call.arguments
        else:
            held.tool_calls.append(call)
