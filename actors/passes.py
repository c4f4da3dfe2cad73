"""Callers' passes at one edge: asked for once, then gone by for as long as they live.

    known and fresh      the pass, without a hop
    known, half over     the pass; another is asked for meanwhile
    known, over          another is waited for; while the ledger is away the old one goes on
    not known            asked for, once however many wait; "no such key" is remembered for a moment

What was revoked is refused at once, also while the ledger is away.
"""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from runtime.ledger.accounts import Pass
from runtime.outcome import Failure, FailureKind

MOST = 10_000
"""Passes and refusals that are remembered. Keys come from callers, so they must not fill the memory."""

NOBODY_S = 2.0
"""For so long a key that is not known is not asked about again."""

REVOKED = "key_revoked"

Present = Callable[[str], Awaitable[Pass | Failure]]
"""Asks the ledger who shows the key of this hash. Raises where the ledger cannot be reached."""


@dataclass(slots=True)
class _Known:
    answer: Pass | Failure
    renew_at: float
    over_at: float


class Passes:
    """Belongs to one event loop. `present` raises `away` where the ledger is out of reach."""

    def __init__(self, present: Present, clock: Callable[[], float], *, away: type[Exception]) -> None:
        self._present = present
        self._clock = clock
        self._away = away
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._asking: dict[str, asyncio.Task[Pass | Failure]] = {}
        self._revoked: frozenset[str] = frozenset()

    async def of(self, sha256: str) -> Pass | Failure:
        """The pass of the key with this hash, or why there is none."""
        known = self._known.get(sha256)
        now = self._clock()
        if known is not None:
            self._known.move_to_end(sha256)
            if now < known.renew_at:
                return known.answer
            if now < known.over_at:
                self._ask(sha256)
                return known.answer
        try:
            return await asyncio.shield(self._ask(sha256))
        except self._away:
            # Another's change, or its own revocation, may have come meanwhile.
            last = self._known.get(sha256)
            if last is not None and (isinstance(last.answer, Pass) or last.answer.code == REVOKED):
                return last.answer
            detail = "the ledger, which knows whose key this is, cannot be reached; try again in a moment"
            return Failure(kind=FailureKind.UNAVAILABLE, detail=detail, retry_after_s=1.0, scope="request")

    def renew(self, revoked: Iterable[str]) -> None:
        """Something has changed: every pass is asked for anew, and those of `revoked` keys are none any more."""
        self._revoked = frozenset(revoked)
        for known in self._known.values():
            known.renew_at = known.over_at = -math.inf
            known.answer = self._checked(known.answer)

    def _ask(self, sha256: str) -> asyncio.Task[Pass | Failure]:
        if sha256 not in self._asking:
            task = asyncio.ensure_future(self._asked(sha256))
            self._asking[sha256] = task
            task.add_done_callback(lambda done: self._heard(sha256, done))
        return self._asking[sha256]

    async def _asked(self, sha256: str) -> Pass | Failure:
        # The life of a pass is counted from the question: who answered may have been slow to tell.
        begun = self._clock()
        answer = self._checked(await self._present(sha256))
        lives_s = answer.lifetime_s if isinstance(answer, Pass) else NOBODY_S
        renews_s = lives_s / 2.0 if isinstance(answer, Pass) else lives_s
        self._known[sha256] = _Known(answer, begun + renews_s, begun + lives_s)
        self._known.move_to_end(sha256)
        while len(self._known) > MOST:
            self._known.popitem(last=False)
        return answer

    def _heard(self, sha256: str, task: asyncio.Task[Pass | Failure]) -> None:
        self._asking.pop(sha256, None)
        if not task.cancelled():
            task.exception()  # whoever waits for it hears; nobody need

    def _checked(self, answer: Pass | Failure) -> Pass | Failure:
        if isinstance(answer, Pass) and answer.account.key in self._revoked:
            detail = "this key was revoked; ask an admin for another"
            return Failure(kind=FailureKind.BAD_KEY, detail=detail, code=REVOKED, scope="request")
        return answer
