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


def _of(found: Found, part: str, pack: str, name: str = "") -> list[dict[str, object]]:
    return [v for job, v in found if (job["part"], job["pack"], job["name"]) == (part, pack, name)]


def _mean(rows: Sequence[dict[str, object]], key: str) -> str:
    values = np.array([float(row[key]) for row in rows])  # type: ignore[arg-type]
    return f"{values.mean():.3f} ± {values.std():.3f}"


def render(found: Found, speed: dict[str, float]) -> str:
    ours = {pack: _of(found, "ours", pack) for pack in GOALS}
    lines = _packs(ours) + _sentences(found)
    lines += _table(found, "off", "Each idea off in turn, GC", ("llmrouter9", "routerbench"))
    lines += _table(found, "on", "Parts that are off by default, each on in turn, GC", ("llmrouter9", "routerbench"))
    lines += _table(found, "known", "Known methods in the same harness, GC / CS95", tuple(GOALS))
    both = f"p50 {1e3 * speed['p50']:.2f} ms, p95 {1e3 * speed['p95']:.2f} ms of CPU"
    lines += ["", f"One decision with its embedding, among 12 models: {both}."]
    for pack, rows in ours.items():
        if rows:
            DOCS.mkdir(parents=True, exist_ok=True)
            (DOCS / f"{pack}.svg").write_text(_plot([row["curve"] for row in rows]))  # type: ignore[misc]
            lines += ["", f"![Mean bill and mean quality, {pack}](learning/{pack}.svg)"]
    return "\n".join(lines)


def _packs(ours: dict[str, list[dict[str, object]]]) -> list[str]:
    if not any(ours.values()):
        return []
    seeds = len(next(rows for rows in ours.values() if rows))
    out = [f"From scratch, bandit feedback, {seeds} orders (mean ± sd over them):", ""]
    out += ["| pack | best known GC / CS95 | goal | GC | CS90 | CS95 | CS98 |", "| --- |" + " --- |" * 6]
    for pack, rows in ours.items():
        if rows:
            out.append(f"| {pack} | {GOALS[pack]} | {' | '.join(_mean(rows, key) for key in FIGURES)} |")
    return out


SENTENCES = (
    (
        "ours",
        "routellm",
        "",
        "RouteLLM's MMLU, GPT-4 or Mixtral: APGR {apgr} (goal .63), strong for 95 % {share} (goal .51).",
    ),
    (
        "drift",
        "mmlupro",
        "",
        "A model that silently becomes worse, utility less the best single model's: before {before}, requests 0-200"
        " after {first} (goal -.10), 200-500 {then} (goal -.03), 500-1,000 {later}; 0-500 after recovery {recovered}.",
    ),
    (
        "drift",
        "llmrouter9",
        "",
        "A topic that returns, same settings: forgot {forgot} (goal <= .01), dip {dip} (goal >= -.02).",
    ),
    ("calibrated", "llmrouter9", "", "After 300 calibration prompts, llmrouter9: GC {gc} (goal .10)."),
    ("calibrated", "routerbench", "", "After 300 calibration prompts, routerbench: GC {gc} (goal .14)."),
    *(
        ("unsure", pack, name, f"{name}, {pack}: GC {{gc}} (goal >= -.02).")
        for name in ("20 % of feedback", "15 % of it wrong")
        for pack in ("llmrouter9", "routerbench")
    ),
    *(
        (
            "change",
            "llmrouter9",
            kind,
            f"The best model {kind} at run time: {{gap}} utility beside a learner that always had the change,"
            " requests 200-300 after it (goal within .02).",
        )
        for kind in ("added", "removed", "repriced")
    ),
)


def _sentences(found: Found) -> list[str]:
    out = []
    for part, pack, name, text in SENTENCES:
        rows = _of(found, part, pack, name)
        if part == "change":
            rows = [{"gap": float(row["met"]) - float(row["always"])} for row in rows]  # type: ignore[arg-type]
        if rows:
            numbers = {key: _mean(rows, key) for key, value in rows[0].items() if isinstance(value, float)}
            out += ["", text.format(**numbers)]
    return out


def _table(found: Found, part: str, title: str, packs: Sequence[str]) -> list[str]:
    names = list(dict.fromkeys(str(job["name"]) for job, _ in found if job["part"] == part))
    if not names:
        return []
    out = ["", f"{title}:", "", "| | " + " | ".join(packs) + " |", "| --- |" + " --- |" * len(packs)]
    for name in names:
        cells = []
        for pack in packs:
            rows = _of(found, part, pack, name)
            cell = _mean(rows, "gc") if rows else ""
            cells.append(f"{cell} / {_mean(rows, 'cs95')}" if rows and part == "known" else cell)
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
