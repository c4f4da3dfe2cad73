"""Our figures through Ray's own exporter, for clusters whose Prometheus scrapes Ray.

The manager shows its sums there every few seconds; edges count once, as ever. Ray puts `ray_` before each name, and
drops names with a dot in silence, so there is none. Of a histogram its sum and its count are shown: Ray takes single
values only.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from runtime.metrics.named import BY_NAME, Metric
from runtime.metrics.sums import Family
from runtime.metrics.text import NANO

EVERY_S = 5.0


class Instruments(Protocol):
    """As in `ray.util.metrics`."""

    def Counter(self, name: str, description: str = "", tag_keys: tuple[str, ...] | None = None) -> Any: ...  # noqa: N802
    def Gauge(self, name: str, description: str = "", tag_keys: tuple[str, ...] | None = None) -> Any: ...  # noqa: N802


class Mirror:
    """Shows families as they are now. Counters there can only be added to, so what was shown is remembered."""

    def __init__(self, instruments: Instruments | None = None) -> None:
        self._instruments = instruments
        self._made: dict[str, Any] = {}
        self._shown: dict[tuple[str, tuple[str, ...]], float] = {}

    def show(self, families: Iterable[Family]) -> None:
        for family in families:
            metric = BY_NAME.get(family.name)
            if metric is None:
                continue
            for values, told in family.samples:
                if isinstance(told, tuple):
                    counts, total = told
                    self._count(metric, f"{metric.name}_sum", values, total)
                    self._count(metric, f"{metric.name}_count", values, sum(counts))
                elif metric.kind == "counter":
                    self._count(metric, metric.name, values, told / NANO if metric.nano else told)
                else:
                    self._instrument("Gauge", metric, metric.name).set(told, tags=_tags(metric, values))

    def _count(self, metric: Metric, name: str, values: tuple[str, ...], now: float) -> None:
        more = now - self._shown.get((name, values), 0.0)
        if more > 0:
            self._instrument("Counter", metric, name).inc(more, tags=_tags(metric, values))
            self._shown[name, values] = now

    def _instrument(self, kind: str, metric: Metric, name: str) -> Any:
        if name not in self._made:
            if self._instruments is None:
                from ray.util import metrics

                self._instruments = metrics
            self._made[name] = getattr(self._instruments, kind)(name, metric.help, tag_keys=metric.labels)
        return self._made[name]


def _tags(metric: Metric, values: tuple[str, ...]) -> dict[str, str]:
    return dict(zip(metric.labels, values, strict=True))
