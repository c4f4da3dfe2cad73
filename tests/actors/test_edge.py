"""How an edge takes over a snapshot: without Ray, since `apply` asks nobody."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from actors.clock import SENSES
from actors.edge import Edge
from actors.refs import ActorRef
from runtime.cache import About, Forget
from runtime.edge_provider import EdgeProvider
from runtime.feed import EdgeReport, Endpoint, KeyInfo, Published, Snapshot
from runtime.outcome import Failure, FailureKind
from runtime.request import ask
from runtime.settings import BadSettings
from tests.cache.test_answers import ANSWER

ALPHA = {"kind": "scripted", "models": ["say"], "script": [{"text": "a"}]}
BETA = {"kind": "scripted", "models": ["say"], "script": [{"text": "b"}]}
LOCAL = {"kind": "local", "reach": "node"}


@pytest.fixture
async def edge() -> AsyncGenerator[Edge]:
    edge = Edge("test", node="here", env={})
    yield edge
    await edge.stop()


def snapshot(version: int = 1, *, incarnation: int = 1, providers: Any = None, **said: Any) -> Snapshot:
    document = None if providers is None else {"local": {"enabled": False}, "providers": providers}
    return Snapshot(incarnation=incarnation, version=version, settings_version=version, settings=document, **said)


async def test_unchanged_providers_are_kept_and_changed_ones_rebuilt(edge: Edge) -> None:
    edge.apply(snapshot(1, providers={"alpha": ALPHA, "beta": BETA}))
    before = dict(edge.gateway.policy.upstreams)
    edge.apply(snapshot(2, providers={"alpha": ALPHA, "beta": {**BETA, "models": ["other"]}}))
    after = edge.gateway.policy.upstreams
    assert after["alpha"] is before["alpha"]
    assert after["beta"] is not before["beta"]
    edge.apply(snapshot(3, providers={"alpha": ALPHA}))
    assert set(edge.gateway.policy.upstreams) == {"alpha"}


async def test_what_the_authority_says_reaches_the_door(edge: Edge) -> None:
    edge.apply(snapshot(1, providers={"alpha": ALPHA}))
    edge.apply(_open(2, "alpha"))
    wait_s = edge.gateway.policy.upstreams["alpha"].vitals("say", 0.0).retry_in_s
    assert wait_s > 0.0
    assert edge.ready


async def test_a_manager_that_has_just_restarted_moves_no_endpoint(edge: Edge) -> None:
    """Its first snapshots come before it has asked the embedded model's actor where it listens."""
    endpoint = Endpoint(provider="local", base_url="http://127.0.0.1:1/v1", api_key="k", node="here")
    edge.apply(snapshot(9, providers={"local": LOCAL}, endpoints=(endpoint,)))
    before = edge.gateway.policy.upstreams["local"]
    edge.apply(snapshot(1, incarnation=2))
    assert edge.gateway.policy.upstreams["local"] is before
    moved = Endpoint(provider="local", base_url="http://127.0.0.1:2/v1", api_key="k", node="here")
    edge.apply(snapshot(2, incarnation=2, endpoints=(moved,)))
    now = edge.gateway.policy.upstreams["local"]
    assert isinstance(now, EdgeProvider)
    assert now.spec.target.base_url == moved.base_url


async def test_an_endpoint_is_not_the_address_of_another_kind(edge: Edge) -> None:
    endpoint = Endpoint(provider="local", base_url="http://127.0.0.1:1/v1", api_key="k", node="here")
    edge.apply(snapshot(1, providers={"local": LOCAL}, endpoints=(endpoint,)))
    other = {"kind": "openai", "base_url": "http://127.0.0.1:7/v1", "api_key": "x"}
    edge.apply(snapshot(2, providers={"local": other}, endpoints=(endpoint,)))
    upstream = edge.gateway.policy.upstreams["local"]
    assert isinstance(upstream, EdgeProvider)
    assert upstream.spec.target.base_url == other["base_url"]


async def test_an_unusable_provider_costs_nothing_at_every_snapshot(edge: Edge) -> None:
    keyless = {"kind": "openai", "api_key": "os.environ/NOT_SET_ANYWHERE"}
    edge.apply(snapshot(1, providers={"alpha": ALPHA, "keyless": keyless}))
    policy = edge.gateway.policy
    assert set(policy.upstreams) == {"alpha"}
    edge.apply(snapshot(2))
    assert edge.gateway.policy is policy, "the same settings make no new policy, whose cache would be empty"


