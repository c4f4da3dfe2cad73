"""What a notebook draws of a Raygate: `manager.plot.latency()`, `.spend()`, `.shares()`, `.quality()`.

Each is asked of the actors at the moment of drawing, and shows itself in a notebook; `.figure` is matplotlib's, to be
changed or saved. matplotlib comes with `pip install raygate[plot]`.
"""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from actors.names import LEDGER, NAMESPACE, RUVECTOR
from runtime.learning.values import NOBODYS
from runtime.outcome import Failure

ANSWER_S = 30.0
MOST_ROWS = 1_000
MOST_LINES = 8
"""More cannot be told apart; the rest is drawn as one."""
COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#bbbbbb", "#000000")
"""Paul Tol's bright scheme, which the colour-blind can tell apart: personal.sron.nl/~pault/"""


@dataclass(frozen=True, slots=True)
class Plot:
    """A picture in a notebook. `figure` is matplotlib's."""

    figure: Any

    def _repr_png_(self) -> bytes:
        held = io.BytesIO()
        self.figure.savefig(held, format="png", dpi=110, bbox_inches="tight")
        return held.getvalue()

    def save(self, file: str) -> None:
        """As PNG, SVG or PDF, by the end of its name."""
        self.figure.savefig(file, bbox_inches="tight")


