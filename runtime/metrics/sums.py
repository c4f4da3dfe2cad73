"""The sums of what all processes have counted, also of those that have died; and what becomes of them: families.

EdgeReport ─► add ─► sums ─► families(settings) + gauges(…) ─► a scrape

The same class sums up one replica for itself, for scrapes while the manager is away. Sums begin with the process that
holds them; Prometheus takes that for what it is, a reset.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from runtime.feed import EdgeReport, Observed
from runtime.metrics.labels import Labels
from runtime.metrics.meter import MEASURED, Served
from runtime.metrics.named import BY_NAME, LEVELS, PLAIN
from runtime.wire import crosses

Histogram = tuple[tuple[int, ...], float]
"""Counts of its buckets, and the sum of what was measured."""

Sample = tuple[tuple[str, ...], int | float | Histogram]
"""Values of the labels, in the table's order, and what they are the labels of."""

Samples = dict[tuple[str, ...], int]

MOST_EDGES = 4_096
"""Processes whose counters are remembered, so that a report that comes late adds its news alone."""

OPERATION_PROVIDER = {"google": "gcp.gemini"}
"""The conventions' words for kinds of provider, where they are not ours."""

TOKEN_TYPES = {
    "input": "input_tokens",
    "output": "output_tokens",
    "cached_input": "cached_input_tokens",
    "cache_write": "cache_write_tokens",
    "reasoning": "reasoning_tokens",
}

STATES = ("closed", "open", "throttled")


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One metric with all its samples."""

    name: str
    samples: tuple[Sample, ...] = ()


class Sums:
    """Belongs to one thread, or lies behind a lock."""

    def __init__(self) -> None:
        self._counts: dict[str, dict[tuple[str, ...], int]] = defaultdict(lambda: defaultdict(int))
        self._spreads: dict[str, dict[tuple[str, ...], _Sum]] = defaultdict(dict)
        self._plain: Counter[str] = Counter()
        self._last: OrderedDict[str, Mapping[str, int]] = OrderedDict()

    def add(self, report: EdgeReport, labels: Labels) -> None:
        """Take in one report, once."""
        self.take(report.edge, report.served, report.observed, report.counters, labels)

    def take(
        self,
        edge: str,
        served: Iterable[Served],
        observed: Iterable[Observed],
        counters: Mapping[str, int],
        labels: Labels,
    ) -> None:
        """`served` and `observed` are news, `counters` rise for as long as the process lives."""
        before = self._last.pop(edge, {})
        self._last[edge] = counters
        while len(self._last) > MOST_EDGES:
            self._last.popitem(last=False)
        for name, count in counters.items():
            self._plain[name] += max(0, count - before.get(name, 0))
        for one in served:
            self._serve(one, labels)
        for seen in observed:
            self._observe(seen, labels)

    def _serve(self, one: Served, labels: Labels) -> None:
        self._counts["raygate_requests_total"][one.surface, one.route, one.outcome] += one.count
        kind = labels.kind(one.provider)
        of = (one.operation, OPERATION_PROVIDER.get(kind, kind), one.model, one.provider)
        error = "" if one.outcome == "ok" else one.outcome
        for name, spread in one.spreads.items():
            metric, at = {
                "duration": ("gen_ai_client_operation_duration_seconds", (*of, error)),
                "ttft": ("gen_ai_client_operation_time_to_first_chunk_seconds", of),
                "input": ("gen_ai_client_token_usage", (*of, "input")),
                "output": ("gen_ai_client_token_usage", (*of, "output")),
                "overhead": ("raygate_overhead_seconds", (one.surface,)),
                "queue": ("raygate_queue_seconds", (one.surface,)),
            }.get(name, ("", ()))
            # What a newer process measures besides, this one does not know.
            if metric and len(spread) == len(MEASURED[name]) + 1:
                self._spreads[metric].setdefault(at, _Sum(len(spread))).add(spread, one.sums.get(name, 0.0))

    def _observe(self, seen: Observed, labels: Labels) -> None:
        of = (labels.provider(seen.provider), labels.model(seen.provider, seen.model))
        attempts = self._counts["raygate_attempts_total"]
        for word, count in (("ok", seen.answered), *seen.failures.items()):
            if count:
                attempts[(*of, str(word))] += count
        tokens = self._counts["raygate_tokens_total"]
        for word, name in TOKEN_TYPES.items():
            if count := getattr(seen, name):
                tokens[(*of, word)] += count
        self._counts["raygate_cost_usd_total"][of] += seen.cost_nanousd
        self._counts["raygate_unpriced_total"][of] += seen.unpriced

    def families(self) -> tuple[Family, ...]:
        """All that only ever grows, and the ratio that follows from it."""
        found = [_family(name, samples) for name, samples in self._counts.items()]
        for name, sums in self._spreads.items():
            found.append(Family(name=name, samples=tuple((at, one.told()) for at, one in sorted(sums.items()))))
        plain = self._plain
        totals: Counter[str] = Counter()
        for word, name in PLAIN.items():
            totals[name] += plain[word]
        found += [Family(name=name, samples=(((), total),)) for name, total in totals.items()]
        hits: Samples = {("cached",): plain["cached"], ("shared",): plain["shared"]}
        chosen: Samples = {("true",): plain["explored"], ("false",): plain["decisions"] - plain["explored"]}
        found += [_family("raygate_cache_hits_total", hits), _family("raygate_decisions_total", chosen)]
        if plain["decisions"]:
            share = plain["explored"] / plain["decisions"]
            found.append(Family(name="raygate_learning_explored_ratio", samples=(((), share),)))
        return tuple(found)


class _Sum:
    __slots__ = ("counts", "total")

    def __init__(self, length: int) -> None:
        self.counts = [0] * length
        self.total = 0.0

    def add(self, spread: Iterable[int], total: float) -> None:
        self.counts = [a + b for a, b in zip(self.counts, spread, strict=True)]
        self.total += total

    def told(self) -> Histogram:
        return tuple(self.counts), self.total


def _family(name: str, samples: Mapping[tuple[str, ...], int | float]) -> Family:
    return Family(name=name, samples=tuple(sorted(samples.items())))


def levels(counters: Iterable[Mapping[str, int]]) -> tuple[Family, ...]:
    """Of processes that live: how many there are now, of what their last reports say."""
    told = list(counters)
    return tuple(
        Family(name=metric, samples=(((), sum(one.get(word, 0) for one in told)),)) for word, metric in LEVELS.items()
    )


def doors(states: Mapping[str, str], in_flight: Mapping[str, int]) -> tuple[Family, ...]:
    """The state of each provider's breaker, and the calls under way."""
    named: Samples = {(name, state): int(now == state) for name, now in states.items() for state in STATES}
    return (
        _family("raygate_breaker_state", named),
        _family("raygate_in_flight", {(name,): count for name, count in in_flight.items()}),
    )


