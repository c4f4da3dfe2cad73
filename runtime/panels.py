"""Status, usage, health, estimates and plans as pieces of HTML for notebooks; answers and failures are in `display`.

The HTML stands alone and takes its colours from the page around it. Everything that came from outside is escaped, and
what is not known says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from runtime.display import SMALL, boxed, cost_text, usd
from runtime.price import CostEstimate
from runtime.reports import HealthReport, ModelUsage, ProviderStatus, Shut, UsageReport

MOST_ROWS = 30
"""More is no table that anybody reads."""

_CELL = "text-align:left;padding:.15em .9em .15em 0"
_NUMBER = "text-align:right;padding:.15em .9em .15em 0;font-variant-numeric:tabular-nums"


class Explanation(dict[str, Any]):
    """What `manager.explain` tells: a plain mapping that shows itself in a notebook."""

    def _repr_html_(self) -> str:
        return explanation_html(self)


def status_html(status: ProviderStatus) -> str:
    """A line for each provider, or for the one that it is about."""
    parts = status.parts or (status,)
    rows = [
        (
            ("● " if one.available else "○ ") + one.provider,
            one.breaker or ("answering" if one.available else "away"),
            f"{one.in_flight}" + (f" of {one.max_in_flight}" if one.max_in_flight else ""),
            _seconds(one.latency_s),
            _seconds(one.retry_in_s or None, unknown=""),
            "; ".join([*([one.detail] if one.detail else []), *_shut(one.models), *_shut(one.keys)]),
        )
        for one in parts
    ]
    return boxed([_table(("provider", "breaker", "under way", "latency", "again in", ""), rows, numbers={2, 3, 4})])


def usage_html(report: UsageReport) -> str:
    """What each model was used for and what that cost, the dearest first; and their sum."""
    ordered = sorted(report.models.items(), key=lambda one: (-one[1].cost_nanousd, -one[1].requests, one[0]))
    rows = [_used(name, one) for name, one in ordered]
    if len(rows) != 1:
        rows = [_used("all together", report.total), *rows]
    head = ("model", "requests", "errors", "in", "out", "cost", "latency")
    since = f"{report.start:%Y-%m-%d %H:%M} UTC" if report.start_s else "its start"
    return boxed([_table(head, rows, numbers=set(range(1, 7))), _small(f"{report.period}, since {since}")])


def health_html(report: HealthReport) -> str:
    rows = [
        (("✓ " if one.healthy else "✗ ") + one.provider, _seconds(one.latency_s), one.detail)
        for one in report.parts or (report,)
    ]
    return boxed([_table(("provider", "took", ""), rows, numbers={1})])


def estimate_html(estimate: CostEstimate) -> str:
    """What it is expected to cost at each that might be asked, and at most."""
    rows = [
        (
            "/".join(part for part in (one.provider, one.model) if part) or "this request",
            f"{one.prompt_tokens:,}",
            f"{one.completion_tokens:,}",
            cost_text(one.cost),
            "unknown" if one.bound_nanousd is None else usd(one.bound_nanousd),
        )
        for one in estimate.options or (estimate,)
    ]
    return boxed([_table(("model", "in", "out", "expected", "at most"), rows, numbers={1, 2, 3, 4})])


def explanation_html(told: Mapping[str, Any]) -> str:
    """Who would be asked, in which order and by which terms; and who not, and why."""
    asked = [(f"{at}.", _name(one), _terms(one.get("terms"))) for at, one in enumerate(_list(told, "candidates"), 1)]
    left = [(_name(one), str(one.get("why", "")), str(one.get("detail", ""))) for one in _list(told, "dropped")]
    model = str(told.get("model") or "the default")
    parts = [
        f"<div><strong>{escape(model)}</strong> by {escape(str(told.get('strategy') or '–'))}</div>",
        _table(("", "asked", "because"), asked, numbers=set()) if asked else _small("nobody would be asked"),
    ]
    if left:
        parts += [_small("left out"), _table(("model", "why", ""), left, numbers=set())]
    return boxed(parts)


def _used(name: str, one: ModelUsage) -> tuple[str, ...]:
    about = f" + {one.unpriced_requests:,} at an unknown price" if one.unpriced_requests else ""
    return (
        name,
        f"{one.requests:,}",
        f"{one.errors:,}",
        f"{one.input_tokens:,}",
        f"{one.output_tokens:,}",
        f"{usd(one.cost_nanousd)}{about}",
        _seconds(one.average_latency_s),
    )


def _shut(those: Mapping[str, Shut]) -> Iterable[str]:
    return (f"{name}: {one.state}{f', {one.detail}' if one.detail else ''}" for name, one in those.items())


def _list(told: Mapping[str, Any], name: str) -> Sequence[Mapping[str, Any]]:
    found = told.get(name)
    return [one for one in found if isinstance(one, Mapping)] if isinstance(found, list | tuple) else []


def _name(one: Mapping[str, Any]) -> str:
    return "/".join(str(one[part]) for part in ("provider", "model") if one.get(part))


def _terms(terms: object) -> str:
    if not isinstance(terms, Mapping):
        return ""
    return ", ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}" for name, value in terms.items()
    )


def _seconds(value: float | None, *, unknown: str = "–") -> str:
    if value is None:
        return unknown
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.1f} s"


def _small(text: str) -> str:
    return f'<div style="{SMALL}">{escape(text)}</div>'


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: set[int]) -> str:
    def line(tag: str, cells: Sequence[str]) -> str:
        styled = (
            f'<{tag} style="{_NUMBER if at in numbers else _CELL}">{escape(cell)}</{tag}>'
            for at, cell in enumerate(cells)
        )
        return f"<tr>{''.join(styled)}</tr>"

    body = "".join(line("td", row) for row in rows[:MOST_ROWS])
    more = _small(f"and {len(rows) - MOST_ROWS} more") if len(rows) > MOST_ROWS else ""
    return (
        f'<table style="border-collapse:collapse"><thead>{line("th", head)}</thead><tbody>{body}</tbody></table>{more}'
    )
