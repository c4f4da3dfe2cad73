"""What `raygate status` says of the ledger: how it is, and which budgets are nearly spent."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

from actors.names import LEDGER, NAMESPACE
from runtime.ledger.accounts import dollars
from serve.cli import screen

ANSWER_S = 5.0
NEARLY = 0.8
OLD_PRICES_DAYS = 60

_BUDGETS = ("budget", "spent", "of", "share", "begins anew")


def picture() -> dict[str, Any]:
    """The ledger's own word, with its budgets that are nearly spent; or `trouble`. Ray must be joined."""
    import ray
    from ray.exceptions import GetTimeoutError, RayError

    try:
        ledger: Any = ray.get_actor(LEDGER, namespace=NAMESPACE)
        asked = [ledger.ask.remote(what, (), {}, "") for what in ("state", "budgets")]
        state, budgets = ray.get(asked, timeout=ANSWER_S)
    except ValueError:
        return {"trouble": "there is none yet"}
    except GetTimeoutError:
        return {"trouble": f"it did not answer within {ANSWER_S:.0f} s"}
    except RayError as error:
        return {"trouble": f"it does not answer ({type(error).__name__})"}
    if not isinstance(state, Mapping) or not isinstance(budgets, Mapping):
        failed = budgets if isinstance(state, Mapping) else state
        return {"trouble": failed.detail}
    return {**state, "nearly_spent": [one for one in budgets["limits"] if is_nearly_spent(one)]}


def is_nearly_spent(limit: Mapping[str, Any]) -> bool:
    """What is lost counts as spent."""
    return bool(limit["counts"] == "money" and limit["used"] + limit["lost"] >= NEARLY * limit["amount"])


def sentence(ledger: Mapping[str, Any], today: date) -> str:
    """One line on how it is."""
    if ledger.get("trouble"):
        return str(ledger["trouble"])
    late_s, as_of = ledger.get("lag_s"), ledger.get("prices_as_of")
    came = "no rows in the last minute" if late_s is None else f"rows come at most {late_s:.1f} s late"
    age = "of an unknown day" if as_of is None else f"of {as_of} ({(today - date.fromisoformat(as_of)).days} days old)"
    return (
        f"{ledger['bytes'] / 2**20:,.1f} MB, epoch {ledger['epoch']}, {came}, "
        f"{ledger['under_way']} under way, prices {age}"
    )


def table(ledger: Mapping[str, Any]) -> Any:
    """The budgets that are nearly spent; None where there are none."""
    found = ledger.get("nearly_spent")
    return screen.table(_BUDGETS, map(_row, found), right=_BUDGETS[1:4]) if found else None


def _row(limit: Mapping[str, Any]) -> tuple[str, ...]:
    spent, amount, ends_ms = limit["used"] + limit["lost"], limit["amount"], limit["ends_ms"]
    share = f"{spent / amount:.0%}" if amount else "–"
    anew = "never" if ends_ms is None else f"{datetime.fromtimestamp(ends_ms / 1_000, UTC):%Y-%m-%d %H:%M} UTC"
    name = limit["limit"] if limit["hard"] else f"{limit['limit']} (warns only)"
    return (name, dollars(spent), dollars(amount), share, anew)
