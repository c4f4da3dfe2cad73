"""What an admin may ask for, as it comes in JSON: keys, teams, organisations, budgets. Money is dollars here.

Fields that nobody knows are refused by name: a limit with a typo in it would be no limit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from runtime.ledger.accounts import Budget, Key, RateLimit
from runtime.ledger.periods import Period
from runtime.models import NANOUSD

Name = Annotated[str, Field(max_length=200)]
Names = Annotated[tuple[Name, ...], Field(max_length=100)]
Usd = Annotated[Decimal, Field(ge=0, le=1_000_000_000, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, le=10**12)]
DAY_S = 86_400.0

CALLED: Mapping[str, Period] = {
    "hourly": Period.HOUR,
    "daily": Period.DAY,
    "weekly": Period.WEEK,
    "monthly": Period.MONTH,
}
"""Other words for periods."""

Span = Annotated[
    Period,
    BeforeValidator(lambda said: CALLED.get(said, said) if isinstance(said, str) else said),
    Field(description=f"or {', '.join(CALLED)}"),
]


class _Wish(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class BudgetWish(_Wish):
    """Dollars for each period. `warn_at`: the share of it at which there is a warning. One that is not `hard` only
    warns."""

    period: Span
    limit_usd: Usd
    warn_at: Annotated[float, Field(ge=0, le=1)] = 0.8
    hard: bool = True

    @property
    def kept(self) -> Budget:
        limit = int(self.limit_usd * NANOUSD)
        return Budget(period=self.period, limit_nanousd=limit, warn_at=self.warn_at, hard=self.hard)


class RateWish(_Wish):
    """What is left out is unlimited."""

    requests_per_min: Count | None = None
    tokens_per_min: Count | None = None
    concurrent: Count | None = None

    @property
    def kept(self) -> RateLimit:
        return RateLimit(
            requests_per_min=self.requests_per_min, tokens_per_min=self.tokens_per_min, concurrent=self.concurrent
        )


class _Limited(_Wish):
    name: Name = ""
    budgets: Annotated[tuple[BudgetWish, ...], Field(max_length=5)] = ()
    rate: RateWish = RateWish()

    @property
    def kept_budgets(self) -> tuple[Budget, ...]:
        return tuple(one.kept for one in self.budgets)


class OrgWish(_Limited):
    """An organisation."""


class TeamWish(_Limited):
    """A team; `org` is the id of its organisation."""

    org: Name = ""


class KeyWish(_Limited):
    """A key; at most one of `expires_in_days` and `expires_at` (seconds since the epoch). Empty lists allow all."""

    team: Name = ""
    org: Name = ""
    tags: Names = ()
    models: Names = ()
    routes: Names = ()
    networks: Names = ()
    admin: bool = False
    expires_in_days: Annotated[float, Field(gt=0)] | None = None
    expires_at: Annotated[float, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _expires_once(self) -> KeyWish:
        if self.expires_in_days is not None and self.expires_at is not None:
            raise PydanticCustomError("expires", "has both `expires_in_days` and `expires_at`: say one of them")
        return self

    def expires(self, now: float) -> float | None:
        return self.expires_at if self.expires_in_days is None else now + self.expires_in_days * DAY_S


class KeyChange(_Wish):
    """What is to be different about a key; the rest stays as it is. `expires_at: 0` means never."""

    name: Name | None = None
    tags: Names | None = None
    models: Names | None = None
    routes: Names | None = None
    networks: Names | None = None
    budgets: Annotated[tuple[BudgetWish, ...], Field(max_length=5)] | None = None
    rate: RateWish | None = None
    expires_at: Annotated[float, Field(ge=0)] | None = None

    def applied(self, key: Key) -> Key:
        plain: dict[str, Any] = {
            name: value
            for name in ("name", "tags", "models", "routes", "networks")
            if (value := getattr(self, name)) is not None
        }
        if self.budgets is not None:
            plain["budgets"] = tuple(one.kept for one in self.budgets)
        if self.rate is not None:
            plain["rate"] = self.rate.kept
        if self.expires_at is not None:
            plain["expires_at"] = self.expires_at or None
        return replace(key, **plain)
