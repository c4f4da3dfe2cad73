"""Trajectories as rows of a file, and what another policy would have earned on them."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from runtime.sona.evaluate import Always, Learned, evaluate, guess, usual_prices
from runtime.sona.trajectory import BadTrajectories, Trajectory, parse, read, write
from tests.learning.test_learner import COSTS, MODELS, TRUTH, fresh, live, world

ROW = Trajectory(
    request="req_1",
    candidates=("lab/small", "lab/large"),
    chosen="lab/small",
    propensity=0.8,
    vector=(0.6, 0.8),
    embedder="hashed-2-1",
    prices=(0.01, 0.2),
    quality=0.9,
    cost_nanousd=12_000,
    latency_s=0.8,
    key="key_1",
    at=1.7e9,
)

KNOWN = st.none() | st.floats(0.0, 1.0)


ROWS = st.builds(
    Trajectory,
    request=st.text(),
    candidates=st.just(("a", "b")),
    chosen=st.sampled_from("ab"),
    propensity=st.floats(0.001, 1.0),
    vector=st.lists(st.floats(-1, 1), max_size=4).map(tuple),
    quality=KNOWN,
    cost_nanousd=st.none() | st.integers(0, 10**12),
    latency_s=KNOWN,
    key=st.text(),
)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(ROWS)
def test_a_row_that_was_written_is_read_as_it_was(row: Trajectory) -> None:
    assert parse(json.loads(json.dumps(row.as_json()))) == row


def test_json_lines_and_parquet_say_the_same(tmp_path: Path) -> None:
    rows = [ROW, replace(ROW, request="req_2", quality=None, cost_nanousd=None, vector=(), embedder="", prices=())]
    with (tmp_path / "log.jsonl").open("wb") as out:
        assert write(rows, out) == 2
    parquet.write_table(pa.Table.from_pylist([row.as_json() for row in rows]), tmp_path / "log.parquet")
    assert list(read(tmp_path / "log.jsonl")) == rows
    assert list(read(tmp_path / "log.parquet")) == rows


def test_what_a_newer_version_adds_is_left_out_and_what_it_means_otherwise_is_refused() -> None:
    assert parse({**ROW.as_json(), "added_later": 1}) == ROW
    with pytest.raises(BadTrajectories, match="schema 2"):
        parse({**ROW.as_json(), "schema": 2})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"propensity": None}, "lacks propensity"),
        ({"propensity": 0.0}, "propensity should be greater than 0"),
        ({"quality": 1.5}, "quality should be less than or equal to 1"),
        ({"chosen": "other"}, "one of the candidates"),
        ({"candidates": ["lab/small", "lab/small"]}, "each of them named once"),
        ({"prices": [0.1]}, "one for each"),
        ({"vector": [0.1, float("nan")]}, "vector should be a finite number"),
        ({"cost_nanousd": -1}, "cost_nanousd should be greater"),
    ],
)
def test_a_row_that_is_wrong_is_refused_where_it_stands(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    file = tmp_path / "log.jsonl"
    with file.open("wb") as out:
        write([ROW], out)
    lines = file.read_text()
    file.write_text(lines + json.dumps({**ROW.as_json(), **change}) + "\n")
    with pytest.raises(BadTrajectories, match=r"log\.jsonl:2: .*" + words):
        list(read(file))


def test_what_is_no_log_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "log.jsonl"
    for text, words in (("{\n", "no JSON"), ("[]\n", "should be an object")):
        file.write_text(text)
        with pytest.raises(BadTrajectories, match=words):
            list(read(file))
    with pytest.raises(BadTrajectories, match="cannot be read"):
        list(read(tmp_path / "absent.jsonl"))
    (tmp_path / "bad.parquet").write_bytes(b"no")
    with pytest.raises(BadTrajectories, match="no parquet"):
        list(read(tmp_path / "bad.parquet"))
    parquet.write_table(pa.table({"request": ["a"]}), tmp_path / "half.parquet")
    with pytest.raises(BadTrajectories, match="lacks the columns candidates, chosen, propensity"):
        list(read(tmp_path / "half.parquet"))


def everything() -> list[Trajectory]:
    """A small world with every case in its true share: two kinds of prompt, two models."""
    shares, chances, quality = (0.25, 0.75), ((0.8, 0.2), (0.4, 0.6)), ((0.2, 0.8), (0.6, 0.5))
    rows = []
    for kind, model in product(range(2), range(2)):
        count = round(400 * shares[kind] * chances[kind][model])
        case = Trajectory(
            request=f"{kind}{model}",
            candidates=("a", "b"),
            chosen="ab"[model],
            propensity=chances[kind][model],
            vector=(1.0 - kind, float(kind)),
            cost_nanousd=(1_000, 5_000)[model],
        )
        good = round(count * quality[kind][model])
        rows += [replace(case, quality=float(at < good)) for at in range(count)]
    return rows


@pytest.mark.parametrize(("model", "value", "cost"), [("a", 0.25 * 0.2 + 0.75 * 0.6, 1e-6), ("b", 0.575, 5e-6)])
def test_always_one_model_is_worth_its_mean_over_all_prompts(model: str, value: float, cost: float) -> None:
    found = evaluate(everything(), Always(model))
    quality, bill = found.measures["quality"].estimates, found.measures["cost_usd"].estimates
    assert quality is not None
    assert bill is not None
    assert quality.ips.value == pytest.approx(value)
    assert quality.snips.value == pytest.approx(value)
    assert quality.dr.value == pytest.approx(value, abs=0.02), "its guesses come from other rows"
    assert bill.snips.value == pytest.approx(cost)
    assert "latency_s" not in found.measures, "nobody measured it"
    # Kish: (sum of w)² / sum of w², here of 1/p over the rows of one model.
    weights = np.array([1 / row.propensity for row in everything() if row.chosen == model])
    assert quality.ips.effective == pytest.approx(weights.sum() ** 2 / (weights**2).sum())


def test_what_was_never_judged_is_no_zero_and_what_is_no_candidate_no_choice() -> None:
    rows = everything()
    unjudged = [replace(row, request=f"{row.request}-", quality=None) for row in rows]
    other = [replace(row, candidates=("c", "d"), chosen="c") for row in rows]
    found, plain = evaluate([*rows, *unjudged, *other], Always("b")), evaluate(rows, Always("b"))
    assert found.measures["quality"] == plain.measures["quality"]
    assert (found.rows, found.judged, found.without) == (1_200, 800, 400)


def test_where_the_log_never_chose_so_nothing_is_said() -> None:
    rows = [row for row in everything() if row.chosen == "a"]
    found = evaluate(rows, Always("b"))
    assert found.measures["quality"].estimates is None
    assert "ips" not in found.as_json()["quality"]  # type: ignore[operator]


def test_a_guess_does_not_know_its_own_row() -> None:
    rows = everything()
    rewards = np.array([row.quality or 0.0 for row in rows])
    before = guess(rows, rewards, ["a", "b"])
    rewards[7] = 1.0 - rewards[7]
    assert np.array_equal(guess(rows, rewards, ["a", "b"])[7], before[7])


def played(count: int = 1_000) -> tuple[list[Trajectory], np.ndarray]:
    """What a coin chose in the learner's test world, and the topic of each row."""
    vectors, topics = world(count, 5)
    chance = np.random.default_rng(6)
    rows = []
    for at, (vector, topic) in enumerate(zip(vectors, topics, strict=True)):
        model = int(chance.choice(3, p=(0.5, 0.3, 0.2)))
        rows.append(
            Trajectory(
                request=str(at),
                candidates=MODELS,
                chosen=MODELS[model],
                propensity=(0.5, 0.3, 0.2)[model],
                vector=tuple(vector.tolist()),
                quality=float(chance.random() < TRUTH[topic, model]),
                cost_nanousd=int(COSTS[model] * 1_000),
            )
        )
    return rows, topics


