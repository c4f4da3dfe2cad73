"""RuVector's actor: what it acknowledged survives it, it always answers, and edges go on without it."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from actors.learning import MOST_WAITING, NOT_READY, EdgeLearning
from actors.refs import Unreachable
from actors.ruvector_actor import RuVectorActor
from actors.store import Store
from runtime.balance.entry import Asked, Candidate, Entry
from runtime.learning.advice import Decision, Learned
from runtime.learning.values import FeedbackGiven, Lessons, Taken, Trajectory
from runtime.memory.form import learner_embedder
from runtime.memory.index import GraphShape
from runtime.outcome import Attempt, Completion, Failure
from runtime.request import ask
from runtime.settings import LearningSettings, Settings
from tests.fakes.learning import Near, actor, edge_learning

EMBEDDER = learner_embedder()
WARM_UP = 8


def decided(number: int, **more: Any) -> Trajectory:
    vector = EMBEDDER.embed([f"a question about thing {number}"])[0]
    said: dict[str, Any] = {
        "uid": f"e:{number}",
        "request": f"req_{number}",
        "at_s": 1_000.0 + number,
        "embedder": EMBEDDER.name,
        "vector": np.asarray(vector, dtype="<f4").tobytes(),
        "candidates": ("a/m", "b/m"),
        "costs_nanousd": (1_000, 50_000),
        "answered": "ab"[number % 2] + "/m",
        "outcome": "ok",
    }
    return Trajectory(**{**said, **more})


def verdict(number: int, score: float = 1.0) -> FeedbackGiven:
    return FeedbackGiven(request=f"req_{number}", at_s=2_000.0, score=score, key="k")


async def lesson(owner: RuVectorActor) -> Any:
    news = await owner.poll({"default": (0, -1)}, 1.0)
    assert news is not None
    return news.of["default"]


async def test_one_that_dies_without_a_word_has_lost_nothing_that_it_acknowledged(tmp_path: Path) -> None:
    first = actor(tmp_path, warm_up=WARM_UP)
    assert await first.take([decided(number) for number in range(12)])
    assert isinstance(await first.feedback(verdict(3)), tuple)
    before = await lesson(first)
    # No farewell, as under SIGKILL: the next one finds what is on disk.
    second = RuVectorActor(str(tmp_path))
    after = await lesson(second)
    assert before.payload
    assert (after.payload, after.judged, after.prompts) == (before.payload, 1.0, 12)
    assert after.stamp[0] > before.stamp[0]
    assert after.stamp[1] == before.stamp[1]
    await second.close()
    await first.close()


async def test_a_poll_hears_of_news_and_of_another_incarnation(tmp_path: Path) -> None:
    owner = actor(tmp_path, warm_up=WARM_UP)
    known = {"default": (await lesson(owner)).stamp}
    assert await owner.poll(known, 0.01) is None
    waiting = asyncio.create_task(owner.poll(known, 30.0))
    await asyncio.sleep(0)
    await owner.take([decided(1)])
    news = await waiting
    assert isinstance(news, Lessons)
    assert news.of["default"].prompts == 1
    successor = RuVectorActor(str(tmp_path))
    heard = await successor.poll({"default": news.of["default"].stamp}, 30.0)
    assert heard is not None
    assert heard.incarnation == news.incarnation + 1
    await successor.close()
    await owner.close()


async def test_its_loop_answers_while_the_worker_is_busy(tmp_path: Path) -> None:
    owner = actor(tmp_path)
    await owner.take([decided(1)])
    busy = threading.Event()
    holding = asyncio.get_running_loop().run_in_executor(owner._worker, busy.wait)
    taking = asyncio.create_task(owner.take([decided(2)]))
    assert await owner.poll({"default": (owner._incarnation, 1)}, 0.01) is None
    assert not taking.done()
    busy.set()
    await holding
    assert await taking
    await owner.close()


async def test_a_disk_that_fails_is_a_value_and_what_was_learned_in_vain_is_forgotten(tmp_path: Path) -> None:
    owner = actor(tmp_path, warm_up=WARM_UP)
    await owner.take([decided(number) for number in range(10)])
    good = await lesson(owner)
    school = owner._school
    assert school is not None
    school.log.close()
    assert not await owner.take([decided(11)])
    failed = await owner.feedback(verdict(3))
    assert isinstance(failed, Failure)
    assert failed.retry_after_s
    owner._failed = None  # the wait before it is tried again is over
    again = await lesson(owner)
    assert again.payload == good.payload
    await owner.close()


async def test_settings_that_change_are_followed_and_nothing_is_lost(tmp_path: Path) -> None:
    owner = actor(tmp_path, warm_up=WARM_UP)
    await owner.take([decided(number) for number in range(10)])
    actor(tmp_path, warm_up=WARM_UP, explore_share=0.0)  # stores other settings in the same folder
    owner._look_at = 0.0
    assert (await lesson(owner)).prompts == 10
    school = owner._school
    assert school is not None
    learner = school._classes.of("default").pupil.learner
    assert learner is not None
    assert learner.config.allowance_share == 0.0
    await owner.close()


@pytest.mark.parametrize(
    ("learning", "models", "apart"),
    [
        ({}, {}, pytest.approx(0.147)),
        ({"priors": False}, {}, 0.0),
        ({}, {"a/gpt-4-1106-preview": {"quality": 0.5}}, pytest.approx(-0.2)),
    ],
)
async def test_learning_starts_from_what_was_published_unless_the_settings_know_better(
    tmp_path: Path, learning: dict[str, Any], models: dict[str, Any], apart: float
) -> None:
    names = ("a/gpt-4-1106-preview", "b/gpt-3.5-turbo")
    owner = actor(tmp_path, warm_up=WARM_UP, models=models, **learning)
    await owner.take([decided(number, candidates=names, costs_nanousd=(1_000, 1_000)) for number in range(10)])
    assert await lesson(owner)
    school = owner._school
    assert school is not None
    levels = school.summary("default").quality
    assert levels[names[0]][0] - levels[names[1]][0] == apart
    await owner.close()


async def test_feedback_is_limited_by_key(tmp_path: Path) -> None:
    owner = actor(tmp_path, feedback_per_min=2)
    await owner.take([decided(1)])
    found = [await owner.feedback(verdict(1)) for _ in range(3)]
    assert [isinstance(one, Failure) for one in found] == [False, False, True]
    await owner.close()


# The edge's side.

DECISION = Decision(
    mode="learned",
    taste="ruvector-auto",
    embedder=EMBEDDER.name,
    vector=decided(1).vector,
    candidates=("a/m", "b/m"),
    costs_nanousd=(1_000, 50_000),
    chosen="a/m",
    propensity=0.7,
)


def over(learning: EdgeLearning, request_id: str = "req_1", decision: Decision = DECISION) -> None:
    answer = Completion(id="1", model="m", attempts=(Attempt(provider="a", model="m", outcome="ok", elapsed_s=0.1),))
    request = ask("hi")
    object.__setattr__(request, "request_id", request_id)
    learning.finished(decision, request, answer)


async def test_what_an_owner_that_is_away_cannot_take_waits_in_bounds_and_is_counted(tmp_path: Path) -> None:
    away = Near()
    learning = edge_learning(away)
    for _ in range(MOST_WAITING + 5):
        over(learning)
    with pytest.raises(Unreachable):
        await learning.flush()
    assert learning._counters["trajectories_dropped"] == 5
    away.there = actor(tmp_path)
    await learning.flush()
    summary = await away.summary("default")
    assert not isinstance(summary, Failure)
    assert summary.prompts == MOST_WAITING
    await away.there.close()


async def test_feedback_brings_the_decision_along_that_it_is_about(tmp_path: Path) -> None:
    near = Near(actor(tmp_path))
    learning = edge_learning(near)
    over(learning, "req_7")
    taken = await learning.feedback(FeedbackGiven(request="req_7", at_s=0.0, score=0.5, key="k"))
    assert isinstance(taken, tuple)
    assert isinstance(taken[0], Taken)
    assert (taken[0].model, taken[0].quality) == ("a/m", 0.5)
    assert near.there is not None
    await near.there.close()


async def test_what_was_asked_while_the_embedder_is_read_can_be_judged_and_counts(tmp_path: Path) -> None:
    near = Near(actor(tmp_path))
    learning = edge_learning(near)
    entries = [Entry(candidate=Candidate(provider, "m")) for provider in "ab"]
    advice = learning.advise(entries, Asked(text="a question about thing 1", tenant="default"), Learned())
    assert (advice.order, advice.why) == ((), NOT_READY)
    assert advice.decision is not None
    learning.began(advice.decision)
    over(learning, "req_7", advice.decision)
    taken = await learning.feedback(FeedbackGiven(request="req_7", at_s=0.0, score=0.5, key="k"))
    assert isinstance(taken, tuple), taken
    assert near.there is not None
    school = near.there._school
    assert school is not None
    kept = school.log.find("default", "req_7")
    assert isinstance(kept, Trajectory)
    assert (kept.embedder, kept.vector, kept.text) == (EMBEDDER.name, decided(1).vector, None)
    assert learning.advise(entries, Asked(text=" ", tenant="default"), Learned()).decision is None
    await learning.stop()
    await near.there.close()


async def test_an_edge_reads_no_embedder_before_somebody_asks() -> None:
    learning = edge_learning(Near())
    learning.began(DECISION)
    assert learning.adviser is None
    assert not learning._tasks
    await learning.stop()


def turned(owner: RuVectorActor, folder: Path, embedder: str) -> None:
    said = {"learning": {"warm_up": WARM_UP, "embedder": embedder}}
    Store(folder).put_settings(Settings.model_validate(said).to_document())
    owner._look_at = 0.0


async def test_another_embedder_begins_with_nothing_and_going_back_finds_what_was_there(tmp_path: Path) -> None:
    owner = actor(tmp_path, warm_up=WARM_UP)
    await owner.take([decided(number) for number in range(12)])
    before = await lesson(owner)
    turned(owner, tmp_path, "hashed")
    await owner.take([decided(number) for number in range(20, 32)])  # of the old one: refused, never mixed
    other = await lesson(owner)
    assert (other.payload, other.prompts) == (b"", 0)
    assert other.embedder.startswith("hashed")
    assert other.stamp[0] > before.stamp[0]
    turned(owner, tmp_path, "auto")
    await owner.take([decided(1)])
    after = await lesson(owner)
    assert (after.payload, after.prompts, after.embedder) == (before.payload, 12, EMBEDDER.name)
    await owner.close()


async def test_an_edge_turns_to_another_embedder_and_goes_by_no_policy_of_the_old_one(tmp_path: Path) -> None:
    owner = actor(tmp_path, warm_up=WARM_UP)
    await owner.take([decided(number) for number in range(12)])
    old = await lesson(owner)
    learning = edge_learning(Near(owner))
    adviser = await learning.awake()
    learning._known["default"] = (0, 0)
    await learning._adopt(Lessons(incarnation=1, of={"default": old}))
    assert "default" in adviser.policies
    learning.follow(LearningSettings(embedder="hashed"))
    turned = await learning.awake()
    assert turned.embedder.name.startswith("hashed")
    learning._known["default"] = (0, 0)
    await learning._adopt(Lessons(incarnation=1, of={"default": old}))
    assert turned.policies == {}
    await learning.stop()
    await owner.close()


def test_what_is_on_disk_is_synced_before_it_is_acknowledged(tmp_path: Path) -> None:
    from runtime.learning.log import Log

    log = Log(tmp_path / "events.sqlite")
    assert log._db.execute("PRAGMA synchronous").fetchone() == (2,)
    assert isinstance(log._db, sqlite3.Connection)
    log.close()


async def test_texts_that_were_kept_are_read_anew_by_another_embedder(tmp_path: Path) -> None:
    owner = actor(tmp_path, warm_up=WARM_UP)
    await owner.take([decided(number, text=f"a question about thing {number}") for number in range(12)])
    await owner.take([decided(12)])  # without its text
    await owner.feedback(verdict(3))
    turned(owner, tmp_path, "hashed")
    summary = await owner.summary("default")
    assert not isinstance(summary, Failure)
    assert (summary.prompts, summary.judged, summary.learns) == (12, 1.0, True)
    found = await owner.search("default", "a question about thing 3", 1)
    assert not isinstance(found, Failure)
    assert found[0]["request_id"] == "req_3"
    turned(owner, tmp_path, "auto")
    back = await owner.summary("default")
    assert not isinstance(back, Failure)
    assert back.prompts == 13
    await owner.close()


async def test_who_is_forgotten_is_forgotten_in_what_other_embedders_made(tmp_path: Path) -> None:
    owner = actor(tmp_path, warm_up=WARM_UP)
    await owner.take([decided(number, text=f"a question about thing {number}") for number in range(12)])
    turned(owner, tmp_path, "hashed")
    assert await owner.steer("forget", "default", "req_3") == 3, "an event and its trace here, an event there"
    turned(owner, tmp_path, "auto")
    summary, found = await owner.summary("default"), await owner.search("default", "a question about thing 3", 12)
    assert not isinstance(summary, Failure)
    assert summary.prompts == 11
    assert not isinstance(found, Failure)
    assert "req_3" not in {one["request_id"] for one in found}
    assert isinstance(await owner.steer("forget", "default", "req_3"), Failure)
    await owner.close()


async def test_the_graph_is_shaped_by_the_settings(tmp_path: Path) -> None:
    owner = actor(tmp_path, graph={"m": 8, "ef": 32})
    await owner.save()
    assert owner._school is not None
    assert owner._school.memory._shape == GraphShape(m=8, ef_construction=200, ef=32)
    assert GraphShape(**LearningSettings().graph.model_dump()) == GraphShape(), "what is measured is the default"
    await owner.close()
