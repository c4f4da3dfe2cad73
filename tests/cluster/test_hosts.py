"""A cluster of hosts with networks, processes and disks of their own: the head dies, a node is cut off and healed, a
node's disk is gone, everything is redeployed, every actor dies; callers at the nodes that are left notice nothing, and
the ledger's rows are what a metering upstream served.

`make test-cluster` runs it: it takes minutes and root, and needs the machine for itself.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import yaml

from runtime.models import NANOUSD
from tests.chaos.meter import Meter
from tests.chaos.money import HEAD
from tests.cluster.hosts import GCS_PORT, ROOT, Host, Net, NotAllowed, until_true
from tests.cluster.load import Load, account_of, made_key, metered, providers, routes, rows_of, share, told
from tests.cluster.world import LEDGER, MANAGER, PROVIDER, REPLICA, RUVECTOR, Cluster, started

ALMOST_ALL = 0.999
ROUTES = ("warm", "head", "cut", "disk", "process", "redeploy", "actors")
FIRST, WORKERS = 11, (12, 13)
BACK_S = 240.0
LAST_S = 4.0
"""What began no longer before a node's end may be missing with `durability: process`: rows come about each second."""


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


@pytest.fixture(scope="module")
def cluster(net: Net, meters: dict[str, Meter]) -> Iterator[Cluster]:
    settings = document(net, meters, net.inner(FIRST))
    with started(net, "a", (FIRST, *WORKERS), settings, model="warm", grace_s=20) as made:
        yield made


@pytest.fixture(autouse=True)
def whole(cluster: Cluster, meters: dict[str, Meter]) -> None:
    """A test begins with all hosts on, and every gateway answering."""
    for meter in meters.values():
        # Each attempt has its own number of tokens, which must stay within what a hold allows for.
        meter.served.clear()
    for host in cluster.hosts:
        host.heal()
        if host.first is None:
            host.start()
    for host in cluster.workers:
        until_true(lambda host=host: cluster.answers(host, "warm"), f"{host.name} answers", within_s=BACK_S)
    until_true(lambda: is_back(cluster), "the control plane answers", within_s=BACK_S)


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


def test_the_head_dies_under_load_and_comes_back_with_all_that_it_knew(
    cluster: Cluster, meters: dict[str, Meter]
) -> None:
    net, open_usd = cluster.net, 2.0
    changed = document(net, meters, cluster.head.inner, default_model="warm")
    changed["ledger"] |= {"owner_lost": "bounded_open", "open_usd": open_usd}
    applied = apply(cluster, changed)
    assert applied["ok"]
    assert applied["behind"] == []
    plain, _ = made_key(cluster, "plain")
    ample, ample_id = made_key(cluster, "ample", 5.0)
    teach(cluster, 6)
    before, knew = shown(cluster), learned(cluster)
    assert knew[0] >= 6
    with Load(cluster.workers, {"plain": plain, "ample": ample}, "head") as load:
        until_true(lambda: load.answered("ample") > 200, "there is load", within_s=BACK_S)
        killed_s = time.monotonic()
        cluster.head.lose_power()
        time.sleep(25)
        cluster.head.start()
        until_true(lambda: is_back(cluster), "the control plane answers", within_s=BACK_S)
        back_s = time.monotonic() - killed_s
        until_true(lambda: load.asked[-1].at_s > killed_s + back_s + 15, "on it goes", within_s=60)
    for who in ("plain", "ample"):
        print(f"{who}: {told(load.of(who), killed_s)}")
    print(f"the control plane answered {back_s:.1f} s after the head's death, {back_s - 25:.1f} s after its start")
    after = shown(cluster)
    assert (after["settings"], after["version"]) == (before["settings"], before["version"])
    assert learned(cluster) == knew
    settled(cluster, "head", meters, load)
    limit = spent(cluster, ample_id)
    rows = [row for row in rows_of(cluster, "head") if row["key"] == ample_id]
    assert limit["used"] == sum(row["cost_nanousd"] for row in rows)
    assert limit["used"] + limit["lent"] + limit["lost"] <= limit["amount"]
    assert share(load.of("plain")) >= ALMOST_ALL
    assert share(load.of("ample")) >= ALMOST_ALL
    # Settings reach every edge again, from the manager that came back.
    assert apply(cluster, document(net, meters, cluster.head.inner))["behind"] == []


