"""Who may ask for what, and how much: organisations, their teams, and the keys of both. Decides; keeps nothing.

    Organisation ◄── Team ◄── Key ──► make_pass ──► Pass ──► allowed        who, what, whence, until when
                                                       └───► limits         how much: `runtime.ledger.purse`

Each of the three may have budgets and a rate; a request must fit into all that stand above its key. A key itself is
never stored, only its SHA-256: its 256 bits are random, so a hash that is slow to compute would add nothing.
`now` is seconds since the epoch.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from fnmatch import fnmatchcase
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from runtime.ledger.periods import Period, end_of
from runtime.ledger.rows import Account
from runtime.outcome import Failure, FailureKind
from runtime.wire import crosses

PREFIX = "rg-"
KEY_BYTES = 32
PASS_S = 60.0
"""How long an edge goes by a pass, and so the longest that a change takes to reach one that hears of nothing else."""

EACH = {
    Period.HOUR: "hourly budget",
    Period.DAY: "daily budget",
    Period.WEEK: "weekly budget",
    Period.MONTH: "monthly budget",
    Period.TOTAL: "budget",
}

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""What an organisation, a team or a key may be called in documents, limits and totals."""


class Scope(StrEnum):
    """Whose limit it is. The names are those of the store's dimensions."""

    ORG = "org"
    TEAM = "team"
    KEY = "key"


class Counted(StrEnum):
    """What a limit counts: nano-dollars in a period, requests or tokens in a minute, requests at one time."""

    MONEY = "money"
    REQUESTS = "requests"
    TOKENS = "tokens"
    CONCURRENT = "concurrent"


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Nano-dollars for each period. At `warn_at` of it there is a warning, at all of it a refusal, if it is `hard`."""

    period: Period
    limit_nanousd: int
    warn_at: float = 0.8
    hard: bool = True


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    """None leaves a thing unlimited. A minute's worth may come at once; see `runtime.ledger.limits`."""

    requests_per_min: int | None = None
    tokens_per_min: int | None = None
    concurrent: int | None = None


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class Organisation:
    """`id` is for ever, `name` for people. At most one budget for each period."""

    id: str
    name: str = ""
    budgets: tuple[Budget, ...] = ()
    rate: RateLimit = RateLimit()


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class Team:
    """`org` is the id of its organisation, empty where it has none."""

    id: str
    name: str = ""
    org: str = ""
    budgets: tuple[Budget, ...] = ()
    rate: RateLimit = RateLimit()


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """`id` is public and stands in rows, `sha256` is of the key's text, in hex, `shown` its last characters.

    `models` and `routes` are patterns (`*`, `?`, `[…]`): of provider/model or the model alone, and of the name that
    a request asks for; empty allows all. `networks` are IP ranges (`10.0.0.0/8`). `expires_at` is seconds since the
    epoch. An `admin` key may change the books; its own requests are counted like any other's.
    """

    id: str
    sha256: str
    shown: str = ""
    name: str = ""
    team: str = ""
    org: str = ""
    tags: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    routes: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    budgets: tuple[Budget, ...] = ()
    rate: RateLimit = RateLimit()
    admin: bool = False
    created_at: float = 0.0
    expires_at: float | None = None
    revoked: bool = False


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """One thing that bounds an account, whoever set it. `amount` is in what is `counted`.

    `hard`: requests are refused beyond it, so edges need leases for it. Money alone may be soft.
    """

    scope: Scope
    of: str
    counted: Counted
    amount: int
    period: Period = Period.TOTAL
    warn_at: float = 0.8
    hard: bool = True

    @property
    def name(self) -> str:
        """Names it among all limits, also after its amount has changed: `team/red/month`, `key/k1/tokens`."""
        what = self.period.value if self.counted is Counted.MONEY else self.counted.value
        return f"{self.scope.value}/{self.of}/{what}"


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """What an edge needs to let a caller in, for `lifetime_s` from when it asked. `limits` are the hard ones."""

    account: Account
    name: str = ""
    admin: bool = False
    models: tuple[str, ...] = ()
    routes: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    expires_at: float | None = None
    limits: tuple[Limit, ...] = ()
    lifetime_s: float = PASS_S


@dataclass(frozen=True, slots=True)
class NewKey:
    """`text` is shown once and kept by nobody here."""

    text: str
    id: str
    sha256: str
    shown: str


def new_key(random_bytes: bytes) -> NewKey:
    """A key of `KEY_BYTES` random bytes. Raises `ValueError` for any other number of them."""
    if len(random_bytes) != KEY_BYTES:
        raise ValueError(f"a key is made of {KEY_BYTES} random bytes, not {len(random_bytes)}")
    text = PREFIX + base64.urlsafe_b64encode(random_bytes).rstrip(b"=").decode()
    digest = sha256_of(text)
    return NewKey(text=text, id=f"key_{digest[:12]}", sha256=digest, shown=f"…{text[-4:]}")


def sha256_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def limits_of(holder: Organisation | Team | Key) -> tuple[Limit, ...]:
    """All that it bounds, hard and soft."""
    scope = {Organisation: Scope.ORG, Team: Scope.TEAM, Key: Scope.KEY}[type(holder)]
    rate = holder.rate
    rates = (
        (Counted.REQUESTS, rate.requests_per_min),
        (Counted.TOKENS, rate.tokens_per_min),
        (Counted.CONCURRENT, rate.concurrent),
    )
    money = (
        Limit(
            scope=scope,
            of=holder.id,
            counted=Counted.MONEY,
            amount=budget.limit_nanousd,
            period=budget.period,
            warn_at=budget.warn_at,
            hard=budget.hard,
        )
        for budget in holder.budgets
    )
    slow = (
        Limit(scope=scope, of=holder.id, counted=counted, amount=amount)
        for counted, amount in rates
        if amount is not None
    )
    return (*money, *slow)


