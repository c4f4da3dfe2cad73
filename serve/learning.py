"""`POST /v1/feedback`: what people think of an answer. It is taken once it is kept for good."""

from __future__ import annotations

from dataclasses import replace

from actors.learning import EdgeLearning
from runtime.learning.feedback import parse_feedback, told
from runtime.learning.values import NOBODYS
from runtime.outcome import Failure, FailureKind
from serve.asked import Asked, refuse
from serve.auth import Caller
from serve.errors import Refused

GOOD = 0.5
"""The least score of an answer that was right."""


def organisation(caller: Caller) -> str:
    """Whose experience it is."""
    return caller.account.org or NOBODYS


def enabled(asked: Asked) -> EdgeLearning:
    """This replica's part of the learning. Raises `Refused` where it is switched off."""
    if not asked.edge.settings.learning.enabled:
        detail = "learning is switched off here (learning.enabled)"
        raise Refused(FailureKind.UNSUPPORTED, detail, status=404, code="not_enabled")
    return asked.edge.learning


async def feedback(asked: Asked) -> None:
    parsed = parse_feedback(await asked.json())
    if isinstance(parsed, Failure):
        refuse(parsed)
    caller = asked.caller
    given = replace(parsed, tenant=organisation(caller), key=caller.account.key or NOBODYS)
    taken = await enabled(asked).feedback(given)
    if isinstance(taken, Failure):
        refuse(taken)
    if given.score is not None:
        asked.edge.cache.judged(given.request, good=given.score >= GOOD, gateway=asked.edge.gateway)
    await asked.reply(told(given, taken))
