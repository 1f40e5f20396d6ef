"""What can be read, and who reads it: generations and recordings on one side, RPCs and sessions' calls on the other."""

from typing import Protocol

from penstock.v1.generation_pb2 import GenerateChunk


class Readable(Protocol):
    """Output that comes in chunks, and has one end."""

    @property
    def held_bytes(self) -> int:
        """About how much output the next chunk has."""

    @property
    def drained(self) -> bool:
        """Whether it has ended, and everything that could be taken has been."""

    @property
    def readable(self) -> bool:
        """Whether `take` has something to give."""

    @property
    def ended(self) -> bool:
        """Whether nothing more comes than what is readable now."""

    def take(self, chunk: GenerateChunk) -> None:
        """Move the next chunk into an empty one. Call it only while `readable`."""

    def cancel(self) -> None:
        """End it for its reader, who asked for that."""


class Reader(Protocol):
    """Who reads. Its methods are called on the event loop and must not block."""

    @property
    def interrupted(self) -> bool:
        """Whether the reader's task was cancelled by `interrupt`."""

    def opened(self, generation: Readable) -> None:
        """This is what to read."""

    def news(self) -> None:
        """Something can be taken, said once until `take` is called; or the end has come."""

    def interrupt(self) -> None:
        """Stop waiting for the connection: reading has been ended because it does not move."""
