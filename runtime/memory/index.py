"""Which vectors lie near this one? Two answers to the same questions.

    ExactIndex    compares with all; right by definition, fast enough for a few thousand, the oracle of tests
    HnswIndex     hnswlib's graph; nearly right, a fraction of a millisecond at any size

An index holds labels and vectors, nothing durable: it is rebuilt from the store (`runtime/memory/store.py`), so a
broken file costs time and no knowledge. Distances are cosines; vectors need not have length one.

hnswlib takes what it should refuse, hence the guards here: numbers that are not finite, a `k` above what is left,
more vectors than room, and a forgotten `ef` after a load.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from runtime.memory.build import hnswlib

FEW = 2_000
"""Up to so many vectors comparing with all is as fast as the graph."""

GROW_AT = 0.8


class BadVector(ValueError):
    """A vector of another dimension, or one that is not finite, or is all zeros."""


@dataclass(frozen=True, slots=True)
class Near:
    """A neighbour. `cosine` is 1 for the same direction."""

    label: int
    cosine: float


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphShape:
    """hnswlib's settings: edges of a node, and how wide it looks when adding and when asked.

    More is spent on adding, which nobody waits for, than on asking: with 16, 128 and 96 the recall is the same, adding
    takes half of the time and asking a sixth more (`python -m bench.learning.recall`)."""

    m: int = 24
    ef_construction: int = 200
    ef: int = 64


class VectorIndex(Protocol):
    def add(self, label: int, vector: NDArray[np.float32]) -> None:
        """Add, or replace what the label held. Raises `BadVector`."""
        ...

    def remove(self, label: int) -> bool:
        """Whether there was one."""
        ...

    def near(self, vector: NDArray[np.float32], k: int) -> list[Near]:
        """At most `k`, nearest first; fewer where fewer are held. Raises `BadVector`."""
        ...

    def __len__(self) -> int: ...

    def __contains__(self, label: int) -> bool: ...


def checked(vector: NDArray[np.float32], dim: int) -> NDArray[np.float32]:
    flat = np.asarray(vector, dtype=np.float32)
    if flat.shape != (dim,):
        raise BadVector(f"a vector of {flat.shape}, but this memory holds {dim} numbers each")
    norm = float(np.linalg.norm(flat))
    if not np.isfinite(norm) or norm == 0.0:
        raise BadVector("a vector must be finite, and not all zeros")
    return np.asarray(flat / np.float32(norm), dtype=np.float32)


class ExactIndex:
    """Compares with every vector. Removing moves the last one into the hole."""

    def __init__(self, dim: int) -> None:
        self._dim = dim
        self._rows = np.zeros((64, dim), dtype=np.float32)
        self._labels: list[int] = []
        self._at: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._labels)

    def __contains__(self, label: int) -> bool:
        return label in self._at

    def add(self, label: int, vector: NDArray[np.float32]) -> None:
        unit = checked(vector, self._dim)
        at = self._at.get(label)
        if at is None:
            at = len(self._labels)
            if at == len(self._rows):
                self._rows = np.concatenate([self._rows, np.zeros_like(self._rows)])
            self._labels.append(label)
            self._at[label] = at
        self._rows[at] = unit

    def remove(self, label: int) -> bool:
        at = self._at.pop(label, None)
        if at is None:
            return False
        last = self._labels.pop()
        if last != label:
            self._rows[at] = self._rows[len(self._labels)]
            self._labels[at] = last
            self._at[last] = at
        return True

    def near(self, vector: NDArray[np.float32], k: int) -> list[Near]:
        unit = checked(vector, self._dim)
        count = min(k, len(self._labels))
        if count <= 0:
            return []
        cosines = self._rows[: len(self._labels)] @ unit
        best = np.argpartition(-cosines, count - 1)[:count]
        best = best[np.argsort(-cosines[best], kind="stable")]
        return [Near(self._labels[at], float(cosines[at])) for at in best]


class HnswIndex:
    """hnswlib, guarded. Not for several threads at once."""

    def __init__(self, dim: int, shape: GraphShape | None = None, *, room: int = 1_024) -> None:
        self._dim = dim
        self._shape = shape or GraphShape()
        self._labels: set[int] = set()
        self._graph = self._empty(max(room, 16))

    def _empty(self, room: int):  # type: ignore[no-untyped-def]  # hnswlib has no types
        graph = hnswlib().Index(space="cosine", dim=self._dim)
        graph.init_index(
            max_elements=room,
            M=self._shape.m,
            ef_construction=self._shape.ef_construction,
            allow_replace_deleted=True,
        )
        graph.set_ef(self._shape.ef)
        graph.set_num_threads(1)
        return graph

    def __len__(self) -> int:
        return len(self._labels)

    def __contains__(self, label: int) -> bool:
        return label in self._labels

    def add(self, label: int, vector: NDArray[np.float32]) -> None:
        unit = checked(vector, self._dim)
        if label in self._labels:
            # Written over in place, old edges would lead to where the vector was.
            self.remove(label)
        if len(self._labels) + 1 > GROW_AT * self._graph.get_max_elements():
            self._graph.resize_index(2 * self._graph.get_max_elements())
        self._graph.add_items(unit[None], np.array([label]), replace_deleted=True)
        self._labels.add(label)

    def remove(self, label: int) -> bool:
        if label not in self._labels:
            return False
        self._graph.mark_deleted(label)
        self._labels.discard(label)
        return True

    def near(self, vector: NDArray[np.float32], k: int) -> list[Near]:
        unit = checked(vector, self._dim)
        count = min(k, len(self._labels))
        if count <= 0:
            return []
        self._graph.set_ef(max(self._shape.ef, count))
        try:
            labels, distances = self._graph.knn_query(unit[None], k=count)
        except RuntimeError:
            # Deleted nodes can hide the living from a narrow search: look everywhere once.
            self._graph.set_ef(max(self._graph.get_current_count(), count))
            labels, distances = self._graph.knn_query(unit[None], k=count)
        return [Near(int(at), 1.0 - float(far)) for at, far in zip(labels[0], distances[0], strict=True)]

    def save(self, path: Path) -> None:
        self._graph.save_index(str(path))

    def load(self, path: Path, labels: set[int]) -> None:
        """Raises `ValueError` unless the file holds exactly these labels."""
        graph = hnswlib().Index(space="cosine", dim=self._dim)
        try:
            graph.load_index(str(path), max_elements=0, allow_replace_deleted=True)
        except RuntimeError as error:
            raise ValueError(f"not a graph: {error}") from error
        room = max(int(len(labels) / GROW_AT) + 1, graph.get_current_count(), 16)
        if room > graph.get_max_elements():
            graph.resize_index(room)
        graph.set_num_threads(1)
        graph.set_ef(self._shape.ef)
        if not labels <= set(map(int, graph.get_ids_list())):
            raise ValueError("the graph lacks vectors that the store has")
        self._graph, self._labels = graph, set(labels)
