"""The hooks in examples/, made from settings as a reader would, and asked."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from runtime.assemble import policy_of
from runtime.gateway import Gateway
from runtime.hooks.build import Rack, problems_of
from runtime.ledger.billing import Account, Billing
from runtime.outcome import Completion, Failure, FailureKind
from runtime.request import Request, ask
from runtime.settings import HookSettings, Settings
from tests.fakes.gateway import Rigs, text
from tests.hooks.rigged import end_of, events_of, hooked, said_in

EXAMPLES = Path(__file__).parents[2] / "examples" / "hooks"


@pytest.fixture(autouse=True)
def on_path(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    return


def with_hooks(*hooks: dict[str, Any], **steps: Any) -> Rigs:
    made = Rigs(**steps)
    wanted = [HookSettings.model_validate(one) for one in hooks]
    settings = made.settings.model_copy(update={"hooks": tuple(wanted)})
    assert problems_of(settings, {}) == []
    upstreams = {name: one.provider for name, one in made.rigs.items()}
    policy = policy_of(settings, upstreams, hooks=Rack(made.clock).chain(settings, {}))
    made.gateway = Gateway(policy, clock=made.clock, sleep=made.clock.sleep, rng=random.Random(1))
    return made


async def test_office_hours_refuse_at_night_and_let_an_exempt_key_pass() -> None:
    from office_hours import OfficeHours  # type: ignore[import-not-found]  # on the path of this test alone

    night = OfficeHours(begins=8, ends=18, exempt=["key_1"], now=lambda: datetime(2026, 1, 1, 3, tzinfo=UTC))
    made = hooked(night, a=[text("x")])
    failure = await made.failure()
    assert (failure.kind, failure.code) == (FailureKind.NOT_ALLOWED, "office_hours")
    exempt = replace(ask("hi"), billing=Billing(account=Account(key="key_1")))
    assert (await made.answer(exempt)).text == "x"


def test_office_hours_that_end_before_they_begin_are_refused_with_the_settings() -> None:
    said = {"use": "office_hours:OfficeHours", "with": {"begins": 18, "ends": 8}}
    settings = Settings.model_validate({"hooks": [said]})
    (problem,) = problems_of(settings, {})
    assert problem.path == "hooks[0]"
    assert "`begins` should be before `ends`" in problem.what


async def test_house_rules_stand_before_the_prompt_and_behind_the_answer() -> None:
    said = {"use": "house_rules:HouseRules", "with": {"rules": "Be brief.", "footer": "Check it."}}
    made = with_hooks(said, a=[text("Yes."), text("Yes.")])
    assert (await made.answer()).text == "Yes.\n\nCheck it."
    assert b"Be brief." in made["a"].transport.sent[0]
    events = await events_of(made)
    outcome = end_of(events)
    assert isinstance(outcome, Completion)
    assert said_in(events) == outcome.text == "Yes.\n\nCheck it."


async def test_a_shadow_file_has_what_the_hook_before_it_left(tmp_path: Path) -> None:
    path = tmp_path / "shadow.jsonl"
    made = with_hooks({"use": "redact"}, {"use": "shadow_file:ShadowFile", "with": {"path": str(path)}}, a=text("ok"))
    request: Request = replace(ask("mail ann@example.org"), request_id="r1")
    await made.answer(request)
    (line,) = path.read_text().splitlines()
    assert json.loads(line) == {"id": "r1", "prompt": [{"role": "user", "text": "mail [EMAIL_1]"}], "answer": "ok"}
    assert (await made.gateway.metrics())["hooks.shadow_file:ShadowFile.written"] == 1


async def test_a_shadow_file_that_cannot_be_written_harms_nobody(tmp_path: Path) -> None:
    made = with_hooks({"use": "shadow_file:ShadowFile", "with": {"path": str(tmp_path)}}, a=text("ok"))
    outcome = await made.gateway.complete(ask("hi"))
    assert not isinstance(outcome, Failure)
