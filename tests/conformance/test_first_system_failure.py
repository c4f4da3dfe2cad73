"""What the first system did wrong when something failed, each as it was seen to happen there, and what is right.

Its breaker could not be told from an unknown error, let streams by and counted the caller's own mistakes; its retries
and its failover were never reached; one failed check shut a provider for good.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from runtime.dialects.base import Target
from runtime.dialects.scripted import Hang, Refuse, Status, Step
from runtime.outcome import Completion, Failure, FailureKind, Outcome
from runtime.request import CostLimits, Message, Request, Role, TextPart, Tool, ask
from runtime.transport.http1 import Http1Transport
from tests.fakes.clock import HeldSleep, turns
from tests.fakes.providers import Rig, fails, kind, rig, streamed
from tests.fakes.upstream import closed_port
from tests.runtime.test_gateway import Rigs

K = FailureKind
OK = Step(text="fine")
BROKEN = fails(Status(status=500))
HOW = pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])


async def asked(made: Rig | Rigs, *, stream: bool, request: Request | None = None) -> Outcome:
    provider = made.gateway if isinstance(made, Rigs) else made.provider
    request = request or ask("hi")
    return (await streamed(provider, request)).outcome if stream else await provider.complete(request)


# The base provider.


@HOW
async def test_the_breaker_opens_at_five_failures_and_after_its_time_lets_one_call_by(stream: bool) -> None:
    """There: after 60 s it let any number by at once, and streams went around it."""
    held = HeldSleep()
    made = rig(*[BROKEN] * 5, replace(OK, delay_s=1.0), OK, sleep=held)
    for _ in range(5):
        assert kind(await asked(made, stream=stream)) is K.UNAVAILABLE
    assert kind(await asked(made, stream=stream)) is K.REFUSED
    assert made.transport.calls == 5
    made.clock.advance(30.0 * 1.25)
    calls = [asyncio.create_task(asked(made, stream=stream)) for _ in range(10)]
    await turns()
    assert made.transport.calls == 6, "one probe, and not ten"
    held.release()
    outcomes = await asyncio.gather(*calls)
    assert sum(isinstance(one, Completion) for one in outcomes) == 1
    assert isinstance(await asked(made, stream=stream), Completion), "a probe that succeeds closes it"


@HOW
async def test_an_open_breaker_says_what_it_is_and_when_to_come_again(stream: bool) -> None:
    """There: an unknown error that was to be tried again at once."""
    made = rig(BROKEN)
    for _ in range(5):
        await asked(made, stream=stream)
    refused = await asked(made, stream=stream)
    assert isinstance(refused, Failure)
    assert refused.kind is K.REFUSED
    assert refused.handling.status == 503
    assert refused.retry_after_s is not None
    assert 0.0 < refused.retry_after_s <= 30.0 * 1.25


@HOW
@pytest.mark.parametrize("status", [400, 404, 413, 422, 429])
async def test_what_is_not_the_providers_fault_does_not_open_the_breaker(status: int, stream: bool) -> None:
    made = rig(*[fails(Status(status=status))] * 8, OK)
    for _ in range(8):
        await asked(made, stream=stream)
        made.clock.advance(61.0)
    assert isinstance(await asked(made, stream=stream), Completion)


@HOW
async def test_what_may_pass_is_tried_as_often_as_the_settings_say(stream: bool) -> None:
    """There: `retryAttempts` 3 at a 529 made one call."""
    made = Rigs(a=[fails(Status(status=529))] * 2 + [OK], settings={"retry": {"per_provider": 3}})
    assert isinstance(await asked(made, stream=stream), Completion)
    assert made["a"].transport.calls == 3
    assert len(made.clock.slept) == 2, "with a wait before each"


async def test_requests_that_have_ended_are_not_under_way() -> None:
    """There: 30 finished requests were reported as 30 active ones, and as a load of 30 %."""
    made = rig(OK)
    for _ in range(30):
        await made.provider.complete(ask("hi"))
    status = await made.provider.status()
    assert (status.in_flight, status.queued, status.load) == (0, 0, None)


async def test_one_failed_check_does_not_shut_a_provider_for_good() -> None:
    made = rig(OK)
    scripted, made.provider.transport = made.provider.transport, Http1Transport()
    made.provider.spec = replace(
        made.provider.spec, target=Target(provider="one", base_url=f"http://127.0.0.1:{closed_port()}")
    )
    assert not (await made.provider.health_check()).healthy
    await made.provider.close()
    made.provider.transport = scripted
    assert isinstance(await made.provider.complete(ask("hi")), Completion)
    assert (await made.provider.health_check()).healthy


# The manager.


@HOW
@pytest.mark.parametrize(
    "trouble", [Refuse(), Hang(), Status(status=500), Status(status=429), Status(status=401)], ids=str
)
async def test_failover_runs(trouble: object, stream: bool) -> None:
    """There: a typed error became an unhandled event on its way, and nobody else was ever asked; streams never were."""
    made = Rigs(a=fails(trouble), b=OK)
    outcome = await asked(made, stream=stream)
    assert isinstance(outcome, Completion)
    assert (outcome.provider, outcome.model) == ("b", "b-model"), "with the other provider's own model"


@HOW
async def test_failover_heeds_what_an_error_means(stream: bool) -> None:
    """There: every error was tried on the next provider, also one that is the same everywhere."""
    made = Rigs(a=fails(Status(status=400)), b=OK)
    assert kind(await asked(made, stream=stream)) is K.BAD_REQUEST
    assert made.calls() == {"a": 1, "b": 0}


@HOW
async def test_failover_heeds_health_and_the_providers_own_wait(stream: bool) -> None:
    made = Rigs(a=[fails(Status(status=429, retry_after_s=20.0)), OK], b=OK)
    await asked(made, stream=stream)
    for _ in range(5):
        outcome = await asked(made, stream=stream)
        assert isinstance(outcome, Completion)
        assert outcome.provider == "b"
    assert made["a"].transport.calls == 1, "not before the wait is over"
    made.clock.advance(20.0)
    for _ in range(2):
        await asked(made, stream=stream)
    assert made["a"].transport.calls == 2, "and again after it"


@HOW
async def test_fallback_models_are_asked(stream: bool) -> None:
    made = Rigs(a=[fails(Status(status=404)), OK], settings={"providers": {"a": {"fallback_models": ["another"]}}})
    outcome = await asked(made, stream=stream)
    assert isinstance(outcome, Completion)
    assert outcome.model == "another"


async def test_an_answer_after_failover_is_remembered_and_measured() -> None:
    made = Rigs(a=BROKEN, b=OK, settings={"cache": {"enabled": True}})
    await made.answer()
    assert (await made.answer()).attempts[0].outcome == "cached"
    assert made.calls() == {"a": 1, "b": 1}
    assert (await made["b"].provider.usage("hour")).requests == 1


async def test_an_answer_is_remembered_for_the_same_question_alone() -> None:
    """There: a request for OpenAI with tools got the text that Anthropic had given to one without."""
    made = Rigs(
        a=[Step(text="first"), Step(text="second"), Step(text="third")], b=OK, settings={"cache": {"enabled": True}}
    )
    plain = ask("hi", model="a/m")
    await made.answer(plain)
    with_tool = replace(plain, tools=(Tool(name="f", parameters={"type": "object"}),))
    assert (await made.answer(with_tool)).text == "second"
    with_system = replace(plain, messages=(Message(role=Role.SYSTEM, parts=(TextPart("be brief"),)), *plain.messages))
    assert (await made.answer(with_system)).text == "third"
    assert (await made.answer(replace(plain, model="b/m"))).text == "fine"
    assert (await made.answer(plain)).text == "first"


async def test_a_limit_of_cost_is_kept() -> None:
    """There: `maxCost` of a billionth of a dollar was let through, for nobody read it."""
    priced = {"models": {"a/m": {"price": {"input": "1", "output": "2"}}}}
    made = Rigs(a=OK, settings=priced)
    outcome = await made.failure(replace(ask("hi", model="a/m"), cost=CostLimits(max_cost_nanousd=1)))
    assert outcome.kind is K.BUDGET_EXCEEDED
    assert made.calls() == {"a": 0}
