"""What a steady stream does not show: a model that silently becomes worse, a topic that returns, feedback that is rare
or wrong, and a list of models that changes. All by lambda .1, .2 and .4, as in the protocol.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from runtime.sona.bank import Floats
from runtime.sona.learner import Learner, LearnerConfig
from runtime.sona.pack import Pack
from runtime.sona.replay import Reveal, order, play
from runtime.sona.topics import TopicMap

LAMBDAS = (0.1, 0.2, 0.4)
WORSE, BETTER = 2_000, 3_000
LOST = 0.6
MATHS_AND_CODE = ("gsm8k", "math", "mbpp", "human_eval", "agentverse-mgsm")
QUESTIONS = ("natural_qa", "trivia_qa", "commonsense_qa", "openbook_qa", "arc_challenge")
PROBES = 300
CHANGE = 1_200


@dataclass(frozen=True, slots=True, kw_only=True)
class Degraded:
    """Utility less the best single model's of the phase."""

    before: float
    first: float
    then: float
    later: float
    recovered: float


def degradation(pack: Pack, topics: TopicMap, features: Floats, config: LearnerConfig, seed: int) -> Degraded:
    """Of mmlupro: the cheapest model loses 60 % of its right answers at 2,000, and has them again at 3,000."""
    cheap = int(pack.mean_cost.argmin())
    rows = order(len(pack.prompts), seed)
    chance = np.random.default_rng((seed, 11))
    shown = pack.quality[rows].copy()
    shown[WORSE:BETTER, cheap] *= chance.random(BETTER - WORSE) > LOST
    spans = {"before": (1_000, WORSE), "first": (WORSE, 2_200), "then": (2_200, 2_500), "later": (2_500, BETTER)}
    spans["recovered"] = (BETTER, 3_500)
    found: dict[str, list[float]] = {name: [] for name in spans}
    for lam in LAMBDAS:
        prices = lam * pack.prices
        learner = Learner(pack.models, pack.mean_cost.tolist(), topics, config)
        reveal: Reveal = lambda at, model, _: float(shown[at, model])  # noqa: E731  # one line, used here alone
        chosen = play(
            learner, features[rows], np.arange(3_500), prices, reveal=reveal, rng=np.random.default_rng((seed, 7))
        )
        utility = shown - prices
        for name, (since, until) in spans.items():
            phase = {"before": (0, WORSE), "recovered": (BETTER, len(rows))}.get(name, (WORSE, BETTER))
            best = int(utility[phase[0] : phase[1]].mean(axis=0).argmax())
            at = np.arange(since, until)
            found[name].append(float((utility[at, chosen[at]] - utility[at, best]).mean()))
    return Degraded(**{name: float(np.mean(values)) for name, values in found.items()})


@dataclass(frozen=True, slots=True, kw_only=True)
class Returned:
    """`forgot`: what best guesses on probes lost by another topic; `dip`: first 200 on return less last 300 before."""

    forgot: float
    dip: float


