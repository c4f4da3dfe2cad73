"""What is remembered stays: over restarts and damage, within its bounds, and of each tenant alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from runtime.memory import snapshot
from runtime.memory.embed import Cached, HashedNgrams, WordLlamaEmbedder, default_embedder
from runtime.memory.index import BadVector
from runtime.memory.memory import Memory
from runtime.memory.store import OtherEmbedder, Trace, reembed

EMBEDDER = HashedNgrams(32)
TEXTS = [f"{topic} number {at}" for topic in ("sorting a list", "capital of France", "tax law") for at in range(40)]


def trace(at: int, namespace: str = "acme", **more: object) -> Trace:
    known: dict[str, object] = {"model": "small", "propensity": 1.0, "at": float(at), "text": TEXTS[at % len(TEXTS)]}
    return Trace(namespace=namespace, request=f"r{at}", **(known | more))  # type: ignore[arg-type]


def vector(at: int) -> np.ndarray:
    return EMBEDDER.embed([TEXTS[at % len(TEXTS)]])[0]


def filled(folder: Path, count: int = 60, **more: int) -> Memory:
    memory = Memory(folder, EMBEDDER, **more)  # type: ignore[arg-type]
    for at in range(count):
        memory.add(trace(at), vector(at))
    return memory


def asked(memory: Memory, at: int) -> list[tuple[str, float]]:
    return [(found.trace.request, round(found.cosine, 5)) for found in memory.near("acme", vector(at), 5)]


@pytest.mark.parametrize("few", [2_000, 10], ids=["exact", "graph"])
def test_a_restart_changes_no_answer(tmp_path: Path, few: int) -> None:
    memory = filled(tmp_path, few=few)
    before = [asked(memory, at) for at in range(60)]
    memory.save()
    memory.close()
    again = Memory(tmp_path, EMBEDDER, few=few)
    assert [asked(again, at) for at in range(60)] == before


def test_what_was_not_saved_or_was_damaged_is_rebuilt(tmp_path: Path) -> None:
    memory = filled(tmp_path, few=10)
    memory.save()
    memory.add(trace(70), vector(70))
    (file,) = tmp_path.glob("*.graph")
    memory.close()
    stale = Memory(tmp_path, EMBEDDER, few=10)
    assert asked(stale, 70)[0][0] == "r70"
    stale.close()
    file.write_bytes(file.read_bytes()[:-7] + b"damaged")
    assert asked(Memory(tmp_path, EMBEDDER, few=10), 70)[0][0] == "r70"


def test_a_tenant_sees_its_own_memory_alone(tmp_path: Path) -> None:
    memory = filled(tmp_path)
    memory.add(trace(1, "other"), vector(1))
    assert [found.trace.namespace for found in memory.near("other", vector(0), 50)] == ["other"]
    assert {found.trace.namespace for found in memory.near("acme", vector(0), 100)} == {"acme"}
    assert memory.near("nobody", vector(0), 5) == []


def test_the_same_request_again_replaces_what_was(tmp_path: Path) -> None:
    memory = filled(tmp_path, 5)
    memory.add(trace(3, model="large"), vector(9))
    assert len(memory) == 5
    assert next(one for one in memory.near("acme", vector(9), 5)).trace.model == "large"


def test_an_outcome_that_comes_later_is_there_after_a_restart(tmp_path: Path) -> None:
    memory = filled(tmp_path, 5)
    judged = memory.judge("acme", "r2", 0.75)
    assert judged is not None
    assert memory.judge("acme", "unknown", 1.0) is None
    assert memory.judge("other", "r2", 1.0) is None
    memory.close()
    kept = {one.request: one.quality for one, _ in Memory(tmp_path, EMBEDDER).traces("acme")}
    assert kept == {"r0": None, "r1": None, "r2": 0.75, "r3": None, "r4": None}


def test_memory_is_bounded_and_keeps_what_is_judged_used_and_new(tmp_path: Path) -> None:
    memory = filled(tmp_path, 20, most=20)
    memory.judge("acme", "r0", 1.0)
    memory.used(memory.near("acme", vector(1), 1))
    for at in range(20, 40):
        memory.add(trace(at), vector(at))
    assert len(memory) <= 21
    kept = {one.request for one, _ in memory.traces("acme")}
    assert {"r0", "r1", "r39"} <= kept


@pytest.mark.parametrize("few", [2_000, 10], ids=["exact", "graph"])
def test_what_is_forgotten_is_in_no_answer_and_in_no_file(tmp_path: Path, few: int) -> None:
    memory = filled(tmp_path, few=few)
    memory.add(trace(61, text="the secret of the sphinx"), vector(61))
    memory.save()
    assert memory.forget("acme", "r61") == 1
    assert "r61" not in {found.trace.request for found in memory.near("acme", vector(61), 100)}
    assert memory.forget("acme", "r61") == 0
    memory.save()
    memory.close()
    raw = vector(61).astype("<f4").tobytes()
    for file in tmp_path.iterdir():
        assert b"sphinx" not in file.read_bytes()
    assert all(
        kept.tobytes() != raw for one, kept in Memory(tmp_path, EMBEDDER, few=few).traces() if one.request == "r61"
    )
    again = Memory(tmp_path, EMBEDDER, few=few)
    assert again.forget("acme") == 60
    assert again.near("acme", vector(0), 5) == []


def test_a_bad_vector_leaves_no_trace(tmp_path: Path) -> None:
    memory = filled(tmp_path, 3)
    with pytest.raises(BadVector):
        memory.add(trace(9), np.full(32, np.nan, dtype=np.float32))
    assert len(memory) == 3
    assert len(list(memory.traces())) == 3


def test_another_embedder_is_refused_until_the_memory_is_embedded_anew(tmp_path: Path) -> None:
    memory = filled(tmp_path, 10)
    memory.add(trace(10, text=None), vector(10))
    memory.close()
    other = HashedNgrams(64)
    with pytest.raises(OtherEmbedder, match="hashed-32"):
        Memory(tmp_path, other)
    assert reembed(tmp_path / "memory.sqlite", other) == 1
    again = Memory(tmp_path, other)
    assert len(again) == 10
    assert again.near("acme", other.embed([TEXTS[4]])[0], 1)[0].trace.request == "r4"


def test_a_snapshot_is_whole_or_refused(tmp_path: Path) -> None:
    file = tmp_path / "x"
    snapshot.write(file, b"one")
    snapshot.write(file, b"two")
    assert snapshot.read(file) == b"two"
    assert [one.name for one in tmp_path.iterdir()] == ["x"]
    for spoilt in (file.read_bytes()[:-1], b"", b"x" * 60, file.read_bytes()[:-1] + b"!"):
        file.write_bytes(spoilt)
        with pytest.raises(snapshot.Damaged):
            snapshot.read(file)


@pytest.mark.parametrize(
    "embedder", [HashedNgrams(), WordLlamaEmbedder(), default_embedder()], ids=lambda one: one.name
)
def test_every_embedder_gives_unit_vectors_that_put_like_beside_like(embedder: HashedNgrams) -> None:
    texts = ["How do I sort a list in Python?", "python: sorting a list", "Who painted the Mona Lisa?", "", "x" * 9_000]
    vectors = embedder.embed(texts)
    assert vectors.shape == (5, embedder.dim)
    assert np.isfinite(vectors).all()
    assert np.allclose(np.linalg.norm(vectors[[0, 1, 2, 4]], axis=1), 1.0, atol=1e-5)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2]
    assert np.allclose(vectors[:1], embedder.embed(texts[:1]), atol=1e-6)
    assert embedder.embed([]).shape == (0, embedder.dim)


def test_the_cache_asks_only_for_what_it_lacks() -> None:
    class Counting(HashedNgrams):
        def __init__(self, dim: int) -> None:
            super().__init__(dim)
            self.asked: list[str] = []

        def embed(self, texts: Sequence[str]) -> np.ndarray:
            self.asked.extend(texts)
            return super().embed(texts)

    inner = Counting(16)
    cached = Cached(inner, size=2)
    first = cached.embed(["a b", "c d", "a b"])
    assert np.array_equal(first[0], first[2])
    assert np.array_equal(cached.embed(["a b"])[0], first[0])
    assert inner.asked == ["a b", "c d"]
    cached.embed(["e f", "g h", "i j"])
    cached.embed(["a b"])
    assert inner.asked[-1] == "a b"
