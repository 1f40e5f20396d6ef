"""Files that are read again when they change."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Generic, TypeVar

import structlog

from penstock_service.configuration import ConfigurationError
from penstock_service.logged_errors import summary

T = TypeVar("T")

log = structlog.get_logger()

# Of files that change while they are read.
_MOST_READINGS = 3

Stamps = list[tuple[int, int, int] | None]


class WatchedFiles(Generic[T]):
    """What `read` makes of some files; raises what it raises at first, ConfigurationError.

    What cannot be used later is logged once, and what was read before stays in use.
    """

    def __init__(self, what: str, files: Iterable[Path], read: Callable[[], T]) -> None:
        self._what = what
        self._files = list(files)
        self._read = read
        self._seen = self._stamps()
        self._current = read()

    def current(self) -> T:
        """What the files have in them now: a look at each costs some microseconds."""
        for _ in range(_MOST_READINGS):
            if (stamps := self._stamps()) == self._seen:
                break
            self._read_again(stamps)
        return self._current

    def _read_again(self, stamps: Stamps) -> None:
        try:
            read = self._read()
        except Exception as error:  # whatever it is: it would end the call that happens to look
            if self._stamps() == stamps:
                told = str(error) if isinstance(error, ConfigurationError) else summary(error)
                log.error("changed files cannot be used, the old ones stay", what=self._what, error=told)
                self._seen = stamps
            return
        if self._stamps() == stamps:  # else one of them changed meanwhile: they may not belong together, or be half new
            log.info("changed files were read again", what=self._what)
            self._current, self._seen = read, stamps

    def _stamps(self) -> Stamps:
        return [_stamp(file) for file in self._files]


def _stamp(file: Path) -> tuple[int, int, int] | None:
    try:
        status = os.stat(file)  # follows the links by which Kubernetes swaps the files of a secret
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
