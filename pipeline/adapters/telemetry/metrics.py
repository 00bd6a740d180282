"""One process's metrics: histograms that adapters observe, and figures that services keep by themselves and a scrape reads."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, cast

import structlog
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from pipeline.adapters.telemetry.catalogue import CATALOGUE, VALUES_MAX, VALUES_MAX_ELSE, Label, Name

log = structlog.get_logger()
OTHER = "other"
_NUMBERS = re.compile(r"\d{4,}")
_WORD = re.compile(r"[\w .:|/#@+-]{0,64}", re.ASCII)


Labels = Mapping[Label, str]


@dataclass(frozen=True, slots=True)
class Sample:
    """One figure at the moment of a scrape."""

    name: Name
    value: float
    labels: Labels = field(default_factory=dict)


Read = Callable[[], Iterable[Sample]]


class Bounds:
    """Keeps a label's values few, short and free of numbers that could name a person."""

    def __init__(self) -> None:
        self._known: dict[Label, set[str]] = defaultdict(set)

    def value(self, label: Label, text: str) -> str:
        """The text as it may be shown. Long numbers become `#`: of a hundred bedside monitors there is one source."""
        clean = _NUMBERS.sub("#", text)
        if not _WORD.fullmatch(clean):
            return OTHER
        known = self._known[label]
        if clean not in known:
            if len(known) >= VALUES_MAX.get(label, VALUES_MAX_ELSE):
                return OTHER
            known.add(clean)
        return clean


class Metrics:
    """A registry that knows only the catalogue's names. Observing is safe from any thread."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.enabled = True
        self._bounds = Bounds()
        self._histograms = {
            name: Histogram(name, metric.meaning, metric.labels, registry=self.registry, buckets=metric.buckets)
            for name, metric in CATALOGUE.items()
            if metric.kind == "histogram"
        }
        self._sources: list[Read] = []
        self.registry.register(_Scrape(self._sources, self._bounds))
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)

    def observe(self, name: Name, value: float, labels: Labels | None = None) -> None:
        """Adds a value to a histogram; seconds where the name says so."""
        if not self.enabled:
            return
        histogram = self._histograms[name]
        if labels:
            values = {label: self._bounds.value(label, labels[label]) for label in CATALOGUE[name].labels}
            histogram = histogram.labels(**cast(dict[str, Any], values))
        histogram.observe(value)

    @contextmanager
    def timed(self, name: Name, labels: Labels | None = None) -> Iterator[None]:
        """Observes how long the block takes, however it ends."""
        start = perf_counter()
        try:
            yield
        finally:
            self.observe(name, perf_counter() - start, labels)

    @contextmanager
    def answered(self, name: Name, labels: Labels) -> Iterator[None]:
        """As timed, with the label `outcome`: answered, or failed where the block raises."""
        start, outcome = perf_counter(), "failed"
        try:
            yield
            outcome = "answered"
        finally:
            self.observe(name, perf_counter() - start, {**labels, "outcome": outcome})

    def source(self, read: Read) -> None:
        """`read` is called at each scrape, from another thread: it only looks at figures that somebody else keeps."""
        self._sources.append(read)


class _Scrape(Collector):
    """Asks the sources. One that fails is left out and logged; the others are served."""

    def __init__(self, sources: list[Read], bounds: Bounds) -> None:
        self._sources = sources
        self._bounds = bounds

    def collect(self) -> Iterator[Metric]:
        """As prometheus_client's Collector."""
        found: dict[Name, dict[tuple[str, ...], float]] = {}
        for sample in self._samples():
            values = tuple(self._bounds.value(label, sample.labels[label]) for label in CATALOGUE[sample.name].labels)
            of_name = found.setdefault(sample.name, {})
            # What the bounds made one is added up; a share or an age of "other" then means nothing, but is there to be seen.
            of_name[values] = of_name.get(values, 0.0) + sample.value
        for name, rows in found.items():
            family = _family(name)
            for values, value in rows.items():
                family.add_metric(values, value)
            yield family

    def _samples(self) -> Iterator[Sample]:
        for read in list(self._sources):
            try:
                yield from list(read())
            except Exception:  # a scrape must not fail for one figure
                log.exception("metrics_source_failed")


def _family(name: Name) -> CounterMetricFamily | GaugeMetricFamily:
    metric = CATALOGUE[name]
    make = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    return make(name, metric.meaning, labels=metric.labels)


METRICS = Metrics()
"""This process's, as prometheus_client has one registry a process."""
