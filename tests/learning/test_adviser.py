"""What an edge decides by what was learned, and when it does not."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from runtime.balance.entry import Asked, Candidate, Entry
from runtime.balance.plan import Routing, plan
from runtime.balance.turns import Turns
from runtime.learning.advice import Learned
from runtime.learning.adviser import Adviser, taught
from runtime.learning.events import Judged
from runtime.learning.pupil import Pupil, Schooling
from runtime.learning.values import Lesson, Trajectory
from runtime.memory.embed import HashedNgrams, WordLlamaEmbedder
from runtime.models import NANOUSD, ModelInfo, Pricing
from runtime.sona.refine import parts_of

EMBEDDER = HashedNgrams(64)
CHEAP, DEAR = Candidate("cheap", "one"), Candidate("dear", "one")
POEM, SUM = "write a poem about the sea and the moon", "solve the sum of these numbers, a task"
SURE = Learned(taste="ruvector-balanced", evidence=20.0, explore=False)


def entry(of: Candidate, usd_per_million: float | None, **said: Any) -> Entry:
    million = None if usd_per_million is None else int(usd_per_million * NANOUSD)
    pricing = None if million is None else Pricing(input=million, output=million)
    return Entry(candidate=of, info=ModelInfo(provider=of.provider, model=of.model, pricing=pricing), **said)


ENTRIES = [entry(CHEAP, 0.1), entry(DEAR, 10.0)]


def asking(text: str, **said: Any) -> Asked:
    return Asked(text=text, tenant="default", input_tokens=20, **said)


def experienced(
    quality: Mapping[tuple[str, Candidate], float], *, rounds: int = 120, parts: Sequence[str] = ()
) -> Lesson:
    """A policy that rests on so many judged answers of each kind."""
    pupil = Pupil(Schooling(warm_up=20, parts=parts_of("", parts)))
    events: list[Trajectory | Judged] = []
    number = 0
    for at in range(rounds):
        for (text, of), good in quality.items():
            number += 1
            vector = np.asarray(EMBEDDER.embed([f"{text} {at}"])[0], dtype="<f4").tobytes()
            request = f"req_{number}"
            events.append(
                Trajectory(
                    uid=request,
                    request=request,
                    at_s=0.0,
                    embedder=EMBEDDER.name,
                    vector=vector,
                    candidates=(str(CHEAP), str(DEAR)),
                    costs_nanousd=(1_000, 100_000),
                    answered=str(of),
                )
            )
            pupil.apply(events[-1], lambda: events)
            judged = Judged(
                request=request,
                key=f"k{number % 7}",
                model=str(of),
                quality=good,
                weight=1.0,
                fair=1.0,
                vector=vector,
                at_s=0.0,
            )
            events.append(judged)
            pupil.apply(judged, lambda: events)
    return Lesson(stamp=(1, number), payload=pupil.policy(), judged=pupil.judged, prompts=pupil.prompts)


LESSON = experienced({(POEM, CHEAP): 0.95, (POEM, DEAR): 0.95, (SUM, CHEAP): 0.05, (SUM, DEAR): 0.95})


def adviser(lesson: Lesson | None = LESSON) -> Adviser:
    made = Adviser(EMBEDDER, np.random.default_rng(1))
    if lesson is not None and (policy := taught(lesson)) is not None:
        made.policies["default"] = policy
    return made


def first(made: Adviser, text: str, how: Learned = SURE, **said: Any) -> str:
    advice = made.advise(ENTRIES, asking(text, **said), how)
    return str(ENTRIES[advice.order[0]].candidate) if advice.order else f"abstains: {advice.why}"


def test_each_topic_goes_to_the_model_that_is_good_enough_for_least() -> None:
    assert (first(adviser(), f"{POEM} 900"), first(adviser(), f"{SUM} 900")) == ("cheap/one", "dear/one")


def test_one_text_has_the_vector_that_it_has_among_others() -> None:
    embedder = WordLlamaEmbedder()
    texts = ["", " ", "a", f"{SUM} 17", "ünïcödé 你好 🙂", "word " * 3_000]
    each = np.concatenate([embedder.embed([text]) for text in texts])
    together = np.concatenate([embedder.embed([text, text])[:1] for text in texts])
    np.testing.assert_array_equal(each, together)


def test_a_choice_is_explained_term_by_term() -> None:
    advice = adviser().advise(ENTRIES, asking(f"{SUM} 901"), SURE)
    chosen = advice.terms[advice.order[0]]
    assert chosen["learned"] == "chosen"
    assert {"quality", "doubt", "worth", "utility", "propensity", "expected_nanousd"} <= set(chosen)
    assert advice.decision is not None
    assert (advice.decision.chosen, advice.decision.propensity, advice.decision.mode) == ("dear/one", 1.0, "learned")


def test_parts_that_take_part_are_explained_and_decide() -> None:
    lesson = experienced(
        {(POEM, CHEAP): 0.95, (POEM, DEAR): 0.95, (SUM, CHEAP): 0.05, (SUM, DEAR): 0.95}, parts=("memory", "bank")
    )
    made = adviser(lesson)
    advice = made.advise(ENTRIES, asking(f"{SUM} 901"), SURE)
    assert {type(one["correction"]) for one in advice.terms.values()} == {float}
    learner = made.policies["default"].learner
    vector = EMBEDDER.embed([f"{SUM} 901"])[0].astype(float)
    assert learner.refined is not None
    head = learner.head.believe(learner.topics.features(vector[None])[0]).mean
    corrected = np.clip(head, 0.0, 1.0) + learner.refined.corrections(vector)
    expected = {name: corrected[at] for at, name in enumerate(learner.models)}
    for one, terms in advice.terms.items():
        assert terms["quality"] == pytest.approx(expected[str(ENTRIES[one].candidate)], abs=1e-4)
    assert (first(made, f"{POEM} 900"), first(made, f"{SUM} 900")) == ("cheap/one", "dear/one")


def test_the_pattern_that_a_prompt_belongs_to_is_named_with_what_it_says() -> None:
    outcomes = {(POEM, CHEAP): 0.95, (POEM, DEAR): 0.95, (SUM, CHEAP): 0.05, (SUM, DEAR): 0.95}
    made = adviser(experienced(outcomes, rounds=130, parts=("bank",)))
    sums = [made.advise(ENTRIES, asking(f"{SUM} {number}"), SURE).terms for number in (901, 901, 902)]
    learner = made.policies["default"].learner
    assert learner.refined is not None
    patterns = {one.name: one for one in learner.refined.patterns}
    assert len(patterns) == len(learner.refined.patterns) > 1
    assert sums[0] == sums[1]
    for terms in sums:
        (name,) = {one["pattern"] for one in terms.values()}
        for one in terms.values():
            # Nothing else takes part, so it is all of the correction.
            assert one["pattern_says"] == one["correction"]
        chosen = next(one for one in terms.values() if one["learned"] == "chosen")
        assert chosen["pattern_prompts"] == round(patterns[str(name)].size, 1)
    (poem,) = {one["pattern"] for one in made.advise(ENTRIES, asking(f"{POEM} 901"), SURE).terms.values()}
    assert poem != next(iter(sums[0].values()))["pattern"]


@pytest.mark.parametrize(
    ("lesson", "text", "word"),
    [
        (None, POEM, "nothing was learned"),
        (replace(LESSON, judged=3.0), POEM, "3 of 20"),
        (LESSON, "   ", "no text"),
    ],
)
def test_without_evidence_it_abstains_and_says_so(lesson: Lesson | None, text: str, word: str) -> None:
    assert word in first(adviser(lesson), text)


def test_even_where_it_abstains_a_prompt_is_reported() -> None:
    decision = adviser(None).advise(ENTRIES, asking(POEM), SURE).decision
    assert decision is not None
    assert (decision.mode, decision.chosen, decision.propensity) == ("default", "", None)


def test_an_unknown_price_comes_behind_and_one_price_alone_is_no_choice() -> None:
    unpriced = entry(Candidate("free", "what"), None)
    advice = adviser().advise([unpriced, *ENTRIES], asking(f"{POEM} 902"), SURE)
    assert advice.order == (1, 2, 0)
    assert advice.terms[0]["learned"] == "no price"
    assert "price" in adviser().advise([unpriced, ENTRIES[0]], asking(POEM), SURE).why


def test_a_model_that_is_not_known_yet_comes_behind_and_is_reported() -> None:
    new = entry(Candidate("new", "one"), 1.0)
    advice = adviser().advise([new, *ENTRIES], asking(f"{POEM} 903"), SURE)
    assert advice.order[-1] == 0
    assert advice.decision is not None
    assert "new/one" in advice.decision.candidates


def test_nobody_below_the_floor_is_asked_while_somebody_else_is_above_it() -> None:
    greedy = replace(SURE, taste="ruvector-auto")
    assert first(adviser(), f"{SUM} 904", replace(greedy, floor=0.5)) == "dear/one"
    # Nobody is that good: then the best there is.
    assert first(adviser(), f"{SUM} 904", replace(greedy, floor=1.0)) == "dear/one"


def test_exploring_asks_nobody_who_is_worse_than_the_cap_allows() -> None:
    made = adviser(experienced({(POEM, CHEAP): 0.9}, rounds=25))
    curious = replace(SURE, explore=True)

    def given_up(how: Learned) -> list[float]:
        advised = (made.advise(ENTRIES, asking(f"{POEM} {n}"), how).decision for n in range(60))
        return [one.gave_up for one in advised if one is not None]

    assert max(given_up(curious)) > 0.02
    assert max(given_up(replace(curious, explore_cap=0.02))) <= 0.02


def test_the_share_that_is_held_out_goes_by_the_default_order() -> None:
    made = adviser()
    how = replace(SURE, holdout=0.3)
    modes = [made.advise(ENTRIES, asking(f"{SUM} {n}"), how).decision.mode for n in range(400)]  # type: ignore[union-attr]  # it decides
    assert 80 < modes.count("holdout") < 160
    assert set(modes) == {"holdout", "learned"}


def test_in_shadow_it_decides_and_the_default_order_holds() -> None:
    advice = adviser().advise(ENTRIES, asking(f"{SUM} 905"), replace(SURE, shadow=True))
    assert (advice.order, advice.decision and advice.decision.mode) == ((), "shadow")
    assert advice.decision is not None
    assert advice.decision.chosen == "dear/one"


def test_a_conversation_stays_with_its_model_unless_another_is_much_better() -> None:
    made = adviser()
    begun = made.advise(ENTRIES, asking(f"{POEM} 906", prefix="talk"), SURE).decision
    assert begun is not None
    made.settle_in(begun, "dear/one")
    assert first(made, f"{POEM} 906", prefix="talk", goes_on=True) == "dear/one"
    made.settle_in(begun, "cheap/one")
    assert first(made, f"{SUM} 907", prefix="talk", goes_on=True) == "dear/one"


def test_a_session_stays_with_its_model_from_the_second_request_on() -> None:
    made = adviser()
    begun = made.advise(ENTRIES, asking(f"{POEM} 906", session="s1"), SURE).decision
    assert begun is not None
    made.settle_in(begun, "dear/one")
    assert first(made, f"{POEM} 906", session="s1") == "dear/one"
    assert first(made, f"{POEM} 906", session="s2") == "cheap/one"


def test_nobody_is_explored_in_a_conversation_that_goes_on() -> None:
    made = adviser(experienced({(POEM, CHEAP): 0.6}, rounds=25))
    curious = replace(SURE, explore=True)
    fresh = {first(made, f"{POEM} {n}", curious) for n in range(60)}
    going_on = [made.advise(ENTRIES, asking(f"{POEM} {n}", goes_on=True), curious).decision for n in range(60)]
    assert fresh >= {"dear/one"}
    assert all(one is not None and one.propensity == 1.0 and one.gave_up == 0.0 for one in going_on)


def test_the_filters_come_first_and_the_first_tier_alone_is_decided() -> None:
    entries = [replace(ENTRIES[0], priority=1), ENTRIES[1]]
    made = plan(
        entries,
        asking(f"{SUM} 908", allowed=("cheap/*",)),
        Routing(strategy="learned", learned=SURE),
        turns=Turns(),
        key="any",
        rng=random.Random(1),
        adviser=adviser(),
    )
    assert [str(one.candidate) for one in made.order] == ["cheap/one"]
    assert [one.why for one in made.dropped] == ["not_allowed"]
    assert "abstains" in made.note
