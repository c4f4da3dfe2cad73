"""The figures are what the protocol says, and the replay is fair: nothing is seen that was not chosen."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from runtime.memory.embed import HashedNgrams
from runtime.sona.head import HeadPrior, QualityHead
from runtime.sona.learner import LearnerConfig
from runtime.sona.pack import BadPack, Pack, bill_at, hull, judge, read, recovered
from runtime.sona.replay import embed, order, replay, run
from runtime.sona.topics import TopicShape, fit

CONFIG = LearnerConfig(topics=TopicShape(centres=8, directions=4, anchors=4))
SUBJECTS = ("sort a python list", "capital city of a country", "income tax law")


def table(rows: int = 60, **more: list[object]) -> pa.Table:
    chance = np.random.default_rng(0)
    columns: dict[str, object] = {
        "prompt": [f"{SUBJECTS[at % 3]} number {at}" for at in range(rows)],
        "task": [SUBJECTS[at % 3] for at in range(rows)],
        "q:small": chance.integers(0, 2, rows).astype(np.float32),
        "q:large": np.ones(rows, np.float32),
        "c:small": np.full(rows, 1e-4, np.float32),
        "c:large": np.full(rows, 1e-3, np.float32),
    }
    return pa.table(columns | more)


def written(folder: Path, content: pa.Table) -> Path:
    parquet.write_table(content, folder / "pack.parquet")
    return folder / "pack.parquet"


def pack() -> Pack:
    quality = np.array([[1.0, 1.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0]])
    return Pack(
        prompts=("a", "b", "c", "d"),
        tasks=("",) * 4,
        models=("weak", "strong"),
        quality=quality,
        cost=np.tile([0.1, 1.0], (4, 1)),
    )


def test_the_replay_prints_one_object_with_the_promised_names(tmp_path: Path) -> None:
    found = replay(written(tmp_path, table()), seeds=(0, 1), config=CONFIG, embedder=HashedNgrams(64))
    said = json.loads(json.dumps(found.as_json()))
    assert {"gc", "cs90", "cs95", "cs98", "apgr", "seeds"} <= said.keys()
    assert said["seeds"] == 2


def test_the_same_seed_gives_the_same_figures(tmp_path: Path) -> None:
    file = written(tmp_path, table())
    first, second = (replay(file, seeds=(3,), config=CONFIG, embedder=HashedNgrams(64)) for _ in range(2))
    assert first == second


@pytest.mark.parametrize(
    "content",
    [table().drop_columns(["prompt"]), table().drop_columns(["c:small"]), table().drop_columns(["q:small", "c:small"])],
    ids=["no prompts", "no bill", "one model"],
)
def test_what_is_no_pack_is_refused_by_name(tmp_path: Path, content: pa.Table) -> None:
    with pytest.raises(BadPack, match="needs"):
        read(written(tmp_path, content))
    with pytest.raises(BadPack, match="no parquet"):
        read(tmp_path / "absent.parquet")


def test_contaminated_and_broken_rows_are_left_out(tmp_path: Path) -> None:
    content = table(6, contaminated=[True, *([False] * 5)])
    spoilt = content["q:small"].to_pylist()
    spoilt[1] = float("nan")
    at = content.column_names.index("q:small")
    content = content.set_column(at, "q:small", pa.array(spoilt, pa.float32()))
    assert len(read(written(tmp_path, content)).prompts) == 4


def test_outcomes_of_models_not_chosen_change_nothing() -> None:
    """Two packs that agree only where the first run chose: a learner that peeked would choose otherwise."""
    chance = np.random.default_rng(1)
    rows = 120
    first = Pack(
        prompts=tuple(f"{SUBJECTS[at % 3]} number {at}" for at in range(rows)),
        tasks=("",) * rows,
        models=("a", "b", "c"),
        quality=chance.integers(0, 2, (rows, 3)).astype(float),
        cost=np.tile([0.1, 0.2, 1.0], (rows, 1)),
    )
    vectors = embed(first, HashedNgrams(64))
    topics = fit(vectors, CONFIG.topics)
    features = topics.features(vectors)
    prices = first.prices
    chosen = run(first, topics, features, seed=0, config=CONFIG, lambdas=(0.1,))[0.1]
    quality = 1.0 - first.quality
    quality[np.arange(rows), chosen] = first.quality[np.arange(rows), chosen]
    other = replace(first, quality=quality)
    # Lambda is in units of the strong model's price, which the protocol takes from the whole pack.
    lam = 0.1 * float(prices[0] / other.prices[0])
    again = run(other, topics, features, seed=0, config=CONFIG, lambdas=(lam,))[lam]
    assert np.array_equal(chosen, again)


def test_models_names_say_nothing_unless_priors_are_asked_for(tmp_path: Path) -> None:
    names = ["q:gpt-3.5-turbo", "q:gpt-4", "c:gpt-3.5-turbo", "c:gpt-4"]
    plain = table().select(["prompt", "q:small", "q:large", "c:small", "c:large"])
    known = plain.rename_columns(["prompt", *names])

    def played(content: pa.Table, *, priors: bool = False) -> object:
        how = replace(CONFIG, priors=priors)
        return replay(written(tmp_path, content), seeds=(0,), config=how, embedder=HashedNgrams(64))

    assert LearnerConfig().priors is False
    assert played(plain) == played(known)
    assert played(plain, priors=True) == played(plain)
    assert played(known, priors=True) != played(known)


def test_every_order_is_a_permutation_and_seeds_differ() -> None:
    assert sorted(order(50, 1)) == list(range(50))
    assert not np.array_equal(order(50, 1), order(50, 2))


def test_gap_closed_is_one_for_the_oracle_and_zero_for_the_best_single_model() -> None:
    one = pack()
    lambdas = (0.05, 0.2, 0.5)
    oracle = {lam: (one.quality - lam * one.prices).argmax(axis=1) for lam in lambdas}
    single = {lam: np.full(4, int((one.quality - lam * one.prices).mean(axis=0).argmax())) for lam in lambdas}
    assert judge(one, oracle).gc == pytest.approx(1.0)
    assert judge(one, single).gc == pytest.approx(0.0)


def test_what_is_saved_at_a_share_of_the_quality_is_read_from_the_hull() -> None:
    # Weak earns .5 for .1, strong .75 for 1; on the line between them .95 x .75 costs .1 + .9 x .85.
    one = pack()
    found = judge(one, {0.0: np.ones(4, dtype=np.intp)})
    assert found.cs95 == pytest.approx(1.0 - (0.1 + 0.9 * (0.95 * 0.75 - 0.5) / 0.25))
    best = judge(one, {0.05: np.array([0, 1, 0, 1])})
    assert best.cs95 > found.cs95


def test_recovered_gap_is_half_for_a_coin_and_more_for_a_router() -> None:
    one = pack()
    coin, share = recovered(one, {})
    assert coin == pytest.approx(0.5)
    assert share == pytest.approx((0.95 * 0.75 - 0.5) / 0.25)
    router, less = recovered(one, {0.1: np.array([0, 1, 0, 1])})
    assert router > coin
    assert less < share


SHARE = st.integers(0, 1_000).map(lambda count: count / 1_000)


@given(st.lists(st.tuples(SHARE, SHARE), min_size=1, max_size=30))
def test_the_hull_rises_bends_down_and_lies_above_every_point(points: list[tuple[float, float]]) -> None:
    curve = hull(points)
    slopes = [(b[1] - a[1]) / max(b[0] - a[0], 1e-12) for a, b in pairwise(curve)]
    assert all(slope > 0 for slope in slopes)
    assert all(b <= a + 1e-6 for a, b in pairwise(slopes))
    for bill, quality in points:
        assert bill_at(curve, quality) <= bill + 1e-6


def test_a_claim_that_outcomes_speak_against_is_doubted_as_if_it_had_been_from_the_start() -> None:
    prior, levels, truth = HeadPrior(), (0.5, 0.6, 0.7, 0.5), (0.8, 0.6, 0.4, 0.5)
    claimed = [0.05, 0.05, 0.05, prior.own_level]
    chance = np.random.default_rng(0)
    rows = []
    for _ in range(400):
        model = int(chance.integers(4))
        x = np.concatenate([[1.0], chance.normal(0, 0.45, 3)])
        rows.append((model, x, float(chance.random() < truth[model])))
    right, wrong = (QualityHead(["a", "b", "c", "d"], start, 4, prior, doubts=claimed) for start in (truth, levels))
    for head in (right, wrong):
        for model, x, quality in rows:
            head.learn(model, x, quality)
        assert head.relearn_topics(16.0)
    assert right.doubts == pytest.approx(claimed)
    assert (wrong.doubts[:3] > 0.09).all()
    assert wrong.doubts[3] == prior.own_level
    fresh = QualityHead(["a", "b", "c", "d"], levels, 4, prior, doubts=wrong.doubts.tolist())
    fresh.around[:, 1:, 1:] = wrong.own[1:, 1:]
    for model, x, quality in rows:
        fresh.learn(model, x, quality)
    assert np.allclose(fresh.weights, wrong.weights, atol=1e-7)
    assert np.allclose(fresh.covariance(), wrong.covariance(), atol=1e-7)


def test_relearned_topics_leave_what_the_outcomes_said_and_change_the_prior_alone() -> None:
    chance = np.random.default_rng(0)
    head = QualityHead(["a", "b", "c", "d"], [0.5] * 4, 6, HeadPrior())
    rows = []
    for _ in range(300):
        x = np.concatenate([[1.0], chance.normal(0, 0.45, 5)])
        model = int(chance.integers(4))
        # Models differ along the first direction only.
        quality = 0.5 + 0.25 * (-1.0) ** model * x[1] + chance.normal(0, 0.2)
        head.learn(model, x, quality)
        rows.append((model, x, quality))
    assert head.relearn_topics(2.0, rounds=1)
    size = np.diag(head.own)[1:]
    assert size[0] > 1.5 * size[1:].max()
    fresh = QualityHead(["a", "b", "c", "d"], [0.5] * 4, 6, HeadPrior())
    fresh.own = head.own
    fresh.around[:] = head.own
    for model, x, quality in rows:
        fresh.learn(model, x, quality)
    assert np.allclose(fresh.weights, head.weights, atol=1e-7)
    assert np.allclose(fresh.covariance(), head.covariance(), atol=1e-7)
