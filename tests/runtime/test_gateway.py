"""One request through several providers: who is asked, what is told, how long it took."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import orjson
import pytest

from runtime.assemble import policy_of
from runtime.catalog import ModelInfo
from runtime.dialects.scripted import ErrorEvent, Hang, Refuse, Stall, Status, Step, Truncate
from runtime.gateway import Gateway
from runtime.outcome import (
    Completion,
    Embeddings,
    Failure,
    FailureKind,
    FinishReason,
    StreamEnd,
    StreamEvent,
    StreamStart,
)
from runtime.price import CostEstimate
from runtime.request import CostLimits, EmbedRequest, Request, Sampling, ask
from runtime.settings import Settings
from tests.fakes.clock import HeldSleep, turns
from tests.fakes.gateway import Rigs, text, tried
from tests.fakes.providers import counted, fails, kind, streamed

K = FailureKind
DOWN = fails(Status(status=500))
LIMITED = fails(Status(status=429, retry_after_s=2.0))


# Failover.


async def test_another_provider_takes_over_with_its_own_model() -> None:
    made = Rigs(a=DOWN, b=text("from b"))
    answer = await made.answer(replace(ask("hi"), request_id="r1"))
    assert (answer.text, answer.provider, answer.model, answer.request_id) == ("from b", "b", "b-model", "r1")
    assert tried(answer.attempts) == [("a", "unavailable"), ("b", "ok")]
    assert made.clock.slept == []


@pytest.mark.parametrize("trouble", [Refuse(), ErrorEvent(), Truncate(), Status(status=429)], ids=str)
async def test_a_stream_fails_over_before_its_first_content(trouble: Any) -> None:
    made = Rigs(a=fails(trouble, text="from a"), b=text("from b"))
    stream = await streamed(made.gateway, replace(ask("hi"), request_id="r1"))
    assert stream.text == "from b"
    assert stream.start is not None
    assert (stream.start.provider, stream.start.request_id) == ("b", "r1")
    assert [provider for provider, _ in tried(stream.start.attempts)] == ["a"], "the failed attempts are told at once"
    assert isinstance(stream.outcome, Completion)
    assert [provider for provider, _ in tried(stream.outcome.attempts)] == ["a", "b"]
    assert made["a"].transport.active == 0


@pytest.mark.parametrize(("trouble", "expected"), [(Truncate(1), K.INTERRUPTED), (Stall(1), K.INTERRUPTED)], ids=str)
async def test_after_content_nobody_takes_over_and_the_cut_is_explicit(trouble: Any, expected: FailureKind) -> None:
    made = Rigs(a=fails(trouble, text="from a"), b=text("from b"))
    stream = await streamed(made.gateway, ask("hi"))
    assert stream.text == "from "
    assert kind(stream.outcome) is expected
    assert isinstance(stream.outcome, Failure)
    assert tried(stream.outcome.attempts) == [("a", "interrupted")]
    assert made.calls() == {"a": 1, "b": 0}


async def test_a_wrong_request_is_not_repeated_elsewhere() -> None:
    made = Rigs(a=fails(Status(status=400)), b=text("from b"))
    failure = await made.failure()
    assert failure.kind is K.BAD_REQUEST
    assert tried(failure.attempts) == [("a", "bad_request")]
    assert made.calls() == {"a": 1, "b": 0}


async def test_embeddings_fail_over_to_the_same_model_only() -> None:
    """Vectors of two models do not belong in one index."""
    routes = {"any": ("a/m", "c/other", "b/m")}
    made = Rigs(a=DOWN, b=Step(), c=Step(), settings={"routes": routes})
    vectors = await made.gateway.embed(EmbedRequest(inputs=("x",), request_id="r1"))
    assert isinstance(vectors, Embeddings)
    assert (vectors.provider, made["c"].transport.calls) == ("b", 0)


async def test_an_embedding_that_failed_tells_its_attempts() -> None:
    made = Rigs(a=fails(Status(status=400)))
    failure = await made.gateway.embed(EmbedRequest(inputs=("x",), request_id="r1"))
    assert isinstance(failure, Failure)
    assert (failure.request_id, tried(failure.attempts)) == ("r1", [("a", "bad_request")])


# Retry.


async def test_retry_really_happens_after_a_wait() -> None:
    made = Rigs(a=[DOWN, text("at last")])
    answer = await made.answer()
    assert tried(answer.attempts) == [("a", "unavailable"), ("a", "ok")]
    (slept,) = made.clock.slept
    assert 0.0 <= slept <= 0.4


async def test_a_retry_waits_as_long_as_the_provider_asked() -> None:
    made = Rigs(a=[LIMITED, text("at last")])
    answer = await made.answer()
    assert made.clock.slept[0] >= 2.0
    assert answer.text == "at last"
    assert answer.overhead_s == pytest.approx(0.0, abs=1e-6), "a wait is no overhead of ours"


async def test_a_retry_without_a_named_time_waits_for_our_own_throttle() -> None:
    made = Rigs(a=[fails(Status(status=429)), text("at last")])
    assert (await made.answer()).text == "at last"
    assert made.clock.slept[0] >= 1.0


async def test_no_retry_past_the_deadline() -> None:
    made = Rigs(a=[LIMITED, text("too late")])
    failure = await made.failure(replace(ask("hi"), deadline_s=1.5))
    assert (failure.kind, failure.retry_after_s) == (K.RATE_LIMITED, 2.0)
    assert made.clock.slept == []


async def test_the_deadline_is_for_all_attempts_together() -> None:
    made = Rigs(a=fails(Hang()), b=fails(Hang()), c=fails(Hang()))
    started = made.clock()
    await made.failure(replace(ask("hi"), deadline_s=100.0))
    assert made.clock() - started == pytest.approx(100.0)
    assert made.calls() == {"a": 1, "b": 1, "c": 0}


async def test_a_new_retry_budget_takes_effect() -> None:
    made = Rigs(a=[DOWN, text("at last")])
    made.settings = made.settings.model_copy(
        update={"retry": made.settings.retry.model_copy(update={"budget_ratio": 0.0})}
    )
    made.gateway.policy = made.policy()
    assert (await made.failure()).kind is K.UNAVAILABLE
    assert made.clock.slept == []


async def test_a_request_keeps_the_policy_it_began_with() -> None:
    held = HeldSleep()
    made = Rigs(a=fails(Status(status=500), delay_s=1.0), b=text("from b"), sleep=held)
    call = asyncio.create_task(made.gateway.complete(ask("hi")))
    await turns()
    del made.rigs["b"]
    made.gateway.policy = made.policy()
    held.release()
    answer = await call
    assert isinstance(answer, Completion)
    assert answer.provider == "b"


# The order.


async def test_round_robin_gives_each_name_its_own_turns() -> None:
    """With one count for all names, two that alternate would each meet the same provider for ever."""
    routes = dict.fromkeys(("x", "y"), ("a/m", "b/m"))
    made = Rigs(a=text("a"), b=text("b"), settings={"routes": routes})
    met = [(await made.answer(ask("hi", model=name))).provider for _ in range(3) for name in ("x", "y")]
    assert met == ["a", "a", "b", "b", "a", "a"]


async def test_asking_what_it_would_cost_takes_no_turn() -> None:
    prices = {f"{name}/{name}-model": {"price": {"input": "1", "output": "1"}} for name in "ab"}
    made = Rigs(a=text("a"), b=text("b"), settings={"models": prices})
    met = []
    for _ in range(4):
        assert isinstance(await made.gateway.estimate_cost(ask("hi")), CostEstimate)
        met.append((await made.answer()).provider)
    assert met == ["a", "b", "a", "b"]


async def test_who_is_shut_is_asked_last() -> None:
    made = Rigs(a=[DOWN] * 5, b=text("from b"))
    for _ in range(12):
        await made.answer()
    assert made["a"].transport.calls == 5
    assert len((await made.answer()).attempts) == 1


async def test_unmeasured_providers_are_explored() -> None:
    """In the first system thirty of thirty requests went to the first provider."""
    made = Rigs(a=text("a", delay_s=1.0), b=text("b", delay_s=0.1), settings={"strategy": "latency"})
    met = [(await made.answer()).provider for _ in range(30)]
    assert met[:2] == ["a", "b"]
    assert met.count("b") > 20


@pytest.mark.parametrize(
    "wanted",
    [
        CostLimits(preferred_providers=("c",)),
        CostLimits(preferred_models=("c-model",)),
        CostLimits(preferred_models=("c/c-model",)),
    ],
    ids=str,
)
async def test_preferences_are_read(wanted: CostLimits) -> None:
    made = Rigs(a=text("a"), b=text("b"), c=[text("c"), text("c"), DOWN])
    met = [(await made.answer(replace(ask("hi"), cost=wanted))).provider for _ in range(2)]
    assert met == ["c", "c"]
    assert (await made.answer(replace(ask("hi"), cost=wanted))).provider in ("a", "b")


async def test_priorities_are_read() -> None:
    made = Rigs(a=text("a"), b=text("b"), settings={"providers": {"b": {"priority": 5}}})
    assert [(await made.answer()).provider for _ in range(3)] == ["b", "b", "b"]


@pytest.mark.parametrize("strategy", ["round_robin", "latency"])
async def test_fallback_models_stay_behind_whatever_the_strategy(strategy: str) -> None:
    settings = {
        "strategy": strategy,
        "routes": {"any": ("a/main", "b/main")},
        "providers": {"a": {"fallback_models": ["spare"]}},
    }
    made = Rigs(a=text("fine"), b=text("fine"), settings=settings)
    assert {(await made.answer()).model for _ in range(10)} == {"main"}
    not_found = fails(Status(status=404))
    made = Rigs(a=[not_found, text("from the spare")], b=not_found, settings=settings)
    answer = await made.answer()
    assert [(one.provider, one.model) for one in answer.attempts] == [("a", "main"), ("b", "main"), ("a", "spare")]


# Money.

PRICES = {
    "a/a-model": {"price": {"input": "1", "output": "1000"}},
    "b/b-model": {"price": {"input": "1", "output": "2"}},
}


async def test_max_cost_is_enforced() -> None:
    """The first system never read it: with a limit of 1e-9 dollars the call still ran."""
    made = Rigs(a=text("a"), settings={"models": PRICES})
    failure = await made.failure(replace(ask("hi"), cost=CostLimits(max_cost_nanousd=1)))
    assert (failure.kind, failure.code) == (K.BUDGET_EXCEEDED, "max_cost_exceeded")
    assert made.calls() == {"a": 0}


async def test_a_dear_candidate_is_passed_over() -> None:
    made = Rigs(a=text("a"), b=text("b"), settings={"models": PRICES})
    cheap = replace(ask("hi"), cost=CostLimits(max_cost_nanousd=10_000_000))
    assert [(await made.answer(cheap)).provider for _ in range(4)] == ["b"] * 4


async def test_an_unknown_price_never_passes_a_ceiling() -> None:
    """In the first system an unknown price was zero dollars, and won."""
    made = Rigs(a=text("a"), b=text("b"), settings={"models": {"b/b-model": PRICES["b/b-model"]}})
    limited = replace(ask("hi"), cost=CostLimits(max_cost_nanousd=10**12))
    assert [(await made.answer(limited)).provider for _ in range(4)] == ["b"] * 4


async def test_ceilings_of_settings_are_read() -> None:
    made = Rigs(a=text("a"), b=text("b"), settings={"models": PRICES, "max_cost_usd": "0.01"})
    assert [(await made.answer()).provider for _ in range(4)] == ["b"] * 4


async def test_what_settings_fill_in_counts_for_the_ceiling() -> None:
    made = Rigs(
        b=text("b"),
        settings={"models": PRICES, "providers": {"b": {"sampling": {"max_tokens": 100_000}}}},
    )
    limited = replace(ask("hi"), cost=CostLimits(max_cost_nanousd=10_000_000))
    assert (await made.failure(limited)).kind is K.BUDGET_EXCEEDED
    short = replace(limited, sampling=Sampling(max_tokens=10))
    assert (await made.answer(short)).provider == "b"


# Names.


async def test_a_name_that_nobody_serves_is_not_found() -> None:
    made = Rigs(a=text("a"))
    failure = await made.failure(replace(ask("hi", model="nosuch"), request_id="r1"))
    assert (failure.kind, failure.param, failure.request_id) == (K.MODEL_NOT_FOUND, "model", "r1")
    stream = await streamed(made.gateway, ask("hi", model="nosuch"))
    assert kind(stream.outcome) is K.MODEL_NOT_FOUND
    assert not await made.gateway.validate_model("nosuch")


async def test_a_known_model_whose_provider_is_not_usable_is_unavailable() -> None:
    made = Rigs(a=text("a"), b=text("b"))
    del made.rigs["b"]
    made.gateway.policy = made.policy()
    failure = await made.failure(ask("hi", model="b/b-model"))
    assert (failure.kind, failure.provider) == (K.UNAVAILABLE, "b")
    assert "cannot be used at the moment" in failure.detail
    assert (await made.answer()).provider == "a"


# Callers who go away.


async def test_a_caller_who_goes_away_stops_everything() -> None:
    made = Rigs(a=text("a", delay_s=1.0), b=text("b"), sleep=HeldSleep())
    call = asyncio.create_task(made.gateway.complete(ask("hi")))
    await turns()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert made.calls() == {"a": 1, "b": 0}
    assert (await made.gateway.status()).in_flight == 0


async def test_closing_a_stream_early_settles_it() -> None:
    made = Rigs(a=text("one two three"))
    async with aclosing(made.gateway.stream(ask("hi"))) as events:
        assert isinstance(await anext(events), StreamStart)
        assert (await made.gateway.status()).in_flight == 1
    assert (await made.gateway.status()).in_flight == made["a"].transport.active == 0
    assert made["a"].seen().failures == {K.CANCELLED: 1}


# Time.


async def test_overhead_is_ours_alone() -> None:
    made = Rigs(a=fails(Refuse(), delay_s=1.0), b=text("one two three", delay_s=1.0, chunk_delay_s=0.5))
    answer = await made.answer()
    assert answer.overhead_s == pytest.approx(0.0, abs=1e-6)
    async for event in made.gateway.stream(ask("hi")):
        made.clock.advance(5.0)
        if isinstance(event, StreamEnd):
            assert isinstance(event.outcome, Completion)
            assert event.outcome.overhead_s == pytest.approx(0.0, abs=1e-6)
            assert event.outcome.latency_s == pytest.approx(2.5)


# Others who misbehave.


class Unreachable:
    """An upstream whose actor is gone: every question raises."""

    name = "gone"

    def __getattr__(self, name: str) -> Any:
        async def raising(*args: object) -> Any:
            raise ConnectionError("out of reach")

        return raising


async def test_one_provider_out_of_reach_does_not_hide_the_others() -> None:
    made = Rigs(a=text("a"), b=text("b"))
    await made.answer()
    gone: Any = Unreachable()
    made.gateway.policy = replace(made.policy(), upstreams={"a": made["a"].provider, "b": gone})
    models = await made.gateway.list_models()
    assert all(isinstance(one, ModelInfo) for one in models)
    assert (await made.gateway.usage("hour")).requests == 1
    assert counted(await made.gateway.metrics(), "requests") == 1
    status = await made.gateway.status()
    assert [part.available for part in status.parts] == [True, False]
    assert [part.healthy for part in (await made.gateway.health_check()).parts] == [True, False]
    await made.gateway.initialize()
    await made.gateway.clear_cache()
    await made.gateway.close()


async def test_a_stream_without_an_end_is_no_clean_end() -> None:
    made = Rigs(a=text("a"))

    class Endless:
        def __getattr__(self, name: str) -> Any:
            return getattr(made["a"].provider, name)

        async def stream(self, request: Request) -> AsyncGenerator[StreamEvent]:
            yield StreamStart(id="1", provider="a", model="m")

    broken: Any = Endless()
    made.gateway.policy = replace(made.policy(), upstreams={"a": broken})
    stream = await streamed(made.gateway, ask("hi"))
    assert kind(stream.outcome) is K.INTERRUPTED


async def test_a_remembered_answer_costs_nothing_and_asks_nobody() -> None:
    made = Rigs(a=text("from a"), settings={"cache": {"enabled": True}})
    first = await made.answer()
    second = await made.answer(replace(ask("hi"), request_id="r2"))
    assert (second.text, second.request_id) == (first.text, "r2")
    assert tried(second.attempts) == [("a", "cached")]
    assert made.calls() == {"a": 1}
    assert tried((await made.answer(replace(ask("hi"), tenant="another"))).attempts) == [("a", "ok")]
    assert await made.gateway.clear_cache() == 2


# What a route says.


def route_of(*targets: str, **said: Any) -> dict[str, Any]:
    return {"routes": {"any": {"targets": list(targets), **said}}}


async def both_ways(made: Rigs) -> list[Completion | Failure]:
    return [await made.gateway.complete(ask("hi")), (await streamed(made.gateway, ask("hi"))).outcome]


async def test_an_attempt_has_the_routes_limits_and_they_stay_here() -> None:
    for limits, hangs in ({"first_token_s": 2}, Hang()), ({"total_s": 2}, Hang()), ({"between_tokens_s": 2}, Stall(1)):
        made = Rigs(a=fails(hangs, text="x y"), b=text("from b"), settings=route_of("a/m", "b/m", attempt=limits))
        begun = made.clock()
        outcome = await made.gateway.complete(ask("hi"))
        assert isinstance(outcome, Completion)
        assert (outcome.provider, made.clock() - begun) == ("b", 2.0)
        assert orjson.loads(made["b"].transport.sent[-1])["request"].get("limits") is None


async def test_a_routes_limits_may_be_longer_than_the_providers_but_not_than_the_request() -> None:
    made = Rigs(a=fails(Hang()), settings=route_of("a/m", attempt={"first_token_s": 500}))
    begun = made.clock()
    await made.failure(replace(ask("hi"), deadline_s=100.0))
    assert made.clock() - begun == 100.0


async def test_a_routes_time_is_for_all_attempts() -> None:
    made = Rigs(a=fails(Hang()), b=fails(Hang()), settings=route_of("a/m", "b/m", timeout_s=70))
    begun = made.clock()
    await made.failure()
    assert made.clock() - begun == pytest.approx(70.0)


async def test_a_routes_attempts_are_its_own() -> None:
    settings = route_of("a/m", "b/m", "c/m", max_attempts=2)
    settings["routes"]["more"] = ["a/m", "b/m", "c/m"]
    made = Rigs(a=DOWN, b=DOWN, c=DOWN, settings=settings)
    assert len((await made.failure()).attempts) == 2
    assert len((await made.failure(ask("hi", model="more"))).attempts) == 4


OVERFLOW = fails(Status(status=400, body='{"error": {"code": "context_length_exceeded", "message": "too long"}}'))


async def test_what_is_too_long_goes_to_a_larger_window() -> None:
    windows = {"a/m": 8_000, "b/m": 4_000, "c/m": 100_000}
    settings = route_of("a/m", "b/m", larger=["c"])
    settings["models"] = {name: {"context_length": length} for name, length in windows.items()}
    settings["providers"] = {"c": {"default_model": "m"}, "b": {"priority": -1}}
    made = Rigs(a=[OVERFLOW, OVERFLOW, text("short")], b=text("from b"), c=text("from c"), settings=settings)
    for outcome in await both_ways(made):
        assert isinstance(outcome, Completion)
        assert tried(outcome.attempts) == [("a", "context_overflow"), ("c", "ok")]
    assert (await made.answer()).provider == "a", "the larger ones are for what is too long"


FILTERED = fails(Status(status=400, body='{"error": {"code": "content_filter", "message": "no"}}'))
KEPT_BACK = Step(finish_reason=FinishReason.CONTENT_FILTER)


@pytest.mark.parametrize("filtered", [FILTERED, KEPT_BACK], ids=["refused", "kept back"])
async def test_the_route_chooses_what_follows_from_a_filter(filtered: Step) -> None:
    priority = {"providers": {"b": {"priority": -1}}}
    made = Rigs(a=filtered, b=text("from b"), settings={**route_of("a/m", "b/m"), **priority})
    await both_ways(made)
    assert made["b"].transport.calls == 0
    made = Rigs(a=filtered, b=text("from b"), settings={**route_of("a/m", "b/m", content_filter="next"), **priority})
    for outcome in await both_ways(made):
        assert isinstance(outcome, Completion)
        assert (outcome.text, tried(outcome.attempts)) == ("from b", [("a", "content_filtered"), ("b", "ok")])
    for one in await both_ways(Rigs(a=filtered, b=filtered, settings=route_of("a/m", "b/m", content_filter="next"))):
        assert kind(one) is K.CONTENT_FILTERED


# Why.


async def test_a_plan_is_explained_without_a_call_or_a_turn() -> None:
    prices = {"a/a-model": {"price": {"input": "1", "output": "1"}}}
    made = Rigs(a=text("a"), b=text("b"), settings={"models": prices, "strategy": "cost"})
    for _ in range(2):
        told = made.gateway.explain(ask("hi"))
        assert not isinstance(told, Failure)
        first, second = told["candidates"]  # type: ignore[misc]
        assert (told["strategy"], first["provider"], second["provider"]) == ("cost", "a", "b")
        assert first["terms"]["expected_nanousd"] > 0
        assert second["terms"]["expected_nanousd"] is None
    assert made.calls() == {"a": 0, "b": 0}


async def test_who_was_left_out_is_named_with_the_reason() -> None:
    made = Rigs(a=text("a"), b=text("b"), settings={"routes": {"m": {"targets": ["a/m", "b/m"], "residency": ["eu"]}}})
    told = made.gateway.explain(ask("hi", model="m"))
    assert not isinstance(told, Failure)
    assert [one["why"] for one in told["dropped"]] == ["residency", "residency"]  # type: ignore[attr-defined]
    failure = await made.failure(ask("hi", model="m"))
    assert failure.code == "no_candidate"
    assert "not tagged eu" in failure.detail


async def test_a_route_has_a_strategy_of_its_own() -> None:
    rules = [{"targets": ["b"], "pattern": "code"}]
    made = Rigs(a=text("a"), b=text("b"), settings={"routes": {"m": {"targets": ["a/m", "b/m"], "rules": rules}}})
    assert (await made.answer(ask("some code", model="m"))).provider == "b"
    assert {(await made.answer(ask("hi"))).provider for _ in range(2)} == {"a", "b"}


async def test_a_stream_tells_how_fast_its_provider_is() -> None:
    made = Rigs(a=text("one two three", delay_s=0.5), settings={"strategy": "latency"})
    await streamed(made.gateway, ask("hi"))
    vitals = made.gateway.policy.upstreams["a"].vitals("a-model", made.clock())
    assert vitals.ttft_s == pytest.approx(0.5)
    assert (vitals.silent_s, vitals.failed) == (0.0, 0.0)
    assert vitals.output_tokens is not None


async def test_a_session_stays_with_one_provider_where_the_route_is_sticky() -> None:
    route = {"targets": ["a/m", "b/m", "c/m"], "sticky": True, "strategy": "round_robin"}
    made = Rigs(a=text("a"), b=text("b"), c=text("c"), settings={"routes": {"r": route}})
    homes = {}
    for session in map(str, range(12)):
        asked = replace(ask("hi", model="r"), cost=CostLimits(session=session))
        met = {(await made.answer(asked)).provider for _ in range(3)}
        assert len(met) == 1, "no turn takes it away"
        homes[session] = met.pop()
    assert len(set(homes.values())) == 3, "sessions are spread"
    told = made.gateway.explain(replace(ask("hi", model="r"), cost=CostLimits(session="0")))
    assert not isinstance(told, Failure)
    assert told["home"] == f"{homes['0']}/m"


async def test_a_request_may_demand_a_tag_and_a_quality() -> None:
    settings = {"providers": {"a": {"tags": ["eu"]}}, "models": {"b/b-model": {"quality": 0.9}}}
    made = Rigs(a=text("a"), b=text("b"), settings=settings)
    in_eu, good = CostLimits(residency=("eu",)), CostLimits(min_quality=0.8)
    assert {(await made.answer(replace(ask("hi"), cost=in_eu))).provider for _ in range(3)} == {"a"}
    assert {(await made.answer(replace(ask("hi"), cost=good))).provider for _ in range(3)} == {"b"}


async def test_a_provider_is_pinned_by_its_name_before_the_models() -> None:
    made = Rigs(a=text("a"), b=text("b"), settings={"strategy": "latency"})
    assert {(await made.answer(ask("hi", model="b/whatever"))).provider for _ in range(5)} == {"b"}


async def test_what_does_not_fit_into_a_context_goes_to_one_that_reads_more() -> None:
    models = {"a/a-model": {"context_length": 300}, "b/b-model": {"context_length": 30_000}}
    made = Rigs(a=text("a"), b=text("b"), settings={"models": models})
    assert {(await made.answer(ask("word " * 600))).provider for _ in range(4)} == {"b"}
    assert {(await made.answer(ask("word"))).provider for _ in range(4)} == {"a", "b"}


async def test_learned_says_that_it_abstains() -> None:
    made = Rigs(a=text("a"), settings={"strategy": "learned"})
    told = made.gateway.explain(ask("hi"))
    assert not isinstance(told, Failure)
    assert "abstains" in str(told["note"])
    assert (await made.answer()).text == "a"


async def test_settings_that_change_are_followed_by_the_next_plan() -> None:
    """What is remembered of a name is remembered for one policy."""
    made = Rigs(a=text("a"), b=text("b"))
    assert len({(await made.answer()).provider for _ in range(2)}) == 2
    policy = made.gateway.policy
    made.gateway.policy = replace(policy, upstreams={"b": policy.upstreams["b"]})
    assert {(await made.answer()).provider for _ in range(3)} == {"b"}


async def test_many_replicas_do_not_all_begin_with_the_same_provider() -> None:
    """A replica's gateway is made before its settings are known."""
    made = Rigs(a=text("a"), b=text("b"), settings={"replicas": 4})
    firsts = Counter[str]()
    for replica in range(40):
        rng = random.Random(replica)
        gateway = Gateway(policy_of(Settings(), {}), clock=made.clock, sleep=made.clock.sleep, rng=rng)
        gateway.policy = made.policy()
        outcome = await gateway.complete(ask("hi"))
        assert isinstance(outcome, Completion)
        firsts[outcome.provider] += 1
    assert min(firsts["a"], firsts["b"]) > 8
