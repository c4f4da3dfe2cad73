"""`raygate keys` and `raygate budget`: what admins do with keys and limits, over HTTP, so also from elsewhere."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from actors.environment import environment, state_folder
from runtime.ledger.accounts import dollars
from runtime.ledger.periods import Period
from serve.cli import http, place, screen
from serve.cli.errors import Ended

CONTROL_S = 60.0
PERIODS = tuple(each.value for each in Period)
_AMOUNT = re.compile(r"\d+(\.\d*)?|\.\d+")


def ask(
    method: str,
    path: str,
    *,
    url: str,
    key: str,
    body: Mapping[str, Any] | None = None,
    query: Mapping[str, str] | None = None,
) -> Any:
    """The admin API's answer. Raises `Ended`."""
    target = place.target(url, key)
    with screen.waiting("asking the ledger"), http.client(target) as client:
        return http.body_of(target, client.request(method, f"/admin/{path}", json=body, params=query))


def budget_of(said: str) -> dict[str, str]:
    """A budget as people type it: dollars, a stroke, a period. Raises `Ended`.

    >>> budget_of("50/month")
    {'limit_usd': '50', 'period': 'month'}
    """
    dollars, _, period = said.removeprefix("$").partition("/")
    if not _AMOUNT.fullmatch(dollars) or period not in PERIODS:
        raise Ended(f"{said!r} is no budget; write it as 50/month, 5/day or 100/total ({', '.join(PERIODS)})")
    return {"limit_usd": dollars, "period": period}


def create(wish: Mapping[str, Any], *, url: str, key: str, as_json: bool) -> None:
    """Make a key and show it. Raises `Ended`."""
    made = ask("POST", "keys", url=url, key=key, body=wish)
    if as_json:
        screen.as_json(made)
        return
    print(made["key"])
    print(f"{made['id']}: this is the only time that it is shown; it is kept as a hash alone", file=sys.stderr)


def listed(*, url: str, key: str, as_json: bool) -> None:
    """All keys. Raises `Ended`."""
    found = ask("GET", "keys", url=url, key=key)["keys"]
    if as_json:
        screen.as_json(found)
        return
    if not found:
        print(f"There are no keys yet but the one that `{screen.program()} up` made; `keys create NAME` makes one.")
        return
    columns = ("id", "ends in", "name", "team", "state", "limits")
    screen.console().print(screen.table(columns, map(_row, found)))


def revoke(account: str, *, url: str, key: str, as_json: bool) -> None:
    """End a key for good. Raises `Ended`."""
    gone = ask("DELETE", f"keys/{quote(account, safe='')}", url=url, key=key)
    if as_json:
        screen.as_json(gone)
        return
    print(f"{gone['id']} ({gone['name'] or 'without a name'}) lets nobody in any more.")


def renew(*, as_json: bool) -> None:
    """Another first key; all earlier ones end. Raises `Ended`.

    The file is written first: whoever dies in between has a key that `raygate up` makes known, and does this again.
    """
    from actors.keys import BOOTSTRAP_FILE, GIVEN, bootstrap_key
    from actors.launch import head
    from serve.cli.config import joined

    env = environment()
    folder = state_folder(env)
    file = folder / BOOTSTRAP_FILE
    with screen.waiting("telling the manager"), joined(folder) as (manager, _), head.alone(folder):
        import ray

        if not env.get(GIVEN, "").strip():
            file.unlink(missing_ok=True)
        info, made = bootstrap_key(folder, env)
        ray.get(manager.only_key.remote(info), timeout=CONTROL_S)
    if as_json:
        screen.as_json({"key": made, "key_file": str(file)})
        return
    if made is None:
        print(f"The first key is the one that the environment names, and no other ({file}).")
        return
    print(made)
    print(f"the first key, shown this once; it lies in {file}, and the old one is over", file=sys.stderr)


def set_budget(scope: str, account: str, budget: Mapping[str, Any], *, url: str, key: str, as_json: bool) -> None:
    """Bound what an account may spend in a period. Raises `Ended`."""
    held = ask("POST", f"budgets/{scope}/{quote(account, safe='')}", url=url, key=key, body=budget)
    if as_json:
        screen.as_json(held)
        return
    print(f"{scope} {account} may spend {_budget(held)}.")


def remove_budget(scope: str, account: str, period: str, *, url: str, key: str, as_json: bool) -> None:
    """Take a budget away. Raises `Ended`."""
    if period not in PERIODS:
        raise Ended(f"{period!r} is no period; there are {', '.join(PERIODS)}")
    gone = ask("DELETE", f"budgets/{scope}/{quote(account, safe='')}/{period}", url=url, key=key)
    if as_json:
        screen.as_json(gone)
        return
    print(f"{scope} {account} has no budget by the {period} any more.")


def _row(key: Mapping[str, Any]) -> tuple[str, ...]:
    owner = "/".join(filter(None, (key["org"], key["team"])))
    return (key["id"], key["shown"], key["name"], owner, _state(key), _limits(key))


def _state(key: Mapping[str, Any]) -> str:
    if key["revoked"]:
        return "revoked"
    if key["expires_at"] is not None:
        return f"until {datetime.fromtimestamp(key['expires_at'], UTC):%Y-%m-%d %H:%M} UTC"
    return "admin" if key["admin"] else "valid"


def _limits(holder: Mapping[str, Any]) -> str:
    rate = holder["rate"]
    words = {"requests_per_min": "requests/min", "tokens_per_min": "tokens/min", "concurrent": "at once"}
    said = [_budget(one) for one in holder["budgets"]]
    said += [f"{rate[name]:,} {word}" for name, word in words.items() if rate[name] is not None]
    said += [f"{what}: {' '.join(holder[what])}" for what in ("models", "routes", "networks") if holder.get(what)]
    return ", ".join(said) or "none"


def _budget(budget: Mapping[str, Any]) -> str:
    each = {"total": "in all", "hour": "an hour"}.get(budget["period"], f"a {budget['period']}")
    return f"{dollars(budget['limit_nanousd'])} {each}{'' if budget['hard'] else ' (warns only)'}"
