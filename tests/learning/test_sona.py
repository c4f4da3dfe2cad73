"""Adapters, the keeper of old tasks, patterns, off-policy estimators, and the weight of one voice."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.sona.bank import Pattern, faded, find, kmeans, merge, prune
from runtime.sona.drift import Drift, Watchfulness
from runtime.sona.estimate import Logged, estimate
from runtime.sona.fairness import Fairness, Voices, score
from runtime.sona.lowrank import Adapter, Keeper, Keeping, Lesson, Rank, train
from runtime.sona.presets import PRESETS, TASTES

DIM = 12


def adapter(seed: int = 0, **more: float) -> Adapter:
    return Adapter(3, DIM, replace(Rank(rank=2, rate=0.02, bound=5.0), **more), np.random.default_rng(seed))


def unit(seed: int) -> np.ndarray:
    vector = np.random.default_rng(seed).normal(size=DIM)
    return np.asarray(vector / np.linalg.norm(vector))


def test_the_gradient_is_that_of_the_stated_loss() -> None:
    one, x = adapter(), unit(1)
    one.up[:] = np.random.default_rng(2).normal(size=one.up.shape)
    exact = one.gradient(x, 1, 0.4, weight=0.7)
    numeric = np.empty_like(exact)
    for at in range(len(exact)):
        kept = one.parameters[at]
        one.parameters[at] = kept + 1e-6
        above = one.loss(x, 1, 0.4, weight=0.7)
        one.parameters[at] = kept - 1e-6
        numeric[at] = (above - one.loss(x, 1, 0.4, weight=0.7)) / 2e-6
        one.parameters[at] = kept
    assert np.allclose(exact, numeric, atol=1e-6)


@pytest.mark.parametrize("residual", [0.5, -0.5])
def test_one_feedback_moves_the_output_in_the_gradients_direction(residual: float) -> None:
    one, x = adapter(), unit(1)
    assert np.array_equal(one.corrections(x), np.zeros(3))
    loss = one.loss(x, 1, residual)
    train(one, [Lesson(vector=x, model=1, residual=residual)], np.random.default_rng(0))
    moved = one.corrections(x)
    assert np.sign(moved[1]) == np.sign(residual)
    assert moved[0] == moved[2] == 0.0
    assert one.loss(x, 1, residual) < loss


def test_both_matrices_learn_and_the_adapter_is_of_full_rank() -> None:
    one, start = adapter(), adapter()
    lessons = [Lesson(vector=unit(at), model=at % 3, residual=(-1.0) ** at * 0.5) for at in range(60)]
    train(one, lessons, np.random.default_rng(0), passes=20)
    assert not np.allclose(one.down, start.down, atol=1e-3)
    assert np.linalg.matrix_rank(one.up @ one.down, tol=1e-4) == 2


def tasks() -> tuple[list[Lesson], list[Lesson]]:
    """Two topics that want opposite things of the same model, not far from each other."""
    chance = np.random.default_rng(3)
    first, second = unit(10), unit(11)
    second = (1.5 * first + second) / np.linalg.norm(1.5 * first + second)

    def around(centre: np.ndarray, residual: float) -> list[Lesson]:
        return [
            Lesson(vector=centre + chance.normal(0, 0.05, DIM), model=0, residual=residual + chance.normal(0, 0.1))
            for _ in range(80)
        ]

    return around(first, 0.4), around(second, -0.4)


def kept(strength: float | None) -> tuple[float, float]:
    """Mean loss on the first task right after it, and after the second one."""
    one, chance = adapter(ridge=0.0), np.random.default_rng(5)
    keeper = Keeper(len(one.parameters), Keeping(strength=strength, fade=0.99)) if strength is not None else None
    first, second = tasks()

    def loss() -> float:
        return float(np.mean([one.loss(lesson.vector, 0, lesson.residual) for lesson in first]))

    train(one, first, chance, passes=5, keeper=keeper)
    after_first = loss()
    if keeper is not None:
        keeper.boundary(one.parameters)
    train(one, second, chance, passes=5, keeper=keeper)
    return after_first, loss()


def test_a_second_task_with_ewc_on_and_off_differs_and_on_keeps_the_first() -> None:
    off_before, off_after = kept(None)
    on_before, on_after = kept(2_000.0)
    assert on_before == pytest.approx(off_before)
    assert off_after > off_before + 0.02
    assert on_after < 0.5 * off_after


def test_the_penalty_is_zero_before_the_first_boundary_and_at_the_anchor() -> None:
    one = adapter()
    keeper = Keeper(len(one.parameters), Keeping())
    keeper.see(one.gradient(unit(1), 0, 0.5))
    assert keeper.penalty(one.parameters) == 0.0
    keeper.boundary(one.parameters)
    assert keeper.penalty(one.parameters) == 0.0
    moved = one.parameters + 0.1
    step = 1e-6
    for at in np.flatnonzero(keeper.held)[:3]:
        above, below = moved.copy(), moved.copy()
        above[at] += step
        below[at] -= step
        numeric = (keeper.penalty(above) - keeper.penalty(below)) / (2 * step)
        assert keeper.pull(moved)[at] == pytest.approx(numeric, rel=1e-4)


def test_kmeans_finds_the_groups_that_are_there() -> None:
    chance = np.random.default_rng(0)
    rows = np.concatenate([np.eye(DIM)[at] + chance.normal(0, 0.05, (30, DIM)) for at in range(4)])
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    _, nearest = kmeans(rows, 4, chance)
    groups = [set(nearest[30 * at : 30 * at + 30]) for at in range(4)]
    assert all(len(group) == 1 for group in groups)
    assert len(set.union(*groups)) == 4


def test_kmeans_asks_for_no_more_centres_than_there_are_distinct_vectors() -> None:
    rows = np.repeat(np.eye(3), 5, axis=0)
    centres, nearest = kmeans(rows, 10, np.random.default_rng(0))
    assert len(centres) == 3
    assert kmeans(np.zeros((0, 3)), 4, np.random.default_rng(0))[0].shape == (0, 3)
    assert len(nearest) == 15


def pattern(direction: int, size: float, **more: float) -> Pattern:
    return Pattern(
        centre=tuple(np.eye(4)[direction]), size=size, seen={"a": size}, won={"a": size * more.get("quality", 0.5)},
        used_at=more.get("used_at", 0.0),
    )  # fmt: skip


def test_patterns_hold_the_outcomes_of_their_prompts_and_shrink_to_the_prior() -> None:
    vectors = np.repeat(np.eye(4)[:2], 10, axis=0)
    outcomes = [("a", 1.0)] * 10 + [("a", 0.0)] * 5 + [None] * 5
    first, second = find(vectors, outcomes, 2, np.random.default_rng(0), now=0.0)
    if first.won["a"] < second.won["a"]:
        first, second = second, first
    assert first.quality("a", prior=0.5, weight=0.0) == 1.0
    assert 0.5 < first.quality("a", prior=0.5) < 1.0
    assert second.quality("a", prior=0.5) < 0.5
    assert second.quality("b", prior=0.6) == 0.6


def test_patterns_that_mean_the_same_are_merged_without_losing_an_outcome() -> None:
    merged = merge([pattern(0, 3), pattern(0, 5, quality=1.0), pattern(1, 2)])
    assert [one.size for one in merged] == [8, 2]
    assert merged[0].won["a"] == pytest.approx(6.5)


def test_only_what_is_small_and_bad_and_old_is_pruned_and_the_rest_is_capped() -> None:
    month = 31 * 86_400.0
    useless, small, bad, new = pattern(0, 2, quality=0.1), pattern(1, 2), pattern(2, 9, quality=0.1), pattern(3, 2)
    new = replace(new, used_at=month, won={"a": 0.0})
    assert prune([useless, small, bad, new], now=month, cap=10) == [bad, small, new]
    assert prune([useless, small, bad, new], now=month, cap=1) == [bad]
    assert faded([bad], factor=0.5)[0].quality("a", prior=0.1) == pytest.approx(bad.quality("a", prior=0.1))


def logged() -> tuple[list[Logged], float]:
    """All (context, choice, outcome) of a small world in their true shares, and the target's true value."""
    shares, logging = (0.25, 0.75), ((0.8, 0.2), (0.4, 0.6))
    target, quality = ((0.1, 0.9), (0.7, 0.3)), ((0.2, 0.8), (0.6, 0.5))
    log = []
    for context, chosen in product(range(2), range(2)):
        count = round(400 * shares[context] * logging[context][chosen])
        good = round(count * quality[context][chosen])
        log += [
            Logged(
                chosen=chosen,
                propensity=logging[context][chosen],
                reward=float(at < good),
                target=target[context],
                predicted=(0.5, 0.4),
            )
            for at in range(count)
        ]
    value = sum(shares[c] * target[c][m] * quality[c][m] for c, m in product(range(2), range(2)))
    return log, value


