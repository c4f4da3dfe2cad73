"""`POST /v1/route/explain`: whom a request would go to, and why. Takes a chat request; asks no provider,
but for a vector of the prompt where `learning.embeddings` names one and no hooks are set."""

from __future__ import annotations

from actors.refs import ManagerRef
from runtime.dialects.registry import PARSERS
from runtime.outcome import Failure
from serve.answer import parse
from serve.asked import Asked, refuse


async def explain(asked: Asked) -> None:
    """By whoever would choose: this replica, or the manager where `data_path` says so."""
    request = parse(await asked.json(), PARSERS["openai"], request_id=asked.request_id, caller=asked.caller)
    if isinstance(request, Failure):
        refuse(request)
    told = await (asked.target if isinstance(asked.target, ManagerRef) else asked.edge).explain(request)
    if isinstance(told, Failure):
        refuse(told)
    await asked.reply(dict(told))
