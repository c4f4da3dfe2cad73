"""Families as Prometheus reads them: its text format 0.0.4, or OpenMetrics 1.0 for whoever asks for it.

prometheus.io/docs/instrumenting/exposition_formats, github.com/prometheus/OpenMetrics
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from runtime.metrics.named import BY_NAME, Metric
from runtime.metrics.sums import Family, known

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPEN_METRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
NANO = 1_000_000_000


def wants_open(accept: str) -> bool:
    """Whether an Accept header asks for OpenMetrics rather than for plain text."""
    weights = {"application/openmetrics-text": 0.0, "text/plain": 0.0}
    for one in accept.lower().split(","):
        media, *params = (part.strip() for part in one.split(";"))
        if media in weights:
            said = next((param.partition("=")[2] for param in params if param.startswith("q=")), "1")
            weights[media] = max(weights[media], _number(said))
    return weights["application/openmetrics-text"] > weights["text/plain"]


def rendered(families: Iterable[Family], *, open_metrics: bool = False) -> str:
    """All of them. What the table does not know is left out."""
    lines: list[str] = []
    for family in known(families):
        lines += _family(family, BY_NAME[family.name], open_metrics=open_metrics)
    return "\n".join([*lines, "# EOF"] if open_metrics else lines) + "\n"


def _family(family: Family, metric: Metric, *, open_metrics: bool) -> Iterator[str]:
    name = metric.name
    # In OpenMetrics a family of counters is named without the end that its samples have.
    title, kind = name, metric.kind
    if open_metrics and kind == "counter":
        title = name.removesuffix("_total")
    yield f"# HELP {title} {_escaped(metric.help, quotes=open_metrics)}"
    yield f"# TYPE {title} {'gauge' if open_metrics and title.endswith('_info') else kind}"
    for values, told in family.samples:
        labels = [
            f'{label}="{_escaped(value, quotes=True)}"'
            for label, value in zip(metric.labels, values, strict=True)
            if value
        ]
        if isinstance(told, tuple):
            yield from _histogram(name, labels, metric.bounds, *told)
        else:
            yield f"{name}{_braced(labels)} {_value(told, nano=metric.nano)}"


def _histogram(
    name: str, labels: list[str], bounds: tuple[float, ...], counts: tuple[int, ...], total: float
) -> Iterator[str]:
    below = 0
    for bound, count in zip((*bounds, math.inf), counts, strict=True):
        below += count
        end = "+Inf" if bound == math.inf else repr(float(bound))
        at = f'le="{end}"'
        yield f"{name}_bucket{_braced([*labels, at])} {below}"
    yield f"{name}_sum{_braced(labels)} {_value(total, nano=False)}"
    yield f"{name}_count{_braced(labels)} {below}"


def _braced(labels: list[str]) -> str:
    return f"{{{','.join(labels)}}}" if labels else ""


def _value(value: float, *, nano: bool) -> str:
    """Billionths are divided without rounding, as a decimal number."""
    if nano:
        whole, rest = divmod(int(value), NANO)
        return f"{whole}.{rest:09d}".rstrip("0").rstrip(".")
    return str(value) if isinstance(value, int) else repr(value)


def _escaped(text: str, *, quotes: bool) -> str:
    text = text.replace("\\", "\\\\").replace("\n", "\\n")
    return text.replace('"', '\\"') if quotes else text


def _number(said: str) -> float:
    try:
        return float(said)
    except ValueError:
        return 0.0
