"""What the tests of hosts give a cluster, ask of it, and hold its rows against."""

from __future__ import annotations

import json
from typing import Any

import httpx
import yaml

from tests.chaos.meter import Meter
from tests.chaos.money import HEAD
from tests.cluster.hosts import GCS_PORT, ROOT, Host, Net, NotAllowed, until_true
from tests.cluster.load import Load, account_of, providers, routes
from tests.cluster.world import Cluster

ALMOST_ALL = 0.999
ROUTES = ("warm", "head", "cut", "disk", "process", "redeploy", "actors", "probes", "old", "first", "new")
BACK_S = 240.0


def document(net: Net, meters: dict[str, Meter], head: str, *more: str, **changes: Any) -> dict[str, Any]:
    """What the cluster is given."""
    return {
        "host": "0.0.0.0",
        "local": {"enabled": False},
        "ray": {"address": f"{head}:{GCS_PORT}"},
        "ledger": {"url": net.database},
        "providers": providers(meters),
        "routes": {
            **routes(meters, *ROUTES, *more),
            "teach": {"targets": [f"{one}/teach" for one in meters], "strategy": "learned"},
        },
        **changes,
    }


def apply(cluster: Cluster, settings: dict[str, Any]) -> dict[str, Any]:
    """`raygate config apply` on the head; it returns once every edge follows."""
    path = cluster.net.here / "new.yaml"
    (cluster.head.disk / "new.yaml").write_text(yaml.safe_dump(settings))
    said: dict[str, Any] = {}

    def followed() -> bool:
        try:
            said.update(in_json(raygate(cluster, "config", "apply", str(path), "--json")))
        except NotAllowed:  # an edge that is just ending follows nobody
            return False
        return True

    until_true(followed, "all edges follow", within_s=BACK_S, every_s=3)
    return said


def shown(cluster: Cluster) -> dict[str, Any]:
    """`raygate config show` on the head."""
    return in_json(raygate(cluster, "config", "show", "--json"))


def in_json(said: str) -> dict[str, Any]:
    """What a command says, behind what Ray may have said before it."""
    found: dict[str, Any] = json.loads(said[said.index("{\n") :] if "{\n" in said else said)
    return found


def raygate(cluster: Cluster, *words: str) -> str:
    return cluster.head.tell(str(ROOT / ".venv/bin/raygate"), *words)


def is_back(cluster: Cluster, at: Host | None = None) -> bool:
    """The ledger answers, and lends: a key with a budget that nobody has used is let in."""
    try:
        cluster.admin("budgets", at=at)
        cluster.admin("learning", at=at)
    except (AssertionError, httpx.HTTPError):
        return False
    return True


def learned(cluster: Cluster) -> tuple[int, int]:
    said = cluster.admin("learning")
    return said["judged"], said["remembered"]


def teach(cluster: Cluster, count: int) -> None:
    """Ask the learner whom to ask, and say what the answers were worth."""
    with cluster.client() as client:
        for number in range(count):
            body = {"model": "teach", "messages": [{"role": "user", "content": f"a poem about {number} seas"}]}
            reply = client.post("/v1/chat/completions", json={**body, "max_tokens": 20})
            assert reply.status_code == 200, reply.text
            said = {"request_id": reply.headers["x-request-id"], "score": 0.9}
            judged = client.post("/v1/feedback", json=said)
            assert judged.status_code == 200, judged.text


def spent(cluster: Cluster, key: str) -> dict[str, Any]:
    """The budget of this key, as the ledger has it."""
    limits = cluster.admin("budgets")["limits"]
    found: dict[str, Any] = next(one for one in limits if one["of"] == key and one["counts"] == "money")
    return found


def settled(cluster: Cluster, route: str, meters: dict[str, Meter], load: Load, *, within_s: float = 60.0) -> Any:
    """Wait until the rows are what the meters served; the account."""
    last: Any = None

    def right() -> bool:
        nonlocal last
        try:
            last = account_of(cluster, route, route, meters, load)
        except (AssertionError, httpx.HTTPError) as error:
            last = error
            return False
        return not last.wrong

    try:
        until_true(right, "every attempt is a row", within_s=within_s, every_s=1)
    except AssertionError:
        raise AssertionError(f"{last if isinstance(last, Exception) else last.wrong[:10]}") from None
    print(f"{HEAD}\n{last}")
    return last
