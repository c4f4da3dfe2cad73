"""The owner of what is learned: nothing acknowledged is lost, and a restart is no event."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from runtime.learning.pupil import Schooling
from runtime.learning.school import School
from runtime.learning.values import FeedbackGiven, Signal, Trajectory
from runtime.memory.embed import HashedNgrams
from runtime.outcome import Failure
from runtime.sona.refine import parts_of
from runtime.sona.state import load

EMBEDDER = HashedNgrams(64)
HOW = Schooling(warm_up=8)
CHEAP, DEAR = "cheap/one", "dear/one"
TOPICS = ("write a poem about the sea number", "solve this sum of numbers, task")


def opened(folder: Path) -> School:
    return School(folder, EMBEDDER, HOW, wall=lambda: 1_000.0)


@pytest.fixture
def school(tmp_path: Path) -> Iterator[School]:
    made = opened(tmp_path / "a")
    yield made
    made.abandon()


def decided(number: int, *, tenant: str = "default", answered: str = CHEAP, **more: object) -> Trajectory:
    vector = EMBEDDER.embed([f"{TOPICS[number % 2]} {number}"])[0]
    said: dict[str, object] = {
        "uid": f"e:{tenant}:{number}",
        "request": f"req_{number}",
        "at_s": 1_000.0 + number,
        "embedder": EMBEDDER.name,
        "vector": np.asarray(vector, dtype="<f4").tobytes(),
        "candidates": (CHEAP, DEAR),
        "costs_nanousd": (1_000, 50_000),
        "tenant": tenant,
        "answered": answered,
        "outcome": "ok",
    }
    return Trajectory(**{**said, **more})  # type: ignore[arg-type]  # a test's own table


def judge(school: School, number: int, score: float, *, key: str = "k", tenant: str = "default") -> object:
    return school.judge(FeedbackGiven(request=f"req_{number}", at_s=2_000.0, score=score, key=key, tenant=tenant))


def lived(school: School, numbers: range) -> None:
    for number in numbers:
        school.take([decided(number, answered=(CHEAP, DEAR)[number // 2 % 2], mode="learned", gave_up=0.001)])
        if number % 3:
            judge(school, number, float(number % 2), key=f"k{number % 2}")


def test_a_restart_is_no_restart_bit_for_bit(tmp_path: Path) -> None:
    """One dies at every stage: before there is a learner, after a snapshot, between snapshots; the other one lives."""
    steady, dying = opened(tmp_path / "steady"), opened(tmp_path / "dying")
    for begun, ended, saves in ((0, 5, False), (5, 12, True), (12, 30, False), (30, 45, True), (45, 60, False)):
        lived(steady, range(begun, ended))
        lived(dying, range(begun, ended))
        if saves:
            dying.save()
            lived(steady, range(100 + begun, 104 + begun))
            lived(dying, range(100 + begun, 104 + begun))
        dying.abandon()
        dying = opened(tmp_path / "dying")
    ours, theirs = steady.lesson("default", 1), dying.lesson("default", 1)
    assert ours.payload
    assert ours == theirs
    assert steady._classes.of("default").pupil.dump() == dying._classes.of("default").pupil.dump()
    steady.abandon()
    dying.abandon()


def test_what_was_reported_twice_counts_once(school: School) -> None:
    assert school.take([decided(1), decided(2)]) == 2
    assert school.take([decided(2), decided(3)]) == 1
    assert school.summary("default").prompts == 3


def test_a_vector_of_another_embedder_is_refused(school: School) -> None:
    assert school.take([decided(1, embedder="wordllama-l2-256"), decided(2, vector=b"\0" * 4)]) == 0


def test_before_the_first_prompts_are_seen_there_is_nothing_to_decide_by(school: School) -> None:
    school.take([decided(number) for number in range(HOW.warm_up - 1)])
    assert school.lesson("default", 3) == school.lesson("default", 3)
    assert not school.lesson("default", 3).payload
    school.take([decided(99)])
    assert school.lesson("default", 3).payload
    assert school.summary("default").learns


def test_feedback_moves_the_model_that_answered(school: School) -> None:
    school.take([decided(number) for number in range(10)])
    before = school.summary("default").quality
    judge(school, 3, 1.0)
    after = school.summary("default").quality
    assert after[CHEAP][0] > before[CHEAP][0]
    assert school.summary("default").judged == 1.0


def test_who_changes_his_mind_is_heard_once(school: School, tmp_path: Path) -> None:
    school.take([decided(number) for number in range(10)])
    judge(school, 3, 0.0)
    judge(school, 3, 1.0)
    other = opened(tmp_path / "b")
    other.take([decided(number) for number in range(10)])
    judge(other, 3, 1.0)
    ours, theirs = school.summary("default"), other.summary("default")
    assert ours.judged == theirs.judged == 1.0
    assert ours.quality[CHEAP][0] == pytest.approx(theirs.quality[CHEAP][0], abs=1e-9)
    other.abandon()


def test_a_comparison_judges_both_answers(school: School) -> None:
    school.take([decided(number, answered=DEAR if number == 4 else CHEAP) for number in range(10)])
    taken = school.judge(FeedbackGiven(request="req_4", at_s=0.0, better_than="req_5", key="k"))
    assert not isinstance(taken, Failure)
    assert [(one.model, one.quality) for one in taken] == [(DEAR, 0.75), (CHEAP, 0.25)]


@pytest.mark.parametrize(
    ("said", "word"),
    [
        ({"request": "req_77", "score": 1.0}, "no answer of yours"),
        ({"request": "req_1", "label": "splendid"}, "no label"),
        ({"request": "req_1", "better_than": "req_1"}, "itself"),
        ({"request": "req_1", "score": float("nan")}, "number"),
        ({"request": "req_1"}, "say how good"),
    ],
)
def test_feedback_that_says_nothing_is_refused_and_teaches_nothing(
    school: School, said: dict[str, object], word: str
) -> None:
    school.take([decided(1)])
    refused = school.judge(FeedbackGiven(**{"at_s": 0.0, **said}))  # type: ignore[arg-type]  # a test's own table
    assert isinstance(refused, Failure)
    assert word in refused.detail
    assert school.summary("default").judged == 0.0


def test_a_score_beyond_its_bounds_is_clipped(school: School) -> None:
    school.take([decided(1)])
    taken = judge(school, 1, 1e9)
    assert isinstance(taken, tuple)
    assert taken[0].quality == 1.0


def test_one_organisation_sees_nothing_of_another(school: School) -> None:
    school.take([decided(number, tenant="a") for number in range(10)])
    assert isinstance(judge(school, 1, 1.0, tenant="b"), Failure)
    assert school.search("b", "write a poem", 5) == []
    assert not school.lesson("b", 1).payload
    assert len(school.search("a", "write a poem", 5)) == 5


def test_one_key_cannot_swing_what_others_said(school: School) -> None:
    school.take([decided(number) for number in range(400)])
    for number in range(100):
        judge(school, number, 1.0, key=f"honest{number % 5}")
    before = school.summary("default").quality[CHEAP][0]
    for number in range(400):
        judge(school, number, 0.0, key="liar")
    after = school.summary("default").quality[CHEAP][0]
    assert before > 0.9
    assert after > 0.6


def test_signals_teach_without_anybodys_judgement(school: School) -> None:
    broken = Signal(model=DEAR, quality=0.0, weight=0.8, why="broken json")
    school.take([decided(number) for number in range(8)])
    before = school.summary("default").quality[DEAR][0]
    school.take([decided(number, signals=(broken,)) for number in range(8, 12)])
    assert school.summary("default").quality[DEAR][0] < before
    assert dict(school.summary("default").signals) == {"broken json": 4}
    assert school.summary("default").judged == 0.0


def test_a_model_that_comes_later_is_learned_too_and_too_many_are_not_kept(school: School) -> None:
    school.take([decided(number) for number in range(10)])
    for number in range(30):
        school.take([decided(100 + number, candidates=(CHEAP, f"new/{number}"), costs_nanousd=(1_000, 2_000))])
    known = school.summary("default").quality
    assert "new/29" in known
    assert CHEAP in known
    assert len(known) == 18
    assert len(school.lesson("default", 1).payload) < 1_000_000


def test_a_session_is_kept_by_key_and_bounded(school: School) -> None:
    school.log.said("default", "k", "s", [("user", "hello"), ("assistant", "hi")], 1.0)
    assert school.log.session("default", "k", "s") == [("user", "hello"), ("assistant", "hi")]
    assert school.log.session("default", "other", "s") is None
    for number in range(100):
        school.log.said("default", "k", "s", [("user", str(number))], 2.0)
    kept = school.log.session("default", "k", "s")
    assert kept is not None
    assert (len(kept), kept[-1]) == (40, ("user", "99"))


def asked(number: int, words: str, at_s: float, *, key: str = "k", answered: str = CHEAP) -> Trajectory:
    vector = np.asarray(EMBEDDER.embed([words])[0], dtype="<f4").tobytes()
    return decided(number, vector=vector, at_s=at_s, key=key, answered=answered)


@pytest.mark.parametrize(
    ("first", "again", "counts"),
    [
        ({}, {}, True),
        ({}, {"at_s": 1_121.0}, False),
        ({}, {"key": "other"}, False),
        ({"key": ""}, {"key": ""}, False),
        ({}, {"words": "what is a wave of the sea?"}, False),
        ({"answered": ""}, {}, False),
    ],
    ids=["the same", "later", "somebody else", "nobody knows who", "another question", "nobody had answered"],
)
def test_who_asks_the_same_again_soon_was_not_content(
    school: School, first: dict[str, str], again: dict[str, str], counts: bool
) -> None:
    words = "what is a ray, in one sentence?"
    school.take([decided(number) for number in range(HOW.warm_up)])
    before = school.summary("default").quality[CHEAP][0]
    school.take([asked(70, **{"words": words, "at_s": 1_000.0, **first})])  # type: ignore[arg-type]
    school.take([asked(71, **{"words": words, "at_s": 1_060.0, **again})])  # type: ignore[arg-type]
    assert dict(school.summary("default").signals) == ({"asked again": 1} if counts else {})
    assert (school.summary("default").quality[CHEAP][0] < before) is counts


def test_what_was_asked_again_is_remembered_with_the_log(tmp_path: Path) -> None:
    school = opened(tmp_path / "a")
    school.take([decided(number) for number in range(HOW.warm_up)])
    for number in (70, 71):
        school.take([asked(number, "what is a ray?", 1_000.0)])
    taught = school._classes.of("default").pupil.dump()
    school.abandon()
    again = opened(tmp_path / "a")
    assert again._classes.of("default").pupil.dump() == taught
    again.abandon()


def test_parts_that_are_switched_on_are_taught_consolidated_and_restarted_bit_for_bit(tmp_path: Path) -> None:
    how = Schooling(warm_up=8, parts=parts_of("edge", ("micro", "base", "bank", "calibration")))
    made = [School(tmp_path / name, EMBEDDER, how, wall=lambda: 1_000.0) for name in ("steady", "dying")]
    for begun, ended in ((0, 300), (300, 700), (700, 760)):
        for school in made:
            school.take([decided(number, answered=(CHEAP, DEAR)[number % 2]) for number in range(begun, ended)])
            for number in range(begun, ended):
                judge(school, number, float(number % 4 < 2))
        made[1].abandon()
        made[1] = School(tmp_path / "dying", EMBEDDER, how, wall=lambda: 1_000.0)
    steady, dying = (school._classes.of("default").pupil for school in made)
    assert steady.dump() == dying.dump()
    learner = steady.learner
    assert learner is not None
    assert learner.refined is not None
    assert learner.refined.patterns, "the deep loop has found some"
    assert np.any(learner.refined.micro.up)
    # Edges get what a correction needs, and not what is kept to be replayed; they correct the same.
    published = load(made[0].lesson("default", 1).payload)
    assert published.refined is not None
    vector = EMBEDDER.embed([f"{TOPICS[0]} 5"])[0].astype(float)
    assert np.array_equal(published.refined.corrections(vector), learner.refined.corrections(vector))
    assert len(made[0].lesson("default", 1).payload) < len(steady.dump())
    for school in made:
        school.abandon()