async def test_settings_that_cannot_be_read_change_nothing(edge: Edge) -> None:
    edge.apply(snapshot(1, providers={"alpha": ALPHA}, keys=(KeyInfo(sha256="a", name="one"),)))
    policy = edge.gateway.policy
    with pytest.raises(BadSettings):
        edge.apply(Snapshot(incarnation=1, version=2, settings_version=2, settings={"port": "no port"}))
    assert edge.gateway.policy is policy
    assert set(edge.keys) == {"a"}


class Feed:
    """A manager of a few words: what each poll and each report comes to, then silence."""

    def __init__(self, polls: list[Snapshot | Exception], reports: list[Exception | None]) -> None:
        self.stamps: list[tuple[int, int] | None] = []
        self.heard: list[EdgeReport] = []
        self._polls = polls
        self._reports = reports
        self.told = asyncio.Event()
        self.done = asyncio.Event()
        self.actor = ActorRef("manager")

    async def poll(self, edge: str, *, stamp: tuple[int, int] | None, settings_version: int, wait_s: float) -> Any:
        self.stamps.append(stamp)
        if not self._polls:
            await asyncio.Event().wait()
        said = self._polls.pop(0)
        if isinstance(said, Exception):
            raise said
        return said

    async def report(self, report: EdgeReport) -> None:
        if report.incarnation and not report.counters.get("requests"):
            return  # how an edge greets a manager that has just started
        self.heard.append(report)
        self.told.set()
        if self._reports and (error := self._reports.pop(0)) is not None:
            raise error
        self.done.set()


@pytest.mark.parametrize("error", [RuntimeError(), TimeoutError(), AssertionError("two\nlines")], ids=repr)
async def test_no_error_ends_the_feed(edge: Edge, error: Exception) -> None:
    feed = Feed([error, snapshot(1, providers={"alpha": ALPHA})], [error])
    _replace(edge, feed)
    async with asyncio.timeout(10):
        await edge.start()
        edge.counters["requests"] += 1
        edge._urgent.set()
        await feed.done.wait()
    assert [report.sequence for report in feed.heard] in ([1, 1], [2, 2]), "a report that was not heard is sent again"
    assert feed.stamps[:2] == [None, None]


async def test_an_edge_that_ends_says_what_it_saw_last(edge: Edge) -> None:
    feed = Feed([snapshot(1, providers={"alpha": ALPHA})], [TimeoutError()])
    _replace(edge, feed)
    async with asyncio.timeout(10):
        await edge.start()
        edge.counters["requests"] += 1
        edge._urgent.set()
        await feed.told.wait()
        edge.counters["requests"] += 1
        await edge.stop()
    said = [(report.sequence, report.counters["requests"]) for report in feed.heard]
    first = said[0][0]
    assert said == [(first, 1), (first, 1), (first + 1, 2)], "what did not get through, then what came after it"


async def test_an_edge_ends_also_where_nobody_hears_it(edge: Edge) -> None:
    feed = Feed([snapshot(1, providers={"alpha": ALPHA})], [RuntimeError("the manager is away")])
    _replace(edge, feed)
    async with asyncio.timeout(10):
        await edge.start()
        edge.counters["requests"] += 1
        await edge.stop()
    assert len(feed.heard) == 1


async def test_calls_of_a_provider_that_was_switched_off_are_still_in_flight(edge: Edge) -> None:
    edge.apply(snapshot(1, providers={"alpha": ALPHA}))
    alpha = edge.gateway.policy.upstreams["alpha"]
    assert isinstance(alpha, EdgeProvider)
    alpha.standing.load.begin()
    edge.apply(snapshot(2, providers={"beta": BETA}))
    assert edge.upstreams.in_flight() == {"alpha": 1}
    alpha.standing.load.end(0.0, latency_s=None)
    assert edge.upstreams.in_flight() == {}


def _replace(edge: Edge, feed: Feed) -> None:
    edge.manager = feed  # type: ignore[assignment]  # what an edge needs of it


