"""Each part shows its effect on a stream that was built to need it, and says nothing before it learned."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from runtime.sona.bank import Floats
from runtime.sona.head import HeadPrior, QualityHead
from runtime.sona.learner import Learner, LearnerConfig
from runtime.sona.lowrank import Rank
from runtime.sona.refine import Parts, Refinement
from runtime.sona.state import dump, load
from runtime.sona.topics import TopicShape, fit

DIM, MODELS = 16, ("a", "b")
NOTHING = np.array([1.0, 0.0])
"""Features that tell the head nothing: all that can be learned is in the vector."""


def stream(count: int, seed: int) -> tuple[Floats, Floats]:
    """Prompts of four places; b is right in the first two and a in the others, half of the quality away from .5."""
    chance = np.random.default_rng(seed)
    place = chance.integers(4, size=count)
    vectors = np.eye(DIM)[place] + chance.normal(0, 0.08, (count, DIM))
    right = np.where(place < 2, 0.3, -0.3)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.stack([0.5 - right, 0.5 + right], axis=1)


def error(refinement: Refinement, seed: int = 9) -> float:
    vectors, quality = stream(200, seed)
    guessed = np.array([refinement.correct(vector, np.full(2, 0.5)) for vector in vectors])
    return float(np.sqrt(np.mean((guessed - quality) ** 2)))


def taught(parts: Parts, count: int = 600, consolidate: int = 3) -> Refinement:
    refinement = Refinement(MODELS, DIM, parts)
    head = QualityHead(MODELS, [0.5, 0.5], 2, HeadPrior(own_level=1e-6, shared_level=1e-6))
    chance = np.random.default_rng(1)
    vectors, quality = stream(count, 0)
    for at, (vector, good) in enumerate(zip(vectors, quality, strict=True)):
        model = int(chance.integers(2))
        refinement.learn(vector, NOTHING, model, float(chance.random() < good[model]), expected=0.5)
        if (at + 1) % (count // consolidate) == 0:
            refinement.consolidate(head, now=float(at))
    return refinement


FAST = Rank(rank=2, rate=0.15, bound=0.4)
WIDE = Parts(bound=0.4, micro_rank=FAST, base_rank=replace(FAST, rank=4), doubt=3.0)
NONE = error(Refinement(MODELS, DIM, WIDE))


@pytest.mark.parametrize("part", ["memory", "micro", "base", "bank"])
def test_a_part_learns_what_the_head_cannot_see(part: str) -> None:
    # One task only: there is nothing that elastic weights would have to keep.
    on = replace(WIDE, ewc=False, **{part: True})
    assert error(Refinement(MODELS, DIM, on)) == pytest.approx(NONE)
    assert error(taught(on)) < 0.75 * NONE


def test_without_the_deep_loop_the_bank_stays_empty() -> None:
    assert error(taught(replace(WIDE, bank=True, deep=False))) == pytest.approx(NONE)


def test_calibration_pulls_in_a_head_that_is_too_sure() -> None:
    refinement = Refinement(MODELS, DIM, replace(WIDE, calibration=True))
    chance = np.random.default_rng(3)
    for vector in stream(800, 0)[0]:
        said = float(chance.random())
        # What really comes lies half as far from .5 as what was said.
        refinement.learn(vector, NOTHING, 0, float(chance.random() < 0.25 + 0.5 * said), expected=said)
    low, high = refinement.correct(np.eye(DIM)[0], np.array([0.1, 0.9]))
    assert low == pytest.approx(0.3, abs=0.08)
    assert high == pytest.approx(0.7, abs=0.08)


def forgot(*, ewc: bool) -> float:
    """How much worse the first task is known after a second one that was learned at the same place."""
    parts = replace(WIDE, base=True, ewc=ewc, kept=150)
    refinement = Refinement(MODELS, DIM, parts)
    head = QualityHead(MODELS, [0.5, 0.5], 2, HeadPrior(own_level=1e-6, shared_level=1e-6))
    vectors, quality = stream(1_200, 0)
    first = quality[:, 0] < 0.5

    def teach(rows: Floats, answers: Floats) -> None:
        for vector, good in zip(rows, answers, strict=True):
            for model in range(2):
                refinement.learn(vector, NOTHING, model, float(good[model]), expected=0.5)
        for at in range(4):
            refinement.consolidate(head, now=float(at))

    def off() -> float:
        rows, good = vectors[first][:100], quality[first][:100]
        return float(
            np.mean([(refinement.correct(v, np.full(2, 0.5)) - g) ** 2 for v, g in zip(rows, good, strict=True)])
        )

    teach(vectors[first][:300], quality[first][:300])
    before = off()
    # The same directions of the embedding now mean the contrary, mixed with a new place.
    mixed = 0.5 * vectors[first][300:500] + 0.9 * vectors[~first][:200]
    teach(mixed / np.linalg.norm(mixed, axis=1, keepdims=True), quality[~first][:200])
    return off() - before


def test_elastic_weights_keep_an_earlier_task() -> None:
    assert forgot(ewc=True) < 0.6 * forgot(ewc=False)


def test_one_feedback_moves_the_correction_against_the_gradient() -> None:
    refinement = Refinement(MODELS, DIM, replace(WIDE, micro=True))
    vector = np.eye(DIM)[3]
    refinement.learn(vector, NOTHING, 1, 1.0, expected=0.5)
    low, high = refinement.corrections(vector)
    assert high > 0.0
    assert low == 0.0


def test_parts_survive_a_restart_bit_for_bit_and_models_come_and_go() -> None:
    vectors, quality = stream(300, 0)
    topics = fit(vectors, TopicShape(centres=4, directions=2, anchors=3))
    every = replace(WIDE, memory=True, micro=True, base=True, bank=True, calibration=True, kept=100)
    config = LearnerConfig(topics=TopicShape(centres=4, directions=2, anchors=3), parts=every)
    learner, chance = Learner(MODELS, (1.0, 2.0), topics, config), np.random.default_rng(0)

    def live(one: Learner, rows: slice) -> list[int]:
        chosen = []
        for vector, good in zip(vectors[rows], quality[rows], strict=True):
            x = topics.features(vector[None])[0]
            choice = one.decide(x, np.zeros(2), np.random.default_rng(len(chosen)), vector=vector)
            one.learn(x, choice.model, float(good[choice.model]), vector=vector)
            chosen.append(choice.model)
        one.consolidate(now=1.0)
        return chosen

    live(learner, slice(0, 150))
    again = load(dump(learner))
    assert dump(again) == dump(learner)
    assert live(again, slice(150, 300)) == live(learner, slice(150, 300))
    assert dump(again) == dump(learner)
    learner.add_model("c", 1.0)
    learner.remove_model("a")
    x = topics.features(vectors[:1])[0]
    assert len(learner.decide(x, np.zeros(2), chance, vector=vectors[0]).quality) == 2
