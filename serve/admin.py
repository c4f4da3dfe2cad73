"""What only admins may ask: keys, teams, organisations, budgets, spend, and the trail of every change.

    GET /admin/keys        POST /admin/keys              GET, PATCH, DELETE /admin/keys/{id}
    GET /admin/accounts    POST /admin/teams/{id}        POST /admin/orgs/{id}
    GET /admin/budgets     POST /admin/budgets/{scope}/{id}          DELETE /admin/budgets/{scope}/{id}/{period}
    GET /admin/spend       GET /admin/rows               GET /admin/elsewhere         GET /admin/export
    GET /admin/tail
    GET /admin/audit       GET /admin/ledger
    GET /admin/learning    …                             what was learned: `admin_learning`
    GET /admin/events                                    what happens, as it happens: `events`
    GET /admin/cache       DELETE /admin/cache           remembered answers: `admin_cache`

Every other answer is the ledger's own; here it is only addressed. `openapi` describes these ways from the same table.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import unquote

from pydantic import BaseModel

from runtime.learning.calibration import Outcomes
from runtime.ledger.desk import NOT_FOUND
from runtime.ledger.enquiries import FILTERS
from runtime.ledger.wishes import BudgetWish, KeyChange, KeyWish, OrgWish, TeamWish
from runtime.outcome import Failure, FailureKind
from serve import admin_cache, admin_learning, events
from serve.asked import Asked
from serve.errors import Refused, answer_failure

PREFIX = "/admin"

FILES = {
    "csv": b"text/csv; charset=utf-8",
    "jsonl": b"application/x-ndjson",
    "parquet": b"application/vnd.apache.parquet",
}
"""What an export is, by its format."""

LARGEST = 2**63 - 1


class Way(NamedTuple):
    """One thing that can be asked. `path` has names in braces; `ask` is the ledger's word for it, or begins with
    `learning_` or `cache_`.

    `body` is what it takes as JSON, `query` the parameters of the address, each with its type. `answer` names the
    description of what comes; `file` is for one that comes in pieces.
    """

    method: str
    path: tuple[str, ...]
    ask: str
    summary: str
    answer: str
    body: type[BaseModel] | None = None
    query: Mapping[str, type[str] | type[int]] = {}
    file: bool = False


WHICH: Mapping[str, type[str] | type[int]] = {"last": str, **dict.fromkeys(FILTERS, str)}

ORG: Mapping[str, type[str] | type[int]] = {"org": str}

LEARNING = "learning_"
EVENTS = "events"
CACHE = "cache_"

WAYS = (
    Way("GET", ("keys",), "keys", "All keys, without their texts.", "Keys"),
    Way("POST", ("keys",), "create_key", "A new key; its text is in this answer alone.", "NewKey", KeyWish),
    Way("GET", ("keys", "{id}"), "key", "One key.", "Key"),
    Way("PATCH", ("keys", "{id}"), "change_key", "Change what is named; the rest stays.", "Key", KeyChange),
    Way("DELETE", ("keys", "{id}"), "revoke_key", "End a key for good, within a second everywhere.", "Key"),
    Way("GET", ("accounts",), "accounts", "Teams and organisations.", "Accounts"),
    Way("POST", ("teams", "{id}"), "put_team", "Make a team, or put another in its place.", "Team", TeamWish),
    Way("POST", ("orgs", "{id}"), "put_org", "Make an organisation, or put another in its place.", "Org", OrgWish),
    Way("GET", ("budgets",), "budgets", "Every limit as it stands: used, lent, lost.", "Limits"),
    Way(
        "POST",
        ("budgets", "{scope}", "{id}"),
        "set_budget",
        "Bound what a key, team or org spends in a period.",
        "Budget",
        BudgetWish,
    ),
    Way("DELETE", ("budgets", "{scope}", "{id}", "{period}"), "remove_budget", "Take a budget away.", "Removed"),
    Way(
        "GET",
        ("spend",),
        "spend",
        "What was spent and on what, with trends and a projection of 30 days.",
        "Spend",
        query={**WHICH, "by": str, "each": str},
    ),
    Way("GET", ("rows",), "rows", "Attempts, one by one.", "Rows", query={**WHICH, "limit": int}),
    Way(
        "GET",
        ("tail",),
        "tail",
        "The last attempts, the newest first; or those that came after one looked.",
        "Tail",
        query={**WHICH, "limit": int, "after": int},
    ),
    Way(
        "GET",
        ("elsewhere",),
        "elsewhere",
        "What the same tokens would have cost at other models.",
        "Elsewhere",
        query={**WHICH, "models": str},
    ),
    Way(
        "GET",
        ("export",),
        "export",
        "All attempts as a file: CSV, JSON lines or Parquet. One that is not whole breaks off.",
        "Text",
        query={**WHICH, "format": str},
        file=True,
    ),
    Way("GET", ("audit",), "audit", "Who changed what, the oldest first.", "Trail", query={"after": int, "limit": int}),
    Way("GET", ("ledger",), "state", "How the ledger itself is.", "LedgerState"),
    Way(
        "GET",
        ("events",),
        EVENTS,
        "What happens in the cluster, as server-sent events, until the client leaves.",
        "Text",
        query={"type": str, "prompts": str, "most": int},
        file=True,
    ),
    Way("GET", ("cache",), "cache_state", "Remembered answers, in each process and in the shared tier.", "CacheState"),
    Way(
        "DELETE",
        ("cache",),
        "cache_clear",
        "Forget, everywhere, the answers that fit all of this; without a filter all of them.",
        "Forgotten",
        query=dict.fromkeys(("tag", "model", "tenant", "key"), str),
    ),
    Way("GET", ("learning",), "learning_state", "What was learned of models.", "LearningState", query=ORG),
    Way(
        "GET",
        ("learning", "trajectories"),
        "learning_export",
        "Every decision that is kept, with what came of it, as JSON lines.",
        "Text",
        query=ORG,
        file=True,
    ),
    Way(
        "GET",
        ("learning", "map"),
        "learning_map",
        "What was asked, on a map; whom that teaches to ask, for how much, and how often somebody was tried out.",
        "LearningMap",
        query=ORG,
    ),
    Way(
        "GET",
        ("learning", "decisions", "{id}"),
        "learning_decision",
        "How one request was decided, and what was said of its answer.",
        "Decision",
        query=ORG,
    ),
    Way("GET", ("learning", "snapshots"), "learning_snapshots", "What one may go back to.", "Snapshots", query=ORG),
    Way(
        "POST",
        ("learning", "outcomes"),
        "learning_outcomes",
        "Learn from what several models made of the same prompts (a calibration).",
        "Done",
        Outcomes,
        query=ORG,
    ),
    Way(
        "GET",
        ("learning", "patterns"),
        "learning_share",
        "What was learned as a zip for other Raygates: patterns and adapters, no prompts.",
        "Text",
        query={**ORG, "who": str},
        file=True,
    ),
    Way(
        "POST",
        ("learning", "patterns"),
        "learning_take_in",
        "Learn from such a zip, which is the body as it is; refused where another embedder made it.",
        "Imported",
        query=ORG,
    ),
    Way("POST", ("learning", "pause"), "learning_pause", "Keep all that comes, and learn nothing.", "Done", query=ORG),
    Way("POST", ("learning", "resume"), "learning_resume", "Learn what came meanwhile.", "Done", query=ORG),
    Way("POST", ("learning", "reset"), "learning_reset", "Begin with nothing; the log stays.", "Done", query=ORG),
    Way(
        "POST",
        ("learning", "rollback"),
        "learning_rollback",
        "Go back to a snapshot, or to the last one.",
        "Done",
        query={**ORG, "snapshot": int},
    ),
    Way(
        "DELETE",
        ("learning", "traces"),
        "learning_forget_all",
        "Delete all that is known of the requests of an organisation.",
        "Done",
        query=ORG,
    ),
    Way(
        "DELETE",
        ("learning", "traces", "{id}"),
        "learning_forget",
        "Delete what is known of one request; the rest is learned anew.",
        "Done",
        query=ORG,
    ),
)


async def answer(asked: Asked) -> None:
    """Raises `Refused` for everybody but admins, and for what there is not."""
    if not asked.caller.admin:
        detail = "only an admin's key may ask this; use the one that `raygate up` made, or one created with --admin"
        raise Refused(FailureKind.NOT_ALLOWED, detail, code="admin_only")
    path = tuple(unquote(part) for part in asked.path.removeprefix(PREFIX).strip("/").split("/"))
    way = _way(asked.exchange.method, path)
    names = [part for want, part in zip(way.path, path, strict=True) if want.startswith("{")]
    said = _query(way, asked.exchange.query)
    if way.ask == EVENTS:
        await events.answer(asked, said)
        return
    if way.ask.startswith(LEARNING):
        await admin_learning.answer(asked, way.ask.removeprefix(LEARNING), names, said)
        return
    if way.ask.startswith(CACHE):
        await admin_cache.answer(asked, way.ask.removeprefix(CACHE), said)
        return
    if way.file:
        form, last = str(said.get("format", "csv")), str(said.get("last", "30d"))
        only = {name: str(said[name]) for name in FILTERS if name in said}
        pieces = asked.edge.ledger.export(form, last, only)  # its first piece refuses a format that there is not
        await asked.reply_file(f"raygate-{last}.{form}", FILES.get(form, b""), pieces)
        return
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
    return bool(part) and (want == part or want.startswith("{"))


def _query(way: Way, said: Mapping[str, str]) -> dict[str, str | int]:
    """What the address says, by its types. What nobody knows is refused: a filter with a typo would be no filter."""
    if unknown := said.keys() - way.query.keys():
        known = ", ".join(way.query) or "nothing"
        detail = f"?{min(unknown)[:100]}= means nothing here; what does: {known}"
        raise Refused(FailureKind.BAD_REQUEST, detail)
    try:
        found = {name: way.query[name](value) for name, value in said.items()}
    except ValueError:
        detail = "a number was expected in the address; write it in digits"
        raise Refused(FailureKind.BAD_REQUEST, detail) from None
    return {name: min(value, LARGEST) if isinstance(value, int) else value for name, value in found.items()}
