"""The operator's adapters on disk: ROOT/NAME/VERSION/{adapter_config.json, adapter_model.safetensors}.

Callers name them and never give a path. Nothing outside the root is opened, whatever a name or a symbolic link says,
and the digest is of the bytes that lie there.
"""

import hashlib
import json
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import NamedTuple

from penstock_service.daemon_thread import in_daemon_thread
from penstock_service.errors import AdapterNotFound, AdapterRefused, InvalidRequest, Violation

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
MOST_BYTES = {CONFIG: 1 << 20, WEIGHTS: 8 << 30}

_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")
_PICKLED = {".bin", ".pt", ".pth", ".pkl", ".ckpt"}  # reading them runs code
_MOST_RANK = 1 << 16

Stamp = tuple[int, ...]


class AdapterFiles(NamedTuple):
    """A version of an adapter as it lies on disk."""

    path: Path
    digest: str  # "sha256:" and what `sha256sum adapter_config.json adapter_model.safetensors | sha256sum` prints
    rank: int  # the highest of its layers
    stamps: tuple[Stamp, ...]  # others once a file changes


class AdapterDirectory:
    """Finds versions of adapters below a root, and reads them off the event loop."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()

    async def find(self, name: str, version: str) -> AdapterFiles:
        """The files of a version. Raises InvalidRequest, AdapterNotFound and AdapterRefused."""
        check_names(name, version)
        try:
            return await in_daemon_thread(lambda: self._read(self._root / name / version))
        except FileNotFoundError:
            raise AdapterNotFound(key_of(name, version)) from None
        except _Refused as error:
            raise AdapterRefused(key_of(name, version), str(error)) from error

    async def unchanged(self, name: str, version: str, files: AdapterFiles) -> bool:
        """Whether the files are those that `find` has read."""
        return await in_daemon_thread(lambda: _stamps(self._root / name / version)) == files.stamps

    def _read(self, where: Path) -> AdapterFiles:
        directory = where.resolve()
        if not (directory.is_relative_to(self._root) and directory.is_dir()):
            raise FileNotFoundError
        if not (directory / WEIGHTS).exists() and any(file.suffix in _PICKLED for file in directory.iterdir()):
            raise _Refused(f"its weights must be {WEIGHTS}; reading other formats can run code")
        sums = hashlib.sha256()
        with self._opened(directory / CONFIG) as config, self._opened(directory / WEIGHTS) as weights:
            stamps = tuple(_stamp(os.fstat(file.fileno())) for file in (config, weights))
            for name, file in ((CONFIG, config), (WEIGHTS, weights)):
                sums.update(f"{hashlib.file_digest(file, 'sha256').hexdigest()}  {name}\n".encode())
            config.seek(0)
            return AdapterFiles(where, f"sha256:{sums.hexdigest()}", _rank(config.read(MOST_BYTES[CONFIG])), stamps)

    @contextmanager
    def _opened(self, path: Path) -> Iterator[BufferedReader]:
        try:
            real = path.resolve(strict=True)
            if not real.is_relative_to(self._root):
                raise _Refused(f"{path.name} is a link that leads out of the adapter directory")
            file = open(real, "rb", opener=_open_at_once)  # noqa: SIM115 - closed below
        except (OSError, RuntimeError):  # RuntimeError: links in a circle
            raise _Refused(f"{path.name} is missing or cannot be read") from None
        with file:
            status, most = os.fstat(file.fileno()), MOST_BYTES[path.name]
            if not (stat.S_ISREG(status.st_mode) and status.st_size <= most):
                raise _Refused(f"{path.name} must be a file of at most {most} bytes")
            yield file


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)  # a pipe would wait for its writer


class _Refused(Exception):
    """The sentence that a caller may read: what is wrong with the files."""


def key_of(name: str, version: str) -> str:
    """NAME@VERSION, as requests name it. No alias has an @."""
    return f"{name}@{version}"


def check_names(name: str, version: str) -> None:
    """Raise InvalidRequest unless both can be names of directories."""
    wrong = [
        Violation(field, f"must be 1 to 64 of A-Z a-z 0-9 . _ -, not beginning with a dot, got {_short(given)}")
        for field, given in (("name", name), ("version", version))
        if not _NAME.fullmatch(given)
    ]
    if wrong:
        raise InvalidRequest(wrong)


def _short(given: str) -> str:
    return repr(given) if len(given) <= 64 else f"{len(given)} characters"


def _stamps(where: Path) -> tuple[Stamp, ...]:
    try:
        return tuple(_stamp(os.stat(where / file)) for file in (CONFIG, WEIGHTS))
    except OSError:
        return ()


def _stamp(status: os.stat_result) -> Stamp:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _rank(config: bytes) -> int:
    try:
        said = json.loads(config)
        ranks: list[int] = [said["r"], *(said.get("rank_pattern") or {}).values()]
    except (ValueError, RecursionError, TypeError, KeyError, AttributeError):
        raise _Refused(f"{CONFIG} must be a JSON object with the rank `r` of a LoRA") from None
    if not all(type(rank) is int and 1 <= rank <= _MOST_RANK for rank in ranks):
        raise _Refused(f"{CONFIG} has a rank that is not a whole number from 1 to {_MOST_RANK}")
    return max(ranks)
