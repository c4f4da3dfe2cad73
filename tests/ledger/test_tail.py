"""The newest rows, for whoever looks at what happens."""

from __future__ import annotations

from runtime.ledger.rows import Account
from runtime.ledger.store.base import Numbered, Store, StoreFailure, Where
from tests.ledger.rows import NOON, row


async def newest(store: Store, after: int = 0, limit: int = 100, **only: str) -> list[Numbered]:
    found = await store.newest(Where(since_ms=NOON - 10_000, only=only), after=after, limit=limit)
    assert not isinstance(found, StoreFailure), found
    return list(found)


def names(found: list[Numbered]) -> list[str]:
    return [one.row.intent.attempt for one in found]


async def test_the_newest_come_first_and_no_more_than_wanted(store: Store) -> None:
    await store.acquire_epoch("me", at_ms=NOON)
    await store.append([row(f"w:{n}", at_ms=NOON + n) for n in range(5)])
    assert names(await newest(store, limit=2)) == ["w:4", "w:3"]


async def test_what_is_older_than_asked_about_is_left_out(store: Store) -> None:
    await store.acquire_epoch("me", at_ms=NOON)
    await store.append([row("old", at_ms=NOON - 20_000), row("new")])
    assert names(await newest(store)) == ["new"]


async def test_what_came_after_the_last_look_is_found_also_if_it_began_long_before(store: Store) -> None:
    await store.acquire_epoch("me", at_ms=NOON)
    await store.append([row("w:1")])
    seen = (await newest(store))[0].seq
    assert await newest(store, after=seen) == []
    await store.append([row("slow", at_ms=NOON - 9_000), row("w:2", at_ms=NOON + 5)])
    assert set(names(await newest(store, after=seen))) == {"slow", "w:2"}


async def test_a_filter_holds_for_both(store: Store) -> None:
    await store.acquire_epoch("me", at_ms=NOON)
    bob = Account(key="bob", tags=("test",))
    await store.append([row("a"), row("b", account=bob)])
    assert names(await newest(store, key="bob")) == ["b"]
    assert names(await newest(store, tag="prod")) == ["a"]
    assert names(await newest(store, after=1, key="bob")) == ["b"]
