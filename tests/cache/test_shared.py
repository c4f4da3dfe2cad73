"""What all replicas remember together: one of them asks, none of them depends on it."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from actors.cache_actor import CacheActor
from actors.redis_cache import RedisStore
from runtime.cache import About, Forget
from runtime.cache.pack import pack
from runtime.cache.shared import PACKED_BYTES, Found, Lead, SharedAnswers, SharedTier, Store, TakenUp
from runtime.dialects.scripted import Status, Step
from runtime.gateway import Gateway
from runtime.outcome import Completion, Cost, Failure, FailureKind
from runtime.request import ask
from tests.cache.test_answers import ANSWER
from tests.fakes.clock import FakeClock, HeldSleep, turns
from tests.fakes.gateway import Rigs, tried
from tests.fakes.providers import fails

ABOUT = About(tenant="t", route="r", provider="p", model="m", tags=("faq",))
REDIS = os.environ.get("RAYGATE_TEST_REDIS", "")  # tests are their own edge
no_redis = pytest.mark.skipif(not REDIS, reason="RAYGATE_TEST_REDIS names none; make test-redis has one of its own")


class ActorStore(CacheActor):
    """The actor without the way to it."""

    async def close(self) -> None:
        pass


@asynccontextmanager
async def actor() -> AsyncGenerator[Store]:
    yield ActorStore(1_000_000)


@asynccontextmanager
async def redis() -> AsyncGenerator[Store]:
    store = RedisStore(REDIS)
    await store._redis.flushdb()
    try:
        yield store
    finally:
        await store.close()


STORES = pytest.mark.parametrize("opened", [actor, pytest.param(redis, marks=no_redis)])


class Broken:
    """A store that is away, slow, or tells nonsense."""

    def __init__(self, does: Callable[[], Any]) -> None:
        self.does = does
        self.asked = 0

    def __getattr__(self, name: str) -> Any:
        async def call(*args: object) -> Any:
            self.asked += 1
            found = self.does()
            return await found if asyncio.iscoroutine(found) else found

        return call


def tier(store: Any, clock: Callable[[], float] | None = None, **said: Any) -> SharedTier:
    return SharedTier(store, clock=clock or FakeClock(), rng=random.Random(1), **said)


# What a store does.


@STORES
async def test_the_first_asks_and_the_others_wait_for_what_it_brings(opened: Any) -> None:
    async with opened() as store:
        ours, theirs = tier(store), tier(store)
        lead = await ours.ask(b"k", within_s=5.0)
        assert isinstance(lead, Lead)
        waiting = asyncio.create_task(theirs.ask(b"k", within_s=5.0))
        await asyncio.sleep(0.03)
        assert not waiting.done()
        lead.give(ANSWER, ttl_s=10.0, about=ABOUT)
        found = await waiting
        assert isinstance(found, Found)
        assert (found.completion, 0.0 <= found.age_s < 1.0) == (ANSWER, True)
        told = found.told(b"k")
        assert (told.cost, told.attempts[0].outcome) == (Cost(saved_nanousd=9), "cached")
        again = await theirs.ask(b"k", within_s=5.0)
        assert isinstance(again, Found)
        assert await theirs.ask(b"k", within_s=5.0, max_age_s=0.0) is None
        assert await theirs.look(b"k", max_age_s=60.0) is not None


@STORES
async def test_who_brings_nothing_lets_the_others_go(opened: Any) -> None:
    async with opened() as store:
        ours, theirs = tier(store), tier(store)
        lead = await ours.ask(b"k", within_s=5.0)
        assert isinstance(lead, Lead)
        waiting = [asyncio.create_task(theirs.ask(b"k", within_s=5.0)) for _ in range(3)]
        await asyncio.sleep(0.03)
        lead.release()
        lead.release()
        lead.give(ANSWER, ttl_s=10.0, about=ABOUT)
        assert await asyncio.gather(*waiting) == [None, None, None]
        assert isinstance(await theirs.ask(b"k", within_s=5.0), Lead)


@STORES
async def test_a_lease_that_ran_out_is_anothers(opened: Any) -> None:
    async with opened() as store:
        assert (await store.take(b"k", "dead", 0.05)).lead
        assert await store.take(b"k", "second", 0.05) == TakenUp()
        assert await store.wait(b"k", 5.0) == TakenUp()
        assert (await store.take(b"k", "third", 5.0)).lead
        await store.put(b"k", "dead", pack(ANSWER, about=ABOUT), ABOUT, 10.0)
        assert (await store.look(b"k")).packed is None, "what comes late is not taken"
        await store.release(b"k", "dead")
        assert await store.take(b"k", "fourth", 5.0) == TakenUp()


@STORES
async def test_a_lease_is_kept_by_saying_so(opened: Any) -> None:
    async with opened() as store:
        await store.take(b"k", "slow", 0.08)
        await store.renew(b"k", "slow", 5.0)
        await store.renew(b"k", "another", 0.001)
        await asyncio.sleep(0.1)
        assert await store.take(b"k", "second", 5.0) == TakenUp()


@STORES
async def test_what_lies_there_ends_in_time(opened: Any) -> None:
    async with opened() as store:
        await store.take(b"k", "a", 5.0)
        await store.put(b"k", "a", pack(ANSWER, about=ABOUT), ABOUT, 0.05)
        assert (await store.look(b"k")).packed is not None
        await asyncio.sleep(0.08)
        assert (await store.look(b"k")).packed is None


@STORES
async def test_forgetting_ends_what_is_under_way_too(opened: Any) -> None:
    async with opened() as store:
        for key, about in ((b"a", ABOUT), (b"b", replace(ABOUT, tags=()))):
            await store.take(key, "x", 5.0)
            await store.put(key, "x", pack(ANSWER, about=about), about, 10.0)
        await store.take(b"c", "x", 5.0)
        assert await store.forget(Forget(tag="faq")) == 1
        assert [(await store.look(key)).packed is not None for key in (b"a", b"b")] == [False, True]
        await store.put(b"c", "x", pack(ANSWER, about=ABOUT), ABOUT, 10.0)
        assert (await store.look(b"c")).packed is None
        assert await store.forget(Forget()) == 1
        assert set(await store.stats()) >= {"entries", "bytes"}


# Nobody depends on it.


@pytest.mark.parametrize(
    "does",
    [lambda: 1 / 0, lambda: asyncio.sleep(60), lambda: TakenUp(packed=b"\x80\x04nonsense"), lambda: "what?"],
    ids=["away", "slow", "nonsense", "another version"],
)
async def test_one_that_is_broken_is_left_out(does: Any) -> None:
    ours = tier(Broken(does), hurry_s=0.01)
    assert await ours.ask(b"k", within_s=1.0) is None
    assert await ours.look(b"k") is None


async def test_what_is_away_is_not_paid_again_and_again() -> None:
    clock, store = FakeClock(), Broken(lambda: 1 / 0)
    ours = tier(store, clock)
    for _ in range(100):
        assert await ours.ask(b"k", within_s=1.0) is None
    assert (store.asked, ours.skipped) == (2, 98)
    clock.advance(1.5)
    for _ in range(100):
        await ours.ask(b"k", within_s=1.0)
    assert store.asked == 3, "one probe"
    store.does = lambda: TakenUp(lead=True)
    clock.advance(60.0)
    lead = await ours.ask(b"k", within_s=1.0)
    assert isinstance(lead, Lead)
    lead.release()
    await ours.settled()


# Replicas.


class Cluster:
    """Some edges over one provider each, which count their calls together, and one store."""

    def __init__(self, edges: int, store: Any, *steps: Step, held: HeldSleep | None = None, **said: Any) -> None:
        played = list(steps) or [Step(text="hello", delay_s=1.0)]
        self.tiers = [tier(store, **said) for _ in range(edges)]
        self.rigs = [Rigs(a=played, settings={"cache": {"enabled": True}}, sleep=held) for _ in range(edges)]
        for made, ours in zip(self.rigs, self.tiers, strict=True):
            made.gateway.policy = replace(made.gateway.policy, shared=ours)

    @property
    def gateways(self) -> list[Gateway]:
        return [made.gateway for made in self.rigs]

    @property
    def calls(self) -> int:
        return sum(made.calls()["a"] for made in self.rigs)


HI = ask("hi")


@STORES
async def test_a_stampede_of_500_is_one_call_of_the_whole_cluster(opened: Any) -> None:
    held = HeldSleep()
    async with opened() as store:
        cluster = Cluster(4, store, held=held)
        requests = [replace(HI, request_id=str(at)) for at in range(500)]
        asked = [asyncio.create_task(cluster.gateways[at % 4].complete(one)) for at, one in enumerate(requests)]
        await asyncio.sleep(0.05)
        held.release()
        answers = await asyncio.gather(*asked)
        assert cluster.calls == 1
        assert {one.text for one in answers if isinstance(one, Completion)} == {"hello"}
        assert [one.request_id for one in answers] == [str(at) for at in range(500)]
        outcomes = [one.attempts[0].outcome for one in answers]
        assert (outcomes.count("ok"), outcomes.count("cached"), outcomes.count("shared")) == (1, 3, 496)
        for gateway in cluster.gateways:
            again = await gateway.complete(HI)
            assert [one.outcome for one in again.attempts] == ["cached"]
        assert cluster.calls == 1
        assert [one.led + one.found for one in cluster.tiers] == [1] * 4, "one hop each, and none on a hit"


async def test_without_a_tier_it_is_one_call_each_edge() -> None:
    held = HeldSleep()
    cluster = Cluster(4, None, held=held)
    for made in cluster.rigs:
        made.gateway.policy = replace(made.gateway.policy, shared=None)
    asked = [asyncio.create_task(cluster.gateways[at % 4].complete(HI)) for at in range(500)]
    await turns(20)
    held.release()
    await asyncio.gather(*asked)
    assert cluster.calls == 4


async def test_a_dead_tier_fails_no_request() -> None:
    cluster = Cluster(4, Broken(lambda: 1 / 0), Step(text="hello"))
    for _ in range(3):
        for gateway in cluster.gateways:
            answer = await gateway.complete(HI)
            assert isinstance(answer, Completion)
    assert cluster.calls == 4


async def test_a_slow_tier_is_waited_for_twice_and_then_no_more() -> None:
    cluster = Cluster(1, Broken(lambda: asyncio.sleep(60)), Step(text="hello"), hurry_s=0.01)
    for at in range(20):
        assert isinstance(await cluster.gateways[0].complete(ask(f"hi {at}")), Completion)
    assert cluster.tiers[0].away == 2


async def test_a_leader_that_fails_holds_nobody_up() -> None:
    async with actor() as store:
        cluster = Cluster(3, store, fails(Status(status=400)))
        answers = await asyncio.gather(*(gateway.complete(HI) for gateway in cluster.gateways))
        assert [one.kind for one in answers if isinstance(one, Failure)] == [FailureKind.BAD_REQUEST] * 3
        await asyncio.gather(*(one.settled() for one in cluster.tiers))
        assert (await store.stats())["leases"] == 0


async def test_a_leader_whose_caller_goes_away_leaves_no_lease() -> None:
    held = HeldSleep()
    async with actor() as store:
        cluster = Cluster(2, store, held=held)
        first = asyncio.create_task(cluster.gateways[0].complete(HI))
        await turns(20)
        second = asyncio.create_task(cluster.gateways[1].complete(HI))
        await turns(20)
        first.cancel()
        await turns(20)
        held.release()
        assert tried((await second).attempts) == [("a", "ok")]


async def test_only_if_cached_looks_there_too_and_promises_nothing() -> None:
    async with actor() as store:
        cluster = Cluster(2, store, Step(text="hello"))
        only = replace(HI, only_if_cached=True)
        assert isinstance(await cluster.gateways[1].complete(only), Failure)
        await cluster.gateways[0].complete(HI)
        await cluster.tiers[0].settled()
        found = await cluster.gateways[1].complete(only)
        assert isinstance(found, Completion)
        assert (tried(found.attempts), cluster.calls) == ([("a", "cached")], 1)


async def test_forgotten_meanwhile_is_not_remembered_after_all() -> None:
    held = HeldSleep()
    async with actor() as store:
        cluster = Cluster(1, store, held=held)
        asked = asyncio.create_task(cluster.gateways[0].complete(HI))
        await turns(20)
        await cluster.gateways[0].clear_cache()
        await store.forget(Forget())
        held.release()
        await asked
        assert len(cluster.gateways[0].policy.cache or ()) == 0
        assert (await store.stats())["entries"] == 0


async def test_its_age_comes_along() -> None:
    async with actor() as store:
        cluster = Cluster(2, store, Step(text="hello"))
        await cluster.gateways[0].complete(HI)
        await cluster.tiers[0].settled()
        await cluster.gateways[1].complete(HI)
        cache = cluster.gateways[1].policy.cache
        assert cache is not None
        cluster.rigs[1].clock.advance(299.9)
        assert isinstance(await cluster.gateways[1].complete(replace(HI, only_if_cached=True)), Completion)


# Bytes, time and leases of the actor's memory, against a model.


class Model(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.room = 5 * PACKED_BYTES
        self.answers = SharedAnswers(max_bytes=self.room)
        self.kept: dict[bytes, tuple[bytes, float, float]] = {}
        self.leases: dict[bytes, tuple[str, float]] = {}

    keys = st.sampled_from([b"a", b"b", b"c", b"d", b"e", b"f"])
    holders = st.sampled_from(["x", "y"])

    def held(self, key: bytes) -> bytes | None:
        if key in self.kept and self.now >= self.kept[key][2]:
            del self.kept[key]
        if key not in self.kept:
            return None
        self.kept[key] = self.kept.pop(key)
        return self.kept[key][0]

    @rule(key=keys, holder=holders)
    def take(self, key: bytes, holder: str) -> None:
        found = self.answers.take(key, holder, 3.0, self.now)
        held = self.held(key)
        assert found.packed == held
        if held is None:
            free = key not in self.leases or self.leases[key][1] <= self.now
            assert found.lead == free
            if free:
                self.leases[key] = (holder, self.now + 3.0)

    @rule(key=keys, holder=holders, size=st.sampled_from([1, 300, 700, 5_000]), ttl_s=st.sampled_from([1.0, 9.0]))
    def put(self, key: bytes, holder: str, size: int, ttl_s: float) -> None:
        taken = self.answers.put(key, holder, b"x" * size, ABOUT, ttl_s=ttl_s, now=self.now)
        if self.leases.get(key, ("", 0.0))[0] != holder:
            assert not taken
            return
        del self.leases[key]
        self.kept.pop(key, None)
        assert taken == (size + PACKED_BYTES <= self.room)
        if taken:
            self.kept[key] = (b"x" * size, self.now, self.now + ttl_s)
        while sum(len(one[0]) + PACKED_BYTES for one in self.kept.values()) > self.room:
            del self.kept[next(iter(self.kept))]

    @rule(key=keys, holder=holders)
    def release(self, key: bytes, holder: str) -> None:
        ours = self.leases.get(key, ("", 0.0))[0] == holder
        assert self.answers.release(key, holder) == ours
        if ours:
            del self.leases[key]

    @rule(passes_s=st.sampled_from([0.5, 2.0]))
    def wait(self, passes_s: float) -> None:
        self.now += passes_s

    @rule()
    def forget(self) -> None:
        self.answers.forget(Forget())
        self.kept.clear()
        self.leases.clear()

    @invariant()
    def bytes_are_what_is_held(self) -> None:
        assert self.answers.bytes == sum(len(one[0]) + PACKED_BYTES for one in self.kept.values()) <= self.room
        assert len(self.answers) == len(self.kept)


TestSharedAgainstAModel = Model.TestCase
TestSharedAgainstAModel.settings = settings(max_examples=60, stateful_step_count=30)
