"""Servers that Raygate runs itself: what may be said of them, how many there are, and who of them is asked."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from pydantic import ValidationError

from runtime.admission import Admission, Entered
from runtime.assemble import places
from runtime.copies import Copies
from runtime.dialects.base import HttpCall, HttpReply
from runtime.feed import Endpoint
from runtime.settings import ProviderSettings, Settings
from runtime.settings.managed import ManagedSettings
from runtime.transport.base import Fault, FaultKind, HttpStream, Limits
from runtime.transport.spread import NEAR_S, REST_S, Spread
from tests.fakes.clock import FakeClock

LAB = {"kind": "custom", "models": ["m"], "managed": {"command": ["serve", "--port", "{port}"]}}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"kind": "openai"}, "only a provider of kind custom, local or ollama"),
        ({"base_url": "http://here"}, "its address"),
        ({"api_key": "sk-1"}, "its key"),
        ({"managed": {}}, "needs a `command`"),
        ({"managed": {"command": ["serve"]}}, r"should say \{port\}"),
        ({"managed": {"command": ["serve", "{prt}"]}}, "prt"),
        ({"managed": {"command": ["serve", "{port"]}}, "port"),
        ({"managed": {"command": ["serve", "{port}"], "min_copies": 3, "max_copies": 2}}, "min_copies"),
        ({"managed": {"command": ["serve", "{port}"], "ready": "health"}}, "ready"),
    ],
)
def test_what_makes_no_sense_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        ProviderSettings.model_validate({**LAB, **change})


def test_ollama_and_the_embedded_model_need_no_command() -> None:
    for kind in ("ollama", "local"):
        assert ProviderSettings.model_validate({"kind": kind, "managed": {"max_copies": 2}}).managed is not None


HOW = ManagedSettings(
    command=("serve", "{port}"), min_copies=1, max_copies=4, slots=2, up_after_s=10, down_after_s=60, queue=3
)


def test_copies_follow_a_rush_that_lasts_and_no_other() -> None:
    copies = Copies(1)
    assert copies.look(HOW, 8, 0.0) == 1
    assert copies.look(HOW, 2, 5.0) == 1, "it was over"
    assert copies.look(HOW, 8, 6.0) == 1
    assert copies.look(HOW, 5, 15.9) == 1
    assert copies.look(HOW, 9, 16.0) == 3, "the least that was wanted all the time"
    assert copies.look(HOW, 100, 17.0) == 3
    assert copies.look(HOW, 100, 27.0) == 4, "and never more than may be"


def test_copies_go_when_few_were_wanted_for_long() -> None:
    copies = Copies(4)
    assert copies.look(HOW, 0, 0.0) == 4
    assert copies.look(HOW, 3, 30.0) == 4
    assert copies.look(HOW, 0, 59.9) == 4
    assert copies.look(HOW, 0, 60.0) == 2, "the most that was wanted meanwhile"
    assert copies.look(HOW, 0, 61.0) == 2
    assert copies.look(HOW, 0, 121.0) == 1
    assert copies.look(HOW, 0, 500.0) == 1


def test_settings_that_allow_less_count_at_once() -> None:
    assert Copies(4).look(HOW.model_copy(update={"max_copies": 2}), 100, 0.0) == 2


def test_a_process_sends_no_more_than_there_are_slots_that_others_do_not_use() -> None:
    settings = Settings.model_validate({"providers": {"lab": {**LAB, "managed": HOW.model_dump()}}})
    ours = settings.providers["lab"]
    at = Endpoint(provider="lab", base_url="http://lab.invalid", copies=("http://a", "http://b", "http://c"))
    free = {others: places(ours, settings, at, others=others) for others in (0, 4, 9)}
    assert {others: one and (one.max_in_flight, one.max_queued) for others, one in free.items()} == {
        0: (6, 3),
        4: (2, 3),
        9: (1, 3),
    }


async def test_so_many_wait_for_a_server_of_ours_before_others_are_asked() -> None:
    settings = Settings.model_validate({"providers": {"lab": {**LAB, "managed": HOW.model_dump()}}})
    policy = places(settings.providers["lab"], settings)
    assert policy is not None
    queue = Admission(policy, FakeClock(), random.Random(1))
    inside = [await queue.enter() for _ in range(HOW.slots)]
    assert queue.is_full
    waiting = []
    for _ in range(HOW.queue):
        assert not queue.spills
        waiting.append(asyncio.ensure_future(queue.enter()))
        await asyncio.sleep(0)
    assert queue.spills
    for one in inside:
        assert isinstance(one, Entered)
        queue.leave(one)
    await asyncio.sleep(0)
    assert not queue.spills
    for left in waiting:
        left.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


class Copy(HttpStream):
    def __init__(self, url: str) -> None:
        self.status, self.headers, self.url = 200, {}, url

    async def read(self) -> bytes:
        return b""

    async def read_all(self) -> bytes:
        return self.url.encode()

    async def close(self) -> None:
        pass


class Network:
    """Says which copy was asked; those that are down refuse, those that break do so after they were asked."""

    def __init__(self) -> None:
        self.down: set[str] = set()
        self.broken: set[str] = set()
        self.asked: list[str] = []
        self.patience_s: list[float] = []

    async def open(self, call: HttpCall, limits: Limits) -> HttpStream | Fault:
        host = call.url.split("/")[2]
        self.asked.append(host)
        self.patience_s.append(limits.connect_s)
        await asyncio.sleep(0)
        if host in self.down:
            return Fault(FaultKind.REFUSED)
        return Fault(FaultKind.RESET) if host in self.broken else Copy(call.url)

    async def send(self, call: HttpCall, limits: Limits) -> HttpReply | Fault:
        raise AssertionError

    async def close(self) -> None:
        pass


CALL = HttpCall(method="POST", url="http://lab.invalid/v1/chat", headers={})
COPIES = ("http://a:1/v1", "http://b:2/v1", "http://c:3/v1")


class World:
    def __init__(self) -> None:
        self.now = 0.0
        self.network = Network()
        self.spread = Spread(self.network, "http://lab.invalid/v1", COPIES, lambda: self.now)

    async def open(self) -> HttpStream:
        opened = await self.spread.open(CALL, Limits())
        assert not isinstance(opened, Fault)
        return opened


async def test_calls_go_to_the_least_busy_copy() -> None:
    world = World()
    opened = [await world.open() for _ in range(6)]
    assert sorted(world.network.asked) == ["a:1"] * 2 + ["b:2"] * 2 + ["c:3"] * 2
    for one, asked in zip(opened, world.network.asked, strict=True):
        if asked == "b:2":
            await one.close()
            await one.close()  # twice is once
    world.network.asked.clear()
    for _ in range(2):
        await world.open()
    assert world.network.asked == ["b:2", "b:2"]


async def test_a_copy_that_is_away_is_passed_over_and_rests() -> None:
    world = World()
    world.network.down = {"a:1"}
    replies = [await world.spread.send(CALL, Limits()) for _ in range(6)]
    assert not any(isinstance(one, Fault) for one in replies)
    assert world.network.asked.count("a:1") == 1
    world.network.down = set()
    world.now = REST_S + 0.1
    world.network.asked.clear()
    for _ in range(3):
        await world.spread.send(CALL, Limits())
    assert "a:1" in world.network.asked


async def test_where_none_can_be_reached_that_is_the_fault() -> None:
    world = World()
    world.network.down = {"a:1", "b:2", "c:3"}
    assert await world.spread.send(CALL, Limits()) == Fault(FaultKind.REFUSED)
    assert len(world.network.asked) == 3
    assert world.network.patience_s == [NEAR_S, NEAR_S, Limits().connect_s], "nobody waits long while there are others"


async def test_a_copy_that_broke_off_is_not_the_next_to_be_asked() -> None:
    world = World()
    world.network.broken = {"a:1"}
    for _ in range(6):
        await world.spread.send(CALL, Limits())
    assert world.network.asked.count("a:1") == 1


async def test_where_there_is_no_copy_that_is_the_fault() -> None:
    world = World()
    spread = Spread(world.network, "http://lab.invalid/v1", (), lambda: 0.0)
    assert isinstance(await spread.open(CALL, Limits()), Fault)


async def test_what_may_have_arrived_is_not_sent_again() -> None:
    world = World()
    world.network.broken = {"a:1", "b:2", "c:3"}
    assert await world.spread.open(CALL, Limits()) == Fault(FaultKind.RESET)
    assert len(world.network.asked) == 1
