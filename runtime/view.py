"""What all edges together know: how fast everybody is, work in flight, who is alive. The manager's pure half.

edge ─ what its calls came to, since its last report ─► one Pace each model ─► Measured, to all edges
     ─ how many it has under way, now ────────────────► of the others, to each; counts less as it grows old
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from itertools import takewhile

from runtime.balance.pace import Pace
from runtime.feed import DoorState, EdgeReport, Measured, Observed, Published
from runtime.keyring import KeyState
from runtime.load import Ewma

EDGE_TTL_S = 30.0
"""An edge that was silent for so long is taken for gone. Idle edges still poll, which counts as a sign of life."""

MOST_MEASURED = 1_000
"""Models of which it is remembered how fast they are. Names come from callers, so they must not fill the memory."""

BELIEVED, FORGOTTEN = 2.0, 5.0
"""Calls in flight count in full until two reports have not come, and not at all once five have not."""

MATERIAL = 0.1
"""What moved by less than this share is no news."""

PATIENCE_S = 2.0
SOONEST_S = 0.5
"""How long a manager that has just started waits for what the edges remember: at most, and at least."""


class InFlight:
    """Calls under way at each provider, at one moment: counted once, for all edges."""

    __slots__ = ("_own", "_whole", "at")

    def __init__(self, at: float, whole: Mapping[str, float], own: Mapping[str, Mapping[str, float]]) -> None:
        self.at = at
        self._whole = whole
        self._own = own

    def others(self, edge: str) -> dict[str, int]:
        """Those that everybody but this edge has."""
        own = self._own.get(edge, {})
        left = {provider: round(count - own.get(provider, 0.0)) for provider, count in self._whole.items()}
        return {provider: count for provider, count in left.items() if count}


class SharedView:
    """Merges reports; `now` is the manager's monotonic clock."""

    def __init__(self) -> None:
        self._latency: dict[tuple[str, str], Ewma] = {}
        self._paces: dict[tuple[str, str], Pace] = {}
        self._news: set[tuple[str, str]] = set()
        self._reports: dict[str, EdgeReport] = {}
        self._told_at: dict[str, float] = {}
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
        self._told_at[report.edge] = now
        self._note_shut(report, now)
        for observed in report.observed:
            self._measure((observed.provider, observed.model), observed, now)
        return True

    def _measure(self, key: tuple[str, str], observed: Observed, now: float) -> None:
        batch = observed.batch
        if not batch:
            return
        # Whoever was heard of last stands last, so that the longest unheard of is forgotten first.
        pace = self._paces.pop(key) if key in self._paces else Pace()
        self._paces[key] = pace
        pace.add(batch, now)
        self._news.add(key)
        if observed.answered:
            self._latency.setdefault(key, Ewma()).add(observed.latency_sum_s / observed.answered, now)
        if len(self._paces) > MOST_MEASURED:
            forgotten = next(iter(self._paces))
            del self._paces[forgotten]
            self._latency.pop(forgotten, None)
            self._news.discard(forgotten)

    @property
    def news(self) -> Collection[tuple[str, str]]:
        """Who was measured since this was taken last, as (provider, model)."""
        return self._news

    def take_news(self) -> Collection[tuple[str, str]]:
        taken, self._news = self._news, set()
        return taken

    def measured(self, now: float, among: Iterable[tuple[str, str]] | None = None) -> tuple[Measured, ...]:
        """How fast all are, or those of `among` that are still known."""
        known = self._paces if among is None else {key: self._paces[key] for key in among if key in self._paces}
        return tuple(
            Measured(
                provider=provider,
                model=model,
                latency_s=mean.value if (mean := self._latency.get((provider, model))) else None,
                ttft_s=pace.ttft_s,
                per_token_s=pace.per_token_s,
                usual_load=pace.usual_load,
                output_tokens=pace.output_tokens,
                failed=pace.failed,
                heard_ago_s=None if pace.at is None else now - pace.at,
            )
            for (provider, model), pace in known.items()
        )

    def counted(self, now: float, *, every_s: float) -> InFlight:
        """Calls under way at each provider, that edges have reported, who do so once in `every_s`."""
        whole: dict[str, float] = {}
        own: dict[str, dict[str, float]] = {}
        for edge, report in self._reports.items():
            share = still_under_way(now - self._told_at[edge], every_s=every_s)
            if share > 0.0:
                calls = {} if report.relays else report.in_flight
                mine = own[edge] = {}
                for provider, count in (*calls.items(), *report.through_actors.items()):
                    mine[provider] = mine.get(provider, 0.0) + share * count
                    whole[provider] = whole.get(provider, 0.0) + share * count
        return InFlight(now, whole, own)

    def edges(self, now: float) -> Mapping[str, EdgeReport | None]:
        """The edges alive, each with its last report (None before its first)."""
        self._forget(now)
        return {edge: self._reports.get(edge) for edge in self._seen}

    def in_flight(self, provider: str) -> int:
        """Calls under way at a provider, over all edges, as they last reported."""
        return sum(report.in_flight.get(provider, 0) for report in self._reports.values())

    def waiting(self, provider: str) -> int:
        """Calls that wait for a place at a provider, over all edges, as they last reported."""
        return sum(report.waiting.get(provider, 0) for report in self._reports.values())

    def shut_for_s(self, provider: str, now: float) -> float:
        """Seconds until the first of the edges that call this provider (or "provider/model") asks it again; 0.0 if
        one would now."""
        waits = [until - now for until in self._shut_until.get(provider, {}).values()]
        return max(0.0, min(waits, default=0.0))

    def shut_models(self, provider: str, now: float) -> dict[str, float]:
        """The models of a provider that no edge which calls them would ask now, and for how long."""
        names = [name for name in self._shut_until if name.startswith(f"{provider}/")]
        waits = {name.partition("/")[2]: self.shut_for_s(name, now) for name in names}
        return {model: wait_s for model, wait_s in waits.items() if wait_s > 0.0}

    def _note_shut(self, report: EdgeReport, now: float) -> None:
        for provider in {batch.provider for batch in report.observed}:
            self._shut_until.setdefault(provider, {})[report.edge] = now
        # Models' names come from callers: only those are kept that somebody has shut.
        called = {f"{batch.provider}/{batch.model}" for batch in report.observed}
        for name in called & self._shut_until.keys():
            self._shut_until[name][report.edge] = now
        for name, wait_s in report.shut.items():
            self._shut_until.setdefault(name, {})[report.edge] = now + wait_s
        for name in [name for name in self._shut_until if "/" in name and not self.shut_for_s(name, now)]:
            del self._shut_until[name]

    def _forget(self, now: float) -> None:
        for edge in [edge for edge, at in self._seen.items() if now - at > EDGE_TTL_S]:
            del self._seen[edge]
            self._reports.pop(edge, None)
            self._told_at.pop(edge, None)
            for shut in self._shut_until.values():
                shut.pop(edge, None)


