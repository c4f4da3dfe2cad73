"""The learner decides by what it learned: on prompts that it never saw, after a restart, and with a bounded bill."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from runtime.sona.bank import Floats
from runtime.sona.head import HeadPrior
from runtime.sona.learner import Learner, LearnerConfig
from runtime.sona.state import UnknownState, dump, load
from runtime.sona.topics import TopicMap, TopicShape, fit

MODELS = ("small", "coder", "large")
COSTS = (0.1, 0.12, 1.0)
PRICES = np.array([0.02, 0.024, 0.2])
SHAPE = TopicShape(centres=12, directions=6, anchors=6)
TRUTH = np.array([[0.8, 0.3, 0.85], [0.3, 0.85, 0.85], [0.2, 0.2, 0.9]])
"""Quality by topic and model: the small one is good enough for chat, the coder for code, only the large one for law."""


def world(count: int, seed: int) -> tuple[Floats, np.ndarray]:
    """Vectors of length one around three topics, and their topics."""
    chance = np.random.default_rng(seed)
    topic = chance.integers(3, size=count)
    vectors = 1.5 * np.eye(24)[topic] + chance.normal(0.0, 0.2, (count, 24))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True), topic


VECTORS, TOPICS = world(900, 0)
MAP: TopicMap = fit(VECTORS, SHAPE)
CONFIG = LearnerConfig(topics=SHAPE, head=HeadPrior(own_topic=0.25))
"""Topics of real traffic differ less than these: the default would need more than 900 prompts to believe it."""


def fresh(config: LearnerConfig = CONFIG) -> Learner:
    return Learner(MODELS, COSTS, MAP, config)


def live(learner: Learner, vectors: Floats, topics: np.ndarray, seed: int = 1, share: float = 1.0) -> list[int]:
    """Traffic: decide, see that model's outcome alone, learn."""
    chance = np.random.default_rng(seed)
    chosen = []
    for x, topic in zip(MAP.features(vectors), topics, strict=True):
        choice = learner.decide(x, PRICES, chance)
        learner.chose(choice)
        chosen.append(choice.model)
        if chance.random() < share:
            learner.learn(x, choice.model, float(chance.random() < TRUTH[topic, choice.model]))
    return chosen


def earned(learner: Learner, vectors: Floats, topics: np.ndarray) -> float:
    chance = np.random.default_rng(0)
    models = [learner.decide(x, PRICES, chance, explore=False).model for x in MAP.features(vectors)]
    return float((TRUTH[topics, models] - PRICES[models]).mean())


def test_learned_beats_empty_and_every_fixed_choice_on_prompts_not_trained_on() -> None:
    learner = fresh()
    live(learner, VECTORS, TOPICS)
    vectors, topics = world(400, 5)
    best_fixed = float((TRUTH[topics] - PRICES).mean(axis=0).max())
    assert earned(learner, vectors, topics) > earned(fresh(), vectors, topics) + 0.02
    assert earned(learner, vectors, topics) > best_fixed + 0.02


def test_before_any_feedback_dearer_is_expected_to_be_better_and_lambda_decides() -> None:
    chance, x = np.random.default_rng(0), MAP.features(VECTORS[:1])[0]
    assert fresh().decide(x, np.zeros(3), chance, explore=False).model == 2
    assert fresh().decide(x, 5 * PRICES, chance, explore=False).model == 0


def test_a_restart_in_between_changes_nothing_bit_for_bit() -> None:
    straight, broken = fresh(), fresh()
    live(straight, VECTORS[:200], TOPICS[:200])
    live(broken, VECTORS[:200], TOPICS[:200])
    again = load(dump(broken))
    assert dump(again) == dump(broken)
    assert np.array_equal(again.topics.features(VECTORS[:9]), MAP.features(VECTORS[:9]))
    assert live(straight, VECTORS[200:300], TOPICS[200:300]) == live(again, VECTORS[200:300], TOPICS[200:300])
    assert dump(again) == dump(straight)


@pytest.mark.parametrize("payload", [b"", b"PK nonsense", dump(fresh())[:300]])
def test_what_is_no_state_is_refused(payload: bytes) -> None:
    with pytest.raises(UnknownState):
        load(payload)


def test_the_logged_propensity_is_how_often_a_model_is_really_chosen() -> None:
    learner = fresh(replace(CONFIG, temperature=0.05))
    live(learner, VECTORS[:100], TOPICS[:100])
    x = MAP.features(VECTORS[:1])[0]
    chance = np.random.default_rng(3)
    seen = [learner.decide(x, PRICES, chance) for _ in range(2_000)]
    for model in {one.model for one in seen}:
        mine = [one for one in seen if one.model == model]
        assert len({round(one.propensity, 9) for one in mine}) == 1
        assert len(mine) / 2_000 == pytest.approx(mine[0].propensity, abs=0.04)


def test_exploring_costs_no_more_than_its_allowance() -> None:
    learner = fresh(replace(CONFIG, allowance=2.0, allowance_share=0.0))
    live(learner, VECTORS, TOPICS, share=0.0)
    # One choice more may be made before the allowance is seen to be used up, and near-ties may break the other way.
    assert learner.spent < 2.0 + 1.0 + 900 * CONFIG.temperature


