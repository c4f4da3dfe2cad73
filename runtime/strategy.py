"""Who is asked first: entries and state in, an order out. Nothing here calls anyone.

Entries that are shut (breaker, throttling) come last, soonest first, whatever the strategy: they are asked only
where nobody else is left.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model at a provider, in the provider's own name for it."""

    provider: str
    model: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A candidate and what is known of it now.

    `in_flight` is this edge's own calls plus what the others reported last; `latency_s` is None while unmeasured.
    """

    candidate: Candidate
    in_flight: int = 0
    latency_s: float | None = None
    retry_in_s: float = 0.0
    priority: int = 0


Strategy = Callable[[Sequence[Entry], int, random.Random], list[Entry]]
"""(entries, how many requests came before, chance) → the order in which to ask."""


def round_robin(entries: Sequence[Entry], turn: int, rng: random.Random) -> list[Entry]:
    """Each in turn, in the order given."""
    start = turn % len(entries)
    return [*entries[start:], *entries[:start]]


def latency(entries: Sequence[Entry], turn: int, rng: random.Random) -> list[Entry]:
    """The least of mean latency × (calls in flight + 1) first; unmeasured ones are tried at once.

    The product is the expected wait at a provider that serves its calls one after another (linkerd's and tower's
    load metric).
    """
    return sorted(entries, key=lambda entry: (entry.latency_s or 0.0) * (entry.in_flight + 1))


STRATEGIES: dict[str, Strategy] = {"round_robin": round_robin, "latency": latency}


def order(strategy: Strategy, entries: Sequence[Entry], *, turn: int, rng: random.Random) -> list[Candidate]:
    """Higher priorities first, the strategy's order within each, then those that are shut, soonest first."""
    tiers: dict[int, list[Entry]] = {}
    shut = []
    for entry in entries:
        if entry.retry_in_s > 0.0:
            shut.append(entry)
        else:
            tiers.setdefault(entry.priority, []).append(entry)
    ordered = [entry for priority in sorted(tiers, reverse=True) for entry in strategy(tiers[priority], turn, rng)]
    ordered += sorted(shut, key=lambda entry: entry.retry_in_s)
    return [entry.candidate for entry in ordered]
