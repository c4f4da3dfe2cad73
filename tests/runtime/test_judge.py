"""A model that grades answers: behind them, by lot, within its money; its word counts less than a person's."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from actors.judging import JUDGE, MOST_WAITING, REST_S, Judge
from runtime.entrance import Senses
from runtime.learning.advice import Decision
from runtime.learning.judging import WEIGHT, is_gradable
from runtime.learning.school import School
from runtime.learning.values import FeedbackGiven
from runtime.ledger.billing import Account, Billing
from runtime.outcome import Attempt, Choice, Completion, Cost, Failure, FailureKind, Outcome
from runtime.request import ImagePart, Json, Message, Request, Role, TextPart
from runtime.settings import JudgeSettings
from tests.fakes.clock import FakeClock
from tests.learning.test_school import decided, opened

DECISION = Decision(
    mode="learned", taste="", embedder="e", vector=b"", candidates=("a/b",), costs_nanousd=(1,), tenant="acme"
)


@dataclass
class Court:
    """What a judge needs around him. Each grading costs a tenth of a cent."""

    grade: str = "8"
    cost_nanousd: int | None = 1_000_000
    spent_usd: float | None = 0.0
    asked: list[Request] = field(default_factory=list)
    given: list[FeedbackGiven] = field(default_factory=list)
    looks: int = 0
    clock: FakeClock = field(default_factory=FakeClock)
    counters: Counter[str] = field(default_factory=Counter)

    def judge(self, **said: object) -> Judge:
        senses = Senses(clock=self.clock, wall=self.clock)
        made = Judge(self.complete, self.give, self.spent, senses=senses, rng=random.Random(1), counters=self.counters)
        made.settings = JudgeSettings.model_validate({"model": "lab/judge", "share": 1.0, **said})
        return made

    async def complete(self, request: Request) -> Outcome:
        self.asked.append(request)
        cost = None if self.cost_nanousd is None else Cost(total_nanousd=self.cost_nanousd)
        return Completion(id="j", model="judge", provider="lab", choices=(Choice.of(self.grade),), cost=cost)

    async def give(self, given: FeedbackGiven) -> object:
        self.given.append(given)
        return ()

    async def spent(self) -> Json | Failure:
        self.looks += 1
        if self.spent_usd is None:
            return Failure(kind=FailureKind.UNAVAILABLE)
        return {"total": {"cost_usd": self.spent_usd}}


def asked(text: str = "What is a ray?", **more: object) -> Request:
    messages = (Message(role=Role.USER, parts=(TextPart(text),)),)
    return Request(**{"messages": messages, "model": "pick", "request_id": "req_1", **more})  # type: ignore[arg-type]


def answer(text: str = "A fish.", *, by: str = "lab/small") -> Completion:
    provider, _, model = by.partition("/")
    tried = (Attempt(provider=provider, model=model, outcome="ok", elapsed_s=0.1),)
    return Completion(id="c", model=model, provider=provider, choices=(Choice.of(text),), attempts=tried)


async def settled(judge: Judge) -> None:
    """Until nothing waits."""
    for _ in range(200):
        await asyncio.sleep(0)
    await judge.stop()


async def test_its_grade_becomes_feedback_of_a_model_and_its_cost_is_its_own() -> None:
    court = Court()
    judge = court.judge()
    judge.consider(DECISION, asked(), answer())
    assert not court.asked, "nobody waits for it"
    await settled(judge)
    assert court.given == [FeedbackGiven(request="req_1", at_s=0.0, tenant="acme", key=JUDGE, score=0.8, by_model=True)]
    billing = court.asked[0].billing
    assert billing is not None
    assert (billing.account.key, billing.account.org) == (JUDGE, "acme")
    assert court.asked[0].no_store
    assert "A fish." in court.asked[0].messages[-1].text


async def test_only_a_share_is_graded_never_its_own_answers_and_never_itself() -> None:
    court = Court()
    judge = court.judge(share=0.1)
    for _ in range(MOST_WAITING * 4):
        judge.consider(DECISION, asked(), answer())
    await settled(judge)
    assert 4 <= len(court.asked) <= 25
    everything = court.judge()
    everything.consider(DECISION, asked(), answer(by="lab/judge"))
    own = asked(billing=Billing(account=Account(key=JUDGE)))
    everything.consider(DECISION, own, answer())
    everything.consider(DECISION, asked(), Failure(kind=FailureKind.TIMED_OUT))
    everything.consider(DECISION, asked(), None)
    court.asked.clear()
    await settled(everything)
    assert not court.asked


async def test_what_is_too_much_is_dropped_and_counted() -> None:
    court = Court()
    judge = court.judge()
    for _ in range(MOST_WAITING + 5):
        judge.consider(DECISION, asked(), answer())
    assert court.counters["judgements_dropped"] == 5
    await settled(judge)
    assert court.counters["judgements"] == MOST_WAITING


@pytest.mark.parametrize("spent", [1.0, 3.0, None])
async def test_without_money_or_a_ledger_nothing_is_graded(spent: float | None) -> None:
    court = Court(spent_usd=spent)
    judge = court.judge(max_usd_per_day=1.0)
    judge.consider(DECISION, asked(), answer())
    await settled(judge)
    assert (court.asked, court.counters["judgements_dropped"]) == ([], 1)


async def test_it_stops_within_one_grading_of_its_bound_even_before_the_ledger_knows() -> None:
    court = Court(spent_usd=0.0)
    judge = court.judge(max_usd_per_day=0.0035)
    for _ in range(10):
        judge.consider(DECISION, asked(), answer())
    await settled(judge)
    assert (len(court.asked), court.looks) == (4, 1)


async def test_a_judge_without_a_price_rests() -> None:
    court = Court(cost_nanousd=None)
    judge = court.judge()
    for _ in range(5):
        judge.consider(DECISION, asked(), answer())
    await settled(judge)
    assert len(court.asked) == 1
    court.clock.advance(REST_S + 1.0)
    judge.consider(DECISION, asked(), answer())
    await settled(judge)
    assert len(court.asked) == 2


async def test_an_answer_without_a_grade_teaches_nothing() -> None:
    court = Court(grade="It is rather good.")
    judge = court.judge()
    judge.consider(DECISION, asked(), answer())
    await settled(judge)
    assert (court.given, court.counters["judgements_failed"]) == ([], 1)


def test_only_what_a_reader_of_text_can_tell_is_graded() -> None:
    assert is_gradable(asked(), answer())
    assert not is_gradable(asked(), answer(" "))
    picture = Message(role=Role.USER, parts=(TextPart("What is that?"), ImagePart(url="https://x.test/a.png")))
    assert not is_gradable(asked(messages=(picture,)), answer())
    said = Message(role=Role.ASSISTANT, parts=(TextPart("Hm."),))
    assert not is_gradable(asked(messages=(*asked().messages, said)), answer())


def test_its_word_counts_less_than_a_persons(tmp_path: Path) -> None:
    school: School = opened(tmp_path)
    school.take([decided(1), decided(2)])
    by_model = school.judge(FeedbackGiven(request="req_1", at_s=1.0, score=0.5, key=JUDGE, by_model=True))
    by_person = school.judge(FeedbackGiven(request="req_2", at_s=1.0, score=0.5, key="k"))
    assert not isinstance(by_model, Failure)
    assert not isinstance(by_person, Failure)
    assert (by_model[0].weight, by_person[0].weight) == (WEIGHT, 1.0)
    school.abandon()
