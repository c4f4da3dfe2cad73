"""Vectors that an embeddings endpoint gave: what is known of them here, and whether a decision waits for new ones.

    trusted    asked, and a decision waits for the answer      late or failed ─► resting
    resting    nobody asks and nobody waits                    its time is over ─► on trial
    on trial   asked, and nobody waits                         in time ─► trusted; else ─► resting, twice as long

So an endpoint that is slow or away costs one decision its patience, and no other after it. No clock and no I/O:
`actors/reading.py` asks.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from runtime.memory.embed import Vectors, normalise, shorten

MOST_BYTES = 16 << 20
LEAST_KEPT = 1_024
"""However long vectors are: a calibration's prompts are asked for together."""
REST_S, LONGEST_REST_S = 1.0, 60.0


class NotRead(LookupError):
    """The endpoint has not given these vectors, or not yet."""


def named(model: str, dim: int) -> str:
    """An embedder's name for this model and dimension, fit for a folder: other models have other names."""
    mark = blake2b(model.encode(), digest_size=3).hexdigest()
    return f"endpoint-{re.sub(r'[^a-zA-Z0-9.-]+', '-', model)[:80]}-{dim}-{mark}"


class Given:
    """Implements `Embedder`, for texts whose vectors are here; the last ones stay. Raises `NotRead` for others.

    Whoever never asks (the owner of what is learned) has none: he takes vectors, and texts are read at the edges.
    """

    def __init__(self, model: str, dim: int) -> None:
        self._name = named(model, dim)
        self._dim = dim
        self._most = max(MOST_BYTES // (4 * dim), LEAST_KEPT)
        self._kept: OrderedDict[bytes, Vectors | None] = OrderedDict()

    @property
    def name(self) -> str:
        return self._name

    @property
    def dim(self) -> int:
        return self._dim

    def has(self, text: str) -> bool:
        """Whether `embed` will answer."""
        return self._kept.get(_digest(text)) is not None

    def settled(self, text: str) -> bool:
        """Whether there is nothing to ask for: it is here, or was refused."""
        return _digest(text) in self._kept

    def embed(self, texts: Sequence[str]) -> Vectors:
        found = []
        for text in texts:
            vector = self._kept.get(_digest(text))
            if vector is None:
                raise NotRead(f"{self._name} has not read this text")
            self._kept.move_to_end(_digest(text))
            found.append(vector)
        return np.stack(found) if found else np.zeros((0, self._dim), dtype=np.float32)

    def fits(self, vectors: Sequence[Sequence[float]], count: int) -> bool:
        """Whether these are `count` vectors as this model is said to give them."""
        return len(vectors) == count and all(len(one) == self._dim and np.all(np.isfinite(one)) for one in vectors)

    def put(self, texts: Sequence[str], vectors: NDArray[np.float32] | Sequence[Sequence[float]]) -> None:
        """Keep what was given; `fits` said so."""
        for text, vector in zip(texts, normalise(np.asarray(vectors, dtype=np.float32)), strict=True):
            self._keep(text, vector)

    def refuse(self, text: str) -> None:
        """The endpoint takes other texts and not this one: it is not asked again."""
        self._keep(text, None)

    def _keep(self, text: str, vector: Vectors | None) -> None:
        self._kept[_digest(text)] = vector
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)


class Trust:
    """The table above."""

    def __init__(self) -> None:
        self._rest_s = 0.0
        self._until = float("-inf")

    @property
    def waits(self) -> bool:
        """Whether a decision waits for an answer."""
        return self._rest_s == 0.0

    def asks(self, now: float) -> bool:
        return now >= self._until

    def well(self) -> None:
        """It answered in time."""
        self._rest_s, self._until = 0.0, float("-inf")

    def ill(self, now: float) -> None:
        """It failed, or was late. Of what was asked together only the first one counts."""
        if self.asks(now):
            self._rest_s = min(max(2.0 * self._rest_s, REST_S), LONGEST_REST_S)
            self._until = now + self._rest_s


def _digest(text: str) -> bytes:
    return blake2b(shorten(text).encode("utf-8", "surrogatepass"), digest_size=16).digest()
