"""What others learned: as they exported it or not at all, and never worth more than what was seen here."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file

from runtime.memory.embed import HashedNgrams
from runtime.memory.store import OtherEmbedder
from runtime.sona.bank import Pattern
from runtime.sona.federate import (
    ADAPTERS,
    PATTERNS,
    BadBundle,
    Bundle,
    Provenance,
    Weights,
    export,
    merge_patterns,
    merge_weights,
    put_weights,
    read,
    weights_of,
)
from runtime.sona.lowrank import Adapter, Lesson, Rank, train

EMBEDDER = HashedNgrams(8)
ORIGIN = Provenance(who="edge-berlin", at=1.7e9, embedder=EMBEDDER.name, dim=8)
MODELS = ("small", "large")


def pattern(direction: int, seen: float = 10.0, won: float = 8.0, model: str = "small") -> Pattern:
    centre = tuple(float(at == direction) for at in range(8))
    return Pattern(centre=centre, size=seen, seen={model: seen}, won={model: won}, used_at=1.0)


def adapter(seed: int, *, rank: int = 2, models: int = 2) -> Adapter:
    made = Adapter(models, 8, Rank(rank=rank, rate=0.1, bound=9.0), np.random.default_rng(seed))
    made.up[:] = np.random.default_rng(seed + 100).normal(size=made.up.shape)
    return made


def bundle(**more: Any) -> Bundle:
    weights = weights_of(adapter(1), MODELS, seen=50.0)
    return Bundle(provenance=ORIGIN, patterns=(pattern(0), pattern(3)), adapters={"micro": weights, **more})


def said(weights: Weights, model: str, vector: np.ndarray) -> float:
    return float(weights.up[weights.models.index(model)] @ (weights.down @ vector))


def test_what_was_exported_is_read_with_its_origin(tmp_path: Path) -> None:
    made = bundle()
    export(tmp_path / "out", made)
    found = read(tmp_path / "out", EMBEDDER)
    assert found.provenance == ORIGIN
    assert found.patterns == tuple(replace(one, source="edge-berlin") for one in made.patterns)
    assert np.array_equal(found.adapters["micro"].up, made.adapters["micro"].up)
    assert np.array_equal(found.adapters["micro"].down, made.adapters["micro"].down)
    assert (found.adapters["micro"].models, found.adapters["micro"].seen) == (MODELS, 50.0)


def test_the_files_are_what_others_read_too(tmp_path: Path) -> None:
    export(tmp_path, bundle())
    header, *lines = (json.loads(line) for line in (tmp_path / PATTERNS).read_text().splitlines())
    assert header["provenance"]["who"] == "edge-berlin"
    assert len(lines) == 2
    assert set(load_file(tmp_path / ADAPTERS)) == {"micro.up", "micro.down"}


def test_nothing_learned_is_an_export_too(tmp_path: Path) -> None:
    export(tmp_path, Bundle(provenance=ORIGIN))
    found = read(tmp_path, EMBEDDER)
    assert (found.patterns, dict(found.adapters)) == ((), {})


@pytest.mark.parametrize("change", [{"embedder": "wordllama-l2-8"}, {"dim": 16}])
def test_another_embedders_vectors_are_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    export(tmp_path, replace(Bundle(provenance=ORIGIN), provenance=replace(ORIGIN, **change)))
    with pytest.raises(OtherEmbedder, match="say nothing about the other"):
        read(tmp_path, EMBEDDER)


@pytest.mark.parametrize("name", [PATTERNS, ADAPTERS])
def test_what_was_altered_or_cut_short_is_refused(tmp_path: Path, name: str) -> None:
    export(tmp_path, bundle())
    whole = (tmp_path / name).read_bytes()
    for broken in (whole[:-9], whole[:-9] + b"9" + whole[-8:]):
        (tmp_path / name).write_bytes(broken)
        with pytest.raises(BadBundle, match="checksum"):
            read(tmp_path, EMBEDDER)
    (tmp_path / name).unlink()
    with pytest.raises(BadBundle, match="cannot be read"):
        read(tmp_path, EMBEDDER)


def test_what_is_no_export_or_a_later_one_is_refused(tmp_path: Path) -> None:
    export(tmp_path, bundle())
    text = (tmp_path / PATTERNS).read_text()
    (tmp_path / PATTERNS).write_text(text.replace('"raygate_patterns": 1', '"raygate_patterns": 2'))
    with pytest.raises(BadBundle, match="schema 2"):
        read(tmp_path, EMBEDDER)
    (tmp_path / PATTERNS).write_text("[]\n")
    with pytest.raises(BadBundle, match="provenance"):
        read(tmp_path, EMBEDDER)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (replace(pattern(0), centre=(1.0, 0.0)), "centre of 8 numbers"),
        (replace(pattern(0), centre=(3.0,) + (0.0,) * 7), "length one"),
        (replace(pattern(0), seen={"small": -4.0}), "counts"),
        (replace(pattern(0), won={"small": 11.0}), "won more than it has seen"),
        (replace(pattern(0), won={"other": 1.0}), "won more than it has seen"),
    ],
)
def test_a_pattern_that_cannot_be_true_is_refused(tmp_path: Path, wrong: Pattern, words: str) -> None:
    export(tmp_path, Bundle(provenance=ORIGIN, patterns=(pattern(1), wrong)))
    with pytest.raises(BadBundle, match=words):
        read(tmp_path, EMBEDDER)


def test_adapters_that_do_not_fit_or_hold_no_numbers_are_refused(tmp_path: Path) -> None:
    good = weights_of(adapter(1), MODELS, seen=50.0)
    export(tmp_path, bundle(base=replace(good, models=("small",))))
    with pytest.raises(BadBundle, match="fit together"):
        read(tmp_path, EMBEDDER)
    export(tmp_path, bundle(base=replace(good, up=good.up * np.nan)))
    with pytest.raises(BadBundle, match="no number"):
        read(tmp_path, EMBEDDER)


def test_outcomes_of_the_same_pattern_add_up_and_new_patterns_are_taken() -> None:
    theirs = Bundle(provenance=ORIGIN, patterns=(pattern(0, 20.0, 5.0), pattern(3, model="large")))
    merged = merge_patterns([pattern(0, 40.0, 30.0)], [theirs])
    assert [(one.seen, one.won) for one in merged] == [
        ({"small": 60.0}, {"small": 35.0}),
        ({"large": 10.0}, {"large": 8.0}),
    ]


@given(st.floats(1.0, 1e9), st.floats(0.0, 1.0))
def test_nobody_foreign_counts_for_more_than_what_was_seen_here(claimed: float, quality: float) -> None:
    liar = Bundle(provenance=ORIGIN, patterns=(pattern(0, claimed, claimed * quality),))
    (merged,) = merge_patterns([pattern(0, 200.0, 180.0)], [liar])
    assert merged.seen["small"] <= 400.0 + 1e-6
    assert abs(merged.won["small"] / merged.seen["small"] - 0.9) <= abs(quality - 0.9) / 2 + 1e-6


def test_the_merged_adapter_says_the_mean_by_outcomes_seen_and_not_the_product_of_means() -> None:
    one, other = (weights_of(adapter(seed), MODELS, seen=seen) for seed, seen in ((1, 300.0), (2, 100.0)))
    merged = merge_weights(one, [other], rank=4)
    for vector in np.eye(8):
        for model in MODELS:
            expected = 0.75 * said(one, model, vector) + 0.25 * said(other, model, vector)
            assert said(merged, model, vector) == pytest.approx(expected)
    assert merged.seen == 400.0


def test_a_smaller_rank_keeps_the_best_part_of_it() -> None:
    """Eckart and Young: no matrix of that rank is nearer."""
    one, other = (weights_of(adapter(seed, models=5), tuple("abcde"), seen=100.0) for seed in (1, 2))
    mean = 0.5 * (one.up @ one.down + other.up @ other.down)
    merged = merge_weights(one, [other], rank=2)
    lost = np.linalg.norm(mean - merged.up @ merged.down)
    assert merged.down.shape == (2, 8)
    assert lost == pytest.approx(np.linalg.norm(np.linalg.svd(mean)[1][2:]))


def test_of_a_model_that_only_others_know_theirs_is_taken() -> None:
    own = weights_of(adapter(1), MODELS, seen=100.0)
    other = weights_of(adapter(2), ("large", "new"), seen=100.0)
    merged = merge_weights(own, [other], rank=4)
    vector = np.eye(8)[2]
    assert merged.models == ("small", "large", "new")
    assert said(merged, "small", vector) == pytest.approx(said(own, "small", vector))
    assert said(merged, "new", vector) == pytest.approx(said(other, "new", vector))


def test_an_adapter_that_took_over_weights_says_them_and_goes_on_learning() -> None:
    own = adapter(3)
    own.up[:] = 0.0
    put_weights(own, MODELS, merge_weights(weights_of(own, MODELS, seen=0.0), [], rank=2))
    vector = np.eye(8)[1]
    assert np.array_equal(own.corrections(vector), np.zeros(2))
    train(own, [Lesson(vector=vector, model=1, residual=0.5)], np.random.default_rng(0))
    assert own.corrections(vector)[1] > 0.0, "two matrices of zeros would never move"
    taken = merge_weights(weights_of(own, MODELS, seen=1.0), [weights_of(adapter(4), MODELS, seen=50.0)], rank=2)
    put_weights(own, ("large", "stranger"), taken)
    assert own.corrections(vector) == pytest.approx([said(taken, "large", vector), 0.0])
