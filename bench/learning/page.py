"""Tables of what was measured, beside the goals, and the cost-quality curves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

Found = Sequence[tuple[dict[str, object], dict[str, object]]]

GOALS = {
    "llmrouter9": ".02 / .51 | .07 / .61",
    "routerbench": ".02 / .59 | .08 / .66",
    "mmlupro": "−.05 / .46 | −.02 / .50",
}
FIGURES = ("gc", "cs90", "cs95", "cs98")
DOCS = Path(__file__).parents[2] / "docs/learning"


def _of(found: Found, part: str, pack: str, name: str = "", *, priors: bool) -> list[dict[str, object]]:
    wanted = (part, pack, name, priors)
    return [v for job, v in found if (job["part"], job["pack"], job["name"], job["priors"]) == wanted]


def _mean(rows: Sequence[dict[str, object]], key: str) -> str:
    values = np.array([float(row[key]) for row in rows])  # type: ignore[arg-type]
    return f"{values.mean():.3f} ± {values.std():.3f}"


def render(found: Found, speed: dict[str, float]) -> str:
    lines = _packs(found) + _rows(found)
    lines += _table(found, "off", "Each idea off in turn, GC, with published figures", SMALL, priors=True)
    lines += _table(found, "on", "Parts that are off by default, each on in turn, GC, likewise", SMALL, priors=True)
    lines += _table(found, "known", "Known methods in the same harness, GC / CS95", tuple(GOALS), priors=False)
    usual = f"p50 {1e3 * speed['p50']:.2f} ms, p95 {1e3 * speed['p95']:.2f} ms of CPU on a machine that others use"
    lines += ["", f"One whole decision in the edge, with its embedding, among 12 models: {usual} (goal 1)."]
    for pack in GOALS:
        if rows := _of(found, "ours", pack, priors=False):
            DOCS.mkdir(parents=True, exist_ok=True)
            (DOCS / f"{pack}.svg").write_text(_plot([row["curve"] for row in rows]))  # type: ignore[misc]
            lines += ["", f"![Mean bill and mean quality, {pack}](learning/{pack}.svg)"]
    return "\n".join(lines)


SMALL = ("llmrouter9", "routerbench")
SAID = {False: "without", True: "with"}


def _packs(found: Found) -> list[str]:
    out = ["From scratch, bandit feedback, without and with published figures (mean ± sd over orders):", ""]
    out += ["| pack | figures | best known GC / CS95 | goal | orders | GC | CS90 | CS95 | CS98 |"]
    out += ["| --- |" + " --- |" * 8]
    for pack, goal in GOALS.items():
        for priors, said in SAID.items():
            if rows := _of(found, "ours", pack, priors=priors):
                cells = " | ".join(_mean(rows, key) for key in FIGURES)
                out.append(f"| {pack} | {said} | {goal} | {len(rows)} | {cells} |")
    return out


UNSURE = tuple(
    ("unsure", pack, name, "gc", f"{name}, {pack}, GC", "≥ −.02")
    for name in ("20 % of feedback", "15 % of it wrong")
    for pack in SMALL
)
CHANGED = tuple(
    ("change", "llmrouter9", kind, "gap", f"the best model {kind}, utility beside one that always had it", "± .02")
    for kind in ("added", "removed", "repriced")
)
ROWS = (
    ("ours", "routellm", "", "apgr", "RouteLLM's MMLU, GPT-4 or Mixtral, APGR", ".63"),
    ("ours", "routellm", "", "share", "the same, strong for 95 %", ".51"),
    ("drift", "mmlupro", "", "before", "a model that becomes worse, before (utility less the best single one's)", ""),
    ("drift", "mmlupro", "", "first", "requests 0-200 after", "−.10"),
    ("drift", "mmlupro", "", "then", "200-500 after", "−.03"),
    ("drift", "mmlupro", "", "later", "500-1,000 after", ""),
    ("drift", "mmlupro", "", "recovered", "0-500 after it recovered", ""),
    ("drift", "llmrouter9", "", "forgot", "a topic that returns, forgot", "≤ .01"),
    ("drift", "llmrouter9", "", "dip", "the same, dip", "≥ −.02"),
    ("calibrated", "llmrouter9", "", "gc", "after 300 calibration prompts, llmrouter9, GC", ".10"),
    ("calibrated", "routerbench", "", "gc", "after 300 calibration prompts, routerbench, GC", ".14"),
    *UNSURE,
    *CHANGED,
)
"""(part, pack, name, figure, what it is, goal)."""


def _rows(found: Found) -> list[str]:
    out = ["", "The other rows of the goals:", "", "| | goal | without | with |", "| --- |" + " --- |" * 3]
    for part, pack, name, figure, what, goal in ROWS:
        cells = []
        for priors in SAID:
            rows = _of(found, part, pack, name, priors=priors)
            if part == "change":
                rows = [{"gap": float(row["met"]) - float(row["always"])} for row in rows]  # type: ignore[arg-type]
            cells.append(f"{_mean(rows, figure)} ({len(rows)})" if rows else "")
        if any(cells):
            out.append(f"| {what} | {goal} | {' | '.join(cells)} |")
    return [*out, "", "In brackets, how many orders."]


def _table(found: Found, part: str, title: str, packs: Sequence[str], *, priors: bool) -> list[str]:
    names = list(dict.fromkeys(str(job["name"]) for job, _ in found if job["part"] == part))
    if not names:
        return []
    out = ["", f"{title}:", "", "| | " + " | ".join(packs) + " |", "| --- |" + " --- |" * len(packs)]
    if priors:
        rows = [_of(found, "ours", pack, priors=True) for pack in packs]
        out.append("| **as it is** | " + " | ".join(_mean(one, "gc") if one else "" for one in rows) + " |")
    for name in names:
        cells = []
        for pack in packs:
            rows_ = _of(found, part, pack, name, priors=priors)
            cell = f"{_mean(rows_, 'gc')} ({len(rows_)})" if rows_ else ""
            cells.append(
                f"{_mean(rows_, 'gc')} / {_mean(rows_, 'cs95')} ({len(rows_)})" if rows_ and part == "known" else cell
            )
        out.append(f"| {name} | " + " | ".join(cells) + " |")
    return out


def _plot(curves: Sequence[Sequence[tuple[float, float]]]) -> str:
    """One line a seed: mean bill relative to the strong model's, and mean quality."""
    wide, high, edge = 560, 300, 46
    most = max(bill for curve in curves for bill, _ in curve)
    low = min(q for curve in curves for _, q in curve)
    top = max(q for curve in curves for _, q in curve)

    def at(bill: float, quality: float) -> str:
        x = edge + (wide - 2 * edge) * bill / most
        return f"{x:.1f},{high - edge - (high - 2 * edge) * (quality - low) / max(top - low, 1e-9):.1f}"

    lines = "".join(
        f'<polyline fill="none" stroke="#3366aa" stroke-opacity="0.6" points="{" ".join(at(*p) for p in curve)}"/>'
        for curve in curves
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {high}" font-family="sans-serif" font-size="12">'
        f'<rect width="{wide}" height="{high}" fill="white"/>{lines}'
        f'<text x="{wide / 2}" y="{high - 10}" text-anchor="middle">'
        f"mean bill, from 0 to ${1e3 * most:.3f} per 1,000 calls</text>"
        f'<text x="8" y="20">mean quality, from {low:.3f} to {top:.3f}</text></svg>\n'
    )