class Told:
    """What was last published of each model's pace, and in which version.

    An edge is told that alone which it has not heard yet: there may be a thousand models, and news every 50 ms.
    """

    def __init__(self) -> None:
        self._told: dict[tuple[str, str], tuple[Measured, int]] = {}
        """The newest last."""

    def tell(self, measured: Iterable[Measured], version: int) -> None:
        for one in measured:
            self._told.pop((one.provider, one.model), None)
            self._told[one.provider, one.model] = one, version
        while len(self._told) > MOST_MEASURED:
            del self._told[next(iter(self._told))]

    def since(self, version: int) -> Iterable[tuple[str, str]]:
        """Who was published after this version, as (provider, model)."""
        return takewhile(lambda key: self._told[key][1] > version, reversed(self._told))

    def last(self, provider: str, model: str) -> Measured | None:
        known = self._told.get((provider, model))
        return known and known[0]

    def all(self) -> Iterable[tuple[tuple[str, str], Measured]]:
        return ((key, one) for key, (one, _) in self._told.items())


class Waking:
    """A manager that has just started: it publishes nothing before the edges that it hears have told what they know.

    Else a provider that nobody may call would look well for a moment.
    """

    def __init__(self, now: float) -> None:
        self._began = now
        self._told: dict[str, bool] = {}
        self._views: dict[str, tuple[Published, ...]] = {}
        self._at = now

    def heard(self, edge: str, now: float) -> None:
        """It polls."""
        if not self.is_over(now):
            self._told.setdefault(edge, False)

    def told(self, edge: str, views: tuple[Published, ...], now: float) -> None:
        """It has told what it takes for shut."""
        elapsed_s, self._at = now - self._at, now
        self._views = {name: tuple(one.aged(elapsed_s) for one in known) for name, known in self._views.items()}
        self._told[edge], self._views[edge] = True, views

    def is_over(self, now: float) -> bool:
        if now >= self._began + PATIENCE_S:
            return True
        return now >= self._began + SOONEST_S and bool(self._told) and all(self._told.values())

    def known_of(self, provider: str, now: float) -> Published | None:
        """The strictest of what the edges have told of a provider; None where they told nothing."""
        told = [one.aged(now - self._at) for views in self._views.values() for one in views if one.provider == provider]
        return strictest(told) if told else None


