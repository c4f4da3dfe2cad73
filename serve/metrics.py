"""`GET /metrics`: the whole cluster's figures from whichever replica is asked.

The manager holds the sums of all processes, the ledger knows the budgets. Where one of them does not answer, the rest
is told all the same: without the manager the figures are this replica's own, and `raygate_up{part="manager"}` is 0.
"""

from __future__ import annotations

import asyncio
import platform

from ray.exceptions import RayError

from actors.refs import Unreachable
from runtime.metrics.sums import Family, budgets, parts
from runtime.metrics.text import OPEN_METRICS, TEXT, rendered, wants_open
from runtime.outcome import Failure, FailureKind
from serve.asked import Asked
from serve.auth import caller_of
from serve.errors import Refused
from serve.version import VERSION

LEDGER_S = 3.0
"""How long the ledger is waited for."""


async def answer(asked: Asked) -> None:
    """Raises `Refused` for whoever may not see them."""
    ours = asked.edge.settings.metrics
    if not ours.enabled:
        raise Refused(FailureKind.BAD_REQUEST, "metrics are switched off (metrics.enabled)", status=404)
    if not ours.public and not (await caller_of(asked.exchange, asked.edge)).admin:
        detail = "metrics need an admin's key; or set metrics.public, where whoever can reach this may see them"
        raise Refused(FailureKind.NOT_ALLOWED, detail, code="admin_only")
    (manager, has_manager), (ledger, has_ledger) = await asyncio.gather(_cluster(asked), _budgets(asked))
    up = {"manager": has_manager, "ledger": has_ledger}
    told = (*manager, *ledger, *parts(up, version=VERSION, python=platform.python_version()))
    is_open = wants_open(asked.exchange.header(b"accept"))
    text = rendered(told, open_metrics=is_open)
    kind = OPEN_METRICS if is_open else TEXT
    await asked.exchange.reply(200, text.encode(), [(b"content-type", kind.encode())])


async def _cluster(asked: Asked) -> tuple[tuple[Family, ...], bool]:
    try:
        return await asked.edge.manager.scrape(), True
    except (Unreachable, RayError):
        return asked.edge.families(), False


async def _budgets(asked: Asked) -> tuple[tuple[Family, ...], bool]:
    try:
        async with asyncio.timeout(LEDGER_S):
            found = await asked.edge.ledger.ask("budgets", who=asked.caller.account.key)
    except TimeoutError:
        return (), False
    if isinstance(found, Failure) or not isinstance(found, dict):
        return (), False
    return budgets(found["limits"]), True
