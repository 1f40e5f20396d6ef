"""The progress bar of a batch. The extra `cli` brings rich, which draws it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sized
from contextlib import contextmanager

from penstock import arguments


@contextmanager
def progress_bar(inputs: object, shown: bool) -> Iterator[Callable[[], None]]:
    """A bar on stderr, if `shown`, that each call of the function moves on; its end is known if `inputs` has a length.

    ImportError with a sentence if the extra is missing.
    """
    if not arguments.flag("progress", shown):
        yield lambda: None
        return
    try:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn, TimeRemainingColumn
    except ImportError as error:
        raise ImportError("progress=True needs rich: pip install 'penstock[cli]'") from error
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("batch", total=len(inputs) if isinstance(inputs, Sized) else None)
        yield lambda: progress.advance(task)
