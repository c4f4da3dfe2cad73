"""Text becomes a vector of length one, offline.

    wordllama    256 numbers, 0.15 ms for a prompt of a hundred tokens; the default
    hashed       character n-grams by signed hashing, no model at all; where wordllama is absent

Vectors of two embedders say nothing about each other, so every embedder has a `name` that a memory keeps: where it
differs, the memory is embedded anew or refused, never mixed.

wordllama's table derives from Llama's token embeddings; `docs/learning.md` says what that means for its licence.
"""

from __future__ import annotations

import importlib.util
from collections import OrderedDict
from collections.abc import Sequence
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from runtime.memory.tokens import Tokens

Vectors = NDArray[np.float32]

LONGEST = 4_000
"""Characters of a prompt that are read, from its two ends. What lies between rarely tells a topic, and costs time."""


class Embedder(Protocol):
    """Vectors have length one; a text without anything to go by is the zero vector."""

    @property
    def name(self) -> str:
        """Model and version: two embedders with one name give one vector for one text."""
        ...

    @property
    def dim(self) -> int: ...

    def embed(self, texts: Sequence[str]) -> Vectors: ...


def shorten(text: str) -> str:
    if len(text) <= LONGEST:
        return text
    half = LONGEST // 2
    return f"{text[:half]} {text[-half:]}"


def normalise(vectors: Vectors) -> Vectors:
    # As `np.linalg.norm` has it, without its questions: one row is what a request has.
    norms = np.sqrt(np.add.reduce(vectors * vectors, axis=1, keepdims=True))
    return np.asarray(np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 0), dtype=np.float32)


class HashedNgrams:
    """Words, pairs of words and runs of four characters, each added with a sign at a place that its hash names."""

    def __init__(self, dim: int = 256) -> None:
        self._dim = dim

    @property
    def name(self) -> str:
        return f"hashed-{self._dim}-1"

    @property
    def dim(self) -> int:
        return self._dim

    def embed(self, texts: Sequence[str]) -> Vectors:
        out = np.zeros((len(texts), self._dim), dtype=np.float32)
        for row, text in zip(out, texts, strict=True):
            words = shorten(text).lower().split()
            joined = " ".join(words)
            grams = words + [f"{a} {b}" for a, b in pairwise(words)]
            grams += [joined[at : at + 4] for at in range(max(len(joined) - 3, 0))]
            for gram in grams:
                code = crc32(gram.encode())
                row[(code >> 1) % self._dim] += 1.0 if code & 1 else -1.0
            # Common grams would drown the rare ones that tell a topic.
            np.copyto(row, np.sign(row) * np.sqrt(np.abs(row)))
        return normalise(out)


class WordLlamaEmbedder:
    """The table of vectors that the wordllama wheel carries. Loads in 0.4 s. Raises `ImportError` where absent."""

    def __init__(self) -> None:
        import wordllama
        from wordllama import WordLlama

        # Plain `load()` looks in a folder that the wheel does not have, and then downloads.
        folder = str(Path(wordllama.__file__).parent)
        self._model: Any = WordLlama.load(cache_dir=folder, disable_download=True)
        self._table: Vectors = np.nan_to_num(np.asarray(self._model.embedding, dtype=np.float32), copy=False)
        self._tokens = Tokens(self._model.tokenizer)
        self._dim = int(self._table.shape[1])

    @property
    def name(self) -> str:
        return f"wordllama-l2-{self._dim}"

    @property
    def dim(self) -> int:
        return self._dim

    def embed(self, texts: Sequence[str]) -> Vectors:
        if not texts:
            return np.zeros((0, self._dim), dtype=np.float32)
        if len(texts) == 1:
            # The path of a request: the same sum without the library's batch around it, in half of the time.
            ids = self._tokens.of(shorten(texts[0]) or " ")
            rows = self._table.take(ids, axis=0)
            mean = np.add.reduce(rows, axis=0, keepdims=True) / np.float32(max(len(ids), 1))
            return normalise(np.asarray(mean, dtype=np.float32))
        # An empty text has no tokens, and the mean of nothing is no number.
        found = self._model.embed([shorten(text) or " " for text in texts])
        return normalise(np.nan_to_num(np.asarray(found, dtype=np.float32)))


class Cached:
    """Remembers the last vectors by a digest of their text: a conversation embeds its beginning again and again."""

    def __init__(self, inner: Embedder, size: int = 4_096) -> None:
        self._inner = inner
        self._size = size
        self._kept: OrderedDict[bytes, Vectors] = OrderedDict()

    @property
    def name(self) -> str:
        return self._inner.name

    @property
    def dim(self) -> int:
        return self._inner.dim

    def embed(self, texts: Sequence[str]) -> Vectors:
        keys = [blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest() for text in texts]
        absent = {key: text for key, text in zip(keys, texts, strict=True) if key not in self._kept}
        found = {key: self._kept[key] for key in keys if key in self._kept}
        if absent:
            found.update(zip(absent, self._inner.embed(list(absent.values())), strict=True))
        for key, vector in found.items():
            self._kept[key] = vector
            self._kept.move_to_end(key)
        while len(self._kept) > self._size:
            self._kept.popitem(last=False)
        return np.stack([found[key] for key in keys]) if keys else np.zeros((0, self.dim), dtype=np.float32)


def default_embedder(name: str = "auto") -> Embedder:
    """`wordllama` (raises `ImportError` where it is not installed) or `hashed`; `auto` is the first where it is there,
    else the second. Cached."""
    if name == "hashed":
        return Cached(HashedNgrams())
    if name == "auto" and importlib.util.find_spec("wordllama") is None:
        return Cached(HashedNgrams())
    return Cached(WordLlamaEmbedder())