def single(**values: float) -> tuple[Family, ...]:
    """Metrics without labels, by what comes after `raygate_`."""
    return tuple(Family(name=f"raygate_{name}", samples=(((), value),)) for name, value in values.items())


MOST_BUDGETS = 200
"""Teams and organisations whose budgets are told one by one."""
WARNING, SPENT = 0.8, 1.0


def budgets(limits: Iterable[Mapping[str, object]]) -> tuple[Family, ...]:
    """From the ledger's own list: of teams and organisations one by one, of all how many are in which state."""
    used: dict[tuple[str, ...], float] = {}
    counted: Counter[tuple[str, ...]] = Counter()
    for one in limits:
        amount, spent = one.get("amount"), one.get("used")
        if one.get("counts") != "money" or not isinstance(amount, int) or not isinstance(spent, int):
            continue
        share = spent / amount if amount else 1.0
        scope, period = str(one.get("scope")), str(one.get("period"))
        counted[scope, period, "spent" if share >= SPENT else "warning" if share >= WARNING else "ok"] += 1
        if scope != "key" and len(used) < MOST_BUDGETS:
            used[scope, str(one.get("of")), period] = share
    return _family("raygate_budget_used_ratio", used), _family("raygate_budgets", counted)


def parts(up: Mapping[str, bool], *, version: str, python: str) -> tuple[Family, ...]:
    """Who answered, and what this is."""
    return (
        _family("raygate_up", {(part,): int(is_up) for part, is_up in up.items()}),
        Family(name="raygate_build_info", samples=(((version, python), 1),)),
    )


def known(families: Iterable[Family]) -> tuple[Family, ...]:
    """Those that are in our table, in its order: a manager of another version may tell of others."""
    order = {name: at for at, name in enumerate(BY_NAME)}
    return tuple(sorted((one for one in families if one.name in order), key=lambda one: order[one.name]))