def test_a_node_is_cut_off_and_healed(cluster: Cluster, meters: dict[str, Meter]) -> None:
    there, away = cluster.workers
    route, cut_s = "cut", 30.0
    plain, _ = made_key(cluster, "plain")
    tight, tight_id = made_key(cluster, "tight", 0.1)
    with Load(cluster.workers, {"plain": plain, "tight": tight}, route) as load:
        until_true(lambda: load.answered("plain") > 100, "there is load", within_s=BACK_S)
        cut_at = time.monotonic()
        away.cut("i")
        time.sleep(cut_s)
        away.heal("i")
        healed_at = time.monotonic()
        until_true(lambda: is_back(cluster, away) and cluster.answers(away, "warm"), "it is back", within_s=BACK_S)
        back_s = time.monotonic() - healed_at
        until_true(lambda: load.asked[-1].at_s > healed_at + back_s + 10, "on it goes", within_s=60)
    during = [one for one in load.of("plain", away) if cut_at < one.at_s < healed_at]
    print(f"there: {told(load.of('plain', there), cut_at)}")
    print(f"away, while it was cut off: {told(during, cut_at)}")
    print(f"away, in all: {told(load.of('plain', away), cut_at)}")
    tights = [one for one in load.of("tight", away) if cut_at < one.at_s < healed_at]
    print(f"away, with a budget: {told(tights, cut_at)}; it was back {back_s:.1f} s after it was healed")
    assert share(load.of("plain", there)) >= ALMOST_ALL
    account = settled(cluster, route, meters, load, within_s=90)
    assert account.exact > 100
    limit = spent(cluster, tight_id)
    rows = [row for row in rows_of(cluster, route) if row["key"] == tight_id]
    assert limit["used"] == sum(row["cost_nanousd"] for row in rows)
    assert limit["used"] + limit["lent"] + limit["lost"] <= limit["amount"]
    charged = metered(meters, {one.request for one in load.of("tight")})
    print(f"with a budget of ${0.1}: ${charged / NANOUSD:.6f} metered, ${limit['used'] / NANOUSD:.6f} in rows")
    assert charged <= 0.1 * NANOUSD


@pytest.mark.parametrize("durability", ["cluster", "process"])
def test_a_nodes_disk_is_gone_with_it(cluster: Cluster, meters: dict[str, Meter], durability: str) -> None:
    there, away = cluster.workers
    route = {"cluster": "disk", "process": "process"}[durability]
    settings = document(cluster.net, meters, cluster.head.inner)
    settings["ledger"] |= {"durability": durability}
    assert apply(cluster, settings)["behind"] == []
    plain, _ = made_key(cluster, "plain")
    ample, ample_id = made_key(cluster, "ample", 5.0)
    with Load(cluster.workers, {"plain": plain, "ample": ample}, route) as load:
        until_true(lambda: load.answered("ample") > 150, "there is load", within_s=BACK_S)
        lost_at = time.monotonic()
        away.lose_power()
        away.lose_disk()
        time.sleep(20)
    theirs = load.of("plain", there) + load.of("ample", there)
    print(f"there: {told(theirs, lost_at)}")
    until_true(lambda: cluster.admin("ledger", at=there)["under_way"] == 0, "nothing is open", within_s=120, every_s=2)
    account = account_of(cluster, route, route, meters, load, at=there)
    print(f"{HEAD}\n{account}\nnot in the ledger: {len(account.wrong)} {account.wrong[:2]}")
    if durability == "cluster":
        assert account.wrong == []
    last = {one.request for one in load.of("plain", away) + load.of("ample", away) if one.at_s > lost_at - LAST_S}
    assert all(any(f"'{name}'" in wrong for name in last) for wrong in account.wrong), account.wrong[:5]
    rows = rows_of(cluster, route, at=there)
    given_up = [row for row in rows if "lost" in row["flags"]]
    assert all(row["cost_nanousd"] == row["hold_nanousd"] and "estimated" in row["flags"] for row in given_up)
    limits = cluster.admin("budgets", at=there)["limits"]
    limit = next(one for one in limits if one["of"] == ample_id and one["counts"] == "money")
    charged = metered(meters, {one.request for one in load.of("ample")})
    kept = limit["used"] + limit["lent"] + limit["lost"]
    print(f"{len(given_up)} given up at their hold; metered {charged}, charged {limit['used']}, kept {kept}")
    assert charged <= kept <= limit["amount"]
    assert share([one for one in theirs if one.at_s > lost_at - LAST_S]) >= ALMOST_ALL


