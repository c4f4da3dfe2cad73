"""What was published of models is where learning starts from, and no more than that."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from runtime.sona.learner import Learner, LearnerConfig
from runtime.sona.published import FIGURES, published
from runtime.sona.state import dump, load
from tests.learning.test_learner import CONFIG, MAP, VECTORS

GOOD, POOR, MIDDLING = "a/gpt-4-1106-preview", "a/mistral-7b", "a/mixtral-8x7b-instruct"
MODELS = (POOR, MIDDLING, GOOD)
COSTS = (0.1, 0.1, 0.1)
PRIORS = replace(CONFIG, priors=True)
X = MAP.features(VECTORS)


def levels(config: LearnerConfig, models: tuple[str, ...] = MODELS, costs: tuple[float, ...] = COSTS) -> np.ndarray:
    return np.array([Learner(models, costs, MAP, config).head.level(at)[0] for at in range(len(models))])


@pytest.mark.parametrize(
    ("spelled", "plain"),
    [
        ("openrouter/openai/gpt-4-1106-preview", "gpt-4-1106-preview"),
        ("openai/gpt-4o-2024-08-06", "gpt-4o"),
        ("openai/gpt-4.1-mini-2025-04-14", "gpt-4-1-mini"),
        ("openai/ft:gpt-4o-mini-2024-07-18:us::abc", "gpt-4o-mini"),
        ("Llama-3.1-70B-Instruct", "llama-3-1-70b"),
        ("ollama/llama3.1:70b", "llama-3-1-70b"),
        ("ollama/gemma2:9b-instruct-q4_K_M", "gemma-2-9b"),
        ("together/meta-llama/Meta-Llama-3.1-70B-Instruct-Turbo", "llama-3-1-70b"),
        ("groq/llama-3.3-70b-versatile", "llama-3-3-70b"),
        ("fireworks/accounts/fireworks/models/llama-v3p1-70b-instruct", "llama-3-1-70b"),
        ("bedrock/meta.llama3-1-70b-instruct-v1:0", "llama-3-1-70b"),
        ("bedrock/us.anthropic.claude-3-haiku-20240307-v1:0", "claude-3-haiku"),
        ("openrouter/anthropic/claude-3.5-sonnet", "claude-3-5-sonnet"),
        ("qwen2.5-7b-instruct", "qwen-2-5-7b"),
        ("ollama/qwen2.5:0.5b", "qwen-2-5-0-5b"),
        ("gemini-1.5-pro-002", "gemini-1-5-pro"),
        ("command-r-v01", "command-r"),
        ("mistral/open-mixtral-8x7b", "mixtral-8x7b"),
        ("Phi-3-mini-4k-instruct", "phi-3-mini"),
    ],
)
def test_a_model_is_known_by_whatever_name_its_host_has_for_it(spelled: str, plain: str) -> None:
    assert published(spelled) == FIGURES[plain]


@pytest.mark.parametrize(
    "name",
    [
        "gpt-5-mini",
        "gpt-5.1",
        "gpt-4-turbo-of-ours",
        "claude-2.1",
        "gemini-1.5-flash-8b",
        "deepseek-r1-distill-qwen-7b",
        "llama3-chatqa-1.5-8b",
        "codegemma-7b",
        "llama-3.3-nemotron-super-49b-v1",
        "yi",
        "",
    ],
)
def test_a_relative_of_a_known_model_is_not_known(name: str) -> None:
    assert published(name) is None


def test_every_figure_is_one_of_its_benchmark_and_every_name_is_found() -> None:
    assert all(25.0 < figure < 95.0 for figure in FIGURES.values())
    assert all(published(name) == figure for name, figure in FIGURES.items())


def test_figures_move_the_first_decision_and_without_the_switch_they_do_not() -> None:
    chance, free = np.random.default_rng(0), np.zeros(3)
    assert Learner(MODELS, COSTS, MAP, PRIORS).decide(X[0], free, chance, explore=False).model == MODELS.index(GOOD)
    assert np.ptp(levels(CONFIG)) == 0.0
    assert np.diff(levels(PRIORS)) == pytest.approx([0.081, 0.141])


def test_one_figure_says_nothing_and_none_changes_nothing() -> None:
    costs = (0.1, 0.2, 1.0)
    for models in (("a/one", "a/two", "a/three"), ("a/one", "a/two", GOOD)):
        assert levels(PRIORS, models, costs) == pytest.approx(levels(CONFIG, models, costs))


def test_a_model_without_a_figure_is_expected_by_its_price_and_doubted_more() -> None:
    models, costs = (POOR, GOOD, "a/ours"), (0.1, 0.2, 1.0)
    learner = Learner(models, costs, MAP, PRIORS)
    known, unknown = learner.head.level(1), learner.head.level(2)
    assert unknown[0] == pytest.approx(levels(CONFIG, models, costs)[2])
    assert known[1] < unknown[1]


def test_the_settings_know_better() -> None:
    ours = replace(PRIORS, known=((POOR, 95.0),))
    assert levels(ours).argmax() == MODELS.index(POOR)


def test_feedback_overrules_a_figure_that_does_not_hold_within_tens_of_answers() -> None:
    """Two that are published as 14 points apart: here the poorer one is the better by as much."""
    learner, chance = Learner((MIDDLING, GOOD), COSTS[:2], MAP, PRIORS), np.random.default_rng(0)
    assert learner.decide(X[0], np.zeros(2), chance, explore=False).model == 1
    for x in X[:50]:
        for model, quality in enumerate((0.74, 0.6)):
            learner.learn(x, model, quality)
    assert learner.head.level(0)[0] > learner.head.level(1)[0]


def test_shuffled_figures_are_outlived() -> None:
    """What is published as the poorest is the best, and the other way round, by 20 to 50 points."""
    truth, last = (0.85, 0.6, 0.35), []
    for seed in range(3):
        learner, chance = Learner(MODELS, COSTS, MAP, PRIORS), np.random.default_rng(seed)
        for x in X[:400]:
            choice = learner.decide(x, np.zeros(3), chance)
            learner.chose(choice)
            learner.learn(x, choice.model, float(chance.random() < truth[choice.model]))
            last.append(choice.model)
        del last[-400:-100]
    assert np.mean(np.array(last) == MODELS.index(POOR)) > 0.8


def test_a_newcomer_has_its_figure_beside_those_who_were_there_also_after_a_restart() -> None:
    learner = Learner((POOR, MIDDLING), COSTS[:2], MAP, PRIORS)
    again = load(dump(learner))
    for one in (learner, again):
        one.add_model(GOOD, 0.1)
    assert dump(learner) == dump(again)
    assert learner.head.level(2)[0] - learner.head.level(1)[0] == pytest.approx(0.141)
    assert learner.head.level(2)[1] == pytest.approx(learner.head.level(1)[1])


def test_a_state_from_before_claims_were_kept_is_read_with_the_claims_of_its_models() -> None:
    learner = Learner(MODELS, COSTS, MAP, PRIORS)
    for x in X[:20]:
        learner.learn(x, 1, 0.3)
    old = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(dump(learner))) as file, zipfile.ZipFile(old, "w") as out:
        for name in file.namelist():
            if name == "header.json":
                out.writestr(name, json.dumps(json.loads(file.read(name)) | {"schema": 2}))
            elif name not in ("head_claimed.npy", "head_doubts.npy"):
                out.writestr(name, file.read(name))
    assert dump(load(old.getvalue())) == dump(learner)
