"""One Prometheus endpoint for all front ends.

What prometheus_client keeps in files (its multiprocess mode: all that vLLM measures) is added up there. It has to be:
vLLM reports the scheduler's state to whichever front end it has outputs for, so that of a gauge only the newest value
is true, wherever it is. The rest, our histograms and figures of the processes, carries the front end's number.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample


class FrontEndMetrics(Collector):
    """Collects the files in `directory` and what `scrape` gets from each front end: Prometheus text, in order."""

    def __init__(self, directory: Path, scrape: Callable[[], Sequence[str]]) -> None:
        self._directory = directory
        self._scrape = scrape

    def collect(self) -> Iterable[Metric]:
        """See Collector."""
        own = [list(text_string_to_metric_families(text)) for text in self._scrape()]
        shared = MultiProcessCollector(None, str(self._directory))  # type: ignore[no-untyped-call]
        return merged(list(shared.collect()), own)  # type: ignore[no-untyped-call]


def merged(shared: Sequence[Metric], own: Sequence[Iterable[Metric]]) -> Iterator[Metric]:
    """The shared families as they are, then each other one with its samples of all front ends, labelled."""
    yield from shared
    covered = {family.name for family in shared}
    families: dict[str, Metric] = {}
    for front_end, given in enumerate(own):
        for family in given:
            if family.name.removesuffix("_created") not in covered:
                place = families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
                place.samples += [_labelled(sample, front_end) for sample in family.samples]
    yield from (family for family in families.values() if family.samples)


def _labelled(sample: Sample, front_end: int) -> Sample:
    return sample._replace(labels={**sample.labels, "frontend": str(front_end)})
