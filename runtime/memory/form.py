"""What a prompt looks like, beside what it means: its length, its signs, how it begins and ends.

A mean of token vectors knows the subject of a prompt and little of its shape. Yet whether it is a line of keywords, a
multiple choice, a piece of code or a proof in TeX decides much about which model is good enough, and it is cheap to
see: one pass over the bytes.

    vector = (meaning, 0.6 · (form - usual form)), of length one
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from runtime.memory.embed import Cached, Embedder, Vectors, default_embedder, normalise, shorten

SIGNS = b",.?:;()[]{}$\\=+*/_\"'`|-\n<>%#@&!"
WEIGHT = 0.6
"""Of the form beside the meaning: both then vary about as much between prompts."""

_SIGNS = np.frombuffer(SIGNS, dtype=np.uint8).astype(np.intp)
_ENDS = (b"?", b".", b":", b"\n")
_USUAL = np.concatenate(
    [
        # Length, lines, letters a word; digits, capitals, capital letters at words' beginnings, other than ASCII.
        [2.9, 1.2, 1.4, 0.3, 0.4, 0.3, 0.1],
        [0.4 if sign in b",." else 0.2 if sign in b"?:\n'" else 0.1 for sign in SIGNS],
        # How it ends (with ? . : or a new line, a letter, a digit) and begins (small letter, digit, sign).
        [0.3, 0.3, 0.2, 0.0, 0.2, 0.0, 0.1, 0.0, 0.0],
    ]
)
DIM = len(_USUAL)


def form(text: str) -> np.ndarray:
    """`DIM` numbers, each of the order of one; zeros for a text that looks as most do."""
    body = text.encode("utf-8", "replace")
    if not body:
        return np.zeros(DIM)
    codes = np.frombuffer(body, dtype=np.uint8)
    counts = np.bincount(codes, minlength=256)
    size = len(codes)
    upper = (codes >= 65) & (codes <= 90)
    gaps = codes <= 32
    starts = np.concatenate([[True], gaps[:-1]]) & ~gaps
    words = max(int(starts.sum()), 1)
    out = np.empty(DIM)
    out[:7] = (
        np.log1p(size) / 2.0,
        np.log1p(counts[10]),
        (size - counts[32]) / words / 4.0,
        3.0 * np.sqrt(counts[48:58].sum() / size),
        3.0 * np.sqrt(upper.sum() / size),
        2.0 * (upper & starts).sum() / words,
        3.0 * np.sqrt(counts[128:].sum() / size),
    )
    out[7 : 7 + len(SIGNS)] = 4.0 * np.sqrt(counts[_SIGNS] / size)
    end, begin = body.rstrip(b" ")[-1:], body.lstrip()[:1]
    out[7 + len(SIGNS) :] = (
        *(end == one for one in _ENDS),
        end.isalpha(),
        end.isdigit(),
        begin.islower(),
        begin.isdigit(),
        not begin.isalnum(),
    )
    return np.asarray(np.clip(out - _USUAL, -2.0, 2.0))


class Formed:
    """Another embedder's vectors with the form beside them."""

    def __init__(self, inner: Embedder) -> None:
        self._inner = inner

    @property
    def name(self) -> str:
        return f"{self._inner.name}+form-1"

    @property
    def dim(self) -> int:
        return self._inner.dim + DIM

    def embed(self, texts: Sequence[str]) -> Vectors:
        if not texts:
            return np.zeros((0, self.dim), dtype=np.float32)
        forms = WEIGHT * np.stack([form(shorten(text)) for text in texts])
        return normalise(np.concatenate([self._inner.embed(texts), forms], axis=1, dtype=np.float32))


def learner_embedder(name: str = "auto") -> Embedder:
    """What the learner sees prompts with: meaning, by the embedder of this name, and form; offline, cached."""
    return Cached(Formed(default_embedder(name)))
