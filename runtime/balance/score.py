"""The weighed score of cost, speed and quality, with the weights and bonuses of the first system's router.

    cost       (0.1 − min(dollars, 0.1)) / 0.1
    latency    (2000 − min(ms, 2000)) / 2000       of the time to the first token, the only one that fits this scale
    quality    as the settings or the table say, in [0, 1]
    balanced   0.5 · cost + 0.3 · latency + 0.2 · quality; `cost`, `performance` and `quality` take one of them
    bonuses    × 1.2 local, × 1.1 preferred provider, × 1.2 preferred model, × (1 − share of failures)

What is unknown scores nothing; the first system took an unknown price for $0, and sent everything there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from runtime.balance.affinity import saved_share
from runtime.balance.cost import expected_nanousd
from runtime.balance.entry import Asked, Candidate, Entry, Scored, Term
from runtime.balance.latency import failed_share
from runtime.models import NANOUSD

Mode = Literal["balanced", "cost", "performance", "quality"]

SHARES: dict[Mode, tuple[float, float, float]] = {
    "balanced": (0.5, 0.3, 0.2),
    "cost": (1.0, 0.0, 0.0),
    "performance": (0.0, 1.0, 0.0),
    "quality": (0.0, 0.0, 1.0),
}
"""Of cost, latency and quality."""

DEAREST_NANOUSD = NANOUSD // 10
SLOWEST_S = 2.0
LOCAL, PREFERRED_PROVIDER, PREFERRED_MODEL = 1.2, 1.1, 1.2

STATIC: dict[str, tuple[float, float]] = {
    "claude-3-5-sonnet": (0.95, 0.5),
    "claude-3-opus": (0.98, 1.0),
    "claude-3-haiku": (0.85, 0.2),
    "gpt-4-turbo": (0.94, 0.8),
    "gpt-4o-mini": (0.88, 0.3),
    "deepseek": (0.82, 0.4),
    "mixtral": (0.85, 0.35),
    "llama3.2": (0.80, 0.6),
    "phi-4": (0.75, 0.1),
}
"""The first system's table of quality and seconds, by the beginning of a model's name. Nobody measured it; the settings
and our own measurements come before it."""


def tabled(model: str) -> tuple[float | None, float | None]:
    """Quality and seconds to the first token as the table has them; (None, None) where it says nothing."""
    name = model.rpartition("/")[2]
    longest = max((known for known in STATIC if name.startswith(known)), key=len, default=None)
    return STATIC[longest] if longest else (None, None)


def balanced(
    entries: Sequence[Entry], asked: Asked, home: Candidate | None, *, mode: Mode = "balanced"
) -> list[Scored]:
    """The highest score first; among equals who has less to do, then in the order given."""
    scored = [Scored(entry, _terms(entry, asked, home, mode)) for entry in entries]
    return sorted(scored, key=lambda one: (-float(one.terms["score"] or 0.0), one.entry.load))


def _terms(entry: Entry, asked: Asked, home: Candidate | None, mode: Mode) -> dict[str, Term]:
    price = expected_nanousd(entry, asked, home)
    first_s = entry.ttft_s * (1.0 - saved_share(entry, asked, home)) if entry.ttft_s is not None else entry.typical_s
    cheap = 0.0 if price is None else 1.0 - min(price, DEAREST_NANOUSD) / DEAREST_NANOUSD
    fast = 0.0 if first_s is None else 1.0 - min(first_s, SLOWEST_S) / SLOWEST_S
    good = entry.quality or 0.0
    of_cost, of_latency, of_quality = SHARES[mode]
    bonus = LOCAL if entry.local else 1.0
    bonus *= PREFERRED_PROVIDER if entry.preferred_provider else 1.0
    bonus *= PREFERRED_MODEL if entry.preferred_model else 1.0
    failed = failed_share(entry)
    return {
        "expected_nanousd": price,
        "first_token_s": first_s,
        "cost": of_cost * cheap,
        "latency": of_latency * fast,
        "quality": of_quality * good,
        "bonus": bonus,
        "failed": failed,
        "score": (of_cost * cheap + of_latency * fast + of_quality * good) * bonus * (1.0 - failed),
    }
