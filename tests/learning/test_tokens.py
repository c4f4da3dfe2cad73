"""Tokens that are looked up a word at a time are those of the tokenizer."""

from __future__ import annotations

import importlib.util
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.memory.embed import WordLlamaEmbedder
from runtime.memory.tokens import Tokens

pytestmark = pytest.mark.skipif(importlib.util.find_spec("wordllama") is None, reason="wordllama is not installed")

WORDS = st.sampled_from(
    [
        "the",
        " ",
        "  ",
        "▁",
        "12",
        "3.5",
        "\n",
        "\t",
        "naïve",
        "日本語",
        "🙂",
        "<s>",
        "</s>",
        "\x00",
        "def f(x):",
        "x" * 60,
    ]
)


@cache
def embedder() -> WordLlamaEmbedder:
    return WordLlamaEmbedder()


def whole(text: str) -> list[int]:
    ids: Any = embedder()._model.tokenizer.encode(text, add_special_tokens=False).ids
    return list(ids)


@given(st.lists(WORDS | st.text(max_size=6), max_size=12).map("".join))
def test_the_same_ids_come_out(text: str) -> None:
    tokens = Tokens(embedder()._model.tokenizer)
    assert tokens.of(text) == whole(text)
    assert tokens.of(text) == whole(text), "the second time, from what is known"


def test_the_vector_of_one_text_is_that_of_the_whole_tokenizer() -> None:
    text = "Prove that √2 is irrational.\n\n(A) 12  (B) 3.5"
    table = np.asarray(embedder()._model.embedding, dtype=np.float32)
    ids = whole(text)
    mean = table[ids].sum(axis=0, keepdims=True) / np.float32(len(ids))
    assert np.array_equal(embedder().embed([text]), mean / np.linalg.norm(mean, axis=1, keepdims=True))


class Joining:
    """A tokenizer with a token that reaches over the beginning of a word."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def to_str(self) -> str:
        return str(self.inner.to_str()).replace('"▁the":', '"a▁the":', 1)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


def test_a_vocabulary_that_joins_words_is_read_whole() -> None:
    tokens = Tokens(Joining(embedder()._model.tokenizer))
    assert tokens._words is None
    assert tokens.of("in the end") == whole("in the end")
