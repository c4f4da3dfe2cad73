"""The form of a prompt tells kinds of prompts apart that mean the same."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.memory.embed import HashedNgrams
from runtime.memory.form import DIM, Formed, form

EMBEDDER = Formed(HashedNgrams(64))
PROSE = ("Why do leaves fall in autumn?", "What is the tallest mountain of Japan?")
CODE = ("def leaves(tree):\n    return [n for n in tree]\n", "x = {'a': 1}\nprint(x['a'] + 2)\n")


def test_code_is_nearer_to_code_and_questions_to_questions() -> None:
    prose, other, code, more = (form(text) for text in (*PROSE, *CODE))
    across = min(np.linalg.norm(a - b) for a in (prose, other) for b in (code, more))
    assert max(np.linalg.norm(prose - other), np.linalg.norm(code - more)) < across


def test_the_name_says_that_vectors_of_the_two_embedders_do_not_mix() -> None:
    assert EMBEDDER.name.startswith(HashedNgrams(64).name)
    assert EMBEDDER.name != HashedNgrams(64).name
    assert EMBEDDER.dim == 64 + DIM


@given(st.text(max_size=300))
def test_every_text_has_a_form_and_a_vector_of_length_one(text: str) -> None:
    vector = EMBEDDER.embed([text])[0]
    assert np.isfinite(vector).all()
    if text.strip():
        assert np.linalg.norm(vector) == pytest.approx(1.0, abs=1e-5)


def test_a_batch_is_what_its_texts_are_alone() -> None:
    together = EMBEDDER.embed([*PROSE, *CODE])
    assert np.allclose(together, np.stack([EMBEDDER.embed([text])[0] for text in (*PROSE, *CODE)]), atol=1e-6)
    assert EMBEDDER.embed([]).shape == (0, EMBEDDER.dim)