def _open(version: int, provider: str) -> Snapshot:
    state = Published(provider=provider, spell=2, open=True, retry_in_s=30.0)
    return Snapshot(incarnation=1, version=version, settings_version=1, providers=(state,))


# A manager that has just started.


async def test_each_manager_is_told_once_what_was_shut_before_it(edge: Edge) -> None:
    edge.apply(snapshot(1, providers={"alpha": ALPHA, "beta": BETA}))
    first = edge._report()
    assert (first.incarnation, [view.whole.is_shut for view in first.views]) == (1, [False, False])
    edge.apply(_open(2, "alpha"))
    assert edge._report().views == ()
    edge.apply(snapshot(1, incarnation=2))
    again = edge._report()
    assert again.incarnation == 2
    alpha = next(view for view in again.views if view.provider == "alpha")
    assert (alpha.open, alpha.spell) == (True, 2)
    assert 29.0 < alpha.retry_in_s <= 30.0


async def test_a_manager_that_knows_nothing_yet_opens_nothing(edge: Edge) -> None:
    edge.apply(snapshot(1, providers={"alpha": ALPHA}))
    edge.apply(_open(2, "alpha"))
    fresh = Published(provider="alpha", spell=2_000_000)
    edge.apply(Snapshot(incarnation=2, version=1, settings_version=1, providers=(fresh,)))
    gate = _edge_provider(edge).standing.gate
    assert gate.retry_in_s(SENSES.clock(), "say") > 25.0
    edge._trusted_at = 0.0
    edge._trust()
    assert gate.retry_in_s(SENSES.clock(), "say") == 0.0, "what was published in the end counts"


# What outlives a change of settings.


async def test_doors_load_and_keys_outlive_a_change_of_settings(edge: Edge) -> None:
    edge.apply(snapshot(1, providers={"alpha": ALPHA}))
    edge.apply(_open(2, "alpha"))
    before = _edge_provider(edge)
    before.standing.load.begin()
    edge.apply(snapshot(3, providers={"alpha": {**ALPHA, "max_in_flight": 3}}))
    after = _edge_provider(edge)
    assert after is not before
    assert after.standing is before.standing
    assert after.vitals("say", SENSES.clock()).retry_in_s > 25.0
    assert after.standing.load.in_flight == 1


async def test_a_refused_key_stays_refused_where_only_others_change(edge: Edge) -> None:
    one = {"kind": "openai", "api_keys": ["sk-aaaaaaaaaaaaaaaa-1111", "sk-bbbbbbbbbbbbbbbb-2222"]}
    edge.apply(snapshot(1, providers={"alpha": one}))
    keys = _edge_provider(edge).standing.gate.keys
    used = keys.pick("m", 0.0)
    assert isinstance(used, str)
    keys.settle(used, "m", Failure(kind=FailureKind.UNAUTHENTICATED), 0.0)
    edge.apply(snapshot(2, providers={"alpha": {**one, "api_keys": [*one["api_keys"], "sk-cccccccccccccccc-3333"]}}))
    again = _edge_provider(edge).standing.gate.keys
    assert len(again) == 3
    assert used not in {again.pick("m", 1.0) for _ in range(6)}


async def test_another_address_is_another_provider(edge: Edge) -> None:
    one = {"kind": "custom", "base_url": "http://127.0.0.1:1/v1"}
    edge.apply(snapshot(1, providers={"alpha": one}))
    before = _edge_provider(edge).standing
    edge.apply(snapshot(2, providers={"alpha": {**one, "base_url": "http://127.0.0.1:2/v1"}}))
    assert _edge_provider(edge).standing is not before


async def test_remembered_answers_outlive_a_change_of_other_settings(edge: Edge) -> None:
    def document(version: int, **cache: Any) -> Snapshot:
        said = {"local": {"enabled": False}, "providers": {"alpha": ALPHA}, "cache": cache, "port": 8_000 + version}
        return Snapshot(incarnation=1, version=version, settings_version=version, settings=said)

    edge.apply(document(1, enabled=True))
    before = edge.gateway.policy.cache
    edge.apply(document(2, enabled=True))
    assert edge.gateway.policy.cache is before is not None
    edge.apply(document(3, enabled=True, ttl_s=1.0))
    assert edge.gateway.policy.cache is before, "how old they may be is looked up when they are given"
    edge.apply(document(4, enabled=True, max_mb=1))
    assert edge.gateway.policy.cache is not before
    edge.apply(document(4))
    assert edge.gateway.policy.cache is None


