"""What admins ask of learning: how it stands, its log as a file, and to pause, reset, go back or forget.

Each of it is of one organisation: `?org=`, else the admin's own. What changes anything is in the ledger's trail before
it is done; without a trail it is not done.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import aclosing, suppress

from actors.learning import EdgeLearning
from actors.refs import Unreachable
from runtime.learning.values import Summary
from runtime.outcome import Failure, FailureKind
from runtime.request import Json
from serve.asked import Asked, refuse
from serve.errors import Refused, answer_failure
from serve.learning import enabled, organisation

log = logging.getLogger("raygate.admin")

LINES = b"application/x-ndjson"
UNKNOWN = "unknown_request"


async def answer(asked: Asked, ask: str, names: Sequence[str], said: Mapping[str, str | int]) -> None:
    """`ask` is what comes after `learning_` in the name of a way."""
    learning = enabled(asked)
    org = str(said.get("org", "")) or organisation(asked.caller)
    with suppress(Unreachable):
        # What was decided here a moment ago belongs to it.
        await learning.flush()
    if ask == "export":
        await asked.exchange.unless_gone(_export(asked, learning, org))
        return
    if ask == "state":
        found = await learning.owner.summary(org)
        if isinstance(found, Failure):
            refuse(found)
        await asked.reply({"org": org, **_told(found)})
        return
    if ask == "snapshots":
        there = await learning.owner.steer("snapshots", org)
        if isinstance(there, Failure):
            refuse(there)
        await asked.reply({"org": org, "snapshots": there})
        return
    what = "forget" if ask == "forget_all" else ask
    if ask == "forget_all" and "org" not in said:
        detail = "say whose: ?org= names the organisation that is to be forgotten (`default` for keys that have none)"
        raise Refused(FailureKind.BAD_REQUEST, detail)
    await _steer(asked, what, org, names[0] if names else said.get("snapshot"))


async def _steer(asked: Asked, what: str, org: str, arg: str | int | None) -> None:
    noted = await asked.edge.ledger.ask(
        "note", f"learning.{what}", f"org/{org}", {"of": arg}, who=asked.caller.account.key
    )
    if isinstance(noted, Failure):
        refuse(noted)
    done = await asked.edge.learning.owner.steer(what, org, arg)
    if isinstance(done, Failure):
        await answer_failure(asked.exchange, done, status=404 if done.code == UNKNOWN else None)
        return
    await asked.reply({"org": org, "done": what, "number": done})


def _told(known: Summary) -> dict[str, Json]:
    return {
        "paused": known.paused,
        "learns": known.learns,
        "prompts": known.prompts,
        "warm_up": known.warm_up,
        "judged": known.judged,
        "learned": known.learned,
        "remembered": known.remembered,
        "models": {name: {"quality": mean, "doubt": doubt} for name, (mean, doubt) in known.quality.items()},
        "signals": dict(known.signals),
    }


async def _export(asked: Asked, learning: EdgeLearning, org: str) -> None:
    """JSON lines. A file that cannot be ended breaks off: nobody takes it for whole."""
    exchange = asked.exchange
    async with aclosing(learning.owner.export(org)) as pieces:
        async for piece in pieces:
            if isinstance(piece, Failure):
                if exchange.started:
                    log.error("export.broke_off", extra={"why": piece.detail, "request_id": asked.request_id})
                await answer_failure(exchange, piece)
                return
            if not exchange.started:
                name = b'attachment; filename="raygate-trajectories.jsonl"'
                await exchange.start(200, [(b"content-type", LINES), (b"content-disposition", name)])
            await exchange.write(piece)
    await exchange.write(b"", more=False)