def make_pass(key: Key, *, team: Team | None, org: Organisation | None, now: float) -> Pass | Failure:
    """What an edge may go by for a while, or why this key is not to be let in."""
    if (refused := _dead(revoked=key.revoked, expires_at=key.expires_at, now=now)) is not None:
        return refused
    holders = [holder for holder in (key, team, org) if holder is not None]
    limits = tuple(limit for holder in holders for limit in limits_of(holder) if limit.hard)
    strict = any(limit.counted is Counted.MONEY for limit in limits)
    left_s = PASS_S if key.expires_at is None else key.expires_at - now
    return Pass(
        account=Account(key=key.id, team=key.team, org=key.org, tags=key.tags, strict=strict),
        name=key.name,
        admin=key.admin,
        models=key.models,
        routes=key.routes,
        networks=key.networks,
        expires_at=key.expires_at,
        limits=limits,
        lifetime_s=min(PASS_S, left_s),
    )


def allowed(pass_: Pass, *, now: float, route: str = "", model: str = "", ip: str = "") -> Failure | None:
    """Why this caller may not do this; None if they may. What is empty is not asked about.

    `route` is the name that a request asks for, `model` a candidate as provider/model, `ip` the caller's address.
    """
    if (refused := _dead(revoked=False, expires_at=pass_.expires_at, now=now)) is not None:
        return refused
    if ip and pass_.networks and not _within(ip, pass_.networks):
        return _not_allowed(
            f"the key {pass_.account.key} may not be used from {ip}; call from one of its networks, or have an admin "
            "add yours to the key",
            "ip_not_allowed",
        )
    if route and pass_.routes and not matches(route, pass_.routes):
        return _not_allowed(
            f"the key {pass_.account.key} may not ask for {route}; it may ask for {', '.join(pass_.routes)}",
            "route_not_allowed",
        )
    if model and pass_.models and not matches(model, pass_.models):
        return _not_allowed(
            f"the key {pass_.account.key} may not use {model}; it may use {', '.join(pass_.models)}",
            "model_not_allowed",
        )
    return None


def problems(holder: Organisation | Team | Key) -> tuple[str, ...]:
    """What is wrong with a document before it is kept, in sentences."""
    found = []
    if not NAME.fullmatch(holder.id):
        found.append(f"the id {holder.id!r} is not made of 1 to 64 letters, digits, '.', '_' and '-'")
    periods = [budget.period for budget in holder.budgets]
    found += [f"there are two {period} budgets; keep one" for period in Period if periods.count(period) > 1]
    found += ["a limit below zero allows nothing; use 0" for limit in limits_of(holder) if limit.amount < 0]
    found += [
        f"warn_at is a share from 0 to 1, not {budget.warn_at}"
        for budget in holder.budgets
        if not 0 <= budget.warn_at <= 1
    ]
    if isinstance(holder, Key):
        found += [
            f"{network!r} is no IP range; write it as 10.0.0.0/8 or 2001:db8::/32"
            for network in holder.networks
            if _network(network) is None
        ]
    return tuple(found)


def dollars(nanousd: int) -> str:
    """An amount, for people: cents where they say all, else as many digits as it has."""
    whole, rest = divmod(abs(nanousd), 1_000_000_000)
    digits = f"{rest:09d}".rstrip("0").ljust(2, "0")
    return f"{'-' if nanousd < 0 else ''}${whole}.{digits}"


def described(limit: Limit, *, now: float) -> str:
    """A limit, for people, with what it began with: `the monthly budget of team red ($50.00)`."""
    whose = f"{limit.scope.value} {limit.of}"
    match limit.counted:
        case Counted.MONEY:
            end_ms = end_of(limit.period, int(now * 1000))
            anew = "" if end_ms is None else f", which begins anew at {said(end_ms / 1000)}"
            return f"the {EACH[limit.period]} of {whose} ({dollars(limit.amount)}){anew}"
        case Counted.REQUESTS:
            return f"the limit of {whose} of {limit.amount} requests a minute"
        case Counted.TOKENS:
            return f"the limit of {whose} of {limit.amount} tokens a minute"
        case Counted.CONCURRENT:
            return f"the limit of {whose} of {limit.amount} requests at one time"


def said(at_s: float) -> str:
    """A moment, for people."""
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _dead(*, revoked: bool, expires_at: float | None, now: float) -> Failure | None:
    if revoked:
        detail = "this key was revoked; ask an admin for another"
        return Failure(kind=FailureKind.BAD_KEY, detail=detail, code="key_revoked", scope="request")
    if expires_at is not None and now >= expires_at:
        detail = f"this key expired at {said(expires_at)}; ask an admin for another"
        return Failure(kind=FailureKind.BAD_KEY, detail=detail, code="key_expired", scope="request")
    return None


def _not_allowed(detail: str, code: str) -> Failure:
    return Failure(kind=FailureKind.NOT_ALLOWED, detail=detail, code=code, scope="request")


def matches(name: str, patterns: tuple[str, ...]) -> bool:
    """Whether one of the patterns is of this name, or of what comes after its first stroke."""
    bare = name.partition("/")[2]
    return any(fnmatchcase(name, pattern) or (bare and fnmatchcase(bare, pattern)) for pattern in patterns)


def _within(ip: str, networks: tuple[str, ...]) -> bool:
    """False as well for an address that cannot be read."""
    try:
        address: IPv4Address | IPv6Address = ip_address(ip)
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        # An IPv4 caller on a socket that takes both.
        address = address.ipv4_mapped
    return any(address in network for text in networks if (network := _network(text)) is not None)


@lru_cache(maxsize=4_096)
def _network(text: str) -> IPv4Network | IPv6Network | None:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        return None
