"""Decides at the edge, by the policy that was published last. No clock, no I/O; the prompt is embedded here.

    no text · no policy yet · too little evidence · fewer than two with a price      abstains, and says which
    holdout, shadow                                                                  the default order, noted as such
    else    the learner's choice first, then by utility; behind them who has no price, or is unknown to it

Costs are those that are expected of this very request, as shares of the dearest candidate's; so is the time. Nobody is
explored in a conversation that goes on: it stays with its model, unless another is better by more than `SWITCH`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from runtime.balance.cost import expected_nanousd
from runtime.balance.entry import Asked, Candidate, Entry, Term
from runtime.balance.latency import expected_s
from runtime.learning.advice import Advice, Decision, Learned
from runtime.learning.values import Lesson, Mode, Stamp
from runtime.memory.embed import Embedder
from runtime.sona import state
from runtime.sona.learner import Choice, Learner
from runtime.sona.presets import TASTES

SWITCH = 0.05
"""What changing the model of a conversation costs, in quality."""
MOST_HOMES = 10_000
NEVER = 100.0
"""The price of a model that is not to be had: more than any quality is worth."""

NO_TEXT = "there is no text to go by"
NO_POLICY = "nothing was learned yet"
NO_PRICES = "fewer than two candidates have a price"


@dataclass(slots=True)
class Taught:
    """A policy. The learner's accounts of what exploring cost are kept here until the next one comes."""

    learner: Learner
    stamp: Stamp
    judged: float
    prompts: int


def taught(lesson: Lesson) -> Taught | None:
    """The policy in a lesson, None where it holds none yet. Raises `state.UnknownState`. Takes milliseconds."""
    if not lesson.payload:
        return None
    return Taught(state.load(lesson.payload), lesson.stamp, lesson.judged, lesson.prompts)