def topic_return(pack: Pack, topics: TopicMap, features: Floats, config: LearnerConfig, seed: int) -> Returned:
    """Of llmrouter9: maths and code, then questions, then maths and code again."""
    rows = order(len(pack.prompts), seed)
    task = np.array(pack.tasks)
    mine = rows[np.isin(task[rows], MATHS_AND_CODE)]
    other = rows[np.isin(task[rows], QUESTIONS)]
    probes, mine = mine[:PROBES], mine[PROBES:]
    first, again = mine[: len(mine) // 2], mine[len(mine) // 2 :]
    forgot, dip = [], []
    for lam in LAMBDAS:
        prices = lam * pack.prices
        utility = pack.quality - prices
        best = utility[mine].mean(axis=0).max()
        learner = Learner(pack.models, pack.mean_cost.tolist(), topics, config)
        chance = np.random.default_rng((seed, 7))
        reveal: Reveal = lambda row, model, _: float(pack.quality[row, model])  # noqa: E731  # one line, used here

        def probe(
            learner: Learner = learner,
            prices: Floats = prices,
            utility: Floats = utility,
            chance: np.random.Generator = chance,
        ) -> float:
            return float(
                np.mean(
                    [utility[row, learner.decide(features[row], prices, chance, explore=False).model] for row in probes]
                )
            )

        before = utility[first, play(learner, features, first, prices, reveal=reveal, rng=chance)] - best
        knew = probe()
        play(learner, features, other, prices, reveal=reveal, rng=chance)
        forgot.append(knew - probe())
        after = utility[again, play(learner, features, again, prices, reveal=reveal, rng=chance)] - best
        dip.append(float(after[:200].mean() - before[-300:].mean()))
    return Returned(forgot=float(np.mean(forgot)), dip=float(np.mean(dip)))


def sparse(pack: Pack, share: float) -> Reveal:
    """Feedback on this share of requests only."""
    return lambda row, model, chance: float(pack.quality[row, model]) if chance.random() < share else None


def wrong(pack: Pack, share: float) -> Reveal:
    """This share of feedback says the opposite."""

    def reveal(row: int, model: int, chance: np.random.Generator) -> float:
        quality = float(pack.quality[row, model])
        return 1.0 - quality if chance.random() < share else quality

    return reveal


CHANGES = ("added", "removed", "repriced")


def change(
    pack: Pack, topics: TopicMap, features: Floats, config: LearnerConfig, seed: int, *, kind: str
) -> tuple[float, float]:
    """Mean utility of requests 200 to 300 after a change at run time: of a learner that met it, and of one that always
    had it. The model concerned is the best one in hindsight for that lambda, so that it matters."""
    rows = order(len(pack.prompts), seed)
    met, always = [], []
    for lam in LAMBDAS:
        utility = pack.quality - lam * pack.prices
        star = int(utility.mean(axis=0).argmax())
        after = lam * pack.prices
        if kind == "repriced":
            after = after.copy()
            after[star] = min(4.0 * after[star] + 0.3 * lam, 2.0)
        before = lam * pack.prices
        left = [at for at in range(len(pack.models)) if at != star]
        known = _some(pack, left)
        reveal: Reveal = lambda row, model, _: float(pack.quality[row, model])  # noqa: E731  # one line, used here
        part: Reveal = lambda row, model, _: float(known.quality[row, model])  # noqa: E731, B023  # called in this round
        early, late = rows[:CHANGE], rows[CHANGE : CHANGE + 300]
        paid = pack.quality - after
        if kind == "added":
            one = _learner(known, topics, config)
            chance = np.random.default_rng((seed, 7))
            play(one, features, early, before[left], reveal=part, rng=chance)
            one.add_model(pack.models[star], float(pack.mean_cost[star]))
            names = [pack.models.index(name) for name in one.models]
            whole = _some(pack, names)
            shown: Reveal = lambda row, model, _: float(whole.quality[row, model])  # noqa: E731, B023  # as above
            chosen = np.array(names)[play(one, features, late, after[names], reveal=shown, rng=chance)]
            other = _learner(pack, topics, config)
            second = np.random.default_rng((seed, 7))
            play(other, features, early, before, reveal=reveal, rng=second)
            best = play(other, features, late, after, reveal=reveal, rng=second)
        elif kind == "removed":
            one = _learner(pack, topics, config)
            chance = np.random.default_rng((seed, 7))
            play(one, features, early, before, reveal=reveal, rng=chance)
            one.remove_model(pack.models[star])
            chosen = np.array(left)[play(one, features, late, after[left], reveal=part, rng=chance)]
            other = _learner(known, topics, config)
            second = np.random.default_rng((seed, 7))
            play(other, features, early, before[left], reveal=part, rng=second)
            best = np.array(left)[play(other, features, late, after[left], reveal=part, rng=second)]
        else:
            one, other = _learner(pack, topics, config), _learner(pack, topics, config)
            chance, second = np.random.default_rng((seed, 7)), np.random.default_rng((seed, 7))
            play(one, features, early, before, reveal=reveal, rng=chance)
            chosen = play(one, features, late, after, reveal=reveal, rng=chance)
            play(other, features, early, after, reveal=reveal, rng=second)
            best = play(other, features, late, after, reveal=reveal, rng=second)
        met.append(float(paid[late[200:], chosen[200:]].mean()))
        always.append(float(paid[late[200:], best[200:]].mean()))
    return float(np.mean(met)), float(np.mean(always))


def _learner(pack: Pack, topics: TopicMap, config: LearnerConfig) -> Learner:
    return Learner(pack.models, pack.mean_cost.tolist(), topics, config)


def _some(pack: Pack, models: list[int]) -> Pack:
    return replace(
        pack,
        models=tuple(pack.models[at] for at in models),
        quality=pack.quality[:, models],
        cost=pack.cost[:, models],
    )
