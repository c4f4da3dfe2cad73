"""The fastest by expectation, of two drawn ones; and how long an answer takes to come.

    base     = time to first token × (1 − what is remembered of the prompt) + time per token × expected output
    wait     = usual time × (load now − usual load) / (usual load + 1)
    expected = (base + wait) / (1 − share of failures)²

The means were measured under some usual load, and hold their share of queueing. `wait` is what the present load adds
or takes away, as for a server whose calls share it: at the usual load nothing, at twice that about as much again.
(Finagle's and tower's product of mean and calls in flight counts the queue twice: it is in the mean already. And it
makes a provider look slow that answers a hundred calls as fast as one.) Who bears more load at the same speed gets a
higher usual load with time, and is asked more.

A call that waits long for its first token is news before it is a sample: `base` then is as many times higher.

Two are drawn, in proportion to the square of their speed without load, and the faster by expectation is asked
(Mitzenmacher 2001). What others do reaches us late: to ask the best of all would send everyone to the same place until
the next report (Mitzenmacher 2000, "How useful is old information?"). Even draws would ask slow ones whenever two of
them meet.

What nobody measured for a while is measured again: one idle candidate, for `EXPLORED` of the requests per `DUE_S` since
it was heard of, `MOST_EXPLORED` at most. One that was never measured is tried at once, by one call alone: whatever
comes of that is its first measurement.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from statistics import median_low

from runtime.balance.affinity import saved_share
from runtime.balance.entry import Asked, Candidate, Entry, Scored, Term
from runtime.price import ASSUMED_OUTPUT_TOKENS

EXPLORED = 0.005
DUE_S = 2.0
MOST_EXPLORED = 0.05

FADE_S = 30.0
"""Failures this long ago count 1/e: whoever is not asked cannot show that it recovered."""

PATIENCE = 2.0
"""Calls that wait so many times the usual for their first token are no bad luck any more, but news."""

PULL = 2
"""The power of speed by which two are drawn. More is better for the longest answers where views are fresh, and worse
where twenty providers share a load that the fastest cannot bear."""

SLOWEST = 1_000.0
"""Times the usual: more than this says no more."""

LEAST = 0.02
"""The least share of successes that is reckoned with, and the least part of `base` that an idle server takes."""

Terms = Mapping[str, float]


def expected_output(entry: Entry, asked: Asked) -> float:
    """Tokens of each answer: as many as somebody foresaw, else as this model's usually have.

    The latter within what the request and the model allow.
    """
    if asked.output_tokens is not None:
        return asked.output_tokens
    usual = ASSUMED_OUTPUT_TOKENS if entry.output_tokens is None else entry.output_tokens
    longest = entry.info.max_output_tokens if entry.info else None
    if longest is not None and longest < usual:
        usual = longest
    return usual if asked.output_limit is None else min(usual, asked.output_limit)


def failed_share(entry: Entry) -> float:
    """The share of failures, by now."""
    if not entry.failed:
        return 0.0
    return entry.failed * math.exp(-(entry.measured_ago_s or 0.0) / FADE_S)


def penalty(entry: Entry) -> float:
    """How many times worse a candidate is for its failures."""
    return _dearer(failed_share(entry))


def _dearer(failed: float) -> float:
    return max(LEAST, 1.0 - failed) ** -2 if failed else 1.0


def slowdown(entry: Entry) -> float:
    """How many times slower than measured it must be by now, because it owes us a first token for so long."""
    if entry.ttft_s is None or entry.silent_s <= PATIENCE * entry.ttft_s:
        return 1.0
    return min(SLOWEST, entry.silent_s / max(PATIENCE * entry.ttft_s, 1e-9))


def base_s(entry: Entry, asked: Asked, home: Candidate | None = None) -> float | None:
    """Seconds to a whole answer at the usual load; what the tables say where nobody measured; else None."""
    if entry.ttft_s is None:
        return entry.typical_s
    first = entry.ttft_s if home is None else entry.ttft_s * (1.0 - saved_share(entry, asked, home))
    if entry.per_token_s:
        first += entry.per_token_s * expected_output(entry, asked)
    return first * slowdown(entry) if entry.silent_s else first


def expected_s(entry: Entry, asked: Asked, home: Candidate | None = None, *, otherwise_s: float = 1.0) -> Terms:
    """`expected_s` and what it is made of. `otherwise_s` is what a candidate takes of which nothing is known."""
    base = base_s(entry, asked, home)
    return _reckoned(entry, otherwise_s if base is None else base)


def _reckoned(entry: Entry, base: float) -> Terms:
    usual = base
    if entry.ttft_s is not None:
        usual = entry.ttft_s + (entry.per_token_s or 0.0) * (entry.output_tokens or 0.0)
    load, usual_load = entry.in_flight + entry.others_in_flight, entry.usual_load
    wait = usual * (load - usual_load) / (usual_load + 1.0)
    failed = failed_share(entry)
    dearer = _dearer(failed)
    return {
        "base_s": base,
        "load": load,
        "usual_load": usual_load,
        "wait_s": wait,
        "failed": failed,
        "penalty": dearer,
        "expected_s": max(base + wait, LEAST * base) * dearer,
    }


def latency(entries: Sequence[Entry], asked: Asked, home: Candidate | None, rng: random.Random) -> list[Scored]:
    """The faster of two drawn ones first, then by expectation."""
    bases = [base_s(entry, asked, home) for entry in entries]
    known = [base for base in bases if base is not None]
    # Until its first answer, one is taken to be like the others.
    otherwise_s = 1.0 if not known else median_low(known) if len(known) < len(bases) else 0.0
    scores = [
        _reckoned(entry, otherwise_s if base is None else base) for entry, base in zip(entries, bases, strict=True)
    ]
    lots = [(terms["expected_s"], rng.random()) for terms in scores]
    order = sorted(range(len(entries)), key=lots.__getitem__)
    how: dict[int, Term] = {}
    if len(order) > 1:
        first = _explored(entries, rng) if known else None
        if first is None:
            two = _drawn([terms["base_s"] * terms["penalty"] for terms in scores], rng)
            first = min(two, key=order.index)
            how = dict.fromkeys(two, "drawn")
        else:
            how = {first: "explored"}
        order.remove(first)
        order.insert(0, first)
    placed = []
    for at in order:
        terms: dict[str, Term] = dict(scores[at])
        if home is not None and entries[at].candidate == home and (share := saved_share(entries[at], asked, home)):
            terms["remembered_share"] = share
        if at in how:
            terms["chance"] = how[at]
        placed.append(Scored(entries[at], terms))
    return placed


def _drawn(free_s: Sequence[float], rng: random.Random) -> list[int]:
    """Two positions without replacement, in proportion to speed squared (by the keys of Efraimidis, Spirakis 2006)."""
    best = min(free_s)

    def key(at: int) -> float:
        weight = (best / free_s[at]) ** PULL if free_s[at] > 0.0 else 1.0
        return -math.log(1.0 - rng.random()) / max(weight, 1e-12)

    keys = [key(at) for at in range(len(free_s))]
    return sorted(range(len(free_s)), key=keys.__getitem__)[:2]


def _explored(entries: Sequence[Entry], rng: random.Random) -> int | None:
    """Whom to measure with this request, if anyone: an idle one, longest unheard of, those never measured first."""
    idle = [
        at for at, entry in enumerate(entries) if not entry.silent_s and entry.in_flight + entry.others_in_flight <= 1
    ]
    if not idle:
        return None
    new = [at for at in idle if entries[at].measured_ago_s is None and not entries[at].load]
    if new:
        return rng.choice(new)
    due = [(ago, at) for at in idle if (ago := entries[at].measured_ago_s) is not None and ago > DUE_S]
    if not due:
        return None
    ago, at = max(due)
    return at if rng.random() < min(MOST_EXPLORED, EXPLORED * ago / DUE_S) else None
