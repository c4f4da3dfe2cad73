"""The ledger: whose key it is, what may still be spent, and a row for every attempt. One for the whole cluster.

It opens its store when it is first asked, and again where that failed: a full disk is emptied, a database comes back.
Everything that decides is `runtime.ledger.ledger`; here are its clock, its disk and its loops.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path

from actors.clock import SENSES
from actors.environment import node_id
from actors.store import Store as Kept
from runtime.catalog import Catalog
from runtime.feed import AccountsNews
from runtime.ledger.accounts import Pass
from runtime.ledger.desk import unkept
from runtime.ledger.ledger import Ledger
from runtime.ledger.store.base import StoreFailure
from runtime.ledger.store.sqlite import SqliteStore
from runtime.models import Pricing
from runtime.outcome import Failure
from runtime.request import Json
from runtime.settings import Settings

log = logging.getLogger("raygate.ledger")

DATABASE = "ledger.db"
AGAIN_S = 2.0
"""How soon a store that could not be opened is tried again."""


class LedgerActor:
    """Undecorated: the supervisor makes a Ray actor of it. `folder` is the state folder of this node."""

    CONTROL_METHODS = ()

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)
        self._ledger: Ledger | None = None
        self._opening: asyncio.Task[Ledger | StoreFailure] | None = None
        self._failed: tuple[StoreFailure, float] | None = None

    async def present(self, sha256: str) -> Pass | Failure:
        ledger = await self._ready()
        return unkept(ledger) if isinstance(ledger, StoreFailure) else ledger.present(sha256)

    async def news(self, known: tuple[int, int], wait_s: float) -> AccountsNews | None:
        """What edges must know of the accounts, once that is newer than `known`; None if it is not so in time."""
        ledger = await self._ready()
        return None if isinstance(ledger, StoreFailure) else await ledger.news(known, wait_s)

    async def ask(self, what: str, args: Sequence[Json], named: Mapping[str, Json], who: str) -> Json | Failure:
        """What an admin asks; `who` is theirs key's id."""
        ledger = await self._ready()
        return unkept(ledger) if isinstance(ledger, StoreFailure) else await ledger.ask(what, *args, who=who, **named)

    async def whereabouts(self) -> tuple[str, int]:
        """The node and the process id of this actor."""
        return node_id(), os.getpid()

    async def _ready(self) -> Ledger | StoreFailure:
        if self._ledger is not None:
            return self._ledger
        if self._failed is not None and SENSES.clock() < self._failed[1]:
            return self._failed[0]
        if self._opening is None or self._opening.done():
            self._opening = asyncio.create_task(self._open())
        return await asyncio.shield(self._opening)

    async def _open(self) -> Ledger | StoreFailure:
        # Prices as they were when this process began: what a running one charges, edges know.
        settings = Settings.from_document(Kept(self._folder).settings()[1])
        catalog = Catalog(settings)
        store = await SqliteStore.open(self._folder / DATABASE, synchronous=settings.ledger.synchronous)
        opened = (
            store
            if isinstance(store, StoreFailure)
            else await Ledger.open(
                store,
                f"{node_id()[:8]}:{os.getpid()}",
                wall=SENSES.wall,
                chance=secrets.token_bytes,
                prices=lambda name: _price(catalog, name),
            )
        )
        if isinstance(opened, StoreFailure):
            log.error("ledger.unusable", extra={"why": str(opened), "again_in_s": AGAIN_S})
            self._failed = (opened, SENSES.clock() + AGAIN_S)
            return opened
        self._ledger, self._failed = opened, None
        return opened


def _price(catalog: Catalog, name: str) -> Pricing | None:
    provider, _, model = name.partition("/")
    info = catalog.info(provider, model)
    return info.pricing if info else None
