"""Remembered answers to requests that say the same in other words. Off unless asked for.

    what counts     the last thing the user said, if it is plain text and not long
    what must be    all else, exactly: whose request it is, the system prompt, every earlier turn, tools, sampling, who
    equal           could answer. Together that is the partition; nothing is compared across two of them
    found           among the nearest in the partition, the first that is near enough and that `verify` does not doubt

So a conversation finds what was answered at the same point of an equal conversation, and "yes" or "and the second?"
never finds an answer from another one. The vectors are those of `runtime.memory`; answers lie in `AnswerCache` under
their own keys and nowhere else: what is forgotten there cannot be found here.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runtime.cache.key import last_words, partition_of
from runtime.cache.verify import Why, why_not
from runtime.memory.embed import Embedder
from runtime.memory.index import HnswIndex, Near
from runtime.request import Request

CALIBRATED: Mapping[str, float] = {"wordllama-l2-256": 0.75}
"""The least cosine by embedder: `python -m bench.meaning` has the table, `docs/cache.md` says how it was read."""
UNCALIBRATED = 0.9

LONGEST = 600
"""Characters. What is longer has too much in it for one vector, and is only found by its very words."""
SIDE_BY_SIDE = 128
"""Most partitions are small: up to so many vectors comparing with all is as fast as the graph, which needs 200 KB."""
NEAREST = 4
"""So many are doubted before it is given up."""
MOST_JUDGED = 1_000
"""The last hits that are remembered in case somebody judges them."""


@dataclass(slots=True)
class MeaningCounts:
    """`looked` asked for something near, `hits` were given an answer; `doubted` by what was wrong with the nearest.

    `judged` of the hits somebody has judged, `judged_wrong` as bad: the false-hit rate as callers see it.
    """

    looked: int = 0
    hits: int = 0
    judged: int = 0
    judged_wrong: int = 0


class _Shelf:
    """The vectors of one partition: some side by side, many in a graph."""

    __slots__ = ("graph", "labels", "vectors")

    def __init__(self) -> None:
        self.labels: list[int] = []
        self.vectors: list[NDArray[np.float32]] = []
        self.graph: HnswIndex | None = None

    def add(self, label: int, vector: NDArray[np.float32]) -> None:
        if self.graph is not None:
            self.graph.add(label, vector)
            return
        self.labels.append(label)
        self.vectors.append(vector)
        if len(self.labels) > SIDE_BY_SIDE:
            self.graph = HnswIndex(len(vector), room=2 * len(self.labels))
            for one, its in zip(self.labels, self.vectors, strict=True):
                self.graph.add(one, its)
            self.labels, self.vectors = [], []

    def remove(self, label: int) -> None:
        if self.graph is not None:
            self.graph.remove(label)
        else:
            at = self.labels.index(label)
            del self.labels[at], self.vectors[at]

    def near(self, vector: NDArray[np.float32], k: int) -> list[Near]:
        if self.graph is not None:
            return self.graph.near(vector, k)
        cosines = np.stack(self.vectors) @ vector
        best = np.argsort(-cosines, kind="stable")[:k]
        return [Near(self.labels[at], float(cosines[at])) for at in best]

    def __len__(self) -> int:
        return len(self.labels) if self.graph is None else len(self.graph)


@dataclass(slots=True)
class _Meaning:
    key: bytes
    partition: bytes
    text: str


class Meanings:
    """Belongs to one event loop, and to one `AnswerCache`, which tells it by `gone` what it no longer holds.

    `threshold` None: what was calibrated for the embedder.
    """

    def __init__(self, embedder: Embedder, *, threshold: float | None = None) -> None:
        self.counts = MeaningCounts()
        self.doubted: Counter[Why] = Counter()
        self.threshold = CALIBRATED.get(embedder.name, UNCALIBRATED) if threshold is None else threshold
        self._embedder = embedder
        self._shelves: dict[bytes, _Shelf] = {}
        self._known: dict[int, _Meaning] = {}
        self._labels: dict[bytes, int] = {}
        self._next = 0
        self._given: OrderedDict[str, bytes] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def near(self, request: Request, eligible: bytes) -> list[tuple[bytes, float]]:
        """The keys of answers to requests that mean the same, and how near each is: the nearest first."""
        text = _text(request)
        if text is None or not self._known:
            return []
        shelf = self._shelves.get(partition_of(request, eligible))
        if shelf is None:
            return []
        self.counts.looked += 1
        vector = self._vector(text)
        if vector is None:
            return []
        found: list[tuple[bytes, float]] = []
        for one in shelf.near(vector, NEAREST):
            if one.cosine < self.threshold:
                break
            meaning = self._known[one.label]
            why = why_not(text, meaning.text)
            if why is None:
                found.append((meaning.key, min(1.0, one.cosine)))
            else:
                self.doubted[why] += 1
        return found

    def given(self, request_id: str, key: bytes) -> None:
        """One of them was given in answer to this request."""
        self.counts.hits += 1
        self._given[request_id] = key
        if len(self._given) > MOST_JUDGED:
            self._given.popitem(last=False)

    def judged(self, request_id: str, *, good: bool) -> bytes | None:
        """What somebody thinks of an answer. The key of one that was given for its meaning and is bad; else None."""
        key = self._given.pop(request_id, None)
        if key is None:
            return None
        self.counts.judged += 1
        self.counts.judged_wrong += not good
        return None if good else key

    def size(self, request: Request) -> int:
        """Bytes that `add` will keep beside the answer."""
        text = _text(request)
        return 0 if text is None else 4 * self._embedder.dim + len(text.encode()) + 600

    def add(self, request: Request, eligible: bytes, key: bytes) -> None:
        """The answer to this request is remembered under this key."""
        self.gone(key)
        text = _text(request)
        vector = None if text is None else self._vector(text)
        if text is None or vector is None:
            return
        partition, label = partition_of(request, eligible), self._next
        self._next += 1
        self._shelves.setdefault(partition, _Shelf()).add(label, vector)
        self._known[label] = _Meaning(key, partition, text)
        self._labels[key] = label

    def gone(self, key: bytes) -> None:
        """What was remembered under this key is no more."""
        label = self._labels.pop(key, None)
        if label is None:
            return
        partition = self._known.pop(label).partition
        shelf = self._shelves[partition]
        shelf.remove(label)
        if not len(shelf):
            del self._shelves[partition]

    def _vector(self, text: str) -> NDArray[np.float32] | None:
        """None for a text without anything to go by."""
        vector: NDArray[np.float32] = self._embedder.embed([text])[0]
        return vector if vector.any() else None


def _text(request: Request) -> str | None:
    text = last_words(request)
    return text if text is not None and 0 < len(text) <= LONGEST else None
