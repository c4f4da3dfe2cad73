"""What admins ask of remembered answers: how many there are in each replica, and to forget some or all of them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping

from actors.edge_cache import FORGOT
from runtime.cache import Forget
from runtime.outcome import Failure
from runtime.request import Json
from serve.asked import Asked, refuse

FOLLOWED_WITHIN_S = 5.0
LOOK_EVERY_S = 0.05
"""How long, and how often, it is looked whether all replicas have forgotten."""


async def answer(asked: Asked, ask: str, said: Mapping[str, str | int]) -> None:
    """`ask` is what comes after `cache_` in the name of a way. Raises `Refused`, and `Unreachable` where the manager is
    away."""
    if ask == "state":
        await asked.reply(await _state(asked))
        return
    words = {name: str(value) for name, value in said.items()}
    what = Forget(
        tag=words.get("tag", ""),
        model=words.get("model", ""),
        tenant=words.get("tenant", ""),
        key=words.get("key", ""),
    )
    noted = await asked.edge.ledger.ask("note", "cache.clear", "cache", dict(said), who=asked.caller.account.key)
    if isinstance(noted, Failure):
        refuse(noted)
    before = await asked.edge.manager.cached()
    number, in_shared = await asked.edge.manager.forget(what)
    if in_shared is None and (tier := asked.edge.cache.tier) is not None:
        # A Redis is ours to clear: the manager has none.
        in_shared = await tier.store.forget(what)
    loop = asyncio.get_running_loop()
    until = loop.time() + FOLLOWED_WITHIN_S
    while True:
        after = await asked.edge.manager.cached()
        followed = [edge for edge, counts in after.items() if counts.get(FORGOT, 0) >= number]
        if len(followed) == len(after) or loop.time() >= until:
            break
        await asyncio.sleep(LOOK_EVERY_S)
    gone = sum(counts.get("cache_forgotten", 0) for counts in after.values())
    gone -= sum(counts.get("cache_forgotten", 0) for edge, counts in before.items() if edge in after)
    await asked.reply(
        {"forgotten": max(0, gone), "shared": in_shared, "processes": len(after), "followed": len(followed)}
    )


async def _state(asked: Asked) -> Json:
    counts = await asked.edge.manager.cached()
    told = {edge: _named(one) for edge, one in counts.items()}
    total: Counter[str] = Counter()
    for one in told.values():
        total.update(one)
    shared: Json = None
    if (tier := asked.edge.cache.tier) is not None:
        try:
            async with asyncio.timeout(FOLLOWED_WITHIN_S):
                shared = dict(await tier.store.stats())
        except Exception as error:  # whoever is away there: that is what was asked
            shared = {"away": type(error).__name__}
    return {"total": dict(total), "processes": told, "shared": shared}


def _named(counts: Mapping[str, int]) -> dict[str, int]:
    return {name.removeprefix("cache_"): count for name, count in counts.items() if name != FORGOT}
