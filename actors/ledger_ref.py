"""The ledger's actor, for edges: whose key it is, leases, what was spent, and what admins ask."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

from ray.exceptions import RayTaskError

from actors.names import LEDGER
from actors.refs import ActorRef, Unreachable, last_line
from runtime.feed import AccountsNews
from runtime.ledger.accounts import Pass
from runtime.ledger.journal import pack
from runtime.ledger.leases import Claims, Grants
from runtime.ledger.rows import Batch
from runtime.ledger.store.base import StoreFailure
from runtime.outcome import Failure, FailureKind
from runtime.request import Json
from runtime.values import replace

HURRY_S = 2.0
"""How long a caller's key, or the money for a request, is waited for."""
PATIENCE_S = 30.0
"""How long rows, reports and changes are: they go through the disk."""
EXPORT_S = 3_600.0
EXPORT_AHEAD = 4
"""Pieces of a file that lie ready while its reader is slow; each is some thousand rows."""


class LedgerRef:
    """Belongs to one event loop. What raises `Unreachable` says so."""

    def __init__(self) -> None:
        self.actor = ActorRef(LEDGER)

    async def present(self, shown: str) -> Pass | Failure:
        """Whose the key with this hash is, or with this id. Raises `Unreachable`."""
        found: Pass | Failure = await self._call("present", shown, timeout_s=HURRY_S)
        return found

    async def hello(self, edge: str) -> None:
        """This edge lives, and has nothing else to say. Raises `Unreachable`."""
        await self._call("hello", edge, timeout_s=HURRY_S)

    async def ship(self, batch: Batch) -> None:
        """Returns once the ledger has it for good. Raises `Unreachable` where it has not."""
        rest = replace(batch, rows=())
        failed: StoreFailure | None = await self._call("ship", rest, pack(batch.rows), timeout_s=PATIENCE_S)
        if failed is not None:
            raise Unreachable(str(failed))

    async def exchange(self, claims: Claims) -> Grants:
        """Raises `Unreachable`."""
        found: Grants | StoreFailure = await self._call("exchange", claims, timeout_s=HURRY_S)
        if isinstance(found, StoreFailure):
            raise Unreachable(str(found))
        return found

    async def news(self, known: tuple[int, int], wait_s: float) -> AccountsNews | None:
        """What has changed about the accounts; None if nothing does in time. Raises `Unreachable`."""
        found: AccountsNews | None = await self._call("news", known, wait_s, timeout_s=wait_s + HURRY_S)
        return found

    async def ask(self, what: str, *args: Json, who: str, **named: Json) -> Json | Failure:
        """What an admin asks; a ledger that is away is a `Failure` too."""
        try:
            return await self._call("ask", what, args, named, who, timeout_s=PATIENCE_S)
        except Unreachable as error:
            return _away(str(error))

    async def export(self, to: str, last: str, only: Mapping[str, str]) -> AsyncGenerator[bytes | Failure]:
        """All rows as a file, a piece at a time; a failure is the last item, also where the ledger goes away."""
        try:
            async with aclosing(
                self.actor.stream("export", to, last, only, timeout_s=EXPORT_S, ahead=EXPORT_AHEAD)
            ) as pieces:
                async for piece in pieces:
                    yield piece
        except Unreachable as error:
            yield _away(str(error))
        except RayTaskError as error:
            yield _away(f"{LEDGER} could not answer: {last_line(error)}")

    async def _call(self, method: str, *args: Any, timeout_s: float) -> Any:
        try:
            return await self.actor.call(method, *args, timeout_s=timeout_s)
        except RayTaskError as error:
            # A bug over there; its log says more. For whoever asks it is the same as a ledger that is away.
            raise Unreachable(f"{LEDGER} could not answer: {last_line(error)}") from None

    def close(self) -> None:
        self.actor.close()


def _away(why: str) -> Failure:
    detail = f"{why}; try again in a moment"
    return Failure(kind=FailureKind.UNAVAILABLE, detail=detail, retry_after_s=1.0, scope="request")
