"""What happens, told to whoever listens: to nobody at no cost, to the slow with gaps that are told."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import pickle
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.dialects.scripted import Status
from runtime.events import (
    KINDS,
    TYPES,
    AttemptEvent,
    Bus,
    ErrorEvent,
    FallbackEvent,
    LostEvent,
    RequestEvent,
    ResponseEvent,
    said,
)
from runtime.feed import DoorState, Published
from runtime.hooks import refuse
from runtime.request import ask
from runtime.settings import Settings
from runtime.telling import config_event, doors_moved
from tests.fakes.clock import turns
from tests.fakes.gateway import Rigs, text
from tests.fakes.providers import fails, streamed
from tests.hooks.rigged import put_on


def bus() -> Bus:
    return Bus(lambda: 1_700_000_000.0, "here")


def attempt(number: int) -> AttemptEvent:
    return AttemptEvent(request_id=str(number))


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_events_are_frozen_cross_between_processes_and_are_json(kind: Any) -> None:
    event = kind()
    with pytest.raises(dataclasses.FrozenInstanceError):
        event.at_s = 1.0
    assert pickle.loads(pickle.dumps(event)) == event
    assert json.loads(json.dumps(said(event)))["type"] == event.type


def test_nobody_wants_anything_until_somebody_does() -> None:
    made = bus()
    assert not made.wanted
    with made.subscribe(["attempt"]) as reader:
        assert made.wanted == {"attempt"}
        made.tell(ResponseEvent())
        made.tell(attempt(1))
        assert reader.take() == (attempt(1),)
    assert not made.wanted


@given(most=st.integers(1, 20), told=st.integers(0, 60))
def test_a_slow_reader_has_the_newest_and_knows_how_many_it_lost(most: int, told: int) -> None:
    async def run() -> tuple[Any, ...]:
        made = bus()
        with made.subscribe(most=most) as reader:
            for number in range(told):
                made.tell(attempt(number))
            return reader.take()

    found = asyncio.run(run())
    lost = max(0, told - most)
    events = found[1:] if lost else found
    assert [one.request_id for one in events] == [str(number) for number in range(lost, told)]
    if lost:
        assert found[0] == LostEvent(at_s=1_700_000_000.0, source="here", count=lost)


async def test_a_reader_waits_and_another_s_slowness_is_none_of_its_business() -> None:
    made = bus()
    with made.subscribe(most=1), made.subscribe() as quick:
        found: list[Any] = []

        async def read() -> None:
            async for event in quick:
                found.append(event)
                if len(found) == 3:
                    return

        reading = asyncio.create_task(read())
        await turns()
        for number in range(3):
            made.tell(attempt(number))
        await asyncio.wait_for(reading, 1.0)
        assert [one.request_id for one in found] == ["0", "1", "2"]


async def test_a_reader_that_is_closed_ends() -> None:
    reader = bus().subscribe()
    reading = asyncio.create_task(anext(reader, None))
    await turns()
    reader.close()
    assert await reading is None


def test_prompts_are_for_those_who_ask_for_them() -> None:
    made = bus()
    with made.subscribe() as plain, made.subscribe(["request"], prompts=True) as curious:
        assert "prompts" in made.wanted
        made.tell(RequestEvent(prompt="hi"))
        assert [one.prompt for one in plain.take() if isinstance(one, RequestEvent)] == [None]
        assert [one.prompt for one in curious.take() if isinstance(one, RequestEvent)] == ["hi"]
    assert "prompt" not in said(RequestEvent())


# Of requests.


def kinds(found: tuple[Any, ...]) -> list[str]:
    return [one.type for one in found]


async def test_a_request_its_attempts_and_its_answer_are_told_in_order() -> None:
    made = Rigs(a=fails(Status(status=500)), b=text("x"))
    with made.gateway.events.subscribe() as reader:
        await made.answer(replace(ask("secret words"), request_id="r1", tenant="us"))
        found = reader.take()
    assert kinds(found) == ["request", "attempt", "fallback", "attempt", "response"]
    assert {one.request_id for one in found} == {"r1"}  # type: ignore[union-attr]  # all of these have one
    assert "secret words" not in repr(found)
    fallback, answer = found[2], found[4]
    assert isinstance(fallback, FallbackEvent)
    assert (fallback.before, fallback.after, fallback.why) == ("a/a-model", "b/b-model", "unavailable")
    assert isinstance(answer, ResponseEvent)
    assert (answer.provider, answer.attempts, answer.cost_nanousd) == ("b", 2, None)


async def test_a_stream_is_told_of_once_it_is_over_also_where_its_reader_left() -> None:
    made = Rigs(a=[text("one two"), text("one two")])
    with made.gateway.events.subscribe() as reader:
        await streamed(made.gateway, ask("hi"))
        assert kinds(reader.take()) == ["request", "attempt", "response"]
        events = made.gateway.stream(ask("hi"))
        await anext(events)
        await events.aclose()
        found = reader.take()
    assert isinstance(found[-1], ErrorEvent)
    assert found[-1].kind == "cancelled"


async def test_what_a_hook_refused_is_an_error_and_its_prompt_was_never_told() -> None:
    class Refuses:
        def pre(self, asked: Any) -> Any:
            return refuse("no", code="mine")

    made = Rigs(a=text("x"))
    put_on(made, Refuses())
    with made.gateway.events.subscribe(prompts=True) as reader:
        await made.failure(replace(ask("secret words"), request_id="r1"))
        (error,) = reader.take()
    assert isinstance(error, ErrorEvent)
    assert (error.code, error.attempts) == ("mine", 0)


async def test_a_remembered_answer_is_told_as_such() -> None:
    made = Rigs(settings={"cache": {"enabled": True}}, a=text("x"))
    await made.answer()
    with made.gateway.events.subscribe(["cache"]) as reader:
        await made.answer()
        (event,) = reader.take()
    assert said(event)["how"] == "hit"


# Of the cluster.


def test_doors_that_move_are_told_and_time_that_passes_is_not() -> None:
    def told(before: Published | None, after: Published) -> list[tuple[str, str, str]]:
        moved = doors_moved(before, after, at_s=0.0, source="manager")
        return [(one.type, getattr(one, "model", ""), getattr(one, "state", "")) for one in moved]

    shut = Published(provider="a", spell=1, open=True, retry_in_s=30.0, why="5 failures")
    assert told(None, Published(provider="a")) == []
    assert told(None, shut) == [("breaker", "", "open"), ("health", "", "")]
    assert told(shut, shut.aged(3.0)) == []
    model = Published(provider="a", spell=2, models={"m": DoorState(throttled_for_s=3.0)})
    assert told(Published(provider="a"), model) == [("breaker", "m", "throttled")]
    assert told(model, Published(provider="a")) == [("breaker", "m", "closed")]


def test_new_settings_are_told_by_the_keys_that_differ_and_not_by_their_values() -> None:
    after = Settings.model_validate({"max_cost_usd": 1, "hooks": [{"use": "cost", "with": {"max_usd": "secret"}}]})
    event = config_event(Settings(), after, version=3, at_s=0.0, source="manager")
    assert event.changed == ("hooks", "max_cost_usd")
    assert "secret" not in repr(event)


def test_the_page_of_the_module_names_every_type() -> None:
    from runtime import events

    assert events.__doc__ is not None
    for name in TYPES:
        assert f"\n    {name} " in events.__doc__
