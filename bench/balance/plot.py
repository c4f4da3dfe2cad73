"""Lines and dots as SVG, without any library: the page must look the same wherever it was made."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

COLOURS = ("#0b6e4f", "#c0392b", "#2c5aa0", "#b8860b", "#7d3c98", "#666666", "#17a2b8", "#000000")
WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 760, 380, 60, 40, 210, 60


def _text(x: float, y: float, said: str, *, anchor: str = "start", size: int = 12, colour: str = "#222") -> str:
    safe = said.replace("&", "&amp;").replace("<", "&lt;")
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{colour}">{safe}</text>'


def lines(
    title: str,
    series: Mapping[str, Sequence[tuple[float, float]]],
    *,
    x: str,
    y: str,
    names: Sequence[str] = (),
    log: bool = False,
    joined: bool = True,
) -> str:
    """One line (or row of dots) for each name. `names` are words for the x values 0, 1, 2, …"""
    xs = [at for points in series.values() for at, _ in points]
    ys = [value for points in series.values() for _, value in points if math.isfinite(value)]
    low, high = (min(ys), max(ys)) if log else (0.0, max(ys) * 1.05 or 1.0)
    if log:
        low, high = low * 0.9, high * 1.1
    wide, tall = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def across(at: float) -> float:
        return LEFT + wide * (at - min(xs)) / ((max(xs) - min(xs)) or 1.0)

    def up(value: float) -> float:
        if log:
            return TOP + tall * (1 - math.log(max(value, low) / low) / math.log(high / low))
        return TOP + tall * (1 - (value - low) / (high - low))

    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        _text(LEFT, 22, title, size=15),
    ]
    for mark in _marks(low, high, log=log):
        out.append(f'<path d="M{LEFT} {up(mark):.1f}H{LEFT + wide}" stroke="#ddd"/>')
        out.append(_text(LEFT - 8, up(mark) + 4, f"{mark:g}", anchor="end"))
    for at in sorted(set(xs)) if names else _marks(min(xs), max(xs), log=False):
        word = names[round(at)] if names else f"{at:g}"
        if names and len(names) > 6:
            turned = f'<g transform="rotate(-25 {across(at):.1f} {TOP + tall + 16})">'
            out.append(turned + _text(across(at), TOP + tall + 16, word, anchor="end", size=11) + "</g>")
        else:
            out.append(_text(across(at), TOP + tall + 18, word, anchor="middle"))
    out.append(_text(LEFT + wide / 2, HEIGHT - 6, x, anchor="middle"))
    out.append(f'<g transform="rotate(-90 16 {TOP + tall / 2})">{_text(16, TOP + tall / 2, y, anchor="middle")}</g>')
    for number, (name, points) in enumerate(series.items()):
        colour = COLOURS[number % len(COLOURS)]
        dots = [(across(at), up(value)) for at, value in points if math.isfinite(value)]
        if joined and dots:
            path = "L".join(f"{a:.1f} {b:.1f}" for a, b in dots)
            out.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        out += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3.5" fill="{colour}"/>' for a, b in dots]
        below = TOP + 10 + 20 * number
        out.append(f'<rect x="{LEFT + wide + 18}" y="{below - 9}" width="12" height="12" fill="{colour}"/>')
        out.append(_text(LEFT + wide + 36, below + 2, name))
    return "\n".join([*out, "</svg>", ""])


def _marks(low: float, high: float, *, log: bool) -> list[float]:
    if log:
        steps = [digit * 10.0**power for power in range(-3, 4) for digit in (1, 2, 5)]
        return [step for step in steps if low <= step <= high]
    step = 10 ** math.floor(math.log10((high - low) or 1.0))
    step = next(step * by for by in (0.2, 0.5, 1.0, 2.0) if (high - low) / (step * by) <= 8)
    return [step * at for at in range(math.ceil(low / step), math.floor(high / step + 1e-9) + 1)]
