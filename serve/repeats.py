"""Who sends the very bytes again to which an answer was given from memory needs nothing read, planned or waited for.

    a body ─► the usual way ─► an answer from memory ─► `remember`: what the body said
    the same again ─► `answered`: that answer, as long as it is remembered, and its row in the books

Three quarters of what an answer from memory cost went into reading and understanding a request that was understood
before. Whose key it is, what he may ask for, what is remembered for him, until when and under which settings are
decided anew each time. Whatever makes a request more than its body (headers that say what may be remembered, rates of
its caller, hooks, traces, listeners, a session) has it go the usual way.
"""

from __future__ import annotations

import hashlib

from actors.edge import Edge
from runtime.cache.answers import Read
from runtime.cache.key import content_of
from runtime.outcome import CACHED, Completion, Failure
from runtime.request import Request
from runtime.values import replace
from serve import answer
from serve.auth import Caller
from serve.http import Exchange

LONGEST = 65_536
"""Of longer bodies the bytes take longer to compare than they are worth."""

_SAYS_MORE = (b"cache-control", b"x-raygate-cache-tags", b"anthropic-beta")


def sent_by(exchange: Exchange, body: bytes, edge: Edge, caller: Caller) -> bytes | None:
    """What stands for this body at this path; None where the request is more than that, or nothing is remembered."""
    policy = edge.gateway.policy
    if (
        policy.cache is None
        or policy.hooks is not None
        or len(body) > LONGEST
        or edge.traces is not None
        or edge.settings.data_path == "actor"
        or (caller.pass_ is not None and edge.till.has_rates(caller.pass_))
    ):
        return None
    headers = exchange.headers
    if any(name in headers for name in _SAYS_MORE):
        return None
    return hashlib.sha256(b"%b\0%b" % (exchange.path.encode(), body)).digest()


async def answered(exchange: Exchange, edge: Edge, sent: bytes, request_id: str, caller: Caller) -> bool:
    """Whether an answer could be given at once."""
    gateway = edge.gateway
    if (cache := gateway.policy.cache) is None or (read := cache.sent(sent)) is None:
        return False
    request = answer.asked_by(caller, read.request, request_id=request_id, deadline_s=gateway.policy.deadline_s)
    if isinstance(request, Failure) or (known := gateway.again(request, read)) is None:
        return False
    exchange.model = request.model
    await answer.give(known, exchange, request)
    return True


def remember(exchange: Exchange, edge: Edge, sent: bytes, request: Request, *, size: int) -> None:
    """The usual way has come to its end."""
    outcome, cache = exchange.outcome, edge.gateway.policy.cache
    if cache is None or not isinstance(outcome, Completion) or not outcome.attempts or cache.sent(sent) is not None:
        return
    kept = outcome.attempts[0].remembered
    if outcome.attempts[0].outcome == CACHED and kept is not None and kept.cosine is None:
        read = Read(replace(request, request_id="", tenant="", billing=None), content_of(request))
        cache.was_sent(sent, read, bytes.fromhex(kept.key), size=size)