def test_without_exploration_the_best_guess_is_taken_and_nothing_is_given_up() -> None:
    learner = fresh()
    x = MAP.features(VECTORS[:1])[0]
    choices = {learner.decide(x, PRICES, np.random.default_rng(at), explore=False).model for at in range(20)}
    assert len(choices) == 1
    choice = learner.decide(x, PRICES, np.random.default_rng(0), explore=False)
    assert (choice.propensity, choice.gave_up, choice.explored) == (1.0, 0.0, False)


def test_only_allowed_models_are_chosen() -> None:
    learner = fresh()
    chance = np.random.default_rng(0)
    for x in MAP.features(VECTORS[:50]):
        assert learner.decide(x, PRICES, chance, allowed=[0, 1]).model in {0, 1}


def test_rare_feedback_makes_asking_for_its_sake_worth_less() -> None:
    told, untold = fresh(), fresh()
    untold.asked = 500.0
    x, chance = MAP.features(VECTORS[:1])[0], np.random.default_rng(0)
    much, little = told.decide(x, PRICES, chance).worth, untold.decide(x, PRICES, chance).worth
    assert all(b < a for a, b in zip(much, little, strict=True) if a > 0)


def test_a_model_that_silently_became_worse_is_left() -> None:
    learner = fresh()
    live(learner, VECTORS, TOPICS)
    spoilt = TRUTH.copy()
    spoilt[0, 0] = 0.1
    chance = np.random.default_rng(9)
    chat = VECTORS[TOPICS == 0]
    before = [learner.decide(x, PRICES, chance, explore=False).model for x in MAP.features(chat[:50])]
    assert before.count(0) > 40
    for x in MAP.features(chat[:60]):
        choice = learner.decide(x, PRICES, chance)
        learner.chose(choice)
        learner.learn(x, choice.model, float(chance.random() < spoilt[0, choice.model]))
    after = [learner.decide(x, PRICES, chance, explore=False).model for x in MAP.features(chat[:50])]
    assert after.count(0) < 10


def test_models_come_and_go_and_what_the_others_taught_stays() -> None:
    learner = fresh()
    live(learner, VECTORS, TOPICS)
    x = MAP.features(VECTORS[:1])[0]
    before = learner.head.believe(x).mean
    learner.add_model("new", 0.05)
    learner.remove_model("coder")
    assert learner.models == ["small", "large", "new"]
    after = learner.head.believe(x)
    assert after.mean[:2] == pytest.approx(before[[0, 2]])
    assert after.variance[2] > after.variance[:2].max()
    choice = learner.decide(x, np.array([0.02, 0.2, 0.01]), np.random.default_rng(0))
    learner.learn(x, choice.model, 1.0)


def test_the_order_of_feedback_makes_no_difference_to_the_head() -> None:
    features = MAP.features(VECTORS[:60])
    chance = np.random.default_rng(2)
    lessons = [(row, int(chance.integers(3)), float(chance.random())) for row in range(60)]
    one, other = fresh().head, fresh().head
    for row, model, quality in lessons:
        one.learn(model, features[row], quality)
    for row, model, quality in reversed(lessons):
        other.learn(model, features[row], quality)
    assert np.allclose(one.weights, other.weights, atol=1e-9)
    assert np.allclose(one.covariance(), other.covariance(), atol=1e-9)


def test_what_is_forgotten_leaves_the_head_as_if_it_had_never_been() -> None:
    features = MAP.features(VECTORS[:40])
    chance = np.random.default_rng(6)
    lessons = [(row, int(chance.integers(3)), float(chance.random())) for row in range(40)]
    one, other = fresh().head, fresh().head
    for row, model, quality in lessons:
        one.learn(model, features[row], quality)
        if row % 4:
            other.learn(model, features[row], quality)
    assert all(one.unlearn(model, features[row], quality) for row, model, quality in lessons if row % 4 == 0)
    assert np.allclose(one.weights, other.weights, atol=1e-8)
    assert np.allclose(one.covariance(), other.covariance(), atol=1e-8)
    assert not fresh().head.unlearn(0, 10 * features[0], 1.0)


def test_the_head_equals_the_closed_form_of_bayes() -> None:
    head = fresh().head
    prior, start = head.covariance(), head.weights.ravel()
    features = MAP.features(VECTORS[:40])
    rows, answers = [], []
    chance = np.random.default_rng(4)
    for x in features:
        model, quality = int(chance.integers(3)), float(chance.random())
        head.learn(model, x, quality)
        row = np.zeros(len(start))
        row[model * head.width : (model + 1) * head.width] = x
        rows.append(row)
        answers.append(quality)
    design, noise = np.array(rows), head.prior.noise**2
    exact = np.linalg.inv(np.linalg.inv(prior) + design.T @ design / noise)
    mean = start + exact @ design.T @ (np.array(answers) - design @ start) / noise
    assert np.allclose(head.covariance(), exact, atol=1e-8)
    assert np.allclose(head.weights.ravel(), mean, atol=1e-8)


def test_the_doubt_is_calibrated_on_a_world_drawn_from_the_prior() -> None:
    chance = np.random.default_rng(7)
    head = fresh().head
    truth = chance.multivariate_normal(head.weights.ravel(), head.covariance()).reshape(head.weights.shape)
    features = MAP.features(VECTORS)
    for x in features[:300]:
        model = int(chance.integers(3))
        head.learn(model, x, float(x @ truth[model]) + chance.normal(0, head.prior.noise))
    off = []
    for x in features[300:600]:
        belief = head.believe(x)
        off.append((truth @ x - belief.mean) / np.sqrt(belief.variance))
    assert 0.4 < float(np.mean(np.square(off))) < 2.0