def test_a_rolling_redeploy_under_load_loses_nothing(cluster: Cluster, meters: dict[str, Meter]) -> None:
    plain, _ = made_key(cluster, "plain")
    before = {host.name: host.processes(REPLICA) for host in cluster.workers}
    with Load(cluster.workers, {"plain": plain}, "redeploy", callers=4, balanced=True) as load:
        until_true(lambda: load.answered("plain") > 100, "there is load", within_s=BACK_S)
        begun = time.monotonic()
        cluster.deploy(replicas=len(cluster.workers), cpus=0.9, grace_s=20)
        took_s = time.monotonic() - begun
        time.sleep(10)
    after = {host.name: host.processes(REPLICA) for host in cluster.workers}
    print(f"{told(load.of('plain'), begun)}; redeployed within {took_s:.1f} s; {before} {after}")
    assert not {pid for pids in before.values() for pid in pids} & {pid for pids in after.values() for pid in pids}
    assert [one for one in load.asked if one.fault] == []
    settled(cluster, "redeploy", meters, load)


def test_settings_outlive_every_actor(cluster: Cluster, meters: dict[str, Meter]) -> None:
    net = cluster.net
    changed = document(net, meters, cluster.head.inner, "found", default_model="found", max_body_bytes=7_000_000)
    assert apply(cluster, changed)["behind"] == []
    teach(cluster, 2)
    before, knew = shown(cluster), learned(cluster)
    plain, _ = made_key(cluster, "plain")
    with Load(cluster.workers, {"plain": plain}, "actors") as load:
        for title in (MANAGER, LEDGER, RUVECTOR, PROVIDER, REPLICA):
            for host in [host for host in cluster.hosts if host.processes(title)]:
                begun, old = time.monotonic(), set(host.processes(title))
                gone = host.kill(title)
                until_true(
                    lambda gone=gone, title=title, old=old: restarted(cluster, title, old),
                    f"{title} is back",
                    within_s=BACK_S,
                )
                until_true(
                    lambda: is_back(cluster) and cluster.answers(cluster.workers[0], "found"),
                    "it answers",
                    within_s=BACK_S,
                )
                print(f"{title} ({gone}) on {host.name}: back within {time.monotonic() - begun:.1f} s")
                after = shown(cluster)
                assert (after["settings"], after["version"]) == (before["settings"], before["version"])
                assert learned(cluster) == knew
    print(told(load.of("plain"), load.asked[0].at_s))
    for host in cluster.workers:
        assert cluster.answers(host, "found")
    settled(cluster, "actors", meters, load)


def restarted(cluster: Cluster, title: str, old: set[int]) -> bool:
    """As many as there were on that host, and others."""
    now = {pid for host in cluster.hosts for pid in host.processes(title)}
    return len(now - old) >= 1 and not (now >= old)
