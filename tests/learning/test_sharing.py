"""What one Raygate learned is taken in by another: once, marked, in bounds, and as durably as its own."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from runtime.learning import sharing
from runtime.learning.pupil import Schooling
from runtime.learning.school import School
from runtime.memory.embed import HashedNgrams
from runtime.outcome import Failure
from runtime.sona.federate import PATTERNS, BadBundle
from runtime.sona.refine import parts_of
from tests.learning.test_school import CHEAP, DEAR, EMBEDDER, HOW, TOPICS, decided, judge, lived, opened

TENANT, OWN = "default", "default@here"


@pytest.fixture
def school(tmp_path: Path) -> Iterator[School]:
    made = opened(tmp_path / "here")
    yield made
    made.abandon()


def elsewhere(tmp_path: Path, *, how: Schooling = HOW, who: str = "berlin") -> bytes:
    """There the cheap one was good at the first topic alone, and the dear one at both."""
    made = School(tmp_path / who, EMBEDDER, how, wall=lambda: 500.0)
    for number in range(80):
        answered = (CHEAP, DEAR)[number // 2 % 2]
        made.take([decided(number, answered=answered)])
        judge(made, number, 0.0 if answered == CHEAP and number % 2 else 1.0)
    found = made.share(TENANT, who)
    made.abandon()
    return found


def taught(school: School) -> bytes:
    return school._classes.of(TENANT).pupil.dump()


def expected(school: School, model: str, topic: int) -> float:
    learner = school._classes.of(TENANT).pupil.learner
    assert learner is not None
    vector = EMBEDDER.embed([f"{TOPICS[topic]} 1001"])[0].astype(np.float64)
    belief = learner.head.believe(learner.topics.features(vector[None, :])[0])
    return float(belief.mean[learner.models.index(model)])


def begun(school: School, prompts: int = 20) -> None:
    """Prompts of both topics, and nothing said of any answer."""
    school.take([decided(number) for number in range(prompts)])


def test_what_was_learned_elsewhere_is_expected_here_too(school: School, tmp_path: Path) -> None:
    begun(school)
    before = expected(school, CHEAP, 0) - expected(school, CHEAP, 1)
    done = school.take_in(TENANT, elsewhere(tmp_path), OWN)
    assert isinstance(done, dict)
    assert done["known"] == [CHEAP, DEAR]
    assert abs(before) < 0.1
    assert expected(school, CHEAP, 0) - expected(school, CHEAP, 1) > 0.3
    assert expected(school, DEAR, 1) > expected(school, CHEAP, 1) + 0.3


def test_it_is_no_evidence_and_its_origin_is_told(school: School, tmp_path: Path) -> None:
    begun(school)
    school.take_in(TENANT, elsewhere(tmp_path), OWN)
    found = school.summary(TENANT)
    assert (found.judged, found.prompts) == (0.0, 20)
    (one,) = found.imports
    assert (one["who"], one["learned_at"], one["imported_at"], one["teaches"]) == ("berlin", 500.0, 1_000.0, True)
    assert (one["embedder"], one["adapters"]) == (EMBEDDER.name, [])
    assert 60.0 < float(str(one["outcomes"])) <= 80.0
    assert school.lesson(TENANT, 1).judged == 0.0


@pytest.mark.parametrize("when", ["before there is a learner", "later", "in a pause"])
def test_a_restart_knows_it_too(school: School, tmp_path: Path, when: str) -> None:
    begun(school, 4 if when.startswith("before") else 20)
    if when == "in a pause":
        school.pause(TENANT)
        before = taught(school)
    school.take_in(TENANT, elsewhere(tmp_path), OWN)
    if when == "in a pause":
        assert taught(school) == before
        school.resume(TENANT)
    lived(school, range(20, 40))
    assert expected(school, CHEAP, 0) > expected(school, CHEAP, 1) + 0.1
    whole = taught(school)
    school.abandon()
    again = opened(tmp_path / "here")
    assert taught(again) == whole
    assert len(again.summary(TENANT).imports) == 1
    again.abandon()


def test_forgetting_it_is_as_if_it_had_never_come(school: School, tmp_path: Path) -> None:
    clean = opened(tmp_path / "clean")
    for one in (clean, school):
        lived(one, range(30))
    school.take_in(TENANT, elsewhere(tmp_path), OWN)
    for one in (clean, school):
        lived(one, range(30, 40))
    assert school.forget(TENANT, "import:berlin") == 1
    assert school.lesson(TENANT, 1).payload == clean.lesson(TENANT, 1).payload
    assert school.summary(TENANT).imports == ()
    clean.abandon()


def test_what_was_gone_back_behind_is_told_to_teach_nothing(school: School, tmp_path: Path) -> None:
    lived(school, range(30))
    school.save()
    school.take_in(TENANT, elsewhere(tmp_path), OWN)
    school.rollback(TENANT)
    assert [one["teaches"] for one in school.summary(TENANT).imports] == [False]


def test_it_counts_once_and_not_where_it_comes_from(school: School, tmp_path: Path) -> None:
    begun(school)
    payload = elsewhere(tmp_path)
    school.take_in(TENANT, payload, OWN)
    for own in (OWN, "berlin"):
        refused = school.take_in(TENANT, payload, own)
        assert isinstance(refused, Failure)
        assert refused.code == sharing.KNOWN
    assert len(school.summary(TENANT).imports) == 1


def test_what_was_imported_is_not_exported_again(school: School, tmp_path: Path) -> None:
    begun(school)
    school.take_in(TENANT, elsewhere(tmp_path), OWN)
    assert sharing.unzipped(school.share(TENANT, "here"), EMBEDDER).patterns == ()


def test_an_export_holds_no_prompt_no_key_and_no_pattern_of_few(school: School) -> None:
    school.take([decided(number, text="my secret question") for number in range(40)])
    for number in range(40):
        judge(school, number, 1.0, key="key-of-anna")
    with zipfile.ZipFile(io.BytesIO(school.share(TENANT, "here"))) as file:
        whole = b"".join(file.read(name) for name in file.namelist())
    assert b"secret" not in whole
    assert b"anna" not in whole
    assert b"req_" not in whole
    patterns = sharing.unzipped(school.share(TENANT, "here"), EMBEDDER).patterns
    assert patterns
    assert min(one.size for one in patterns) >= sharing.LEAST_PROMPTS


@pytest.mark.parametrize("embedder", [HashedNgrams(32), HashedNgrams(128)])
def test_another_embedders_patterns_are_refused_by_name(school: School, tmp_path: Path, embedder: HashedNgrams) -> None:
    other = School(tmp_path / "other", embedder, HOW, wall=lambda: 0.0)
    refused = school.take_in(TENANT, other.share(TENANT, "other"), OWN)
    other.abandon()
    assert isinstance(refused, Failure)
    assert refused.code == sharing.OTHER_EMBEDDER
    assert embedder.name in refused.detail
    assert school.summary(TENANT).imports == ()


def test_an_export_with_any_byte_changed_is_read_or_refused(school: School, tmp_path: Path) -> None:
    payload = elsewhere(tmp_path)
    for at in range(len(payload)):
        for bit in (1, 16, 128):
            altered = payload[:at] + bytes([payload[at] ^ bit]) + payload[at + 1 :]
            with suppress(BadBundle):
                sharing.unzipped(altered, EMBEDDER)


def test_what_is_no_export_is_refused_whatever_it_is(school: School, tmp_path: Path) -> None:
    payload = elsewhere(tmp_path)
    empty = io.BytesIO()
    zipfile.ZipFile(empty, "w").close()
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(PATTERNS, b"\0" * (sharing.MOST_BYTES + 1))
    broken = [payload[:at] for at in range(0, len(payload), len(payload) // 7)]
    middle = len(payload) // 3
    altered = payload[:middle] + bytes([payload[middle] ^ 1]) + payload[middle + 1 :]
    bad_name = sharing.zipped(
        replace(sharing.unzipped(payload, EMBEDDER), provenance=replace(_origin(payload), who="a\nb"))
    )
    huge = payload + b"\0" * sharing.MOST_BYTES
    for one in (b"", b"hello", empty.getvalue(), bomb.getvalue(), *broken[:-1], altered, bad_name, huge):
        refused = school.take_in(TENANT, one, OWN)
        assert isinstance(refused, Failure)
        assert refused.code == sharing.BAD_EXPORT
    assert school.summary(TENANT).imports == ()


def _origin(payload: bytes) -> sharing.Provenance:
    return sharing.unzipped(payload, EMBEDDER).provenance


def test_a_flood_of_foreign_outcomes_is_worth_no_more_than_a_hundred(school: School, tmp_path: Path) -> None:
    begun(school)
    bundle = sharing.unzipped(elsewhere(tmp_path), EMBEDDER)
    loud = [
        replace(one, seen=dict.fromkeys((CHEAP, DEAR), 1e9), won={CHEAP: 1e9, DEAR: 0.0}) for one in bundle.patterns
    ]
    school.take_in(TENANT, sharing.zipped(replace(bundle, patterns=tuple(loud))), OWN)
    high = expected(school, CHEAP, 0)
    for number in range(20, 220):
        school.take([decided(number)])
        judge(school, number, 0.0, key=f"k{number % 9}")
    assert high > 0.9
    assert expected(school, CHEAP, 0) < 0.5


def test_adapters_travel_where_both_have_them(tmp_path: Path) -> None:
    how = replace(HOW, parts=parts_of("", ["micro", "base"]))
    payload = elsewhere(tmp_path, how=how)
    assert set(sharing.unzipped(payload, EMBEDDER).adapters) == {"micro", "base"}
    here = School(tmp_path / "here", EMBEDDER, how, wall=lambda: 1_000.0)
    begun(here)
    learner = here._classes.of(TENANT).pupil.learner
    assert learner is not None
    assert learner.refined is not None
    assert not learner.refined.micro.up.any()
    here.take_in(TENANT, payload, OWN)
    assert learner.refined.micro.up.any()
    vector = EMBEDDER.embed([f"{TOPICS[1]} 7"])[0].astype(np.float64)
    assert np.isfinite(learner.refined.corrections(vector)).all()
    here.abandon()


def test_nothing_of_it_reaches_another_organisation(school: School, tmp_path: Path) -> None:
    begun(school)
    school.take([decided(number, tenant="other") for number in range(20)])
    before = school.lesson("other", 1)
    school.take_in(TENANT, elsewhere(tmp_path), OWN)
    assert school.lesson("other", 1) == before
    assert school.summary("other").imports == ()
    assert sharing.unzipped(school.share("other", "x"), EMBEDDER).patterns == ()
