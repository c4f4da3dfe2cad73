"""Who answers at `/ui`. The key comes in a header of each request: no cookie goes by itself, so no other page can
make a browser ask for its user."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from actors.clock import SENSES, monotonic
from runtime.outcome import Failure, FailureKind
from runtime.request import Json
from runtime.settings import Settings
from serve.asked import Asked, refuse
from serve.auth import Caller, caller_of
from serve.errors import Refused
from serve.http import Headers
from serve.ui.files import ASK, FOR_EVER, SAFE, files, send
from serve.ui.live import FIRST, Row, Teller, Watch, event, follow, slim
from serve.version import VERSION

PREFIX = "/ui"
MOST_WATCHERS = 64
"""Of one replica: each holds one of its places."""
NOBODYS_KEY = "-"
"""Whose rows those see who have no key, where none is asked for: nobody's."""

_EVENTS: Headers = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]
_ASKING = ("/live", "/spend", "/budgets")


def is_ours(path: str) -> bool:
    return path == PREFIX or path.startswith(PREFIX + "/")


def needs_key(path: str) -> bool:
    return path.removeprefix(PREFIX) in _ASKING


class Page:
    """Of one replica. Belongs to one event loop."""

    def __init__(self) -> None:
        self._watch: Watch | None = None

    async def answer(self, asked: Asked) -> None:
        """Raises `Refused` for what there is not."""
        if asked.exchange.method not in ("GET", "HEAD"):
            detail = f"{asked.exchange.path[:200]} answers GET, not {asked.exchange.method}"
            allow = [(b"allow", b"GET, HEAD")]
            raise Refused(FailureKind.BAD_REQUEST, detail, status=405, code="method_not_allowed", headers=allow)
        path = asked.path.removeprefix(PREFIX)
        if path == "/live":
            await self._live(asked)
        elif path == "/spend":
            await _spend(asked)
        elif path == "/budgets":
            await _budgets(asked)
        else:
            await _file(asked, path)

    async def _live(self, asked: Asked) -> None:
        edge, exchange = asked.edge, asked.exchange
        if self._watch is None:

            async def tail(after: int, most: int) -> Json | Failure:
                return await edge.ledger.ask("tail", who="", after=after, limit=most, last="1h")

            self._watch = Watch(edge.manager.glance, tail, wall=SENSES.wall, stamp=lambda: edge.stamp)
        if self._watch.watchers >= MOST_WATCHERS:
            detail = f"{MOST_WATCHERS} people look at this replica already; close a page, or try again in a moment"
            refuse(Failure(kind=FailureKind.OVERLOADED, detail=detail, retry_after_s=5.0, scope="request"))
        caller = asked.caller
        own = None if caller.admin else caller.account.key or NOBODYS_KEY
        at_first = True

        async def hello() -> bytes:
            nonlocal caller, at_first
            if not at_first:
                # A key that was revoked sees nothing more; and who is no admin any longer, sees no more than that.
                now = await caller_of(exchange, edge)
                if now.admin != caller.admin:
                    raise Refused(FailureKind.NOT_ALLOWED, "the key is another one now; log in again")
                caller = now
            at_first = False
            return event("hello", hello_of(caller, edge.settings))

        async def first() -> Sequence[Row]:
            only = {} if own is None else {"key": own}
            found = await edge.ledger.ask("tail", who="", last="24h", limit=FIRST, **only)
            if isinstance(found, Failure) or not isinstance(found, dict):
                return ()
            return [slim(row) for row in reversed(found["rows"])]

        async def tell() -> None:
            await exchange.start(200, [*_EVENTS, *SAFE])
            try:
                await follow(self._watching, Teller(own), exchange.write, hello=hello, first=first, clock=monotonic)
            except Refused as refused:
                await exchange.write(event("gone", {"message": refused.failure.detail}))
            await exchange.write(b"", more=False)

        await exchange.unless_gone(tell())

    @property
    def _watching(self) -> Watch:
        assert self._watch is not None  # noqa: S101  # made before anybody follows
        return self._watch


def hello_of(caller: Caller, settings: Settings) -> dict[str, Any]:
    """Who looks, and what there is to look at. Of the settings, only what is no secret."""
    said: dict[str, Any] = {
        "version": VERSION,
        "role": "admin" if caller.admin else "user" if caller.account.key else "nobody",
        "key": caller.account.key,
        "name": caller.pass_.name if caller.pass_ is not None else "",
        "team": caller.account.team,
        "org": caller.account.org,
        "learning": settings.learning.enabled,
        "auth": settings.auth,
    }
    if caller.admin:
        said["providers"] = {
            name: {"kind": one.kind.value, "models": list(one.models)}
            for name, one in settings.providers.items()
            if one.enabled
        }
        said["routes"] = {
            name: {"targets": list(one.targets), "strategy": one.strategy} for name, one in settings.routes.items()
        }
        said["keep_text"] = settings.learning.keep_text
        said["strategy"] = settings.strategy
    return said


async def _spend(asked: Asked) -> None:
    """As the admin's, of one's own key alone."""
    said = asked.exchange.query
    if unknown := said.keys() - {"last", "by", "each"}:
        raise Refused(FailureKind.BAD_REQUEST, f"?{min(unknown)[:100]}= means nothing here; what does: last, by, each")
    await _own(asked, "spend", **said, key=asked.caller.account.key or NOBODYS_KEY)


async def _budgets(asked: Asked) -> None:
    """The limits that stand above one's own key."""
    found = await asked.edge.ledger.ask("budgets", who="")
    if isinstance(found, Failure):
        refuse(found)
    account = asked.caller.account
    mine = {("key", account.key), ("team", account.team), ("org", account.org)}
    limits = found["limits"] if isinstance(found, dict) else []
    await asked.reply({"limits": [one for one in limits if one["of"] and (one["scope"], one["of"]) in mine]})


async def _own(asked: Asked, what: str, **said: str) -> None:
    found = await asked.edge.ledger.ask(what, who="", **said)
    if isinstance(found, Failure):
        refuse(found)
    await asked.reply(found)


async def _file(asked: Asked, path: str) -> None:
    there = files()
    exchange = asked.exchange
    if not path:
        if exchange.path.endswith("/"):
            # The page names its files by where it lies itself.
            await exchange.reply(308, b"", [(b"location", b"../ui"), *SAFE])
            return
        await send(exchange, there.page(asks=asked.edge.settings.auth), ASK)
        return
    _, _, rest = path.partition("/v/")
    version, _, name = rest.partition("/")
    file = there.of.get(name)
    if file is None:
        detail = f"there is nothing at {exchange.path[:200]}; the page is at /ui"
        raise Refused(FailureKind.BAD_REQUEST, detail, status=404, code="unknown_url")
    # While replicas are being replaced another one's version may be asked for.
    await send(exchange, file, FOR_EVER if version == there.version else ASK)
