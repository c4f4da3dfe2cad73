"""All of a choice: filters, tiers, the strategy in each, what follows from health; and the words to explain it.

tiers      what the request prefers, then higher priorities; behind them whose context may be too small
strategy   orders each tier; `learned` goes by whoever learned, for the first tier; where that one abstains, and for all
           other tiers, `latency` decides, and the plan says so
sticky     a session's (else a conversation's) home leads its tier, unless it is full
ramp       who has just recovered leads for its share of the requests only
shut       last, soonest first, whatever the strategy: they are asked only where nobody else is left
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from runtime.balance.affinity import home_of, is_full
from runtime.balance.cost import cost
from runtime.balance.entry import Asked, Candidate, Dropped, Entry, Scored, Term
from runtime.balance.filters import is_tight, sift
from runtime.balance.latency import latency
from runtime.balance.rules import Rule, matching
from runtime.balance.score import Mode, balanced
from runtime.balance.turns import Turns, least_loaded, round_robin, weighted
from runtime.learning.advice import Advice, Advises, Decision, Learned
from runtime.values import quick, replace

StrategyName = Literal["round_robin", "least_loaded", "latency", "cost", "balanced", "weighted", "rules", "learned"]


NOTHING_LEARNS = "nothing learns here (learning.enabled)"
ABSTAINS = "`learned` abstains, and these are ordered as by `latency`: {why}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Routing:
    """How the candidates of a route are ordered. `mode` is for `balanced`, and for `rules` where none matches;
    `learned` for the strategy of that name."""

    strategy: StrategyName = "latency"
    mode: Mode = "balanced"
    rules: tuple[Rule, ...] = ()
    sticky: bool = False
    learned: Learned = field(default_factory=Learned)


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """In which order to ask, and why. `order` is empty if everybody was dropped; `note` is for people. `decision` is
    what is to be learned from what comes of it."""

    strategy: StrategyName
    order: tuple[Scored, ...] = ()
    dropped: tuple[Dropped, ...] = ()
    home: Candidate | None = None
    note: str = ""
    decision: Decision | None = None

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """Whom to ask, in order."""
        return tuple(one.candidate for one in self.order)

    def told(self) -> dict[str, object]:
        """The same as plain data."""
        return {
            "strategy": self.strategy,
            **({"note": self.note} if self.note else {}),
            "home": None if self.home is None else str(self.home),
            "candidates": [
                {"provider": one.candidate.provider, "model": one.candidate.model, "terms": dict(one.terms)}
                for one in self.order
            ],
            "dropped": [
                {"provider": one.candidate.provider, "model": one.candidate.model, "why": one.why, "detail": one.detail}
                for one in self.dropped
            ],
        }


@dataclass(slots=True)
class _Choice:
    """One choice under way."""

    asked: Asked
    routing: Routing
    turns: Turns
    key: str
    rng: random.Random
    home: Candidate | None
    adviser: Advises | None
    advice: Advice | None = None


def plan(
    entries: Sequence[Entry],
    asked: Asked,
    routing: Routing,
    *,
    turns: Turns,
    key: str,
    rng: random.Random,
    adviser: Advises | None = None,
) -> Plan:
    """`key` names whose turn it is (the route or model asked for). Give a copy of `turns` to take none."""
    kept, dropped = sift(entries, asked)
    shut = [entry for entry in kept if entry.retry_in_s > 0.0]
    open_ = [entry for entry in kept if entry.retry_in_s <= 0.0] if shut else kept
    # A shut home keeps its conversations: it is back soon, and moving them twice would cost more than waiting.
    home = home_of(asked.session or asked.prefix, kept)
    choice = _Choice(asked, routing, turns, key, rng, home, adviser)
    order: list[Scored] = []
    for tier in _tiers(open_, asked, by_preference=routing.strategy != "balanced"):
        order += _stuck(_ordered(tier, choice), choice)
    order = _ramped(order, rng)
    shut.sort(key=lambda entry: entry.retry_in_s)
    order += [Scored(entry, {"shut_for_s": entry.retry_in_s}) for entry in shut]
    made = Plan(strategy=routing.strategy, order=tuple(order), dropped=tuple(dropped), home=home)
    if (advice := choice.advice) is None:
        return made
    return replace(made, note=ABSTAINS.format(why=advice.why) if advice.why else "", decision=advice.decision)


def usual_lengths(learned: Iterable[tuple[str, float | None]]) -> dict[str, float]:
    """How long answers are, by model, of what each of its providers' were (model, tokens).

    It is the model that makes them long; what one provider happened to be asked is chance.
    """
    lengths: dict[str, list[float]] = {}
    for model, tokens in learned:
        if tokens is not None:
            lengths.setdefault(model, []).append(tokens)
    return {model: sum(of) / len(of) for model, of in lengths.items()}


def _tiers(entries: Sequence[Entry], asked: Asked, *, by_preference: bool) -> Iterable[list[Entry]]:
    tiers: dict[tuple[bool, bool, int], list[Entry]] = {}
    counted = asked.input_tokens > 0
    for entry in entries:
        preferred = by_preference and (entry.preferred_provider or entry.preferred_model)
        roomy = not (counted and is_tight(entry, asked))
        tiers.setdefault((roomy, preferred, entry.priority), []).append(entry)
    return tiers.values() if len(tiers) < 2 else [tiers[rank] for rank in sorted(tiers, reverse=True)]


def _ordered(tier: list[Entry], choice: _Choice) -> list[Scored]:
    asked, rng, home = choice.asked, choice.rng, choice.home
    match choice.routing.strategy:
        case "round_robin":
            # Tiers of one name take turns of their own: their members differ.
            return round_robin(tier, choice.turns, f"{choice.key}\0{tier[0].priority}\0{tier[0].preferred}", rng)
        case "least_loaded":
            return least_loaded(tier, rng)
        case "weighted":
            return weighted(tier, rng)
        case "latency":
            return latency(tier, asked, home, rng)
        case "cost":
            return cost(tier, asked, home)
        case "balanced":
            return balanced(tier, asked, home, mode=choice.routing.mode)
        case "rules":
            return _by_rule(tier, choice)
        case "learned":
            return _by_learning(tier, choice)


def _by_learning(tier: list[Entry], choice: _Choice) -> list[Scored]:
    """As whoever learned says, for the tier that is asked first; the others are there for its failures."""
    others = latency(tier, choice.asked, choice.home, choice.rng)
    if choice.advice is not None:
        return others
    if choice.adviser is None:
        advice = Advice(why=NOTHING_LEARNS)
    else:
        advice = choice.adviser.advise(tier, choice.asked, choice.routing.learned)
    choice.advice = advice
    if not advice.order:
        told = {id(tier[at]): terms for at, terms in advice.terms.items()}
        return [_with(one, **{"learned": "abstains", **told.get(id(one.entry), {})}) for one in others]
    return [Scored(tier[at], advice.terms.get(at, {})) for at in advice.order]


def _by_rule(tier: list[Entry], choice: _Choice) -> list[Scored]:
    """The targets of the first rule that matches, in its order; all others by their balanced score, behind them."""
    others = balanced(tier, choice.asked, choice.home, mode=choice.routing.mode)
    found = matching(choice.routing.rules, choice.asked, tier)
    if found is None:
        return [_with(one, rule=None) for one in others]
    number, rule = found
    last = len(rule.targets)

    def place(one: Scored) -> int:
        at = rule.place(one.entry)
        return last if at is None else at

    return [_with(one, rule=number, target=rule.place(one.entry)) for one in sorted(others, key=place)]


def _stuck(order: list[Scored], choice: _Choice) -> list[Scored]:
    # Whoever learned keeps conversations together by itself.
    learned = choice.advice is not None and bool(choice.advice.order)
    if not choice.routing.sticky or choice.home is None or learned:
        return order
    at = next((at for at, one in enumerate(order) if one.candidate == choice.home), None)
    if at is None:
        return order
    home = order[at]
    if is_full(home.entry, [one.entry for one in order]):
        return [_with(one, sticky="full") if one is home else one for one in order]
    return [_with(home, sticky="home"), *order[:at], *order[at + 1 :]]


def _ramped(order: list[Scored], rng: random.Random) -> list[Scored]:
    """Those that lead only because they are back go behind the next one that has not just recovered."""
    waiting: list[Scored] = []
    for at, one in enumerate(order):
        if one.entry.ramp >= 1.0 or rng.random() < one.entry.ramp:
            return [one, *(_with(late, ramp=late.entry.ramp) for late in waiting), *order[at + 1 :]]
        waiting.append(one)
    return order


def _with(one: Scored, **terms: Term) -> Scored:
    return replace(one, terms={**one.terms, **terms})
