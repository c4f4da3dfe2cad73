"""Vectors of an embeddings endpoint: what is known, and when a decision waits for more."""

from __future__ import annotations

import numpy as np
import pytest

from runtime.memory.endpoint import LONGEST_REST_S, REST_S, Given, NotRead, Trust, named
from runtime.memory.form import DIM, Formed


def test_other_models_and_dimensions_have_other_names_that_are_fit_for_a_folder() -> None:
    names = [named("a/b", 8), named("a/b", 16), named("a-b", 8), named("lab/e5:large", 8)]
    assert len(set(names)) == 4
    assert not any(set("/:\\ ") & set(name) for name in names)


def test_what_was_not_given_is_refused_and_never_guessed() -> None:
    given = Given("lab/e5", 8)
    with pytest.raises(NotRead):
        Formed(given).embed(["a text"])
    given.put(["a text"], [[3.0, 4.0, 0, 0, 0, 0, 0, 0]])
    assert np.allclose(given.embed(["a text"])[0][:2], [0.6, 0.8])
    assert Formed(given).embed(["a text"]).shape == (1, 8 + DIM)
    assert Formed(given).name == f"{given.name}+form-1"


def test_only_whole_and_finite_vectors_of_the_right_dimension_fit() -> None:
    given = Given("lab/e5", 2)
    assert given.fits([[1.0, 0.0], [0.0, 1.0]], 2)
    assert not given.fits([[1.0, 0.0]], 2)
    assert not given.fits([[1.0, 0.0, 0.0]], 1)
    assert not given.fits([[float("nan"), 0.0]], 1)


def test_a_refused_text_is_settled_and_has_no_vector() -> None:
    given = Given("lab/e5", 2)
    given.refuse("a text")
    assert given.settled("a text")
    assert not given.has("a text")


def test_the_last_vectors_stay() -> None:
    given = Given("lab/e5", 8_192)
    for number in range(1_100):
        given.put([str(number)], np.ones((1, 8_192), dtype=np.float32))
    assert not given.settled("0")
    assert given.has("1099")


def test_a_failure_costs_one_patience_and_rests_grow_until_it_is_well() -> None:
    trust, now = Trust(), 100.0
    assert trust.asks(now)
    assert trust.waits
    trust.ill(now)
    assert not trust.asks(now + REST_S - 0.01)
    trust.ill(now + 0.5)  # of what was asked together
    assert trust.asks(now + REST_S)
    assert not trust.waits, "on trial: asked, and nobody waits"
    for _ in range(10):
        now += 1_000.0
        trust.ill(now)
    assert not trust.asks(now + LONGEST_REST_S - 0.01)
    assert trust.asks(now + LONGEST_REST_S)
    trust.well()
    assert trust.waits
    trust.ill(now)
    assert trust.asks(now + REST_S), "it begins anew"
