"""A decision by what was learned on its way through a gateway: carried out, failed over, streamed, and told of."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from runtime.balance.entry import Asked, Entry
from runtime.dialects.scripted import Status, Step
from runtime.learning.advice import Advice, Decision, Learned
from runtime.learning.report import trajectory_of
from runtime.learning.values import Trajectory
from runtime.outcome import Failure, Outcome, StreamEnd
from runtime.request import Message, Request, Role, TextPart, ask
from tests.fakes.gateway import Rigs, text
from tests.fakes.providers import fails


class Taught:
    """Prefers the last candidate; remembers what it was told."""

    def __init__(self, *, why: str = "") -> None:
        self.why = why
        self.asked: list[Asked] = []
        self.how: list[Learned] = []
        self.began_: list[Decision] = []
        self.over: list[Trajectory] = []

    def before(self, request: Request) -> Awaitable[None] | None:
        return None

    def advise(self, entries: Sequence[Entry], asked: Asked, how: Learned) -> Advice:
        self.asked.append(asked)
        self.how.append(how)
        names = tuple(str(one.candidate) for one in entries)
        order = tuple(reversed(range(len(entries))))
        chosen = "" if self.why else names[-1]
        decision = Decision(
            mode="default" if self.why else "learned",
            taste=how.taste,
            embedder="none",
            vector=b"",
            candidates=names,
            costs_nanousd=(None,) * len(names),
            chosen=chosen,
        )
        return Advice(order=() if self.why else order, why=self.why, decision=decision)

    def began(self, decision: Decision) -> None:
        self.began_.append(decision)

    def finished(self, decision: Decision, request: Request, outcome: Outcome | None) -> None:
        self.over.append(trajectory_of(decision, request, outcome, uid="1", at_s=0.0))


def learning(adviser: Taught, *, settings: dict[str, Any] | None = None, **steps: Any) -> Rigs:
    made = Rigs(settings={"strategy": "learned", **(settings or {})}, **steps)
    made.gateway.policy = replace(made.gateway.policy, adviser=adviser)
    return made


async def test_who_was_advised_is_asked_first_and_the_rest_is_there_for_its_failures() -> None:
    adviser = Taught()
    made = learning(adviser, a=text("a"), b=fails(Status(status=500)), settings={"retry": {"per_provider": 1}})
    answer = await made.answer()
    assert answer.provider == "a"
    (told,) = adviser.over
    assert (told.chosen, told.answered, told.outcome) == ("b/b-model", "a/a-model", "ok")
    assert [(one.model, one.why) for one in told.signals] == [("b/b-model", "error")]


async def test_a_decision_begins_and_ends_once_whatever_comes_of_it() -> None:
    adviser = Taught()
    made = learning(
        adviser,
        a=fails(Status(status=500)),
        b=fails(Status(status=500)),
        settings={"retry": {"max_attempts": 2, "per_provider": 1}},
    )
    await made.failure()
    assert (len(adviser.began_), len(adviser.over)) == (1, 1)
    assert (adviser.over[0].answered, adviser.over[0].outcome) == ("", "unavailable")


async def test_a_stream_that_its_reader_leaves_is_told_of_too() -> None:
    adviser = Taught()
    made = learning(adviser, a=text("a"), b=Step(text="one two three four five six"))
    async with aclosing(made.gateway.stream(replace(ask("hi"), stream=True))) as events:
        await anext(events)
    assert [one.outcome for one in adviser.over] == ["gone"]
    async with aclosing(made.gateway.stream(replace(ask("hi"), stream=True))) as events:
        ends = [event async for event in events if isinstance(event, StreamEnd)]
    assert not isinstance(ends[0].outcome, Failure)
    assert [one.outcome for one in adviser.over] == ["gone", "ok"]


async def test_the_plan_says_why_it_abstains_and_the_default_order_holds() -> None:
    adviser = Taught(why="nothing was learned yet")
    made = learning(adviser, a=text("a"), b=text("b"))
    told = made.gateway.explain(ask("hi"))
    assert not isinstance(told, Failure)
    assert "nothing was learned yet" in str(told["note"])
    assert adviser.began_ == []
    await made.answer()
    assert adviser.over[0].mode == "default"


async def test_ruvectors_names_reach_every_configured_model_by_their_taste() -> None:
    adviser = Taught()
    models = {"a": {"models": ["one", "two"]}, "b": {"models": ["three"]}}
    made = learning(adviser, a=text("a"), b=text("b"))
    settings = made.settings.model_copy(
        update={
            "providers": {
                name: one.model_copy(update={"models": tuple(models[name]["models"])})
                for name, one in made.settings.providers.items()
            }
        }
    )
    made.settings = settings
    made.gateway.policy = replace(made.policy(), adviser=adviser)
    answer = await made.answer(ask("hi", model="ruvector-fast"))
    assert answer.provider == "b"
    assert set(adviser.over[0].candidates) >= {"a/one", "a/two", "b/three"}
    assert adviser.how[0].taste == "ruvector-fast"


async def test_a_route_says_how_it_learns() -> None:
    adviser = Taught()
    route = {"targets": ["a/m", "b/m"], "learned": {"floor": 0.6, "holdout": 0.1, "taste": "ruvector-quality"}}
    made = learning(adviser, a=text("a"), b=text("b"), settings={"strategy": "round_robin", "routes": {"ours": route}})
    await made.answer(ask("hi", model="ours"))
    how = adviser.how[0]
    assert (how.floor, how.holdout, how.taste, how.evidence) == (0.6, 0.1, "ruvector-quality", 20.0)
    await made.answer(ask("hi"))
    assert len(adviser.how) == 1


async def test_what_goes_on_is_told_from_what_begins() -> None:
    adviser = Taught()
    made = learning(adviser, a=text("a"), b=text("b"))
    await made.answer(ask("hi"))
    said = (*ask("hi").messages, Message(role=Role.ASSISTANT, parts=(TextPart("hello"),)), *ask("and?").messages)
    await made.answer(Request(messages=said))
    assert [(one.goes_on, one.text) for one in adviser.asked] == [(False, "hi"), (True, "and?")]
    assert adviser.asked[0].prefix == adviser.asked[1].prefix
