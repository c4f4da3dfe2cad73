"""Answers that are found by what was meant: within a partition, never across one, and never when in doubt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from runtime.cache.semantic import SIDE_BY_SIDE, Meanings
from runtime.memory.embed import HashedNgrams, Vectors, default_embedder
from runtime.outcome import Completion, Failure
from runtime.request import Message, Request, Role, Sampling, TextPart, Tool, ask, user
from tests.fakes.gateway import Rigs, text
from tests.fakes.providers import streamed

EMBEDDER = default_embedder()
ON = {"cache": {"enabled": True, "semantic": True}}


def rigs(*answers: str, **said: object) -> Rigs:
    made = Rigs(a=[text(one) for one in answers], settings={**ON, **said})
    meanings = Meanings(EMBEDDER)
    cache = made.gateway.policy.cache
    assert cache is not None
    cache.gone = meanings.gone
    made.gateway.policy = replace(made.gateway.policy, meanings=meanings)
    return made


def meanings_of(made: Rigs) -> Meanings:
    found = made.gateway.policy.meanings
    assert found is not None
    return found


async def test_other_words_for_the_same_are_given_the_same_answer() -> None:
    made = rigs("by the button", "by the lever")
    first = await made.answer(replace(ask("How do I cancel my order?"), request_id="r1"))
    again = await made.answer(replace(ask("Hi, could you tell me how to cancel my order?"), request_id="r2"))
    assert (again.text, again.request_id) == (first.text, "r2")
    (attempt,) = again.attempts
    assert attempt.outcome == "cached"
    assert attempt.remembered is not None
    assert 0.75 <= (attempt.remembered.cosine or 0.0) <= 1.0
    assert (meanings_of(made).counts.hits, made.gateway.policy.cache.counts.hits) == (1, 1)  # type: ignore[union-attr]
    assert made.gateway.policy.cache.counts.misses == 1  # type: ignore[union-attr]
    stream = await streamed(made.gateway, ask("how can I cancel my order"))
    assert stream.text == "by the button"
    assert made.calls() == {"a": 1}


@pytest.mark.parametrize(
    "other",
    [
        "How do I not cancel my order?",
        "How do I cancel my order 5?",
        "How do I cancel my flight?",
        "Can I cancel my order?",
        "Wie storniere ich meine Bestellung?",
    ],
)
async def test_what_is_in_doubt_is_asked(other: str) -> None:
    made = rigs("by the button", "something else")
    await made.answer(ask("How do I cancel my order?"))
    assert (await made.answer(ask(other))).text == "something else"
    assert meanings_of(made).counts.hits == 0


SAID, MEANT = "How do I cancel my order?", "how can I cancel my order please"
SYSTEM = Message(role=Role.SYSTEM, parts=(TextPart("You work for a shop."),))
OTHER_SYSTEM = Message(role=Role.SYSTEM, parts=(TextPart("You work for a bank."),))
TURN = (user("I bought a lamp"), Message(role=Role.ASSISTANT, parts=(TextPart("Good!"),)))
OTHER_TURN = (user("I bought a car"), Message(role=Role.ASSISTANT, parts=(TextPart("Good!"),)))


@pytest.mark.parametrize(
    ("one", "other", "hit"),
    [
        (Request(messages=(user(SAID),)), Request(messages=(user(MEANT),)), True),
        (Request(messages=(SYSTEM, user(SAID))), Request(messages=(SYSTEM, user(MEANT))), True),
        (Request(messages=(SYSTEM, user(SAID))), Request(messages=(OTHER_SYSTEM, user(MEANT))), False),
        (Request(messages=(SYSTEM, user(SAID))), Request(messages=(user(MEANT),)), False),
        (Request(messages=(*TURN, user(SAID))), Request(messages=(*TURN, user(MEANT))), True),
        (Request(messages=(*TURN, user(SAID))), Request(messages=(*OTHER_TURN, user(MEANT))), False),
        (Request(messages=(*TURN, user(SAID))), Request(messages=(user(MEANT),)), False),
        (Request(messages=(user(SAID),), tenant="a"), Request(messages=(user(MEANT),), tenant="b"), False),
        (Request(messages=(user(SAID),)), Request(messages=(user(MEANT),), tools=(Tool(name="t"),)), False),
        (Request(messages=(user(SAID),)), Request(messages=(user(MEANT),), sampling=Sampling(seed=1)), False),
        (Request(messages=(user(SAID),)), Request(messages=(user(MEANT),), model="a/other"), False),
        (Request(messages=(user(SAID),)), Request(messages=(user(MEANT),), no_store=True), False),
        (Request(messages=(user(SAID),)), Request(messages=(user(MEANT),), max_age_s=0.0), False),
    ],
)
async def test_all_else_has_to_be_equal(one: Request, other: Request, hit: bool) -> None:
    made = rigs("first", "second")
    await made.answer(one)
    assert ((await made.answer(other)).text == "first") == hit


async def test_the_same_words_in_another_conversation_mean_something_else() -> None:
    made = rigs("first", "second", "third")
    for turn, text_of in ((TURN, "first"), (OTHER_TURN, "second"), (TURN, "first"), (OTHER_TURN, "second")):
        assert (await made.answer(Request(messages=(*turn, user("and the second one?"))))).text == text_of


async def test_only_if_cached_is_content_with_it() -> None:
    made = rigs("first")
    await made.answer(ask(SAID))
    assert isinstance(await made.gateway.complete(replace(ask(MEANT), only_if_cached=True)), Completion)
    assert isinstance(await made.gateway.complete(replace(ask("Why?"), only_if_cached=True)), Failure)


async def test_it_is_off_unless_asked_for() -> None:
    made = rigs("first", "second", cache={"enabled": True})
    await made.answer(ask(SAID))
    assert (await made.answer(ask(MEANT))).text == "second"
    assert len(meanings_of(made)) == 0


async def test_what_is_forgotten_is_not_found_by_its_meaning_either() -> None:
    made = rigs("first", "second", "third")
    await made.answer(ask(SAID))
    await made.gateway.clear_cache()
    assert len(meanings_of(made)) == 0
    assert (await made.answer(ask(MEANT))).text == "second"
    made.clock.advance(301.0)
    assert (await made.answer(ask(SAID))).text == "third", "its time is over"


async def test_a_hit_that_is_judged_bad_counts_and_is_not_given_again() -> None:
    made = rigs("first")
    await made.answer(ask(SAID))
    for at in range(2):
        await made.answer(replace(ask(MEANT), request_id=f"r{at}"))
    meanings = meanings_of(made)
    assert meanings.judged("r0", good=True) is None
    assert meanings.judged("r1", good=False) is not None
    assert meanings.judged("r1", good=False) is None
    assert meanings.judged("never", good=False) is None
    assert (meanings.counts.judged, meanings.counts.judged_wrong) == (2, 1)


class Counted:
    """An embedder that counts, and makes vectors of words alone."""

    name, dim = "counted", 256

    def __init__(self) -> None:
        self.inner = HashedNgrams()
        self.texts = 0

    def embed(self, texts: Sequence[str]) -> Vectors:
        self.texts += len(texts)
        return self.inner.embed(texts)


def test_nothing_is_embedded_where_there_is_nothing_to_compare_with() -> None:
    embedder = Counted()
    meanings = Meanings(embedder)
    assert meanings.threshold == 0.9, "an embedder that nobody has calibrated has to be very sure"
    assert meanings.near(ask("hi"), b"") == []
    meanings.add(ask("hello there"), b"", b"k")
    assert embedder.texts == 1
    assert meanings.near(replace(ask("hi"), tenant="another"), b"") == []
    assert embedder.texts == 1


@pytest.mark.parametrize(
    "request_", [ask(""), ask("x" * 601), Request(messages=(SYSTEM,))], ids=["empty", "long", "none"]
)
def test_what_has_no_meaning_to_compare_is_left_out(request_: Request) -> None:
    meanings = Meanings(HashedNgrams())
    meanings.add(request_, b"", b"k")
    assert (len(meanings), meanings.size(request_)) == (0, 0)


def test_many_are_found_in_a_graph_and_leave_it_again() -> None:
    meanings = Meanings(HashedNgrams(), threshold=0.5)
    rng = np.random.default_rng(1)
    letters = "abcdefghijklmnopqrstuvwxyz"
    texts = ["".join(rng.choice(list(letters), 12)) for _ in range(SIDE_BY_SIDE + 50)]
    for at, one in enumerate(texts):
        meanings.add(ask(f"what is {one}"), b"", b"%d" % at)
    assert meanings.near(ask(f"What is {texts[7]}?"), b"")[0][0] == b"7"
    meanings.gone(b"7")
    assert meanings.near(ask(f"What is {texts[7]}?"), b"") == []
    for at in range(len(texts)):
        meanings.gone(b"%d" % at)
    assert (len(meanings), meanings._shelves) == (0, {})


async def test_its_counts_are_among_the_metrics() -> None:
    made = rigs("first", "second")
    for text_of in (SAID, MEANT, "How do I not cancel my order?"):
        await made.answer(ask(text_of))
    metrics = await made.gateway.metrics()
    assert (metrics["cache.hits"], metrics["cache.misses"], metrics["cache.entries"]) == (1.0, 2.0, 2.0)
    assert (metrics["cache.semantic_hits"], metrics["cache.semantic_doubted_negation"]) == (1.0, 1.0)
    off = Rigs(a=text("x"))
    assert not [name for name in await off.gateway.metrics() if name.startswith("cache.")]
