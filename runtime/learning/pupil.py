"""One organisation's learner, as its events in their order make it: the same events, the same learner, bit for bit.

fewer than `warm_up` prompts     no learner: what prompts are about is not known yet
then                             a map of topics is fitted on them, and all that came so far is learned
at 4, 16 and 64 times as many    the map is fitted anew, and all is learned again under it
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any

import numpy as np

from runtime.learning.events import Event, Imported, Judged, vector_of
from runtime.learning.sharing import take_in
from runtime.learning.values import Trajectory
from runtime.models import NANOUSD
from runtime.sona import state, topics
from runtime.sona.bank import Floats
from runtime.sona.fairness import Voices
from runtime.sona.learner import Choice, Learner, LearnerConfig
from runtime.sona.refine import Parts

REFITS = (1, 4, 16, 64)
MOST_FITTED = 4_096
MOST_MODELS = 18
"""A policy with as many is still less than a megabyte."""
CONSOLIDATED_EACH = 500
"""Outcomes after which the deep loop runs, where parts take part: by count, so that a restart is no event."""
LEAST_USD = 1e-7
"""What a model that costs nothing counts as, where logarithms of prices are taken."""

History = Callable[[], Iterable[Event]]
"""All events so far, this one included, oldest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schooling:
    """`explore_share` is how much of each request's utility may be given up to learn, on average. `priors` and `known`
    (percent, by `provider/model`) are of `LearnerConfig`; they are what a learner starts from, when its topics are
    fitted. `parts` refine what the head expects; another choice of them counts from the next time that topics are
    fitted."""

    warm_up: int = 50
    explore_share: float = 0.02
    priors: bool = True
    known: tuple[tuple[str, float], ...] = ()
    parts: Parts = field(default_factory=Parts)
    learner: LearnerConfig = field(default_factory=LearnerConfig)

    @property
    def config(self) -> LearnerConfig:
        return replace(
            self.learner, allowance_share=self.explore_share, priors=self.priors, known=self.known, parts=self.parts
        )