class Plots:
    """Asks the Ray that this process has joined. Every method raises `NothingToDraw` where there is nothing yet."""

    def latency(self, last: str = "24h", *, by: str = "model") -> Plot:
        """How many of the answered attempts took how long at most, a line for each model (or provider, key, route)."""
        rows = [row for row in _rows(last) if row["outcome"] == "ok"]
        named = _grouped(rows, lambda row: _name(row, by), lambda row: row["latency_ms"] / 1e3)
        axes = _axes("answered in at most (s)", "share of the answers", f"Latency by {by}, last {last}")
        for colour, (name, seconds) in zip(COLOURS, named.items(), strict=False):
            ordered = sorted(seconds)
            shares = [(at + 1) / len(ordered) for at in range(len(ordered))]
            middle = ordered[len(ordered) // 2]
            axes.step(ordered, shares, where="post", color=colour, label=f"{name} ({len(ordered)}, p50 {middle:.2f} s)")
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter("{x:g}")
        axes.set_ylim(0, 1.02)
        return _shown(axes)

    def spend(self, last: str = "7d", *, by: str = "model", each: str = "day") -> Plot:
        """Dollars for each hour, day, week or month, stacked by model (or provider, key, team, org, route, tag)."""
        found = _ask("spend", by=by, last=last, each=each)
        if not found["lines"]:
            raise NothingToDraw(f"nothing was spent in the last {last}")
        sums: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
        for line in found["lines"]:
            sums[line[by] or "–"][_day(line["start_ms"])] += line["cost_nanousd"] / 1e9
        days = sorted({day for those in sums.values() for day in those})
        axes = _axes("", "dollars", f"Spend by {by}, last {last}")
        floor = [0.0] * len(days)
        for colour, (name, those) in zip(COLOURS, _largest(sums).items(), strict=False):
            heights = [those.get(day, 0.0) for day in days]
            axes.bar(days, heights, bottom=floor, color=colour, label=f"{name} (${sum(heights):.4f})", width=0.7)
            floor = [low + high for low, high in zip(floor, heights, strict=True)]
        axes.tick_params(axis="x", rotation=30)
        return _shown(axes)

    def shares(self, last: str = "24h", *, by: str = "provider", parts: int = 24) -> Plot:
        """Who was asked, as shares of all attempts over time, in so many parts."""
        rows = _rows(last)
        first, final = min(row["at_ms"] for row in rows), max(row["at_ms"] for row in rows) + 1
        width = max(1.0, (final - first) / parts)
        counts = _largest(
            {
                name: _counted(int((at - first) // width) for at in those)
                for name, those in _grouped(rows, lambda row: _name(row, by), lambda row: row["at_ms"]).items()
            }
        )
        moments = [datetime.fromtimestamp((first + (at + 0.5) * width) / 1e3, tz=UTC) for at in range(parts)]
        totals = [sum(those.get(at, 0.0) for those in counts.values()) or 1.0 for at in range(parts)]
        axes = _axes("", "share of the attempts", f"Who was asked, by {by}, last {last}")
        stacked = [[those.get(at, 0.0) / totals[at] for at in range(parts)] for those in counts.values()]
        axes.stackplot(moments, stacked, labels=list(counts), colors=COLOURS, step="mid")
        axes.set_ylim(0, 1)
        axes.tick_params(axis="x", rotation=30)
        return _shown(axes)

    def quality(self, org: str = NOBODYS) -> Plot:
        """What was learned: how good each model's answers are, with one standard deviation of doubt."""
        found = _called(RUVECTOR, "summary", org)
        if not found.quality:
            raise NothingToDraw("nothing was learned yet; ask with model: ruvector-auto, and give feedback")
        named = sorted(found.quality.items(), key=lambda one: one[1][0])
        axes = _axes("quality (0 to 1)", "", f"What was learned from {found.judged:,.0f} judged answers")
        means, doubts = [mean for _, (mean, _) in named], [doubt for _, (_, doubt) in named]
        axes.errorbar(means, [name for name, _ in named], xerr=doubts, fmt="o", color=COLOURS[0], capsize=3)
        axes.set_xlim(0, 1)
        return Plot(axes.figure)


class NothingToDraw(LookupError):
    """Says what there is none of."""


def _rows(last: str) -> list[Mapping[str, Any]]:
    rows: list[Mapping[str, Any]] = _ask("rows", last=last, limit=MOST_ROWS)["rows"]
    if not rows:
        raise NothingToDraw(f"nobody was asked anything in the last {last}")
    return rows


def _ask(what: str, **named: Any) -> Any:
    return _called(LEDGER, "ask", what, (), named, "")


def _called(actor: str, method: str, *args: object) -> Any:
    import ray

    try:
        handle = ray.get_actor(actor, namespace=NAMESPACE)
    except ValueError:
        raise NothingToDraw(f"there is no {actor} yet: nothing was asked") from None
    found = ray.get(getattr(handle, method).remote(*args), timeout=ANSWER_S)
    if isinstance(found, Failure):
        raise NothingToDraw(found.detail)
    return found


def _name(row: Mapping[str, Any], by: str) -> str:
    said = f"{row['provider']}/{row['model']}" if by == "model" else row.get(by)
    if said is None:
        raise NothingToDraw(f"by={by!r} is nothing that an attempt has; there are {', '.join(row)}")
    return str(said) or "–"


def _grouped(
    rows: Iterable[Mapping[str, Any]],
    key: Callable[[Mapping[str, Any]], str],
    value: Callable[[Mapping[str, Any]], Any],
) -> dict[str, list[Any]]:
    """The values of each name, the most frequent names first; those beyond `MOST_LINES` as one."""
    found: dict[str, list[Any]] = defaultdict(list)
    for row in rows:
        found[key(row)].append(value(row))
    if not found:
        raise NothingToDraw("no attempt was answered in that time")
    ordered = sorted(found, key=lambda name: -len(found[name]))
    kept = {name: found[name] for name in ordered[: MOST_LINES - 1]}
    if rest := ordered[MOST_LINES - 1 :]:
        kept["others" if len(rest) > 1 else rest[0]] = [one for name in rest for one in found[name]]
    return kept


def _largest(sums: Mapping[str, Mapping[Any, float]]) -> dict[str, dict[Any, float]]:
    ordered = sorted(sums, key=lambda name: -sum(sums[name].values()))
    kept = {name: dict(sums[name]) for name in ordered[: MOST_LINES - 1]}
    for name in ordered[MOST_LINES - 1 :]:
        others = kept.setdefault("others", {})
        for at, value in sums[name].items():
            others[at] = others.get(at, 0.0) + value
    return kept


def _counted(parts: Iterable[int]) -> dict[int, float]:
    counts: dict[int, float] = {}
    for part in parts:
        counts[part] = counts.get(part, 0.0) + 1.0
    return counts


def _day(start_ms: int) -> str:
    moment = datetime.fromtimestamp(start_ms / 1e3, tz=UTC)
    return moment.strftime("%d %b" if (moment.hour, moment.minute) == (0, 0) else "%d %b %H:%M")


def _axes(x: str, y: str, title: str) -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("drawing needs matplotlib: pip install raygate[plot]") from None
    axes = Figure(figsize=(7.5, 4.0), layout="constrained").add_subplot()
    axes.set(xlabel=x, ylabel=y)
    axes.set_title(title, loc="left", fontsize=11)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.grid(alpha=0.25)
    return axes


def _shown(axes: Any) -> Plot:
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(handles, labels, loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=9)
    return Plot(axes.figure)