def test_the_estimators_equal_the_true_value_where_the_log_holds_every_case_in_its_share() -> None:
    log, value = logged()
    found = estimate(log)
    assert found is not None
    assert found.ips.value == pytest.approx(value)
    assert found.snips.value == pytest.approx(value)
    assert found.dr.value == pytest.approx(value)


def test_dr_is_right_with_wrong_propensities_if_the_model_is_right_and_steadier_if_both_are() -> None:
    log, value = logged()
    qualities = {(0.1, 0.9): (0.2, 0.8), (0.7, 0.3): (0.6, 0.5)}
    told = [replace(one, propensity=0.5, predicted=qualities[one.target]) for one in log]
    wrong = estimate(told)
    assert wrong is not None
    assert wrong.ips.value != pytest.approx(value, abs=0.02)
    assert wrong.dr.value == pytest.approx(value, abs=1e-9)
    right = estimate([replace(one, predicted=qualities[one.target]) for one in log])
    assert right is not None
    assert right.dr.error < right.ips.error


def test_the_logging_policy_itself_is_estimated_as_its_mean_reward() -> None:
    log = [Logged(chosen=0, propensity=1.0, reward=r, target=(1.0, 0.0), predicted=(0.3, 0.3)) for r in (0.0, 0.5, 1.0)]
    found = estimate(log)
    assert found is not None
    assert [one.value for one in (found.ips, found.snips, found.dr)] == pytest.approx([0.5] * 3)
    assert found.ips.effective == pytest.approx(3.0)


