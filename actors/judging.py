"""A model that grades a share of the answers, behind the answers: `learning.judge` in the settings.

    answer is over ─► by lot ─► queue (bounded) ─► is there money? ─► graded, one at a time ─► feedback of `judge`

No request waits for it: what is full is left out, and counted. What grading costs is on the ledger as `judge`'s, and
the ledger's figure of the last day bounds it, for all replicas together; each may go beyond by what it grades in the
`LOOK_S` between two looks. What is asked, and what the answer counts: `runtime.learning.judging`.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from actors.refs import last_line
from runtime.entrance import Senses
from runtime.learning.advice import Decision
from runtime.learning.judging import grade, is_gradable, request_of
from runtime.learning.signals import answered_by
from runtime.learning.values import NOBODYS, FeedbackGiven
from runtime.ledger.billing import Account, Billing
from runtime.models import NANOUSD
from runtime.outcome import Completion, Failure, Outcome
from runtime.request import Json, Request
from runtime.settings import JudgeSettings
from runtime.values import replace

log = logging.getLogger("raygate.judge")

JUDGE = "judge"
"""Its name as a key: on the ledger, and among those who give feedback."""
MOST_WAITING = 32
LOOK_S = 5.0
"""How long the ledger's word on what was spent is believed."""
REST_S = 60.0
"""Where there is no money, or no judge, it is looked again after this."""

Spent = Callable[[], Awaitable[Json | Failure]]
"""What the ledger says of the last day: `{"total": {"cost_usd": …}}`."""


@dataclass(frozen=True, slots=True)
class _Case:
    tenant: str
    request: Request
    answer: Completion


class Judge:
    """Belongs to one event loop; made before there is one. `give` takes its feedback."""

    def __init__(
        self,
        complete: Callable[[Request], Awaitable[Outcome]],
        give: Callable[[FeedbackGiven], Awaitable[object]],
        spent: Spent,
        *,
        senses: Senses,
        rng: random.Random,
        counters: Counter[str],
    ) -> None:
        self.settings: JudgeSettings | None = None
        self._complete = complete
        self._give = give
        self._ask_spent = spent
        self._senses = senses
        self._rng = rng
        self._counters = counters
        self._waiting: asyncio.Queue[_Case] | None = None
        self._task: asyncio.Task[None] | None = None
        self._looked_at = -REST_S
        self._left_nanousd = 0
        self._rests_until = 0.0

    def consider(self, decision: Decision, request: Request, outcome: Outcome | None) -> None:
        """Perhaps have this answer graded, later."""
        ours = self.settings
        if ours is None or not isinstance(outcome, Completion) or not is_gradable(request, outcome):
            return
        account = request.billing.account if request.billing is not None else None
        if account is not None and account.key == JUDGE:
            return  # the judge itself was chosen by what was learned
        # Nobody grades himself: models prefer their own answers.
        if answered_by(outcome) == ours.model or self._rng.random() >= ours.share:
            return
        if self._waiting is None:
            self._waiting = asyncio.Queue(MOST_WAITING)
            self._task = asyncio.create_task(self._live(self._waiting))
        try:
            self._waiting.put_nowait(_Case(decision.tenant, request, outcome))
        except asyncio.QueueFull:
            self._counters["judgements_dropped"] += 1

    async def stop(self) -> None:
        task, self._task, self._waiting = self._task, None, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _live(self, waiting: asyncio.Queue[_Case]) -> None:
        while True:
            case = await waiting.get()
            try:
                await self.judge(case)
            except Exception as error:  # whatever it was, it is nothing that anybody waits for
                log.warning("judge.failed", extra={"why": last_line(error)})
                self._rests_until = self._senses.clock() + REST_S

    async def judge(self, case: _Case) -> bool:
        """Grade one; whether its grade was taken."""
        ours = self.settings
        if ours is None or self._senses.clock() < self._rests_until or not await self._may_spend(ours):
            self._counters["judgements_dropped"] += 1
            return False
        org = "" if case.tenant == NOBODYS else case.tenant
        asked = replace(
            request_of(ours.model, case.request, case.answer),
            request_id=f"judge_{secrets.token_hex(12)}",
            billing=Billing(account=Account(key=JUDGE, org=org)),
        )
        said = await self._complete(asked)
        if isinstance(said, Completion):
            if said.cost is None:
                log.warning("judge.no_price", extra={"model": ours.model, "why": "what it costs cannot be bounded"})
                self._rests_until = self._senses.clock() + REST_S
            else:
                self._left_nanousd -= said.cost.total_nanousd
        quality = grade(said.text) if isinstance(said, Completion) else None
        if quality is None:
            self._counters["judgements_failed"] += 1
            if isinstance(said, Failure):
                self._rests_until = self._senses.clock() + LOOK_S
            return False
        given = FeedbackGiven(
            request=case.request.request_id, at_s=0.0, tenant=case.tenant, key=JUDGE, score=quality, by_model=True
        )
        taken = not isinstance(await self._give(given), Failure)
        self._counters["judgements"] += taken
        return taken

    async def _may_spend(self, ours: JudgeSettings) -> bool:
        now = self._senses.clock()
        if now - self._looked_at >= LOOK_S:
            told = await self._ask_spent()
            total = told.get("total") if isinstance(told, dict) else None
            cost = total.get("cost_usd") if isinstance(total, dict) else None
            # A ledger that says nothing allows nothing.
            usd = float(cost) if isinstance(cost, int | float | str) else float("inf")
            self._looked_at = now
            left = float(ours.max_usd_per_day) - usd
            self._left_nanousd = int(left * NANOUSD) if left > 0 else 0
        return self._left_nanousd > 0