def strictest(views: Iterable[Published]) -> Published:
    """Of several views of one provider what forbids most. There is at least one."""
    views = list(views)
    whole = _stricter([view.whole for view in views])
    doors: dict[str, list[DoorState]] = {}
    keys: dict[tuple[str, str], KeyState] = {}
    for view in views:
        for model, state in view.models.items():
            doors.setdefault(model, []).append(state)
        for key in view.keys:
            at = (key.key, key.model)
            if at not in keys or key.retry_in_s > keys[at].retry_in_s:
                keys[at] = key
    return replace(
        views[0],
        spell=max(view.spell for view in views),
        open=whole.open,
        retry_in_s=whole.retry_in_s,
        throttled_for_s=whole.throttled_for_s,
        why=whole.why,
        ramp_left_s=whole.ramp_left_s,
        wait_id=whole.wait_id,
        models={model: _stricter(states) for model, states in doors.items()},
        keys=tuple(keys.values()),
    )


def _stricter(states: list[DoorState]) -> DoorState:
    shut = [state for state in states if state.open]
    longest = max(states, key=lambda state: state.throttled_for_s)
    return DoorState(
        open=bool(shut),
        retry_in_s=max((state.retry_in_s for state in shut), default=0.0),
        throttled_for_s=longest.throttled_for_s,
        why=next((state.why for state in (*shut, *states) if state.why), ""),
        ramp_left_s=max(state.ramp_left_s for state in states),
        wait_id=longest.wait_id,
    )


def still_under_way(age_s: float, *, every_s: float) -> float:
    """The share of calls reported so long ago that is still reckoned with."""
    missed = age_s / every_s
    return min(1.0, max(0.0, (FORGOTTEN - missed) / (FORGOTTEN - BELIEVED)))


def by_model(measured: Iterable[Measured]) -> dict[str, dict[str, Measured]]:
    """By provider, then model."""
    nested: dict[str, dict[str, Measured]] = {}
    for one in measured:
        nested.setdefault(one.provider, {})[one.model] = one
    return nested


def is_news(before: Measured | None, now: Measured) -> bool:
    """Whether somebody would choose otherwise for this, so that all should hear of it soon."""
    if before is None:
        return True
    pairs = ((before.ttft_s, now.ttft_s), (before.per_token_s, now.per_token_s), (before.latency_s, now.latency_s))
    return abs(before.failed - now.failed) > MATERIAL or any(
        new is not None and abs(new - (old or 0.0)) > MATERIAL * new for old, new in pairs
    )
