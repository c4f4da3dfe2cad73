"""Every attempt is written down before its first byte and after its last, once, whatever becomes of it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import pytest

from runtime.assemble import policy_of
from runtime.dialects.scripted import ErrorEvent, Malformed, Refuse, Reset, Status, Step, Truncate
from runtime.gateway import Gateway
from runtime.ledger.rows import Account, Billing, Flag, Intent
from runtime.outcome import CACHED, HEDGED, SHARED, Completion, Failure, FailureKind, StreamStart, Usage
from runtime.request import EmbedRequest, Request, Sampling, ask
from runtime.settings import Settings
from tests.fakes.books import FakeBooks
from tests.fakes.clock import FakeClock, HeldSleep, turns
from tests.fakes.providers import Rig, fails, kind, rig, settings_of, streamed

OK = Step(text="one two three", usage=Usage(input_tokens=10, output_tokens=3))
PRICE = {"price": {"input": "1", "output": "2"}}
PRICED = settings_of("one", models={"one/scripted": PRICE})
PAYER = Account(key="k_1", team="search", tags=("prod",))
BILLED = Billing(account=PAYER, route="smart", hold_nanousd=90_000, lease="l1", flags=Flag.RETRIED)


def booked(*steps: Step, settings: Settings = PRICED, **said: Any) -> tuple[Rig, FakeBooks]:
    books = FakeBooks()
    return rig(*steps, settings=settings, books=books, **said), books


def billed(**said: Any) -> Request:
    return replace(ask("hello there"), request_id="req_1", billing=BILLED, **said)


# One provider.


async def test_an_answer_is_an_intent_and_a_settlement() -> None:
    made, books = booked(replace(OK, delay_s=0.5))
    answer = await made.provider.complete(billed())
    assert isinstance(answer, Completion)
    row = books.row
    assert row.intent == Intent(
        attempt="fake-1",
        at_ms=books.now_ms(),
        request_id="req_1",
        account=PAYER,
        route="smart",
        provider="one",
        model="scripted",
        hold_nanousd=90_000,
        lease="l1",
        flags=Flag.RETRIED,
    )
    assert row.settlement.outcome == "ok"
    assert row.settlement.usage == answer.usage
    assert row.cost_nanousd == 16_000
    assert row.settlement.latency_ms == pytest.approx(500.0)
    assert row.flags == Flag.RETRIED


async def test_nobody_is_asked_before_the_intent_is_written() -> None:
    made, books = booked(OK)
    seen: list[int] = []
    send = made.transport.open

    async def watched(*said: Any) -> Any:
        seen.append(books.under_way)
        return await send(*said)

    made.transport.open = watched  # type: ignore[method-assign]
    await made.provider.complete(billed())
    await streamed(made.provider, billed())
    assert seen == [1, 1]
    assert books.under_way == 0


async def test_a_stream_says_so_and_when_it_began() -> None:
    made, books = booked(replace(OK, delay_s=0.25))
    await streamed(made.provider, billed())
    assert Flag.STREAMED in books.row.flags
    assert books.row.settlement.ttft_ms == pytest.approx(250.0)


async def test_vectors_are_written_down_too() -> None:
    made, books = booked(OK)
    await made.provider.embed(EmbedRequest(inputs=("a b c",), billing=BILLED, request_id="req_1"))
    assert books.row.intent.account == PAYER
    assert books.row.settlement.outcome == "ok"


async def test_without_a_reservation_the_hold_is_worked_out() -> None:
    made, books = booked(OK)
    await made.provider.complete(replace(ask("hi"), sampling=Sampling(max_tokens=5)))
    hold = books.row.intent.hold_nanousd
    assert hold is not None
    assert hold >= books.row.cost_nanousd  # type: ignore[operator]


async def test_an_unknown_price_stays_unknown() -> None:
    made, books = booked(OK, settings=settings_of("one"))
    await made.provider.complete(ask("hi"))
    row = books.row
    assert (row.intent.hold_nanousd, row.cost_nanousd, row.flags) == (None, None, Flag.UNPRICED)


async def test_an_error_of_the_provider_costs_nothing() -> None:
    made, books = booked(fails(Status(status=500)))
    assert kind(await made.provider.complete(billed())) is FailureKind.UNAVAILABLE
    assert (books.row.settlement.outcome, books.row.cost_nanousd, books.row.flags) == ("unavailable", 0, Flag.RETRIED)


async def test_what_was_never_sent_is_no_row() -> None:
    made, books = booked(fails(Refuse()))
    await made.provider.complete(billed())
    await streamed(made.provider, billed())
    assert len(books.settlements) == 2
    assert books.rows == []


@pytest.mark.parametrize("step", [fails(Reset()), fails(Truncate()), fails(Malformed())])
@pytest.mark.parametrize("stream", [False, True])
async def test_whoever_breaks_off_may_have_charged_for_the_question(step: Step, stream: bool) -> None:
    made, books = booked(step)
    if stream:
        await streamed(made.provider, billed())
    else:
        await made.provider.complete(billed())
    row = books.row
    assert Flag.ESTIMATED in row.flags
    assert row.settlement.usage.input_tokens > 0
    assert row.cost_nanousd is not None
    assert 0 < row.cost_nanousd <= 90_000


async def test_an_estimate_is_never_charged_beyond_its_hold() -> None:
    made, books = booked(fails(Reset()))
    await made.provider.complete(replace(billed(), billing=replace(BILLED, hold_nanousd=5)))
    assert books.row.cost_nanousd == 5
    made, books = booked(OK)
    await made.provider.complete(replace(billed(), billing=replace(BILLED, hold_nanousd=5)))
    assert books.row.cost_nanousd == 16_000, "what the provider reports is what it costs"
    assert Flag.OVERRUN in books.row.flags


async def test_a_caller_who_goes_away_pays_for_the_question() -> None:
    held = HeldSleep()
    made, books = booked(replace(OK, delay_s=5.0), sleep=held)
    task = asyncio.create_task(made.provider.complete(billed()))
    await turns()
    assert books.under_way == 1
    task.cancel()
    await asyncio.wait((task,))
    row = books.row
    assert row.settlement.outcome == FailureKind.CANCELLED
    assert Flag.CANCELLED | Flag.ESTIMATED in row.flags
    assert Flag.PARTIAL not in row.flags


async def test_a_stream_that_is_left_in_the_middle_is_partial() -> None:
    made, books = booked(OK)
    async with aclosing(made.provider.stream(billed())) as events:
        async for event in events:
            if not isinstance(event, StreamStart):
                break
    row = books.row
    assert Flag.CANCELLED | Flag.PARTIAL | Flag.ESTIMATED | Flag.STREAMED in row.flags
    assert row.settlement.usage.output_tokens > 0


async def test_a_stream_that_breaks_after_content_is_partial_and_no_fault_of_its_caller() -> None:
    made, books = booked(replace(OK, fault=ErrorEvent(after=2)))
    await streamed(made.provider, billed())
    assert Flag.PARTIAL | Flag.ESTIMATED in books.row.flags
    assert Flag.CANCELLED not in books.row.flags


async def test_a_provider_whose_door_is_shut_is_no_attempt() -> None:
    made, books = booked(*[fails(Status(status=500))] * 5, OK)
    for _ in range(6):
        await made.provider.complete(billed())
    assert len(books.intents) == 5


# When the journal refuses.


async def test_what_cannot_be_written_down_is_not_asked() -> None:
    made, books = booked(OK)
    books.refuses = "the journal in /x cannot be written: No space left on device"
    answer = await made.provider.complete(billed())
    assert isinstance(answer, Failure)
    assert answer.handling.status == 503
    assert "No space left on device" in answer.detail
    assert made.transport.sent == []
    assert made.in_flight == 0
    books.refuses = ""
    assert isinstance(await made.provider.complete(billed()), Completion), "it shut no door"


async def test_where_the_ledger_must_know_it_is_asked_before_the_first_byte_and_before_the_end() -> None:
    made, books = booked(OK)
    books.waits = True
    assert isinstance(await made.provider.complete(billed()), Completion)
    assert books.asked == ["fake-1", "fake-1"]
    books.unacknowledged = "the ledger is away"
    answer = await made.provider.complete(billed())
    assert isinstance(answer, Failure)
    assert answer.kind is FailureKind.REFUSED
    assert len(made.transport.sent) == 1
    assert len(books.rows) == 1
    assert made.in_flight == books.under_way == 0


# A gateway.


def gateway(
    books: FakeBooks, *rigs: Rig, settings: Settings, clock: FakeClock, sleep: Callable[[float], Any] | None = None
) -> Gateway:
    policy = policy_of(settings, {one.provider.name: one.provider for one in rigs})
    return Gateway(policy, clock=clock, sleep=sleep or clock.sleep, rng=random.Random(1), books=books)


def two(books: FakeBooks, first: Step, second: Step, **said: Any) -> tuple[Gateway, Rig, Rig]:
    clock = FakeClock()
    settings = settings_of(
        "one", "two", routes={"smart": {"targets": ["one/m", "two/m"], **said.pop("route", {})}}, **said
    )
    rigs = [rig(first, name="one", settings=settings, clock=clock, books=books)]
    rigs.append(rig(second, name="two", settings=settings, clock=clock, books=books))
    return gateway(books, *rigs, settings=settings, clock=clock), rigs[0], rigs[1]


async def test_failover_is_two_rows_of_one_request() -> None:
    books = FakeBooks()
    made, *_ = two(books, fails(Status(status=500)), OK)
    answer = await made.complete(replace(ask("hi", model="smart"), request_id="r1"))
    assert isinstance(answer, Completion)
    failed, won = books.rows
    assert {failed.intent.route, won.intent.route} == {"smart"}
    assert {failed.intent.request_id, won.intent.request_id} == {"r1"}
    assert (failed.settlement.outcome, won.settlement.outcome) == ("unavailable", "ok")
    assert Flag.RETRIED not in failed.flags
    assert Flag.RETRIED in won.flags


async def test_the_one_who_loses_a_hedge_is_a_row_that_says_so() -> None:
    books = FakeBooks()
    clock = FakeClock()
    routes = {"smart": {"targets": ["one/m", "two/m"]}}
    settings = settings_of("one", "two", routes=routes, hedge={"after_s": 0.1, "max_share": 1.0})
    held = HeldSleep()
    slow = rig(replace(OK, delay_s=9.0), name="one", settings=settings, clock=clock, books=books, sleep=held)
    fast = rig(OK, name="two", settings=settings, clock=clock, books=books)
    made = gateway(books, slow, fast, settings=settings, clock=clock)
    answer = await made.complete(ask("hi", model="smart"))
    assert isinstance(answer, Completion)
    assert answer.provider == "two"
    await made._attempts.settled()
    rows = {row.intent.provider: row for row in books.rows}
    assert rows["one"].settlement.outcome == HEDGED
    assert Flag.CANCELLED | Flag.ESTIMATED in rows["one"].flags
    assert Flag.HEDGED not in rows["one"].flags
    assert Flag.HEDGED in rows["two"].flags


async def test_a_remembered_answer_is_a_row_that_costs_nothing() -> None:
    books = FakeBooks()
    made, *_ = two(books, OK, OK, cache={"enabled": True})
    for number in range(3):
        await made.complete(replace(billed(model="smart"), request_id=f"r{number}"))
    first, *others = sorted(books.rows, key=lambda row: row.intent.request_id)
    assert Flag.CACHED not in first.flags
    assert len(others) == 2
    for row in others:
        assert row.settlement.outcome == CACHED
        assert row.cost_nanousd == 0
        assert Flag.CACHED in row.flags
        assert row.intent.account == PAYER


async def test_whoever_shares_a_call_has_a_row_that_costs_nothing() -> None:
    books = FakeBooks()
    held = HeldSleep()
    clock = FakeClock()
    settings = settings_of("one")
    made = gateway(
        books,
        rig(replace(OK, delay_s=1.0), settings=settings, clock=clock, books=books, sleep=held),
        settings=settings,
        clock=clock,
    )
    same = replace(ask("hi", model="one/m"), sampling=Sampling(temperature=0.0))
    tasks = [asyncio.create_task(made.complete(replace(same, request_id=f"r{n}"))) for n in range(3)]
    await turns(20)
    held.release()
    await asyncio.gather(*tasks)
    assert sorted(row.settlement.outcome for row in books.rows) == ["ok", SHARED, SHARED]


async def test_no_provider_sees_who_pays() -> None:
    made, _ = booked(OK)
    await made.provider.complete(billed())
    assert b"k_1" not in made.transport.sent[0]
    assert b"smart" not in made.transport.sent[0]


async def test_without_books_nothing_is_different() -> None:
    assert isinstance(await rig(OK).provider.complete(billed()), Completion)
