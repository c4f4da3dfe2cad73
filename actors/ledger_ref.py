"""The ledger's actor, for edges: whose key it is, leases, what was spent, and what admins ask."""

from __future__ import annotations

from typing import Any

from ray.exceptions import RayTaskError

from actors.names import LEDGER
from actors.refs import ActorRef, Unreachable, last_line
from runtime.feed import AccountsNews
from runtime.ledger.accounts import Pass
from runtime.ledger.leases import Claims, Grants
from runtime.outcome import Failure, FailureKind
from runtime.request import Json

HURRY_S = 2.0
"""How long a caller's key, or the money for a request, is waited for."""
PATIENCE_S = 30.0
"""How long rows, reports and changes are: they go through the disk."""


class LedgerRef:
    """Belongs to one event loop. What raises `Unreachable` says so."""

    def __init__(self) -> None:
        self.actor = ActorRef(LEDGER)

    async def present(self, sha256: str) -> Pass | Failure:
        """Who shows the key of this hash. Raises `Unreachable`."""
        found: Pass | Failure = await self._call("present", sha256, timeout_s=HURRY_S)
        return found

    async def exchange(self, claims: Claims) -> Grants:
        """Raises `Unreachable`."""
        found: Grants = await self._call("exchange", claims, timeout_s=HURRY_S)
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
            detail = f"{error}; try again in a moment"
            return Failure(kind=FailureKind.UNAVAILABLE, detail=detail, retry_after_s=1.0, scope="request")

    async def _call(self, method: str, *args: Any, timeout_s: float) -> Any:
        try:
            return await self.actor.call(method, *args, timeout_s=timeout_s)
        except RayTaskError as error:
            # A bug over there; its log says more. For whoever asks it is the same as a ledger that is away.
            raise Unreachable(f"{LEDGER} could not answer: {last_line(error)}") from None

    def close(self) -> None:
        self.actor.close()
