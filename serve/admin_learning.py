"""What admins ask of learning: how it stands; its log as a file, and what it learned; to pause, go back or forget.

Each of it is of one organisation: `?org=`, else the admin's own. What changes anything is in the ledger's trail before
it is done; without a trail it is not done.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import suppress
from hashlib import sha256

from pydantic import ValidationError

from actors.refs import Unreachable
from runtime.learning.calibration import Outcomes
from runtime.learning.sharing import KNOWN, MOST_BYTES, OTHER_EMBEDDER, named
from runtime.learning.values import Summary
from runtime.outcome import Failure, FailureKind
from runtime.request import Json
from serve.asked import Asked, refuse
from serve.errors import Refused, answer_failure
from serve.learning import enabled, organisation

ZIP = b"application/zip"
CONFLICTS = (OTHER_EMBEDDER, KNOWN)
LINES = b"application/x-ndjson"
UNKNOWN = "unknown_request"
READS = ("snapshots", "map", "decision")
"""What changes nothing, and leaves no trail."""


async def answer(asked: Asked, ask: str, names: Sequence[str], said: Mapping[str, str | int]) -> None:
    """`ask` is what comes after `learning_` in the name of a way."""
    learning = enabled(asked)
    org = str(said.get("org", "")) or organisation(asked.caller)
    with suppress(Unreachable):
        # What was decided here a moment ago belongs to it.
        await learning.flush()
    if ask == "export":
        await asked.reply_file("raygate-trajectories.jsonl", LINES, learning.owner.export(org))
        return
    if ask == "share":
        await _share(asked, org, str(said.get("who", "")))
        return
    if ask == "take_in":
        await _take_in(asked, org)
        return
    if ask == "state":
        found = await learning.owner.summary(org)
        if isinstance(found, Failure):
            refuse(found)
        await asked.reply({"org": org, **_told(found)})
        return
    if ask in READS:
        there = await learning.owner.steer(ask, org, names[0] if names else None)
        if isinstance(there, Failure):
            await answer_failure(asked.exchange, there, status=404 if there.code == UNKNOWN else None)
            return
        await asked.reply({"org": org, **(there if isinstance(there, dict) else {ask: there})})
        return
    if ask == "outcomes":
        await _calibrate(asked, org)
        return
    what = "forget" if ask == "forget_all" else ask
    if ask == "forget_all" and "org" not in said:
        detail = "say whose: ?org= names the organisation that is to be forgotten (`default` for keys that have none)"
        raise Refused(FailureKind.BAD_REQUEST, detail)
    await _steer(asked, what, org, names[0] if names else said.get("snapshot"))


async def _calibrate(asked: Asked, org: str) -> None:
    try:
        said = Outcomes.model_validate(await asked.json())
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "outcomes"
        raise Refused(FailureKind.BAD_REQUEST, f"{where}: {first['msg']}") from None
    tried = sum(len(one.tried) for one in said.outcomes)
    await _note(asked, "outcomes", org, tried)
    done = await asked.edge.learning.calibrate(org, said.outcomes)
    if isinstance(done, Failure):
        refuse(done)
    await asked.reply({"org": org, "done": "outcomes", "number": done})


async def _share(asked: Asked, org: str, who: str) -> None:
    if who and not named(who):
        detail = "who: up to 100 letters, digits and . @ : + / - name who learned this"
        raise Refused(FailureKind.BAD_REQUEST, detail)
    await _note(asked, "share", org, who or None)

    async def pieces() -> AsyncGenerator[bytes | Failure]:
        yield await asked.edge.learning.owner.share(org, who)

    await asked.reply_file("raygate-patterns.zip", ZIP, pieces())


async def _take_in(asked: Asked, org: str) -> None:
    payload = await asked.exchange.body(min(MOST_BYTES, asked.edge.settings.max_body_bytes))
    # By its digest: whoever it says that it is from is not known yet.
    await _note(asked, "import", org, sha256(payload).hexdigest())
    done = await asked.edge.learning.owner.take_in(org, payload)
    if isinstance(done, Failure):
        await answer_failure(asked.exchange, done, status=409 if done.code in CONFLICTS else None)
        return
    await asked.reply({"org": org, **done})


async def _note(asked: Asked, what: str, org: str, of: str | int | None) -> None:
    noted = await asked.edge.ledger.ask(
        "note", f"learning.{what}", f"org/{org}", {"of": of}, who=asked.caller.account.key
    )
    if isinstance(noted, Failure):
        refuse(noted)


async def _steer(asked: Asked, what: str, org: str, arg: str | int | None) -> None:
    await _note(asked, what, org, arg)
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
        "imports": [dict(one) for one in known.imports],
    }
