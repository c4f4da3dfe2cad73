"""What only admins may ask: keys, teams, organisations, budgets, spend, and the trail of every change.

    GET /admin/keys        POST /admin/keys              GET, PATCH, DELETE /admin/keys/{id}
    GET /admin/accounts    POST /admin/teams/{id}        POST /admin/orgs/{id}
    GET /admin/budgets     POST /admin/budgets/{scope}/{id}          DELETE /admin/budgets/{scope}/{id}/{period}
    GET /admin/spend       GET /admin/rows               GET /admin/elsewhere
    GET /admin/audit       GET /admin/ledger

Every answer is the ledger's own; here it is only addressed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import unquote

from runtime.ledger.desk import NOT_FOUND
from runtime.ledger.enquiries import FILTERS
from runtime.outcome import Failure, FailureKind
from serve.asked import Asked
from serve.errors import Refused, answer_failure

PREFIX = "/admin"


class Way(NamedTuple):
    """One thing that can be asked. `path` has "*" for a name; `ask` is the ledger's word for it.

    `body`: it takes a JSON body. `query` are the parameters of the address that it takes, each with its type.
    """

    method: str
    path: tuple[str, ...]
    ask: str
    body: bool = False
    query: Mapping[str, type[str] | type[int]] = {}


WHICH: Mapping[str, type[str] | type[int]] = {"last": str, **dict.fromkeys(FILTERS, str)}

WAYS = (
    Way("GET", ("keys",), "keys"),
    Way("POST", ("keys",), "create_key", body=True),
    Way("GET", ("keys", "*"), "key"),
    Way("PATCH", ("keys", "*"), "change_key", body=True),
    Way("DELETE", ("keys", "*"), "revoke_key"),
    Way("GET", ("accounts",), "accounts"),
    Way("POST", ("teams", "*"), "put_team", body=True),
    Way("POST", ("orgs", "*"), "put_org", body=True),
    Way("GET", ("budgets",), "budgets"),
    Way("POST", ("budgets", "*", "*"), "set_budget", body=True),
    Way("DELETE", ("budgets", "*", "*", "*"), "remove_budget"),
    Way("GET", ("spend",), "spend", query={**WHICH, "by": str, "each": str}),
    Way("GET", ("rows",), "rows", query={**WHICH, "limit": int}),
    Way("GET", ("elsewhere",), "elsewhere", query={**WHICH, "models": str}),
    Way("GET", ("audit",), "audit", query={"after": int, "limit": int}),
    Way("GET", ("ledger",), "state"),
)


async def answer(asked: Asked) -> None:
    """Raises `Refused` for everybody but admins, and for what there is not."""
    if not asked.caller.admin:
        detail = "only an admin's key may ask this; use the one that `raygate up` made, or one created with --admin"
        raise Refused(FailureKind.NOT_ALLOWED, detail, code="admin_only")
    path = tuple(unquote(part) for part in asked.path.removeprefix(PREFIX).strip("/").split("/"))
    way = _way(asked.exchange.method, path)
    names = [part for want, part in zip(way.path, path, strict=True) if want == "*"]
    said = _query(way, asked.exchange.query)
    body = [await asked.json()] if way.body else []
    found = await asked.edge.ledger.ask(way.ask, *names, *body, who=asked.caller.account.key, **said)
    if isinstance(found, Failure):
        await answer_failure(asked.exchange, found, status=404 if found.code == NOT_FOUND else None)
        return
    await asked.reply(found)


def _way(method: str, path: tuple[str, ...]) -> Way:
    ways = [way for way in WAYS if len(way.path) == len(path) and all(map(_fits, way.path, path))]
    for way in ways:
        if way.method == method:
            return way
    if ways:
        allow = ", ".join(way.method for way in ways)
        raise Refused(
            FailureKind.BAD_REQUEST,
            f"{PREFIX}/{'/'.join(path)[:200]} answers {allow}, not {method}",
            status=405,
            code="method_not_allowed",
            headers=[(b"allow", allow.encode())],
        )
    detail = f"there is nothing at {PREFIX}/{'/'.join(path)[:200]}; GET /docs lists what there is"
    raise Refused(FailureKind.BAD_REQUEST, detail, status=404, code="unknown_url")


def _fits(want: str, part: str) -> bool:
    return want in ("*", part) and bool(part)


def _query(way: Way, said: Mapping[str, str]) -> dict[str, str | int]:
    """What the address says, by its types. What nobody knows is refused: a filter with a typo would be no filter."""
    if unknown := said.keys() - way.query.keys():
        known = ", ".join(way.query) or "nothing"
        detail = f"?{min(unknown)[:100]}= means nothing here; what does: {known}"
        raise Refused(FailureKind.BAD_REQUEST, detail)
    try:
        return {name: way.query[name](value) for name, value in said.items()}
    except ValueError:
        detail = "a number was expected in the address; write it in digits"
        raise Refused(FailureKind.BAD_REQUEST, detail) from None
