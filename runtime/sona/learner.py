"""Decides which model to ask, and learns from what came of it. Pure: no clock, no I/O, chance is an argument.

    utility(m) = expected quality(m) - price(m)        price(m) = lambda · cost + mu · latency, both as shares
    index(m)   = utility(m) + worth of asking(m)       the worth is nothing once no answer could change a choice
    choice     ~ softmax(index / temperature)          so every choice has a propensity; ties go by chance

Before any feedback the expected quality rises with the logarithm of the price, since dear models are mostly better:
that is the static default. Where `LearnerConfig.priors` is on, what was published of models takes its place. What
asking for the sake of learning costs is counted against an allowance, and when that is used up the learner only
exploits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from runtime.sona.bank import Floats
from runtime.sona.drift import Drift, Watchfulness
from runtime.sona.explore import Curiosity, worth
from runtime.sona.head import HeadPrior, QualityHead
from runtime.sona.published import published
from runtime.sona.refine import Consolidated, Parts, Refinement
from runtime.sona.topics import TopicMap, TopicShape


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnerConfig:
    """One setting for all routes. `base` and `slope` give the quality expected of a model before any feedback:
    base + slope · (ln cost - mean ln cost). `drift` is the variance by which levels may move from request to request.
    `QualityHead.relearn_topics`, with `trust`, comes after `relearn_first` answers and whenever there are half as many
    again; 0: never.

    `priors`: of models with a published figure (`runtime.sona.published`, or `known` by name, which knows better; both
    in percent), where there are two of them or more, is expected base + (figure - their mean figure) / 100, whatever
    they cost, and with the doubt `published_level`, more once outcomes speak against figures. The others are expected
    as without."""

    topics: TopicShape = field(default_factory=TopicShape)
    head: HeadPrior = field(default_factory=HeadPrior)
    curiosity: Curiosity = field(default_factory=Curiosity)
    watch: Watchfulness = field(default_factory=Watchfulness)
    parts: Parts = field(default_factory=Parts)
    base: float = 0.6
    slope: float = 0.03
    temperature: float = 0.002
    relearn_first: int = 100
    trust: float = 16.0
    drift: float = 0.0
    priors: bool = False
    known: tuple[tuple[str, float], ...] = ()
    published_level: float = 0.07
    allowance: float = 60.0
    allowance_share: float = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """`index`, `quality` and `sure` go by candidate; `gave_up` is the utility given up for what can be learned."""

    model: int
    propensity: float
    quality: tuple[float, ...]
    doubt: tuple[float, ...]
    worth: tuple[float, ...]
    gave_up: float
    explored: bool


class Learner:
    """Owns a head over one topic map. `models` and `costs` (US dollars of a usual call) go together."""

    def __init__(
        self, models: Sequence[str], costs: Sequence[float], topics: TopicMap, config: LearnerConfig | None = None
    ) -> None:
        self.config = config or LearnerConfig()
        self.topics = topics
        self.log_cost = float(np.mean([math.log(max(cost, 1e-9)) for cost in costs]))
        figures = [one for one in map(self._figure, models) if one is not None]
        self.usual_figure = float(np.mean(figures)) if len(figures) > 1 else None
        """What models' figures are compared with: the mean of those that were there at the beginning."""
        expected = [self._expected(model, cost) for model, cost in zip(models, costs, strict=True)]
        levels, doubts = [one for one, _ in expected], [doubt for _, doubt in expected]
        self.head = QualityHead(models, levels, topics.width, self.config.head, doubts=doubts)
        self.drifts = [Drift() for _ in models]
        parts = self.config.parts
        self.refined = Refinement(models, len(topics.middle), parts) if parts.any else None
        self.asked = 0.0
        self.heard = 0.0
        self.spent = 0.0

    def _figure(self, model: str) -> float | None:
        if not self.config.priors:
            return None
        return dict(self.config.known).get(model, published(model))

    def _expected(self, model: str, cost: float) -> tuple[float, float]:
        """The quality that is expected of a model before any feedback, and the doubt about it."""
        figure = self._figure(model)
        if figure is not None and self.usual_figure is not None:
            return self.config.base + (figure - self.usual_figure) / 100.0, self.config.published_level
        by_price = self.config.slope * (math.log(max(cost, 1e-9)) - self.log_cost)
        return self.config.base + by_price, self.config.head.own_level

    @property
    def models(self) -> list[str]:
        return self.head.models

    def decide(
        self,
        features: Floats,
        prices: Floats,
        rng: np.random.Generator,
        *,
        explore: bool = True,
        allowed: Sequence[int] = (),
        vector: Floats | None = None,
    ) -> Choice:
        """Choose for a prompt with these features. `prices` in units of quality, one for each model.

        `explore` false asks for the best guess (inside tool loops, for a key that pays for the best); `allowed` leaves
        only these models. The propensity is the chance with which this choice was made. `vector` is the prompt's
        embedding, for `LearnerConfig.parts` that take part.
        """
        belief = self.head.believe(features)
        quality = np.clip(belief.mean, 0.0, 1.0)
        if self.refined is not None and vector is not None:
            quality = self.refined.correct(vector, quality)
        utility = quality - prices
        open_to = np.array(allowed, dtype=np.intp) if len(allowed) else np.arange(len(utility))
        budget = self.config.allowance + self.config.allowance_share * self.asked - self.spent
        value = np.zeros_like(utility)
        if explore and budget > 0:
            value = worth(
                belief,
                self.head.look(self.topics.anchors),
                self.topics.share,
                prices,
                noise=self.config.head.noise,
                curiosity=self.config.curiosity,
            )
            # An answer that nobody judges teaches nothing.
            value *= (self.heard + 10.0) / (self.asked + 10.0)
        index = (utility + value)[open_to]
        if explore and self.config.temperature > 0:
            odds = np.exp((index - index.max()) / self.config.temperature)
            odds /= odds.sum()
            at = min(int(np.searchsorted(np.cumsum(odds), rng.random())), len(odds) - 1)
        else:
            at = int(np.argmax(index))
            odds = np.zeros(len(index))
            odds[at] = 1.0
        model = int(open_to[at])
        gave_up = float(utility[open_to].max() - utility[model])
        return Choice(
            model=model,
            propensity=float(odds[at]),
            quality=tuple(quality.tolist()),
            doubt=tuple(np.sqrt(belief.variance).tolist()),
            worth=tuple(value.tolist()),
            gave_up=gave_up,
            explored=gave_up > 0,
        )

    def chose(self, choice: Choice) -> None:
        """A choice was carried out: it counts, and what it gave up is spent."""
        self.asked += 1.0
        self.spent += choice.gave_up
        if self.config.drift > 0:
            self.head.drift(self.config.drift)

    def learn(
        self,
        features: Floats,
        model: int,
        quality: float,
        *,
        weight: float = 1.0,
        key: str | None = None,
        keys: int = 0,
        vector: Floats | None = None,
    ) -> float:
        """Take in how good the model's answer was, 0 to 1. Answers the surprise. `key` says who judged it, and `keys`
        how many there are who do."""
        self.heard += 1.0
        surprise = self.head.learn(model, features, quality, weight=weight)
        if self.refined is not None and vector is not None:
            self.refined.learn(vector, features, model, quality, expected=quality - surprise, weight=weight)
        if self._relearns():
            self.head.relearn_topics(self.config.trust)
        if self.drifts[model].see(weight * surprise / self.config.head.noise, self.config.watch, key=key, of=keys):
            self.head.forget_level(model, self.config.watch.widen)
        return surprise

    def _relearns(self) -> bool:
        first = self.config.relearn_first
        if not first or self.heard < first:
            return False
        step = round(math.log(self.heard / first) / math.log(1.5))
        return self.heard == math.floor(first * 1.5**step)

    def add_model(self, model: str, cost: float) -> None:
        level, doubt = self._expected(model, cost)
        self.head.add_model(model, level, doubt=doubt)
        self.drifts.append(Drift())
        if self.refined is not None:
            self.refined.add_model(model)

    def remove_model(self, model: str) -> None:
        del self.drifts[self.head.models.index(model)]
        self.head.remove_model(model)
        if self.refined is not None:
            self.refined.remove_model(model)

    def consolidate(self, *, now: float) -> Consolidated | None:
        """The deep loop of the parts; None where none takes part. Not to be run where somebody waits."""
        return self.refined.consolidate(self.head, now=now) if self.refined is not None else None
