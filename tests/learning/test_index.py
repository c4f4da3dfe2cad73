"""Laws of every index, and of the graph against comparing with all."""

from __future__ import annotations

from collections.abc import Callable
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.memory.build import NEEDS, suited
from runtime.memory.index import BadVector, ExactIndex, HnswIndex, VectorIndex

DIM = 16
MAKERS: list[Callable[[], VectorIndex]] = [lambda: ExactIndex(DIM), lambda: HnswIndex(DIM, room=16)]
each = pytest.mark.parametrize("make", MAKERS, ids=["exact", "graph"])


def vectors(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, DIM)).astype(np.float32)


@each
def test_the_nearest_to_a_vector_is_itself(make: Callable[[], VectorIndex]) -> None:
    index = make()
    for label, vector in enumerate(vectors(100)):
        index.add(label, vector)
    assert [index.near(vector, 1)[0].label for vector in vectors(100)] == list(range(100))


@each
def test_more_is_never_answered_than_is_held(make: Callable[[], VectorIndex]) -> None:
    index = make()
    assert index.near(vectors(1)[0], 5) == []
    for label, vector in enumerate(vectors(3)):
        index.add(label, vector)
    assert {near.label for near in index.near(vectors(1)[0], 50)} == {0, 1, 2}
    assert index.near(vectors(1)[0], 0) == []


@each
@pytest.mark.parametrize(
    "bad",
    [np.zeros(DIM), np.full(DIM, np.nan), np.full(DIM, np.inf), np.ones(DIM + 1), np.ones((1, DIM))],
    ids=["zeros", "nan", "inf", "long", "matrix"],
)
def test_what_is_no_direction_is_refused(make: Callable[[], VectorIndex], bad: np.ndarray) -> None:
    index = make()
    with pytest.raises(BadVector):
        index.add(1, bad.astype(np.float32))
    with pytest.raises(BadVector):
        index.near(bad.astype(np.float32), 1)
    assert len(index) == 0


@each
def test_a_label_added_again_is_replaced(make: Callable[[], VectorIndex]) -> None:
    index = make()
    old, new, other = vectors(3)
    index.add(1, old)
    index.add(2, other)
    index.add(1, new)
    assert len(index) == 2
    assert index.near(new, 1)[0].label == 1
    assert index.near(new, 1)[0].cosine == pytest.approx(1.0, abs=1e-5)
    assert index.near(old, 2)[0].cosine < 0.99


@each
@settings(max_examples=25)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 40)), max_size=120))
def test_any_history_leaves_exactly_what_was_not_removed(
    make: Callable[[], VectorIndex], history: list[tuple[bool, int]]
) -> None:
    index, held = make(), set[int]()
    rows = vectors(41)
    for add, label in history:
        if add:
            index.add(label, rows[label])
            held.add(label)
        else:
            assert index.remove(label) == (label in held)
            held.discard(label)
    assert len(index) == len(held)
    assert {near.label for near in index.near(rows[0], 100)} == held
    assert all((label in index) == (label in held) for label in range(41))


def test_the_graph_finds_what_comparing_with_all_finds_after_churn_and_reload(tmp_path: Path) -> None:
    exact, graph = ExactIndex(DIM), HnswIndex(DIM, room=16)
    rows = vectors(1_500)
    for label, vector in enumerate(rows):
        exact.add(label, vector)
        graph.add(label, vector)
    for label in range(0, 1_500, 2):
        exact.remove(label)
        graph.remove(label)
    for label, vector in enumerate(vectors(700, seed=1), start=2_000):
        exact.add(label, vector)
        graph.add(label, vector)
    graph.save(tmp_path / "graph")
    again = HnswIndex(DIM)
    again.load(tmp_path / "graph", set(range(1, 1_500, 2)) | set(range(2_000, 2_700)))
    assert len(again) == len(exact)
    hits = 0
    for query in vectors(100, seed=2):
        hits += len({near.label for near in exact.near(query, 10)} & {near.label for near in again.near(query, 10)})
    assert hits / 1_000 >= 0.98
    # Room was made before it ran out, and goes on being made.
    for label, vector in enumerate(vectors(2_000, seed=3), start=5_000):
        again.add(label, vector)
    assert len(again) == len(exact) + 2_000


def test_a_file_that_lacks_vectors_is_refused(tmp_path: Path) -> None:
    graph = HnswIndex(DIM)
    for label, vector in enumerate(vectors(20)):
        graph.add(label, vector)
    graph.save(tmp_path / "graph")
    with pytest.raises(ValueError, match="lacks"):
        HnswIndex(DIM).load(tmp_path / "graph", set(range(21)))
    (tmp_path / "graph").write_bytes((tmp_path / "graph").read_bytes()[:50])
    with pytest.raises(ValueError, match="not a graph"):
        HnswIndex(DIM).load(tmp_path / "graph", set(range(20)))


def test_a_build_for_newer_processors_is_taken_only_where_it_runs(tmp_path: Path) -> None:
    assert suited(tmp_path, NEEDS) is None, "there is none"
    (tmp_path / "hnswlib.cpython-30-other.so").touch()
    assert suited(tmp_path, NEEDS) is None, "another Python's"
    built = tmp_path / f"hnswlib{EXTENSION_SUFFIXES[0]}"
    built.touch()
    assert suited(tmp_path, NEEDS | {"sse2"}) == built
    assert suited(tmp_path, NEEDS - {"avx2"}) is None
    assert suited(tmp_path, frozenset()) is None
