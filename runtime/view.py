"""What all edges together know: latencies merged, work in flight, who is alive. The manager's pure half."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from runtime.feed import EdgeReport, Measured
from runtime.load import Ewma

EDGE_TTL_S = 30.0
"""An edge that was silent for so long is taken for gone. Idle edges still poll, which counts as a sign of life."""


class SharedView:
    """Merges reports; `now` is the manager's monotonic clock."""

    def __init__(self) -> None:
        self._latency: dict[tuple[str, str], Ewma] = {}
        self._reports: dict[str, EdgeReport] = {}
        self._seen: dict[str, float] = {}
        self._shut_until: dict[str, dict[str, float]] = {}

    def hear(self, edge: str, now: float) -> None:
        """Any sign of life of an edge. Those that are gone are forgotten, and with them their calls in flight."""
        self._seen[edge] = now
        self._forget(now)

    def apply(self, report: EdgeReport, now: float) -> bool:
        """Merge one report. False if it was merged before (a repeated delivery)."""
        self.hear(report.edge, now)
        last = self._reports.get(report.edge)
        if last is not None and report.sequence <= last.sequence:
            return False
        self._reports[report.edge] = report
        for provider in {batch.provider for batch in report.observed} | report.shut.keys():
            shut_for_s = report.shut.get(provider, 0.0)
            self._shut_until.setdefault(provider, {})[report.edge] = now + shut_for_s
        for batch in report.observed:
            if batch.answered:
                key = (batch.provider, batch.model)
                self._latency.setdefault(key, Ewma()).add(batch.latency_sum_s / batch.answered, now)
        return True

    def measured(self) -> tuple[Measured, ...]:
        return tuple(
            Measured(provider=provider, model=model, latency_s=mean.value)
            for (provider, model), mean in self._latency.items()
        )

    def edges(self, now: float) -> Mapping[str, EdgeReport | None]:
        """The edges alive, each with its last report (None before its first)."""
        self._forget(now)
        return {edge: self._reports.get(edge) for edge in self._seen}

    def in_flight(self, provider: str) -> int:
        """Calls under way at a provider, over all edges, as they last reported."""
        return sum(report.in_flight.get(provider, 0) for report in self._reports.values())

    def shut_for_s(self, provider: str, now: float) -> float:
        """Seconds until the first of the edges that call this provider asks it again; 0.0 if one would now."""
        waits = [until - now for until in self._shut_until.get(provider, {}).values()]
        return max(0.0, min(waits, default=0.0))

    def _forget(self, now: float) -> None:
        for edge in [edge for edge, at in self._seen.items() if now - at > EDGE_TTL_S]:
            del self._seen[edge]
            self._reports.pop(edge, None)
            for shut in self._shut_until.values():
                shut.pop(edge, None)


def latencies(measured: Iterable[Measured]) -> dict[str, dict[str, float]]:
    """Seconds by provider, then model."""
    nested: dict[str, dict[str, float]] = {}
    for one in measured:
        if one.latency_s is not None:
            nested.setdefault(one.provider, {})[one.model] = one.latency_s
    return nested
