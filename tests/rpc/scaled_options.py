"""gRPC's channel options with other values, for what takes minutes by default."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import pytest

from penstock_service import server
from penstock_service.channel_options import Options
from penstock_service.settings import Settings


@contextmanager
def scaled(values: Mapping[str, int]) -> Iterator[None]:
    """Services that are opened meanwhile give these options other values; a name they do not give stays without."""
    with pytest.MonkeyPatch.context() as patch:
        for builder in ("channel_options", "side_channel_options"):
            patch.setattr(server, builder, _with(getattr(server, builder), values))
        yield


def _with(options: Callable[[Settings], Options], values: Mapping[str, int]) -> Callable[[Settings], Options]:
    return lambda settings: [(name, values.get(name, was)) for name, was in options(settings)]