class Pupil:
    def __init__(self, how: Schooling) -> None:
        self.how = how
        self.learner: Learner | None = None
        self.voices = Voices()
        self.prompts = 0
        self.judged = 0.0
        self.signals: dict[str, int] = {}
        self._last_asked: dict[str, int] = {}
        self._calibrated = ""

    def apply(self, event: Event, history: History, *, weighed: bool = False) -> None:
        """Learn from the next event. `weighed`: this very pupil has just said how much it counts (`weigh`)."""
        if isinstance(event, Imported):
            # No evidence: `judged` counts what was seen here.
            if self.learner is not None:
                self._learn(self.learner, event)
            return
        if isinstance(event, Judged):
            if not (weighed or event.trusted):
                self.weigh(event.key, event.model)
            self.judged += event.fair if event.instead is None else 0.0
        else:
            fresh = self._is_fresh(event)
            self.prompts += fresh
            for one in event.signals:
                self.signals[one.why] = self.signals.get(one.why, 0) + 1
            for name, cost in zip(event.candidates, event.costs_nanousd, strict=True):
                if cost is not None:
                    self._last_asked[name] = self.prompts
            if fresh and self._is_time():
                self._fit(history)
                return
        if self.learner is not None:
            self._learn(self.learner, event)

    def weigh(self, key: str, model: str) -> float:
        """How much the next feedback of this key on this model counts; it has come from here on."""
        return self.voices.weigh(key, model)

    def _is_fresh(self, event: Trajectory) -> bool:
        """Whether this is a prompt of its own. Of a calibration there are as many decisions as models, one after the
        other, and only the first counts."""
        if event.mode != "calibrated":
            return True
        before, self._calibrated = self._calibrated, sha256(event.vector).hexdigest()[:16]
        return before != self._calibrated

    def _is_time(self) -> bool:
        if self.learner is None:
            return self.prompts >= self.how.warm_up and len(self._last_asked) >= 2
        return self.prompts in {self.how.warm_up * one for one in REFITS}

    def _fit(self, history: History) -> None:
        """Go through all that came, twice: it may be much more than is to be held at once."""
        costs: dict[str, int] = {}
        # A calibration's prompts are there once for each model: once is enough to know what prompts are about.
        apart: OrderedDict[str | bytes, bytes] = OrderedDict()
        for one in history():
            if isinstance(one, Trajectory):
                costs |= {
                    name: cost for name, cost in zip(one.candidates, one.costs_nanousd, strict=True) if cost is not None
                }
                apart[one.vector if one.mode == "calibrated" else one.uid] = one.vector
                if len(apart) > MOST_FITTED:
                    apart.popitem(last=False)
        kept = sorted(costs, key=lambda name: (-self._last_asked.get(name, 0), name))[:MOST_MODELS]
        vectors = np.stack([np.frombuffer(vector, dtype="<f4") for vector in apart.values()])
        shape = replace(self.how.config.topics, centres=min(self.how.config.topics.centres, max(len(vectors) // 2, 2)))
        names = sorted(kept)
        usual = [_usd(costs[name]) for name in names]
        learner = Learner(names, usual, topics.fit(vectors, shape), self.how.config)
        for event in history():
            self._learn(learner, event)
        self.learner = learner

    def _learn(self, learner: Learner, event: Event) -> None:
        if isinstance(event, Imported):
            take_in(learner, event.vector)
            return
        vector = vector_of(event).astype(np.float64)
        features = learner.topics.features(vector[None, :])[0]
        if isinstance(event, Judged):
            self._hear(learner, features, vector, event)
            if learner.refined is not None and round(learner.heard) % CONSOLIDATED_EACH == 0:
                learner.consolidate(now=event.at_s)
            return
        for name, cost in zip(event.candidates, event.costs_nanousd, strict=True):
            if cost is not None and name not in learner.models:
                self._add(learner, name, cost)
        gave_up = event.gave_up if event.mode == "learned" else 0.0
        learner.chose(
            Choice(
                model=0,
                propensity=event.propensity or 0.0,
                quality=(),
                doubt=(),
                worth=(),
                gave_up=gave_up,
                explored=gave_up > 0.0,
            )
        )
        for one in event.signals:
            if one.model in learner.models:
                model = learner.models.index(one.model)
                learner.learn(features, model, one.quality, weight=one.weight, vector=vector)

    def _hear(self, learner: Learner, features: Floats, vector: Floats, event: Judged) -> None:
        if event.model not in learner.models:
            return
        model = learner.models.index(event.model)
        if event.instead is not None:
            quality, weight = event.instead
            learner.head.unlearn(model, features, quality, weight=weight)
            learner.heard -= 1.0
        learner.learn(
            features,
            model,
            event.quality,
            weight=event.weight,
            key=event.key,
            keys=len(self.voices),
            vector=vector,
        )

    def _add(self, learner: Learner, name: str, cost: int) -> None:
        if len(learner.models) >= MOST_MODELS:
            oldest = min(learner.models, key=lambda one: (self._last_asked.get(one, 0), one))
            learner.remove_model(oldest)
        learner.add_model(name, _usd(cost))

    @property
    def learned(self) -> int:
        """How often its learner was changed by an answer: by feedback, or by a signal."""
        return round(self.learner.heard) if self.learner is not None else 0

    def levels(self) -> dict[str, tuple[float, float]]:
        """Mean quality of each model over all prompts, and its standard deviation; empty before there is a learner."""
        if self.learner is None:
            return {}
        return {name: self.learner.head.level(at) for at, name in enumerate(self.learner.models)}

    def dump(self) -> bytes:
        """All of it; the same pupil is the same bytes."""
        about = {
            "prompts": self.prompts,
            "judged": self.judged,
            "signals": self.signals,
            "last_asked": self._last_asked,
            "voices": self.voices.dump(),
            "calibrated": self._calibrated,
        }
        head = json.dumps(about).encode()
        return len(head).to_bytes(4, "little") + head + self.policy(whole=True)

    def policy(self, *, whole: bool = False) -> bytes:
        """What edges decide by, empty before there is a learner; `whole`: with what is kept to be replayed."""
        return b"" if self.learner is None else state.dump(self.learner, whole=whole)

    @classmethod
    def load(cls, payload: bytes, how: Schooling) -> Pupil:
        """Raises `runtime.sona.state.UnknownState`."""
        size = int.from_bytes(payload[:4], "little")
        try:
            about: Mapping[str, Any] = json.loads(payload[4 : 4 + size])
            pupil = cls(how)
            pupil.prompts, pupil.judged = about["prompts"], about["judged"]
            pupil.signals, pupil._last_asked = dict(about["signals"]), dict(about["last_asked"])
            pupil.voices.load(about["voices"])
            pupil._calibrated = about.get("calibrated", "")
        except (ValueError, KeyError, TypeError) as error:
            raise state.UnknownState(f"not a pupil's state: {error}") from error
        policy = payload[4 + size :]
        pupil.learner = state.load(policy) if policy else None
        if pupil.learner is not None:
            # What it may spend, and what newcomers start from, is the settings' to say, whatever they were when it was
            # saved. Those who are there go by what they learned.
            pupil.learner.config = replace(
                pupil.learner.config, allowance_share=how.explore_share, priors=how.priors, known=how.known
            )
        return pupil


def _usd(nanousd: int) -> float:
    return max(nanousd / NANOUSD, LEAST_USD)
