"""What was learned, as people see it: topics, whom each should go to, and what quality costs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.learning.map import LEAST, mapped
from runtime.learning.school import School
from runtime.outcome import Failure
from tests.learning.test_school import CHEAP, DEAR, TOPICS, decided, judge, opened


@pytest.fixture
def school(tmp_path: Path) -> Iterator[School]:
    made = opened(tmp_path / "a")
    yield made
    made.abandon()


def taught(school: School, count: int = 60) -> None:
    """Of poems (even numbers) both are good; of sums the cheap one is bad."""
    for number in range(count):
        model = (CHEAP, DEAR)[number // 2 % 2]
        text = f"{TOPICS[number % 2]} {number}"
        school.take([decided(number, answered=model, mode="learned", gave_up=0.01 * (number % 10 == 0), text=text)])
        judge(school, number, 0.1 if number % 2 and model == CHEAP else 0.9)


def test_each_topic_names_who_is_best_there_and_shows_an_example(school: School) -> None:
    taught(school, 200)
    found = school.map("default")
    sums = [one for one in found["topics"] if one["example"].startswith("solve")]
    poems = [one for one in found["topics"] if one["example"].startswith("write")]
    assert sums
    assert poems
    assert {one["best"] for one in sums} == {DEAR}
    expected = {
        kind: [level["quality"] for one in topics for level in one["models"] if level["model"] == CHEAP]
        for kind, topics in (("sums", sums), ("poems", poems))
    }
    assert max(expected["sums"]) < 0.3
    assert min(expected["poems"]) > 0.8
    assert {one["cheap"] for one in sums} == {DEAR}
    assert sum(one["prompts"] for one in found["topics"]) == len(found["points"]) == 200
    assert all(sum(one["goes"].values()) == pytest.approx(1.0) for one in found["topics"])


def test_points_lie_within_the_map_and_those_of_a_topic_close_together(school: School) -> None:
    taught(school)
    found = school.map("default")
    assert all(-1.0 <= one["x"] <= 1.0 and -1.0 <= one["y"] <= 1.0 for one in found["points"])
    even = [one["x"] for one in found["points"][::2]]
    odd = [one["x"] for one in found["points"][1::2]]
    assert max(even) < min(odd) or max(odd) < min(even)


def test_the_curve_falls_in_quality_as_it_falls_in_cost(school: School) -> None:
    taught(school)
    curve = school.map("default")["curve"]
    costs, qualities = [one["cost_usd"] for one in curve], [one["quality"] for one in curve]
    assert costs == sorted(costs, reverse=True)
    assert qualities == sorted(qualities, reverse=True)
    assert all(sum(one["shares"].values()) == pytest.approx(1.0) for one in curve)
    # By topic one gets nearly all of the quality for nearly half of the money.
    middle = [one for one in curve if 0 < one["shares"].get(CHEAP, 0.0) < 1]
    assert middle


def test_decisions_are_counted_by_who_made_them_and_for_what(school: School) -> None:
    taught(school, 40)
    decisions = school.map("default")["decisions"]
    assert (decisions["of"], decisions["explored"], decisions["modes"]) == (40, 4, {"learned": 40})
    assert decisions["gave_up"] == pytest.approx(0.001)


def test_a_map_is_kept_until_something_is_learned(school: School) -> None:
    taught(school, 20)
    first = school.map("default")
    assert school.map("default") is first
    judge(school, 3, 0.5, key="other")
    assert school.map("default") is not first


@pytest.mark.parametrize("count", [0, 1, 2, LEAST - 1])
def test_a_few_prompts_are_a_map_without_topics(school: School, count: int) -> None:
    taught(school, count)
    found = school.map("default")
    assert len(found["points"]) == count
    assert (found["topics"], found["learns"]) == ([], count >= 8)


def test_prompts_that_are_all_the_same_are_no_trouble() -> None:
    found = mapped(None, [decided(0)] * 30, [None] * 30)
    assert len(found["points"]) == 30
    assert (found["learns"], found["curve"], found["traffic"]) == (False, [], None)


def test_of_another_organisation_nothing_is_shown(school: School) -> None:
    taught(school, 20)
    assert school.map("other")["points"] == []
    assert isinstance(school.decision("other", "req_3"), Failure)


def test_one_decision_is_told_with_what_was_said_of_it(school: School) -> None:
    taught(school, 4)
    told = school.decision("default", "req_3")
    assert isinstance(told, dict)
    assert (told["answered"], told["mode"]) == (DEAR, "learned")
    assert [one["model"] for one in told["candidates"]] == [CHEAP, DEAR]
    assert [one["quality"] for one in told["judged"]] == [0.9]