class Adviser:
    """`keep_text`: prompts travel to the owner, to be embedded anew one day. Belongs to one event loop."""

    def __init__(self, embedder: Embedder, rng: np.random.Generator, *, keep_text: bool = False) -> None:
        self.embedder = embedder
        self.policies: dict[str, Taught] = {}
        self.keep_text = keep_text
        self._rng = rng
        self._homes: OrderedDict[str, str] = OrderedDict()

    def advise(self, entries: Sequence[Entry], asked: Asked, how: Learned) -> Advice:
        text = asked.text.strip()
        if not text:
            return Advice(why=NO_TEXT)
        vector = self.embedder.embed([text])[0]
        names = tuple(str(one.candidate) for one in entries)
        home = self._homes.get(_conversation(asked), "") if asked.goes_on or asked.session else ""
        homes = next((one.candidate for one in entries if str(one.candidate) == home), None)
        costs = tuple(expected_nanousd(one, asked, homes) for one in entries)
        known = self.policies.get(asked.tenant)
        made = _Made(entries, asked, how, names, costs, vector, homes)
        if known is None:
            return self._default(made, NO_POLICY)
        if known.judged < how.evidence:
            return self._default(made, f"{known.judged:.0f} of {how.evidence:.0f} judged answers are there", known)
        at = {name: position for position, name in enumerate(known.learner.models)}
        able = [one for one, name in enumerate(names) if name in at and costs[one] is not None]
        if len(able) < 2:
            return self._default(made, NO_PRICES, known)
        if how.holdout > 0.0 and self._rng.random() < how.holdout:
            return self._default(made, "this request is held out to compare with", known, mode="holdout")
        return self._learned(made, known, able, at)

    def _default(self, made: _Made, why: str, known: Taught | None = None, *, mode: Mode = "default") -> Advice:
        return Advice(why=why, decision=self._decision(made, mode, known))

    def _decision(self, made: _Made, mode: Mode, known: Taught | None) -> Decision:
        return Decision(
            mode=mode,
            taste=made.how.taste,
            embedder=self.embedder.name,
            vector=np.asarray(made.vector, dtype="<f4").tobytes(),
            candidates=made.names,
            costs_nanousd=made.costs,
            tenant=made.asked.tenant,
            policy=known.stamp if known is not None else (0, 0),
            home=_conversation(made.asked),
            text=made.asked.text if self.keep_text else None,
        )

    def _learned(self, made: _Made, known: Taught, able: list[int], at: dict[str, int]) -> Advice:
        learner, how = known.learner, made.how
        prices = np.full(len(learner.models), NEVER)
        places = [at[made.names[one]] for one in able]
        prices[places] = self._prices(made, able)
        features = learner.topics.features(made.vector[None, :])[0]
        explore = how.explore and not made.asked.goes_on and made.home is None
        vector = None if learner.refined is None else made.vector.astype(np.float64)
        choice = learner.decide(features, prices, self._rng, explore=explore, allowed=places, vector=vector)
        good = _within(how, choice, places, prices)
        if len(good) < len(places):
            # By the same chances as if nobody else had been there: the propensity is that of this choice.
            choice = learner.decide(features, prices, self._rng, explore=explore, allowed=good, vector=vector)
        first = next(one for one in able if at[made.names[one]] == choice.model)
        utility = {one: choice.quality[at[made.names[one]]] - float(prices[at[made.names[one]]]) for one in able}
        rest = sorted((one for one in able if one != first), key=lambda one: -utility[one])
        behind = [one for one in range(len(made.entries)) if one not in utility]
        decision = self._decision(made, "shadow" if how.shadow else "learned", known)
        told = tuple(float(prices[at[name]]) if name in at else NEVER for name in made.names)
        decision = _chosen(decision, made.names[first], choice, told)
        terms = self._terms(made, choice, utility, at, first)
        terms[first]["evidence"] = known.judged
        if learner.refined is not None and vector is not None:
            # What memory, adapters and patterns say beside the head.
            corrections = learner.refined.corrections(vector)
            for one in able:
                terms[one]["correction"] = round(float(corrections[at[made.names[one]]]), 4)
            if (nearest := learner.refined.nearest(vector)) is not None:
                pattern, similarity = nearest
                said = learner.refined.said_by(pattern)
                for one in able:
                    terms[one] |= {"pattern": pattern.name, "pattern_says": round(said[at[made.names[one]]], 4)}
                terms[first] |= {"pattern_similarity": round(similarity, 4), "pattern_prompts": round(pattern.size, 1)}
        if how.shadow:
            return Advice(why=f"in shadow; it would ask {made.names[first]}", terms=terms, decision=decision)
        return Advice(order=(first, *rest, *behind), terms=terms, decision=decision)

    def _prices(self, made: _Made, able: list[int]) -> NDArray[np.float64]:
        """What each costs, in quality: money and time as shares of the dearest and the slowest."""
        taste = TASTES[made.how.taste]
        money = np.array([made.costs[one] or 0 for one in able], dtype=np.float64)
        prices = taste.money * money / max(float(money.max()), 1.0)
        if taste.time > 0.0:
            took = [_seconds(made.entries[one], made) for one in able]
            measured = [one for one in took if one is not None]
            if measured:
                # Until its first answer, one is taken to be like the others.
                usual = float(np.median(measured))
                slow = np.array([usual if one is None else one for one in took])
                prices += taste.time * slow / max(float(slow.max()), 1e-9)
        if made.home is not None:
            prices -= np.array([SWITCH if made.entries[one].candidate == made.home else 0.0 for one in able])
        return prices

    def _terms(
        self, made: _Made, choice: Choice, utility: dict[int, float], at: dict[str, int], first: int
    ) -> dict[int, dict[str, Term]]:
        terms: dict[int, dict[str, Term]] = {}
        for one, name in enumerate(made.names):
            if one not in utility:
                why = "no price" if made.costs[one] is None else "not yet known"
                terms[one] = {"learned": why, "expected_nanousd": made.costs[one]}
                continue
            place = at[name]
            terms[one] = {
                "learned": "chosen" if one == first else "behind",
                "quality": round(choice.quality[place], 4),
                "doubt": round(choice.doubt[place], 4),
                "worth": round(choice.worth[place], 4),
                "utility": round(utility[one], 4),
                "expected_nanousd": made.costs[one],
            }
            if one == first:
                terms[one] |= {"propensity": round(choice.propensity, 4), "explored": choice.explored}
            if made.home is not None and made.entries[one].candidate == made.home:
                terms[one]["home"] = True
        return terms

    def began(self, decision: Decision) -> None:
        """It is carried out: what it gave up is spent here, until the owner's own account comes back."""
        known = self.policies.get(decision.tenant)
        if known is not None:
            known.learner.asked += 1.0
            if decision.mode == "learned":
                known.learner.spent += decision.gave_up

    def settle_in(self, decision: Decision, answered: str) -> None:
        """The conversation has a model from now on."""
        if decision.home and answered:
            self._homes[decision.home] = answered
            self._homes.move_to_end(decision.home)
            while len(self._homes) > MOST_HOMES:
                self._homes.popitem(last=False)


@dataclass(slots=True)
class _Made:
    """One decision being made."""

    entries: Sequence[Entry]
    asked: Asked
    how: Learned
    names: tuple[str, ...]
    costs: tuple[int | None, ...]
    vector: NDArray[np.float32]
    home: Candidate | None


def _within(how: Learned, choice: Choice, places: list[int], prices: NDArray[np.float64]) -> list[int]:
    """Those of `places` who are good enough, and not too much worse than the best; never nobody."""
    good = places
    if how.floor is not None:
        # Where nobody is good enough, then the best there is, whatever it costs.
        least = min(how.floor, max(choice.quality[place] for place in places))
        good = [place for place in good if choice.quality[place] >= least]
    if how.explore_cap is not None:
        utility = {place: choice.quality[place] - float(prices[place]) for place in good}
        good = [place for place in good if utility[place] >= max(utility.values()) - how.explore_cap]
    return good


def _conversation(asked: Asked) -> str:
    """What names it: its session, else how it began (which is by caller already)."""
    return f"{asked.tenant} {asked.session}" if asked.session else asked.prefix


def _seconds(entry: Entry, made: _Made) -> float | None:
    if entry.ttft_s is None and entry.typical_s is None:
        return None
    return expected_s(entry, made.asked, made.home)["expected_s"]


def _chosen(decision: Decision, name: str, choice: Choice, prices: tuple[float, ...]) -> Decision:
    return replace(decision, chosen=name, propensity=choice.propensity, gave_up=choice.gave_up, prices=prices)