def test_where_nothing_is_shared_nothing_is_said() -> None:
    one = Logged(chosen=0, propensity=0.5, reward=1.0, target=(0.0, 1.0), predicted=(0.0, 0.0))
    assert estimate([one]) is None
    assert estimate([]) is None
    assert estimate([replace(one, propensity=0.0)]) is None


@given(st.integers(4, 50), st.integers(5, 40), st.integers(1, 2_000))
def test_a_flood_from_one_key_weighs_no_more_than_two_average_keys(keys: int, each: int, flood: int) -> None:
    voices = Voices(Fairness(free=5, window=50_000))
    honest = sum(voices.weigh(f"key {at % keys}", "m") for at in range(keys * each))
    lies = sum(voices.weigh("attacker", "m") for _ in range(flood))
    assert lies <= 2.0 * max(5.0, each) + 1.0
    # Who says about as much as the others is heard in full.
    assert honest == keys * each


@given(st.integers(1, 40))
def test_what_is_said_of_one_model_gives_nobody_a_louder_voice_on_another(each: int) -> None:
    voices = Voices(Fairness(window=50_000))
    for at in range(10 * each):
        voices.weigh(f"key {at % 10}", ("a", "b", "b", "b")[at // 10 % 4])
    lies = sum(voices.weigh("attacker", "a") for _ in range(1_000))
    if each >= 5:
        assert lies <= 2.0 * max(5.0, -(-each // 4)) + 1.0


def test_where_there_is_no_crowd_all_counts_in_full() -> None:
    """A word now and then by others must not silence the one key by which an application says all that it knows."""
    voices = Voices(Fairness(window=50))
    assert [voices.weigh("only", "m") for _ in range(200)] == [1.0] * 200
    for other in ("x", "y", "z", "u", "v"):
        assert [voices.weigh(other, "m") for _ in range(4)] == [1.0] * 4
    assert voices.weigh("only", "m") == 1.0


def test_voices_that_are_saved_say_the_same() -> None:
    voices, again = Voices(Fairness(window=40)), Voices(Fairness(window=40))
    for at in range(300):
        voices.weigh(f"key {at * at % 7}", "ab"[at % 2])
    again.load(json.loads(json.dumps(voices.dump())))
    said = [(f"key {at % 9}", "ab"[at % 3 % 2]) for at in range(200)]
    assert [voices.weigh(*one) for one in said] == [again.weigh(*one) for one in said]
    # As an earlier version saved them.
    again.load({"count": {"a": 4.0, "b": 9.0}, "all": 13.0, "weight": 2.0})
    assert len(again) == 1


@pytest.mark.parametrize("aimed", [False, True])
def test_one_key_among_many_cannot_swing_a_route(aimed: bool) -> None:
    """Share of chat that goes to the model that is best for it, before and after 3,000 lies about that model; `aimed`:
    all of them told of chat."""
    from tests.learning.test_learner import MAP, PRICES, TOPICS, TRUTH, VECTORS, fresh

    features = MAP.features(VECTORS)
    chat = features[TOPICS == 0]

    def attacked(keys: int, seed: int) -> tuple[float, float]:
        chance, who = np.random.default_rng(seed), np.random.default_rng(seed + 9)
        learner, voices = fresh(), Voices()
        for x, topic in zip(features, TOPICS, strict=True):
            model = learner.decide(x, PRICES, chance).model
            key = f"key {who.integers(keys)}"
            weight = voices.weigh(key, str(model))
            quality = float(chance.random() < TRUTH[topic, model])
            learner.learn(x, model, quality, weight=weight, key=key, keys=len(voices))

        def share() -> float:
            return float(np.mean([learner.decide(x, PRICES, chance, explore=False).model == 0 for x in chat[:100]]))

        before, told = share(), chat if aimed else features
        for at in range(3_000):
            weight = voices.weigh("attacker", "0")
            learner.learn(told[at % len(told)], 0, 0.0, weight=weight, key="attacker", keys=len(voices))
        return before, share()

    before, after = np.mean([attacked(20, seed) for seed in (0, 2, 3, 6)], axis=0)
    assert before > 0.9
    assert after > before - 0.15
    assert attacked(1, 0)[1] < 0.2, "where one other key speaks, nobody can tell who of the two lies"


def test_scores_are_clipped_and_what_is_no_number_is_none() -> None:
    assert [score(value) for value in (-3.0, 0.25, 7.0, float("inf"))] == [0.0, 0.25, 1.0, 1.0]
    assert score(float("nan")) is None


def test_a_lasting_shift_raises_the_alarm_and_noise_seldom_does() -> None:
    chance = np.random.default_rng(0)
    how = Watchfulness()
    calm, rare = Drift(), 0
    for surprise in chance.normal(0.0, 1.0, 1_000):
        rare += calm.see(float(surprise), how)
    shifted = Drift()
    wait = next(at for at, noise in enumerate(chance.normal(-1.0, 1.0, 200)) if shifted.see(float(noise), how))
    assert wait < 20
    assert rare < 40


def test_one_key_of_several_raises_no_alarm_and_one_alone_does() -> None:
    how = Watchfulness()
    for several in (2, 3, 50):
        drift = Drift()
        assert not any(drift.see(-2.0, how, key="attacker", of=several) for _ in range(1_000))
        drift = Drift()
        assert any(drift.see(-2.0, how, key=f"key {at % several}", of=several) for at in range(100))
    drift = Drift()
    assert any(drift.see(-2.0, how, key="only", of=1) for _ in range(10))


def test_presets_keep_the_first_systems_constants() -> None:
    assert set(PRESETS) == {"default", "throughput", "quality", "edge", "batch", "ephemeral", "coordinator"}
    assert (PRESETS["edge"].micro_rank, PRESETS["edge"].patterns, PRESETS["edge"].buffer) == (1, 50, 200)
    assert PRESETS["coordinator"].base_rate == 5e-4
    assert TASTES["ruvector-quality"].money < TASTES["ruvector-balanced"].money < TASTES["ruvector-auto"].money
