"""Strategies that go by no speed: in turns, by chance, by the fewest calls under way."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

from runtime.balance.entry import Candidate, Entry, Scored
from runtime.balance.latency import failed_share, penalty

MOST_KEYS = 1_000
"""Names whose turns are remembered. Names come from callers, so they must not fill the memory."""


class Turns:
    """Smooth weighted round-robin, as nginx does it: each pays in its weight, the richest is asked and pays for all.

    With weights 5, 1, 1 that is a a b a c a a, not a a a a a b c. Each name takes its own turns, or two would share
    one rhythm. `scattered` ones begin somewhere in the round, so that many replicas with few requests each are even,
    too; others begin with the first.
    """

    def __init__(self, *, scattered: bool = False) -> None:
        self.scattered = scattered
        self._purses: dict[str, dict[Candidate, float]] = {}

    def copy(self) -> Turns:
        """To look ahead without taking a turn."""
        other = Turns(scattered=self.scattered)
        other._purses = {key: dict(purse) for key, purse in self._purses.items()}
        return other

    def next(self, key: str, entries: Sequence[Entry], rng: random.Random) -> list[Entry]:
        """All of them, whose turn it is first."""
        if key not in self._purses:
            if len(self._purses) >= MOST_KEYS:
                self._purses.clear()
            self._purses[key] = {}
            for _ in range(rng.randrange(len(entries)) if self.scattered else 0):
                self._turn(self._purses[key], entries)
        return self._turn(self._purses[key], entries)

    @staticmethod
    def _turn(purse: dict[Candidate, float], entries: Sequence[Entry]) -> list[Entry]:
        paid_in, debts = 0.0, []
        for entry in entries:
            purse[entry.candidate] = has = purse.get(entry.candidate, 0.0) + entry.weight
            debts.append(-has)
            paid_in += entry.weight
        ordered = [entries[at] for at in sorted(range(len(entries)), key=debts.__getitem__)]
        purse[ordered[0].candidate] -= paid_in
        # Who is no candidate any more is forgotten, or the purse would grow with every change of settings.
        if len(purse) > len(entries):
            for gone in purse.keys() - {entry.candidate for entry in entries}:
                del purse[gone]
        return ordered


def round_robin(entries: Sequence[Entry], turns: Turns, key: str, rng: random.Random) -> list[Scored]:
    """Each in turn, in proportion to its weight."""
    return [Scored(entry, {"weight": entry.weight}) for entry in turns.next(key, entries, rng)]


def weighted(entries: Sequence[Entry], rng: random.Random) -> list[Scored]:
    """By chance, in proportion to the weights, without replacement (Efraimidis, Spirakis 2006)."""

    def lot(entry: Entry) -> float:
        return -math.log(1.0 - rng.random()) / entry.weight if entry.weight > 0.0 else math.inf

    lots = sorted(((lot(entry), at) for at, entry in enumerate(entries)), key=lambda one: one[0])
    return [Scored(entries[at], {"weight": entries[at].weight, "lot": drawn}) for drawn, at in lots]


def least_loaded(entries: Sequence[Entry], rng: random.Random) -> list[Scored]:
    """The fewest calls under way for its weight: our own, and everybody else's as last reported. Ties by chance.

    Whoever fails fast is always idle. So failures count here too, by the same penalty as for `latency`.
    """

    def rank(entry: Entry) -> float:
        return (entry.load + 1) * penalty(entry) / entry.weight if entry.weight > 0.0 else math.inf

    lots = [rng.random() for _ in entries]
    order = sorted(range(len(entries)), key=lambda at: (rank(entries[at]), lots[at]))
    return [
        Scored(
            entries[at],
            {
                "in_flight": entries[at].in_flight,
                "others_in_flight": entries[at].others_in_flight,
                "weight": entries[at].weight,
                "failed": failed_share(entries[at]),
                "penalty": penalty(entries[at]),
                "score": rank(entries[at]),
            },
        )
        for at in order
    ]
