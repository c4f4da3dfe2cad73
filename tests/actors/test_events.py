"""Events on their way from edges to listeners: batched, bounded, and nothing at all while nobody listens."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import pytest

from actors.events import EventsOut, Listeners, Listening
from actors.refs import Unreachable
from runtime.events import AttemptEvent, Bus, Event, LostEvent, ResponseEvent, Wish
from tests.fakes.clock import FakeClock
from tests.fakes.loop import in_virtual_time


def attempt(number: int) -> AttemptEvent:
    return AttemptEvent(request_id=str(number))


class Manager:
    """One that lives in this process; `away` makes it unreachable."""

    def __init__(self, clock: FakeClock | None = None) -> None:
        self.listeners = Listeners(lambda: 0.0, clock or FakeClock())
        self.away = False
        self.batches: list[int] = []

    async def tell_events(self, events: Sequence[Event]) -> None:
        if self.away:
            raise Unreachable("away")
        self.batches.append(len(events))
        self.listeners.tell(events)

    async def watch(self, wish: Wish) -> tuple[Event, ...]:
        if self.away:
            raise Unreachable("away")
        is_new = not self.listeners.knows(wish.listener)
        reader = self.listeners.reader(wish)
        if not is_new:
            try:
                async with asyncio.timeout(wish.wait_s):
                    await reader.more()
            except TimeoutError:
                pass
        return reader.take()

    async def unwatch(self, listener: str) -> None:
        self.listeners.leave(listener)


def ids(events: Sequence[Event]) -> list[str]:
    return [one.request_id if isinstance(one, AttemptEvent) else one.type for one in events]


def test_an_edge_sends_nothing_while_nobody_listens_and_batches_while_somebody_does() -> None:
    async def run() -> None:
        bus, manager = Bus(lambda: 0.0, "edge"), Manager()
        out = EventsOut(bus, manager.tell_events)
        bus.tell(attempt(0))
        assert not bus.wanted
        manager.listeners.reader(Wish(listener="one", types=("attempt",)))
        out.follow(manager.listeners.watched)
        assert bus.wanted == {"attempt"}
        for number in range(1, 100):
            bus.tell(attempt(number))
            bus.tell(ResponseEvent())
        await asyncio.sleep(0.5)
        assert manager.batches == [99]
        manager.listeners.leave("one")
        out.follow(manager.listeners.watched)
        assert not bus.wanted
        await out.stop()

    in_virtual_time(run)


def test_what_could_not_be_sent_is_told_as_lost() -> None:
    async def run() -> None:
        bus, manager = Bus(lambda: 0.0, "edge"), Manager()
        out = EventsOut(bus, manager.tell_events)
        reader = manager.listeners.reader(Wish(listener="one", types=("attempt",)))
        out.follow(("attempt",))
        manager.away = True
        bus.tell(attempt(1))
        await asyncio.sleep(0.5)
        manager.away = False
        bus.tell(attempt(2))
        await asyncio.sleep(0.5)
        found = reader.take()
        assert ids(found) == ["lost", "2"]
        assert isinstance(found[0], LostEvent)
        assert found[0].count == 1
        await out.stop()

    in_virtual_time(run)


def test_a_listener_hears_what_happens_elsewhere() -> None:
    async def run() -> None:
        manager: Any = Manager()
        async with Listening(["attempt"], manager=manager) as events:
            manager.listeners.tell([attempt(1), ResponseEvent(), attempt(2)])
            assert ids([await anext(events), await anext(events)]) == ["1", "2"]
        assert manager.listeners.watched == ()

    in_virtual_time(run)


def test_a_listener_that_reads_slowly_is_told_how_much_it_lost() -> None:
    async def run() -> None:
        manager: Any = Manager()
        async with Listening(["attempt"], most=3, manager=manager) as events:
            for number in range(10):
                manager.listeners.tell([attempt(number)])
            await asyncio.sleep(1.0)
            found = events.take()
        assert ids(found) == ["lost", "7", "8", "9"]
        assert isinstance(found[0], LostEvent)
        assert found[0].count == 7

    in_virtual_time(run)


def test_a_manager_that_was_away_leaves_a_gap_that_is_told() -> None:
    async def run() -> None:
        manager: Any = Manager()
        async with Listening(["attempt"], manager=manager) as events:
            manager.away = True
            await asyncio.sleep(10.0)
            manager.listeners = Listeners(lambda: 0.0, FakeClock())
            manager.away = False
            await asyncio.sleep(2.0)
            manager.listeners.tell([attempt(5)])
            await asyncio.sleep(1.0)
            found = events.take()
        assert ids(found) == ["lost", "5"]
        assert isinstance(found[0], LostEvent)
        assert found[0].count is None

    in_virtual_time(run)


def test_a_listener_that_died_is_forgotten() -> None:
    async def run() -> None:
        clock = FakeClock()
        listeners = Listeners(lambda: 0.0, clock)
        listeners.reader(Wish(listener="one", types=("attempt",), prompts=True))
        assert listeners.watched == ("attempt", "prompts")
        clock.advance(19.0)
        listeners.expire()
        assert listeners.knows("one")
        clock.advance(2.0)
        listeners.expire()
        assert listeners.watched == ()

    in_virtual_time(run)


def test_a_type_that_there_is_not_is_refused() -> None:
    with pytest.raises(ValueError, match="no events of type 'requests'"):
        Listening(["requests"])


def test_who_is_not_connected_is_told_so_and_starts_no_second_ray() -> None:
    code = """import actors, ray
try:
    actors.listen("response")
except RuntimeError as error:
    print(error, ray.is_initialized())"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert "actors.connect" in done.stdout
    assert done.stdout.strip().endswith("False")
