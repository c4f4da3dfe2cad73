"""Passes at an edge: asked for once, kept while the ledger is away, refused once revoked."""

from __future__ import annotations

import asyncio

import pytest

from actors.passes import MOST, NOBODY_S, Passes
from runtime.ledger.accounts import Pass
from runtime.ledger.rows import Account
from runtime.outcome import Failure, FailureKind
from tests.fakes.clock import FakeClock


class Away(Exception):
    pass


class Ledger:
    """Who is asked. `doors` holds its answers back."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.known: dict[str, Pass] = {"a": Pass(account=Account(key="k1"), lifetime_s=60.0)}
        self.asked: list[str] = []
        self.away = False
        self.door = asyncio.Event()
        self.door.set()
        self.passes = Passes(self.present, self.clock, away=Away)

    async def present(self, sha256: str) -> Pass | Failure:
        self.asked.append(sha256)
        await self.door.wait()
        if self.away:
            raise Away
        return self.known.get(sha256) or Failure(kind=FailureKind.BAD_KEY)


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


async def test_many_who_wait_for_one_pass_ask_once(ledger: Ledger) -> None:
    ledger.door.clear()
    waiting = [asyncio.ensure_future(ledger.passes.of("a")) for _ in range(10)]
    await asyncio.sleep(0)
    ledger.door.set()
    assert set(await asyncio.gather(*waiting)) == {ledger.known["a"]}
    await ledger.passes.of("a")
    assert ledger.asked == ["a"]


async def test_a_pass_that_is_half_over_is_renewed_beside_its_use(ledger: Ledger) -> None:
    first = await ledger.passes.of("a")
    ledger.clock.advance(31.0)
    ledger.door.clear()
    assert await ledger.passes.of("a") is first
    ledger.door.set()
    for _ in range(4):
        await asyncio.sleep(0)
    assert ledger.asked == ["a", "a"]


async def test_while_the_ledger_is_away_a_known_pass_goes_on_and_an_unknown_key_waits(ledger: Ledger) -> None:
    first = await ledger.passes.of("a")
    ledger.away = True
    ledger.clock.advance(3_600.0)
    assert await ledger.passes.of("a") is first
    refused = await ledger.passes.of("b")
    assert isinstance(refused, Failure)
    assert (refused.kind, refused.retry_after_s) == (FailureKind.UNAVAILABLE, 1.0)


async def test_a_key_that_is_not_known_is_asked_about_once_in_a_while(ledger: Ledger) -> None:
    for _ in range(5):
        refused = await ledger.passes.of("b")
        assert isinstance(refused, Failure)
    assert ledger.asked == ["b"]
    ledger.known["b"] = Pass(account=Account(key="k2"))
    ledger.clock.advance(NOBODY_S)
    assert await ledger.passes.of("b") is ledger.known["b"]


async def test_a_revoked_key_is_refused_at_once_and_also_without_the_ledger(ledger: Ledger) -> None:
    await ledger.passes.of("a")
    ledger.away = True
    ledger.passes.renew({"k1"})
    refused = await ledger.passes.of("a")
    assert isinstance(refused, Failure)
    assert refused.kind is FailureKind.BAD_KEY


async def test_a_change_is_asked_for_with_the_next_use(ledger: Ledger) -> None:
    await ledger.passes.of("a")
    ledger.known["a"] = Pass(account=Account(key="k1"), name="other")
    ledger.passes.renew(())
    assert await ledger.passes.of("a") is ledger.known["a"]


async def test_keys_do_not_fill_the_memory(ledger: Ledger) -> None:
    for at in range(MOST + 10):
        await ledger.passes.of(str(at))
    assert len(ledger.passes._known) == MOST
