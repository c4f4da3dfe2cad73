"""What the first system's hooks were seen to do wrong, or not to do at all, each as a test that ours pass."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from runtime.balance.asked import last_said
from runtime.hooks.cost import CostLimit
from runtime.hooks.metrics import Metrics
from runtime.hooks.record import Record
from runtime.learning.advice import Advice
from runtime.outcome import FailureKind
from runtime.request import Sampling, ask
from tests.fakes.gateway import Rigs, text
from tests.hooks.rigged import hooked, put_on

CACHED = {"cache": {"enabled": True}}


async def test_the_answer_to_a_sum_is_not_given_to_who_wants_a_poem() -> None:
    """Its hooks' key was the first 48 bytes of the request: provider and model, and nothing that was asked."""
    made = hooked(Metrics(), settings=CACHED, a=[text("4"), text("O ray of the sea")])
    assert (await made.answer(ask("What is 2+2?"))).text == "4"
    assert (await made.answer(ask("Write a poem"))).text == "O ray of the sea"
    assert (await made.answer(ask("What is 2+2?"))).text == "4"
    assert made["a"].transport.calls == 2


async def test_whoever_asks_at_another_temperature_or_length_gets_an_answer_of_his_own() -> None:
    made = hooked(Metrics(), settings=CACHED, a=[text(str(at)) for at in range(3)])
    asked = [Sampling(), Sampling(temperature=0.9), Sampling(max_tokens=9)]
    assert [(await made.answer(replace(ask("hi"), sampling=one))).text for one in asked] == ["0", "1", "2"]


async def test_a_cost_constraint_really_refuses() -> None:
    """There was none: the check that the documents promised was in no file."""
    prices = {"models": {"a/a-model": {"price": {"input": 1_000, "output": 1_000}}}}
    made = hooked(CostLimit(max_usd=0.001), settings=prices, a=text("x"))
    failure = await made.failure()
    assert failure.kind is FailureKind.BUDGET_EXCEEDED
    assert made["a"].transport.calls == 0


async def test_side_effects_are_executed(tmp_path: Path) -> None:
    """Its hooks described metrics, logs and memories, and nobody carried them out."""
    record = Record(path=str(tmp_path / "log.jsonl"))
    made = hooked(Metrics(), record, a=text("x"))
    await made.answer(replace(ask("hi"), request_id="r1"))
    record.close()
    assert json.loads(record.path.read_text())["request_id"] == "r1"
    assert (await made.gateway.metrics())["hooks.Metrics.a/a-model.answers"] == 1


async def test_hooks_are_called_at_all() -> None:
    """No file imported them."""
    seen: list[str] = []

    class Sees:
        def pre(self, asked: Any) -> None:
            seen.append(asked.request.messages[0].text)

    await hooked(Sees(), a=text("x")).answer(ask("hello"))
    assert seen == ["hello"]


async def test_hooks_leave_the_temperature_alone() -> None:
    """It set 0.7 or 0.8 where nobody had asked for any, and so changed answers, and keys of the cache."""
    seen: list[float | None] = []

    class Sees:
        def pre(self, asked: Any) -> None:
            seen.append(asked.request.sampling.temperature)

    await hooked(Metrics(), Sees(), a=text("x")).answer()
    assert seen == [None]


async def test_what_is_learned_from_is_what_the_hooks_left() -> None:
    """Its pattern feed stored the first 200 characters of answers, whatever stood in them, and nobody read it."""
    from runtime.hooks.redact import Redact

    learned: list[str] = []
    made = Rigs(a=text("x"), b=text("y"), settings=_learns())
    put_on(made, Redact())
    policy = made.gateway.policy

    class Notes:
        def before(self, request: Any) -> None:
            learned.append(last_said(request))

        def advise(self, entries: Any, asked: Any, how: Any) -> Any:
            learned.append(asked.text)
            return Advice(why="nothing was learned yet")

        def began(self, decision: Any) -> None: ...

        def finished(self, decision: Any, request: Any, outcome: Any) -> None: ...

    made.gateway.policy = replace(policy, adviser=Notes())
    await made.gateway.complete(ask("mail ann@example.org", model="fast"))
    assert learned == ["mail [EMAIL_1]"] * 2


def _learns() -> dict[str, Any]:
    route = {"targets": ["a/a-model", "b/b-model"], "strategy": "learned"}
    return {"routes": {"fast": route}}
