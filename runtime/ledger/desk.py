"""What admins ask of a ledger, as JSON in and out: keys, teams, organisations, budgets, and the trail of their changes.

    body ─► wish (validated) ─► Register: an amendment, or why not ─► Store, whole ─► Register.take ─► changed()

Every answer is plain data, or a `Failure` that says what to do; `who` is the admin's own key, for the trail.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from runtime.ledger.accounts import Budget, Key, Organisation, RateLimit, Scope, Team
from runtime.ledger.register import Amendment, Denied, Register
from runtime.ledger.store.base import Audit, Store, StoreFailure, Trouble
from runtime.ledger.wishes import BudgetWish, KeyChange, KeyWish, OrgWish, TeamWish
from runtime.models import NANOUSD
from runtime.outcome import Failure, FailureKind
from runtime.request import Json

Wish = TypeVar("Wish", bound=BaseModel)
Answer = Mapping[str, Json]

NOT_FOUND = "not_found"
"""The code of a failure about something that is not there."""

MOST_AUDIT = 1_000
CHANCE_BYTES = 32


class Desk:
    """Belongs to one event loop. `changed` is awaited after every change that the store has taken."""

    def __init__(
        self,
        store: Store,
        register: Register,
        *,
        wall: Callable[[], float],
        chance: Callable[[int], bytes],
        changed: Callable[[], Awaitable[None]],
    ) -> None:
        self._store = store
        self._register = register
        self._wall = wall
        self._chance = chance
        self._changed = changed
        self._one_by_one = asyncio.Lock()

    async def create_key(self, body: Json, *, who: str) -> Answer | Failure:
        """The new key, with its `key`: the only time that its text is shown."""
        wish = _wish(KeyWish, body)
        if isinstance(wish, Failure):
            return wish
        chance = self._chance(CHANCE_BYTES)
        made = await self._do(lambda now: self._register.create_key(wish, chance=chance, who=who, now=now))
        if isinstance(made, Failure):
            return made
        if made.fresh is None:
            raise RuntimeError("a key was created, and none was made")
        return {**key_json(self._register.keys[made.fresh.id]), "key": made.fresh.text}

    async def change_key(self, account: str, body: Json, *, who: str) -> Answer | Failure:
        wish = _wish(KeyChange, body)
        if isinstance(wish, Failure):
            return wish
        made = await self._do(lambda now: self._register.change_key(account, wish, who=who, now=now))
        return made if isinstance(made, Failure) else key_json(self._register.keys[account])

    async def revoke_key(self, account: str, *, who: str) -> Answer | Failure:
        made = await self._do(lambda now: self._register.revoke_key(account, who=who, now=now))
        return made if isinstance(made, Failure) else key_json(self._register.keys[account])

    async def put_team(self, account: str, body: Json, *, who: str) -> Answer | Failure:
        wish = _wish(TeamWish, body)
        if isinstance(wish, Failure):
            return wish
        made = await self._do(lambda now: self._register.put_team(account, wish, who=who, now=now))
        return made if isinstance(made, Failure) else team_json(self._register.teams[account])

    async def put_org(self, account: str, body: Json, *, who: str) -> Answer | Failure:
        wish = _wish(OrgWish, body)
        if isinstance(wish, Failure):
            return wish
        made = await self._do(lambda now: self._register.put_org(account, wish, who=who, now=now))
        return made if isinstance(made, Failure) else org_json(self._register.orgs[account])

    async def set_budget(self, scope: str, account: str, body: Json, *, who: str) -> Answer | Failure:
        wish = _wish(BudgetWish, body)
        if isinstance(wish, Failure):
            return wish
        of = _scope(scope)
        if isinstance(of, Failure):
            return of
        made = await self._do(lambda now: self._register.set_budget(of, account, wish.kept, who=who, now=now))
        return made if isinstance(made, Failure) else budget_json(wish.kept)

    async def remove_budget(self, scope: str, account: str, period: str, *, who: str) -> Answer | Failure:
        of = _scope(scope)
        if isinstance(of, Failure):
            return of
        made = await self._do(lambda now: self._register.remove_budget(of, account, period, who=who, now=now))
        return made if isinstance(made, Failure) else {"removed": period}

    async def keys(self) -> Answer:
        """Without their hashes, the newest last."""
        found = sorted(self._register.keys.values(), key=lambda key: key.created_at)
        return {"keys": [key_json(key) for key in found]}

    async def key(self, account: str) -> Answer | Failure:
        key = self._register.keys.get(account)
        return _unknown(f"there is no key {account!r}") if key is None else key_json(key)

    async def accounts(self) -> Answer:
        teams, orgs = self._register.teams.values(), self._register.orgs.values()
        return {"teams": [team_json(team) for team in teams], "orgs": [org_json(org) for org in orgs]}

    async def audit(self, after: int = 0, limit: int = MOST_AUDIT) -> Answer | Failure:
        """The trail from number `after` on, the oldest first."""
        found = await self._store.audit(after=max(0, after), limit=max(1, min(limit, MOST_AUDIT)))
        if isinstance(found, StoreFailure):
            return unkept(found)
        return {"entries": [audit_json(one) for one in found]}

    async def note(self, what: str, subject: str, after: Mapping[str, Json], *, who: str) -> Answer | Failure:
        """Write into the trail what an admin has done elsewhere than here."""
        at_ms = round(self._wall() * 1_000)
        failed = await self._store.change(
            (), audit=(Audit(at_ms=at_ms, who=who, what=what, subject=subject, after=after),)
        )
        return unkept(failed) if failed is not None else {}

    # How it is done.

    async def _do(self, amend: Callable[[float], Amendment | Denied]) -> Amendment | Failure:
        """Amend, keep, and only then hold. One after the other: two must not build on the same state."""
        async with self._one_by_one:
            made = amend(self._wall())
            if isinstance(made, Denied):
                return _unknown(made.detail) if made.unknown else bad(made.detail)
            failed = await self._store.change(made.put, audit=made.audit)
            if failed is not None:
                return unkept(failed)
            self._register.take(made.put)
            await self._changed()
        return made


def unkept(failure: StoreFailure) -> Failure:
    """What a caller hears of a store that could not do it."""
    if failure.kind is Trouble.INVALID:
        return bad(failure.detail)
    return Failure(
        kind=FailureKind.UNAVAILABLE,
        detail=f"nothing was changed: {failure}",
        code=f"ledger_{failure.kind.value}",
        scope="request",
    )


def key_json(key: Key) -> Answer:
    return {
        "id": key.id,
        "shown": key.shown,
        "name": key.name,
        "team": key.team,
        "org": key.org,
        "tags": list(key.tags),
        "models": list(key.models),
        "routes": list(key.routes),
        "networks": list(key.networks),
        **_limits_json(key.budgets, key.rate),
        "admin": key.admin,
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "revoked": key.revoked,
    }


def team_json(team: Team) -> Answer:
    return {"id": team.id, "name": team.name, "org": team.org, **_limits_json(team.budgets, team.rate)}


def org_json(org: Organisation) -> Answer:
    return {"id": org.id, "name": org.name, **_limits_json(org.budgets, org.rate)}


def budget_json(budget: Budget) -> Answer:
    return {
        "period": budget.period.value,
        "limit_usd": budget.limit_nanousd / NANOUSD,
        "limit_nanousd": budget.limit_nanousd,
        "warn_at": budget.warn_at,
        "hard": budget.hard,
    }


def audit_json(entry: Audit) -> Answer:
    return {
        "seq": entry.seq,
        "at_ms": entry.at_ms,
        "who": entry.who,
        "what": entry.what,
        "subject": entry.subject,
        "before": _shown(entry.before),
        "after": _shown(entry.after),
    }


def _shown(body: Mapping[str, Json] | None) -> Json:
    """Without a key's hash: it lets nobody in, and is nobody's business all the same."""
    return None if body is None else {name: value for name, value in body.items() if name != "sha256"}


def _limits_json(budgets: Sequence[Budget], rate: RateLimit) -> dict[str, Json]:
    return {
        "budgets": [budget_json(one) for one in budgets],
        "rate": {
            "requests_per_min": rate.requests_per_min,
            "tokens_per_min": rate.tokens_per_min,
            "concurrent": rate.concurrent,
        },
    }


def _wish(model: type[Wish], body: Json) -> Wish | Failure:
    """The body as a wish, or all that is wrong with it in one sentence."""
    try:
        return model.model_validate(body)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_context=False, include_input=False)
    first = problems[0]
    where = ".".join(map(str, first["loc"]))
    said = [f"`{'.'.join(map(str, one['loc'])) or 'body'}`: {one['msg']}" for one in problems[:5]]
    return bad("; ".join(said), param=where or None)


def _scope(said: str) -> Scope | Failure:
    try:
        return Scope(said)
    except ValueError:
        return bad(f"there are budgets of {', '.join(Scope)}, not of {said!r}")


def _unknown(detail: str) -> Failure:
    return Failure(kind=FailureKind.BAD_REQUEST, detail=detail, code=NOT_FOUND, scope="request")


def bad(detail: str, param: str | None = None) -> Failure:
    """What was asked cannot be done, and why."""
    return Failure(kind=FailureKind.BAD_REQUEST, detail=detail, param=param, scope="request")
