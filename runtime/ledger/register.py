"""The accounts of a ledger as they are kept: documents in its store, a register of them in memory, a trail of changes.

    wish ──► Register.… ──► Amendment (documents and trail) ──► Store.change ──► Register.take

What a register says about a wish, `Amendment` or `Denied`, changes nothing yet: only what the store has taken does.
`now` is seconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from pydantic import TypeAdapter

from runtime.ledger.accounts import Budget, Key, NewKey, Organisation, Scope, Team, new_key, problems
from runtime.ledger.store.base import Audit, Document
from runtime.ledger.wishes import KeyChange, KeyWish, OrgWish, TeamWish

Holder = Organisation | Team | Key
H = TypeVar("H", Organisation, Team, Key)

_ADAPTERS: dict[str, TypeAdapter[Any]] = {
    Scope.ORG: TypeAdapter(Organisation),
    Scope.TEAM: TypeAdapter(Team),
    Scope.KEY: TypeAdapter(Key),
}


@dataclass(frozen=True, slots=True)
class Amendment:
    """What the store is to take, whole, before it holds. `fresh` is a key that was made by it."""

    put: tuple[Document, ...]
    audit: tuple[Audit, ...]
    fresh: NewKey | None = None


@dataclass(frozen=True, slots=True)
class Denied:
    """Why a wish was not granted; `unknown` where what it speaks of is not there."""

    detail: str
    unknown: bool = False


class Register:
    """All organisations, teams and keys, by id; keys also by their hash."""

    def __init__(self) -> None:
        self.orgs: dict[str, Organisation] = {}
        self.teams: dict[str, Team] = {}
        self.keys: dict[str, Key] = {}
        self._by_hash: dict[str, str] = {}

    def take(self, documents: Iterable[Document]) -> None:
        """Hold what the store holds."""
        for document in documents:
            if document.kind not in _ADAPTERS:
                continue  # a newer version's
            holder = _ADAPTERS[document.kind].validate_python(document.body)
            self._of(Scope(document.kind))[document.id] = holder
            if isinstance(holder, Key):
                self._by_hash[holder.sha256] = holder.id

    def holders(self) -> Iterator[Holder]:
        """Whoever may have limits."""
        yield from self.orgs.values()
        yield from self.teams.values()
        yield from self.keys.values()

    def key_of(self, shown: str) -> Key | None:
        """By its hash, as a caller shows it, or by its id, as an attempt's account names it."""
        return self.keys.get(self._by_hash.get(shown, shown))

    def above(self, key: Key) -> tuple[Team | None, Organisation | None]:
        """The team of a key and the organisation of both, where it has them."""
        return self.teams.get(key.team), self.orgs.get(key.org)

    # Wishes.

    def create_key(self, wish: KeyWish, *, chance: bytes, who: str, now: float) -> Amendment | Denied:
        """A new key of `chance`, which are random bytes as `new_key` wants them."""
        if wish.team and wish.team not in self.teams:
            return _no("team", wish.team)
        org = wish.org or (self.teams[wish.team].org if wish.team else "")
        if org and org not in self.orgs:
            return _no("organisation", org)
        if wish.team and (of := self.teams[wish.team].org) != org:
            return Denied(
                f"team {wish.team} belongs to {of or 'no organisation'}, not to {org}; leave the organisation out"
            )
        fresh = new_key(chance)
        key = Key(
            id=fresh.id,
            sha256=fresh.sha256,
            shown=fresh.shown,
            name=wish.name,
            team=wish.team,
            org=org,
            tags=wish.tags,
            models=wish.models,
            routes=wish.routes,
            networks=wish.networks,
            budgets=wish.kept_budgets,
            rate=wish.rate.kept,
            admin=wish.admin,
            created_at=now,
            expires_at=wish.expires(now),
        )
        made = self._amend("key.created", key, who, now)
        return replace(made, fresh=fresh) if isinstance(made, Amendment) else made

    def change_key(self, account: str, wish: KeyChange, *, who: str, now: float) -> Amendment | Denied:
        key = self.keys.get(account)
        return _no("key", account) if key is None else self._amend("key.changed", wish.applied(key), who, now)

    def revoke_key(self, account: str, *, who: str, now: float) -> Amendment | Denied:
        """For good. Revoking twice is no mistake."""
        key = self.keys.get(account)
        return _no("key", account) if key is None else self._amend("key.revoked", replace(key, revoked=True), who, now)

    def put_team(self, account: str, wish: TeamWish, *, who: str, now: float) -> Amendment | Denied:
        if wish.org and wish.org not in self.orgs:
            return _no("organisation", wish.org)
        before = self.teams.get(account)
        if before is not None and before.org != wish.org and any(key.team == account for key in self.keys.values()):
            return Denied(f"team {account} has keys; it cannot move to another organisation")
        team = Team(id=account, name=wish.name, org=wish.org, budgets=wish.kept_budgets, rate=wish.rate.kept)
        return self._amend("team.changed" if before else "team.created", team, who, now)

    def put_org(self, account: str, wish: OrgWish, *, who: str, now: float) -> Amendment | Denied:
        org = Organisation(id=account, name=wish.name, budgets=wish.kept_budgets, rate=wish.rate.kept)
        return self._amend("org.changed" if account in self.orgs else "org.created", org, who, now)

    def set_budget(self, scope: Scope, account: str, budget: Budget, *, who: str, now: float) -> Amendment | Denied:
        """This budget in the place of the one for the same period, if there is one."""
        holder = self._of(scope).get(account)
        if holder is None:
            return _no(scope.value, account)
        kept = tuple(one for one in holder.budgets if one.period is not budget.period)
        return self._amend("budget.set", replace(holder, budgets=(*kept, budget)), who, now)

    def remove_budget(self, scope: Scope, account: str, period: str, *, who: str, now: float) -> Amendment | Denied:
        holder = self._of(scope).get(account)
        if holder is None:
            return _no(scope.value, account)
        kept = tuple(one for one in holder.budgets if one.period != period)
        if len(kept) == len(holder.budgets):
            return Denied(f"{scope.value} {account} has no {period} budget", unknown=True)
        return self._amend("budget.removed", replace(holder, budgets=kept), who, now)

    # How it is done.

    def _of(self, scope: Scope) -> dict[str, Any]:
        match scope:
            case Scope.ORG:
                return self.orgs
            case Scope.TEAM:
                return self.teams
            case Scope.KEY:
                return self.keys

    def _amend(self, what: str, holder: Holder, who: str, now: float) -> Amendment | Denied:
        if wrong := problems(holder):
            return Denied("; ".join(wrong))
        document = document_of(holder)
        before = self._of(Scope(document.kind)).get(holder.id)
        audit = Audit(
            at_ms=round(now * 1_000),
            who=who,
            what=what,
            subject=f"{document.kind}/{holder.id}",
            before=None if before is None else document_of(before).body,
            after=document.body,
        )
        return Amendment(put=(document,), audit=(audit,))


def document_of(holder: Holder) -> Document:
    """How it is kept."""
    match holder:
        case Organisation():
            kind, parent, sha256 = Scope.ORG, "", ""
        case Team():
            kind, parent, sha256 = Scope.TEAM, holder.org, ""
        case Key():
            kind, parent, sha256 = Scope.KEY, holder.team or holder.org, holder.sha256
    body = _ADAPTERS[kind].dump_python(holder, mode="json")
    return Document(kind=kind.value, id=holder.id, body=body, parent=parent, sha256=sha256)


def _no(what: str, name: str) -> Denied:
    make = {"team": "teams", "organisation": "orgs"}.get(what)
    how = f"; POST /admin/{make}/{name} makes it" if make else ""
    return Denied(f"there is no {what} {name!r}{how}", unknown=True)
