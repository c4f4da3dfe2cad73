"""From settings to parts: what every part must be told, and what cannot be built."""

from __future__ import annotations

import random
from typing import Any

import pytest

from runtime.assemble import DIALECT_OF, Workshop, authority_policy, policy_of
from runtime.catalog import Catalog
from runtime.dialects.registry import DIALECTS
from runtime.edge_provider import EdgeProvider, Senses
from runtime.feed import Endpoint
from runtime.hedge import HedgePolicy
from runtime.outcome import Failure, FailureKind
from runtime.request import AttemptLimits, Sampling, ask
from runtime.settings import BadSettings, ProviderKind, Settings
from tests.fakes.clock import FakeClock

LOCAL = {"providers": {"local": {"kind": "local"}}}


def made(name: str, document: dict[str, Any], **said: Any) -> EdgeProvider:
    clock = FakeClock()
    settings = Settings.from_document(document)
    workshop = Workshop(senses=Senses(clock=clock, wall=clock), rng=random.Random(1), sleep=clock.sleep, env={})
    return workshop.provider(name, settings, catalog=Catalog(settings), **said)


def test_a_wrong_script_is_a_wrong_setting() -> None:
    """Of another type, it would have ended the edge's feed."""
    with pytest.raises(BadSettings, match=r"providers\.one: script\.steps"):
        made("one", {"providers": {"one": {"kind": "scripted", "script": [{"txt": "typo"}]}}})


async def test_the_embedded_model_says_that_it_is_still_starting() -> None:
    outcome = await made("local", LOCAL).complete(ask("hi"))
    assert isinstance(outcome, Failure)
    assert outcome.kind is FailureKind.UNAVAILABLE
    assert "still starting" in outcome.detail


async def test_the_embedded_model_is_where_its_endpoint_says() -> None:
    endpoint = Endpoint(provider="local", base_url="http://127.0.0.1:1/v1", api_key="k")
    spec = made("local", LOCAL, endpoint=endpoint).spec
    assert (spec.target.base_url, spec.target.api_key, spec.not_yet) == ("http://127.0.0.1:1/v1", "k", "")


def test_every_kind_has_a_dialect() -> None:
    assert set(DIALECT_OF) == set(ProviderKind)
    assert set(DIALECT_OF.values()) <= set(DIALECTS)


@pytest.mark.parametrize("kind", sorted(DIALECT_OF, key=str))
def test_a_provider_speaks_its_own_dialect(kind: ProviderKind) -> None:
    more = {"base_url": "http://host"} if kind in (ProviderKind.RUVLLM, ProviderKind.CUSTOM) else {}
    provider = made("p", {"providers": {"p": {"kind": kind, **more}}})
    speaks_openai = kind in (ProviderKind.LOCAL, ProviderKind.CUSTOM)
    assert provider.dialect.name == ("openai" if speaks_openai else kind)


def test_a_gateway_is_told_everything() -> None:
    settings = Settings.from_document(
        {
            "timeouts": {"total_s": 100.0},
            "max_cost_usd": "0.5",
            "breaker": {"open_s": 7.0},
            "retry": {"max_attempts": 9, "per_provider": 3, "budget_ratio": 0.5},
            "providers": {
                "a": {
                    "kind": "scripted",
                    "timeout_s": 300.0,
                    "retry_attempts": 1,
                    "priority": 2,
                    "fallback_models": ["spare"],
                    "sampling": {"max_tokens": 5},
                    "max_cost_usd": "0.25",
                },
                "b": {"kind": "scripted"},
            },
        }
    )
    policy = policy_of(settings, {})
    assert policy.deadline_s == 300.0, "who was given more time may use it"
    assert policy.ceilings_nanousd == {"a": 250_000_000, "b": 500_000_000}
    assert policy.sampling["a"] == Sampling(max_tokens=5)
    assert policy.fallback_models == {"a": ("spare",)}
    assert {name: of.priority for name, of in policy.traits.items()} == {"a": 2, "b": 0}
    retry = policy.general.retry
    assert (retry.max_attempts, retry.per_candidate, retry.per_provider, retry.budget_ratio) == (9, 3, {"a": 1}, 0.5)
    assert authority_policy(settings).open_s == 7.0


def test_a_route_is_carried_by_its_own_settings() -> None:
    settings = Settings.from_document(
        {
            "default_model": "mine",
            "hedge": {"quantile": 0.9},
            "retry": {"max_attempts": 9},
            "providers": {"a": {"kind": "scripted"}},
            "routes": {
                "mine": {
                    "targets": ["a/m"],
                    "max_attempts": 2,
                    "timeout_s": 20,
                    "attempt": {"connect_s": 1, "first_token_s": 2, "between_tokens_s": 3, "total_s": 4},
                    "hedge": {"after_s": 1.5, "max_share": 0.1},
                    "content_filter": "next",
                    "continue_streams": True,
                    "larger": ["a/big"],
                },
                "plain": ["a/m"],
                "calm": {"targets": ["a/m"], "hedge": {"max_share": 0}},
            },
        }
    )
    policy = policy_of(settings, {})
    mine = policy.route("mine")
    assert (mine.retry.max_attempts, mine.retry.past_filters, mine.timeout_s, mine.larger) == (2, True, 20, ("a/big",))
    assert mine.limits == AttemptLimits(connect_s=1, first_token_s=2, between_tokens_s=3, total_s=4)
    assert mine.hedge == HedgePolicy(after_s=1.5, max_share=0.1)
    assert mine.continue_streams
    assert policy.route("") == mine, "without a name the default is meant, and it is a route"
    plain = policy.route("plain")
    assert (plain.retry.max_attempts, plain.retry.past_filters, plain.limits) == (9, False, None)
    assert plain.hedge == policy.route("a/m").hedge == HedgePolicy(quantile=0.9)
    assert policy.route("calm").hedge is None
    assert policy.times_answers, "a quantile must be learnt"
    assert not policy_of(Settings(), {}).times_answers


def test_a_routes_time_bounds_also_who_asks_for_more() -> None:
    policy = policy_of(Settings.from_document({"routes": {"r": {"targets": ["x"], "timeout_s": 20}}}), {})
    assert [policy.seconds(policy.route("r"), asked) for asked in (None, 5.0, 100.0)] == [20.0, 5.0, 20.0]
    assert [policy.seconds(policy.route("other"), asked) for asked in (None, 5.0, 1_000.0)] == [600.0, 5.0, 1_000.0]
