"""Who is asked first: entries and state in, an order out. Nothing here calls anyone.

Entries that are shut (breaker, throttling) come last, soonest first, whatever the strategy: they are asked only
where nobody else is left.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

EXPLORED = 0.05
"""The share of requests with which `latency` measures somebody else again: who was slow once may be fast by now."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model at a provider, in the provider's own name for it."""

    provider: str
    model: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A candidate and what is known of it now.

    `in_flight` is this process's own calls; `latency_s` is None while unmeasured. What a request prefers comes
    before all priorities, but no preference opens a door that is shut. `share` (0..1] is how much of its traffic it
    should get: less than all where it has just healed.
    """

    candidate: Candidate
    in_flight: int = 0
    latency_s: float | None = None
    retry_in_s: float = 0.0
    priority: int = 0
    preferred: bool = False
    share: float = 1.0


Strategy = Callable[[Sequence[Entry], int, random.Random], list[Entry]]
"""(entries, how many requests came before, chance) → the order in which to ask."""


def round_robin(entries: Sequence[Entry], turn: int, rng: random.Random) -> list[Entry]:
    """Each in turn, in the order given."""
    start = turn % len(entries)
    return [*entries[start:], *entries[:start]]


def latency(entries: Sequence[Entry], turn: int, rng: random.Random) -> list[Entry]:
    """The least of mean latency × (calls in flight + 1) first; unmeasured ones are tried at once, by one call each.

    The product is the expected wait at a provider that serves its calls one after another (linkerd's and tower's
    load metric). One request in twenty goes to another entry first, so that no measurement stands for ever.
    """
    known = [entry.latency_s for entry in entries if entry.latency_s is not None]
    usual_s = sum(known) / len(known) if known else 1.0

    def expected_s(entry: Entry) -> float:
        if entry.latency_s is None:
            # Until the first answer it is taken for one like the others: no stampede to whom nobody knows.
            return usual_s * (entry.in_flight + 1) if entry.in_flight else 0.0
        return entry.latency_s * (entry.in_flight + 1)

    ordered = sorted(entries, key=expected_s)
    if len(ordered) > 1 and rng.random() < EXPLORED:
        ordered.insert(0, ordered.pop(rng.randrange(1, len(ordered))))
    return ordered


STRATEGIES: dict[str, Strategy] = {"round_robin": round_robin, "latency": latency}


def order(strategy: Strategy, entries: Sequence[Entry], *, turn: int, rng: random.Random) -> list[Candidate]:
    """What is preferred, then higher priorities; in each the strategy's order. The shut ones last, soonest first.

    Who has just healed stands behind all others that are open, with what its share lacks for a probability.
    """
    tiers: dict[tuple[bool, bool, int], list[Entry]] = {}
    shut = []
    for entry in entries:
        if entry.retry_in_s > 0.0:
            shut.append(entry)
        else:
            at_full = entry.share >= 1.0 or rng.random() < entry.share
            tiers.setdefault((at_full, entry.preferred, entry.priority), []).append(entry)
    ordered = [entry for tier in sorted(tiers, reverse=True) for entry in strategy(tiers[tier], turn, rng)]
    ordered += sorted(shut, key=lambda entry: entry.retry_in_s)
    return [entry.candidate for entry in ordered]
