"""What an admin decides about learning itself: it is durable, and each of it does what its name says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runtime.learning.school import School
from runtime.outcome import Failure
from runtime.sona.evaluate import Always, evaluate
from runtime.sona.trajectory import parse, read
from tests.learning.test_school import CHEAP, DEAR, decided, judge, lived, opened

TENANT = "default"


@pytest.fixture
def school(tmp_path: Path) -> Iterator[School]:
    made = opened(tmp_path / "a")
    yield made
    made.abandon()


def taught(school: School) -> bytes:
    return school._classes.of(TENANT).pupil.dump()


def again(school: School, folder: Path) -> School:
    school.abandon()
    return opened(folder)


@pytest.mark.parametrize("restarts", [False, True])
def test_a_pause_learns_nothing_and_what_came_meanwhile_is_learned_as_if_it_had_not_been(
    tmp_path: Path, restarts: bool
) -> None:
    paused, steady = opened(tmp_path / "a"), opened(tmp_path / "b")
    for school in (paused, steady):
        lived(school, range(20))
    before = paused.lesson(TENANT, 1)
    paused.pause(TENANT)
    for school in (paused, steady):
        lived(school, range(20, 40))
    if restarts:
        paused = again(paused, tmp_path / "a")
    held = paused.lesson(TENANT, 1)
    assert (held.payload, held.prompts) == (before.payload, before.prompts)
    assert paused.summary(TENANT).paused
    assert paused.resume(TENANT) > 20
    assert taught(paused) == taught(steady)
    assert paused.lesson(TENANT, 1).stamp != held.stamp
    assert taught(again(paused, tmp_path / "a")) == taught(again(steady, tmp_path / "b"))


def test_a_rollback_goes_back_lasts_and_can_itself_be_gone_back_on(tmp_path: Path) -> None:
    school = opened(tmp_path / "a")
    lived(school, range(30))
    school.save()
    good, at = taught(school), school.log.snapshots(TENANT)[0]
    lived(school, range(30, 60))
    bad, stamp = taught(school), school.lesson(TENANT, 1).stamp
    assert school.rollback(TENANT) == at
    assert taught(school) == good
    assert school.lesson(TENANT, 1).stamp > stamp
    school = again(school, tmp_path / "a")
    assert taught(school) == good
    lived(school, range(60, 62))
    forth = school.log.snapshots(TENANT)[1]
    assert school.rollback(TENANT, forth) == forth
    assert taught(school) == bad
    assert taught(again(school, tmp_path / "a")) == bad


def test_what_was_gone_back_behind_is_in_no_later_map(tmp_path: Path) -> None:
    """A map is fitted anew on all that counts: on the same as if the rest had never come."""
    school, clean = opened(tmp_path / "a"), opened(tmp_path / "b")
    for one in (school, clean):
        lived(one, range(20))
        one.save()
    lived(school, range(100, 103))
    school.rollback(TENANT)
    for one in (school, clean):
        lived(one, range(20, 40))
    assert taught(school) == taught(clean)


def test_a_rollback_to_what_there_is_not_says_what_there_is(school: School) -> None:
    lived(school, range(10))
    refused = school.rollback(TENANT, 7)
    assert isinstance(refused, Failure)
    assert "none yet" in refused.detail
    assert isinstance(school.rollback(TENANT), Failure)


def test_a_reset_begins_with_nothing_and_edges_are_told_so(tmp_path: Path) -> None:
    school = opened(tmp_path / "a")
    lived(school, range(30))
    before, full = school.lesson(TENANT, 1), taught(school)
    school.reset(TENANT)
    for _ in range(2):
        lesson = school.lesson(TENANT, 1)
        assert (lesson.payload, lesson.emptied, lesson.prompts) == (b"", True, 0)
        assert lesson.stamp > before.stamp
        school = again(school, tmp_path / "a")
    lived(school, range(30, 42))
    assert school.summary(TENANT).prompts == 12
    school.rollback(TENANT, before.stamp[1])
    assert taught(school) == full
    assert not school.lesson(TENANT, 1).emptied


@pytest.mark.parametrize("pauses", [False, True])
def test_a_request_that_is_forgotten_is_as_if_it_had_never_been(tmp_path: Path, pauses: bool) -> None:
    school, clean = opened(tmp_path / "a"), opened(tmp_path / "b")
    for number in range(40):
        for one in (school, clean):
            if one is school or number != 6:
                lived(one, range(number, number + 1))
    school.save()
    if pauses:
        school.pause(TENANT)
    stamp = school.lesson(TENANT, 1).stamp
    assert isinstance(school.forget(TENANT, "req_6"), int)
    assert school.lesson(TENANT, 1).payload == clean.lesson(TENANT, 1).payload
    assert school.lesson(TENANT, 1).stamp > stamp
    assert isinstance(judge(school, 6, 1.0), Failure)
    assert "req_6" not in [one["request_id"] for one in school.search(TENANT, "a poem", 40)]  # type: ignore[index]
    assert b'req_6"' not in b"".join(file.read_bytes() for file in (tmp_path / "a").rglob("*") if file.is_file())
    assert taught(again(school, tmp_path / "a")) == taught(clean)
    assert isinstance(opened(tmp_path / "a").forget(TENANT, "req_6"), Failure)


def test_an_organisation_that_is_forgotten_leaves_nothing_and_others_keep_theirs(tmp_path: Path) -> None:
    school = opened(tmp_path / "a")
    for tenant in ("gone", "kept"):
        school.take([decided(number, tenant=tenant, text="a secret of " + tenant) for number in range(20)])
        school.log.said(tenant, "k", "s", [("user", "a secret of " + tenant)], 1.0)
    school.save()
    kept = school.lesson("kept", 1)
    assert school.forget("gone") == 40
    assert school.lesson("gone", 1).emptied
    assert not school.lesson("gone", 1).payload
    assert school.search("gone", "a poem", 5) == []
    assert school.log.session("gone", "k", "s") is None
    assert school.lesson("kept", 1) == kept
    there = b"".join(file.read_bytes() for file in (tmp_path / "a").rglob("*") if file.is_file())
    assert b"secret of kept" in there
    assert b"secret of gone" not in there
    assert again(school, tmp_path / "a").summary("gone").prompts == 0


def test_many_snapshots_are_thinned_and_the_old_ones_stay(school: School) -> None:
    for number in range(120):
        lived(school, range(number, number + 1))
        school.save()
    there = school.log.snapshots(TENANT)
    assert len(there) < 14
    assert there[-1] < 5
    assert there[0] - there[2] < 6


def exported(school: School) -> list[dict[str, Any]]:
    lines, after = b"", 0
    while True:
        piece, more = school.export(TENANT, after, 7)
        lines += piece
        if more is None:
            return [json.loads(line) for line in lines.splitlines()]
        after = more


def test_the_log_is_exported_as_rows_on_which_other_policies_are_judged(school: School, tmp_path: Path) -> None:
    """By chances of a half; the dear one is always right, the cheap one never: what each alone would have earned."""
    for number in range(40):
        answered = (CHEAP, DEAR)[number // 2 % 2]
        said = {"answered": answered, "chosen": answered, "propensity": 0.5, "mode": "learned", "prices": (0.0, 0.2)}
        school.take([decided(number, cost_nanousd=5, **said)])
        judge(school, number, float(answered == DEAR))
    rows = exported(school)
    assert len(rows) == 40
    (tmp_path / "log.jsonl").write_text("\n".join(map(json.dumps, rows)))
    back = list(read(tmp_path / "log.jsonl"))
    for model, quality in ((CHEAP, 0.0), (DEAR, 1.0)):
        found = evaluate(back, Always(model)).measures["quality"].estimates
        assert found is not None
        assert found.ips.value == pytest.approx(quality)
    assert back[0].prices == (0.0, 0.2)


def test_rows_say_only_what_is_known_of_who_was_chosen(school: School) -> None:
    learned = {"mode": "learned", "chosen": CHEAP, "propensity": 0.25}
    school.take(
        [
            decided(0, **learned, cost_nanousd=7),
            decided(1, **learned, answered=DEAR, cost_nanousd=7),
            decided(2, **{**learned, "mode": "shadow"}, answered=DEAR),
            decided(3, answered=""),
            decided(4, answered="not/listed"),
        ]
    )
    judge(school, 0, 0.2, key="a")
    judge(school, 0, 0.4, key="a")
    judge(school, 0, 0.6, key="b")
    judge(school, 1, 1.0)
    chosen, failed_over, shadow = (parse(one) for one in exported(school))
    assert (chosen.chosen, chosen.propensity, chosen.cost_nanousd) == (CHEAP, 0.25, 7)
    assert chosen.quality == pytest.approx(0.5)
    assert (failed_over.chosen, failed_over.quality, failed_over.cost_nanousd) == (CHEAP, None, None)
    assert (shadow.chosen, shadow.propensity, shadow.mode) == (DEAR, 1.0, "shadow")
