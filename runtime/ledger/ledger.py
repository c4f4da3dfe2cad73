"""The ledger of a cluster, over its store: who may call, what may be spent, and what was.

store ─► Register (accounts) ─► passes, news of changes
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from runtime.feed import AccountsNews
from runtime.ledger.accounts import Pass, Scope, make_pass
from runtime.ledger.desk import Desk
from runtime.ledger.enquiries import Enquiries, Prices
from runtime.ledger.register import Register
from runtime.ledger.store.base import Store, StoreFailure
from runtime.outcome import Failure, FailureKind
from runtime.request import Json

READS = frozenset({"keys", "key", "accounts", "audit"})
ENQUIRIES = frozenset({"spend", "rows", "elsewhere"})
CHANGES = frozenset({"create_key", "change_key", "revoke_key", "put_team", "put_org", "set_budget", "remove_budget"})
"""What may be asked of the desk; changes are told who makes them."""

MOST_REVOKED = 10_000
"""Revocations that are pushed to edges. An older one they hear of when their passes end, within a minute."""


class Ledger:
    """Belongs to one event loop. Make it with `open`."""

    def __init__(
        self,
        store: Store,
        register: Register,
        epoch: int,
        *,
        wall: Callable[[], float],
        chance: Callable[[int], bytes],
        prices: Prices,
    ) -> None:
        self._store = store
        self._register = register
        self._epoch = epoch
        self._wall = wall
        self._version = 1
        self._changed = asyncio.Event()
        revoked = (key.id for key in register.keys.values() if key.revoked)
        self._revoked: deque[str] = deque(revoked, maxlen=MOST_REVOKED)
        self.desk = Desk(store, register, wall=wall, chance=chance, changed=self._accounts_changed)
        self.enquiries = Enquiries(store, wall=wall, prices=prices)

    @classmethod
    async def open(
        cls,
        store: Store,
        owner: str,
        *,
        wall: Callable[[], float],
        chance: Callable[[int], bytes],
        prices: Prices = lambda _: None,
    ) -> Ledger | StoreFailure:
        """Become the owner of what this store holds. `owner` is the name by which a later one speaks of this one."""
        epoch = await store.acquire_epoch(owner, at_ms=round(wall() * 1_000))
        if isinstance(epoch, StoreFailure):
            return epoch
        register = Register()
        for kind in Scope:
            documents = await store.documents(kind.value)
            if isinstance(documents, StoreFailure):
                return documents
            register.take(documents)
        return cls(store, register, epoch, wall=wall, chance=chance, prices=prices)

    def present(self, sha256: str) -> Pass | Failure:
        """What the holder of the key with this hash may do for a while, or why nothing."""
        key = self._register.key_of(sha256)
        if key is None:
            return Failure(kind=FailureKind.BAD_KEY, scope="request")
        team, org = self._register.above(key)
        return make_pass(key, team=team, org=org, now=self._wall())

    async def news(self, known: tuple[int, int], wait_s: float) -> AccountsNews | None:
        """What edges must know at once, if it is other than what is `known`; else once it is, None where it stays."""
        if known == (self._epoch, self._version):
            try:
                async with asyncio.timeout(wait_s):
                    await self._changed.wait()
            except TimeoutError:
                return None
        return AccountsNews(epoch=self._epoch, version=self._version, revoked=tuple(self._revoked))

    async def ask(self, what: str, *args: Json, who: str, **named: Json) -> Json | Failure:
        """What an admin asks, by the name of the desk's method."""
        if what in CHANGES:
            return await getattr(self.desk, what)(*args, who=who, **named)
        if what in READS:
            return await getattr(self.desk, what)(*args, **named)
        if what in ENQUIRIES:
            return await getattr(self.enquiries, what)(*args, **named)
        return Failure(kind=FailureKind.BAD_REQUEST, detail=f"the ledger knows no {what!r}", scope="request")

    async def close(self) -> None:
        await self._store.close()

    def _accounts_changed(self) -> None:
        self._version += 1
        known = set(self._revoked)
        self._revoked.extend(key.id for key in self._register.keys.values() if key.revoked and key.id not in known)
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