def _edge_provider(edge: Edge) -> EdgeProvider:
    upstream = edge.gateway.policy.upstreams["alpha"]
    assert isinstance(upstream, EdgeProvider)
    return upstream


# Remembered answers.

FAQ = {"cache": {"enabled": True}}


async def test_what_is_to_be_forgotten_is_forgotten_once(edge: Edge) -> None:
    def word(number: int, **said: str) -> Forget:
        return Forget(number=number, **said)

    document = {"local": {"enabled": False}, "providers": {"alpha": ALPHA}, **FAQ}
    edge.apply(Snapshot(incarnation=1, version=1, settings_version=1, settings=document))
    cache = edge.gateway.policy.cache
    assert cache is not None

    def remember() -> None:
        for key, tag in ((b"a", "faq"), (b"b", "")):
            cache.put(key, ANSWER, SENSES.clock(), ttl_s=60.0, about=About(tags=(tag,)))

    remember()
    edge.apply(snapshot(2, forgets=(word(1, tag="faq"),)))
    assert (b"a" in cache, b"b" in cache) == (False, True)
    assert edge.counters["cache_forgot"] == 1
    remember()
    edge.apply(snapshot(3, forgets=(word(1, tag="faq"),)))
    assert b"a" in cache, "the same word again says nothing"
    edge.apply(snapshot(4, forgets=(word(3, tag="none"), word(4, tag="none"))))
    assert len(cache) == 0, "the second word was missed, and may have been about anything"
    remember()
    edge.apply(snapshot(1, incarnation=2, forgets=(word(1, tag="faq"),)))
    assert (b"a" in cache, b"b" in cache) == (False, True), "another manager counts anew"
    assert edge.gateway.policy.cache is cache


async def test_meanings_are_there_once_their_vectors_are_read_and_stay_over_other_settings(edge: Edge) -> None:
    def document(version: int, **cache: Any) -> Snapshot:
        said = {"local": {"enabled": False}, "providers": {"alpha": ALPHA}, "cache": {"enabled": True, **cache}}
        return Snapshot(incarnation=1, version=version, settings_version=version, settings=said)

    edge.apply(document(1, semantic=True))
    assert edge.gateway.policy.meanings is None
    assert edge.cache._loading is not None
    await edge.cache._loading
    meanings = edge.gateway.policy.meanings
    assert meanings is not None
    assert meanings.threshold == 0.75
    edge.apply(document(2, semantic=True, ttl_s=5))
    assert edge.gateway.policy.meanings is meanings
    edge.apply(document(3, semantic=True, threshold=0.9))
    await edge.cache._loading
    assert edge.gateway.policy.meanings is not None
    assert edge.gateway.policy.meanings.threshold == 0.9
    edge.apply(document(4))
    assert edge.gateway.policy.meanings is None


async def test_a_redis_that_nobody_names_or_has_is_no_tier_and_no_error(edge: Edge) -> None:
    said = {"providers": {"alpha": ALPHA}, "cache": {"enabled": True, "tier": "redis", "url": "os.environ/NOWHERE"}}
    edge.apply(Snapshot(incarnation=1, version=1, settings_version=1, settings=said))
    assert edge.gateway.policy.shared is None
    said["cache"]["url"] = "nonsense://"
    edge.apply(Snapshot(incarnation=1, version=2, settings_version=2, settings=said))
    assert edge.gateway.policy.shared is None


async def test_an_edge_tells_its_own_figures_while_the_manager_is_away_and_reports_them_once(edge: Edge) -> None:
    edge.apply(snapshot(1, providers={"alpha": ALPHA}))
    answer = await edge.gateway.complete(ask("hi", model="alpha/say"))
    edge.meter.served("openai", "alpha/say", answer, 0.1)
    for _ in range(2):  # before its report, and after it
        found = {family.name: dict(family.samples) for family in edge.families()}
        assert found["raygate_requests_total"] == {("openai", "alpha/say", "ok"): 1}
        assert found["raygate_attempts_total"] == {("alpha", "say", "ok"): 1}
        assert found["raygate_breaker_state"][("alpha", "closed")] == 1
        edge._report()
    assert edge._report().served == ()