def test_a_learned_policy_is_worth_what_it_would_really_have_earned() -> None:
    learner = fresh()
    live(learner, *world(900, 0))
    rows, topics = played()
    policy = Learned(learner, usual_prices(rows))
    found = evaluate(rows, policy).measures["quality"]
    chosen = [np.argmax(policy.odds(row) or ()) for row in rows]
    truth = float(TRUTH[topics, chosen].mean())
    assert found.estimates is not None
    for one in (found.estimates.ips, found.estimates.snips, found.estimates.dr):
        assert one.value == pytest.approx(truth, abs=4 * one.error)
    assert found.estimates.dr.error < found.estimates.ips.error
    assert found.logged < truth
    assert found.estimates.ips.effective < len(rows)


def test_a_learned_policy_chooses_among_the_rows_candidates_alone_and_by_its_prices() -> None:
    learner = fresh()
    live(learner, *world(900, 0))
    row = played(50)[0][0]
    policy = Learned(learner, {})
    assert policy.odds(replace(row, candidates=("large", "stranger"), chosen="large")) == (1.0, 0.0)
    assert policy.odds(replace(row, candidates=("stranger",), chosen="stranger")) is None
    assert policy.odds(replace(row, vector=())) is None
    dear = replace(row, candidates=("small", "coder", "large"), prices=(9.0, 0.0, 9.0))
    assert policy.odds(dear) == (0.0, 1.0, 0.0)


def test_prices_of_the_log_are_shares_of_the_dearest() -> None:
    from runtime.sona.presets import Taste

    rows = [replace(ROW, latency_s=2.0), replace(ROW, chosen="lab/large", cost_nanousd=48_000, latency_s=1.0)]
    assert usual_prices(rows, Taste(money=0.4, time=0.1)) == pytest.approx({"lab/small": 0.2, "lab/large": 0.45})


def test_a_single_row_has_an_error_that_json_can_say() -> None:
    said = evaluate([ROW], Always("lab/small")).as_json()
    assert said["quality"]["logged"] == {"value": 0.9, "error": None}  # type: ignore[index,call-overload]
    out = io.BytesIO()
    assert write([], out) == 0
