"""Which weights a model has: a digest of its files, for models that lie in a directory."""

import hashlib
from pathlib import Path

import structlog

from penstock.v1.models_pb2 import Model
from penstock_service.daemon_thread import in_daemon_thread

log = structlog.get_logger()


async def tell_digest(model: Model, directory: Path) -> None:
    """Fill in `model.digest` once the files are read, about a second for each 2 GB; nothing waits for it."""
    try:
        model.digest = await in_daemon_thread(lambda: digest_of(directory))
    except OSError as error:
        log.warning("no digest of the model", error=type(error).__name__)


def digest_of(directory: Path) -> str:
    """The text "sha256:" and what `sha256sum *.safetensors | sha256sum` prints; empty without such files."""
    sums = hashlib.sha256()
    files = sorted(directory.glob("*.safetensors"))
    for path in files:
        with path.open("rb") as file:
            sums.update(f"{hashlib.file_digest(file, 'sha256').hexdigest()}  {path.name}\n".encode())
    return f"sha256:{sums.hexdigest()}" if files else ""
