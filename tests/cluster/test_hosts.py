"""A cluster of hosts with networks, processes and disks of their own: the head dies, a node is cut off and healed, also
while a provider is ill or one of its model servers is asked, a node's disk is gone; callers at the other nodes notice
nothing, and the ledger's rows are what a metering upstream served.

`make test-cluster` runs it: it takes minutes and root, and needs the machine for itself.
"""

from __future__ import annotations

import time
from itertools import pairwise

import pytest

from runtime.models import NANOUSD
from runtime.transport.connecting import UNHEARD_S
from tests.chaos.meter import Meter, Served
from tests.chaos.money import HEAD
from tests.cluster.checks import ALMOST_ALL, BACK_S, apply, document, is_back, learned, settled, shown, spent, teach
from tests.cluster.hosts import ROOT, until_true
from tests.cluster.load import WELL, Load, account_of, made_key, metered, rows_of, share, told
from tests.cluster.world import Cluster

pytestmark = pytest.mark.usefixtures("whole")

LAST_S = 2.0
"""What ended no longer before a node's end may be missing with `durability: process`: rows come about each second."""
OPEN_S, LEAST_PART = 4.0, 0.7
"""How long a breaker is open; the cut-off edge's own interval is spread by a quarter."""
SAID = """
for one in ray.get(ray.get_actor('manager').overview.remote())['providers']:
    if one.provider == 'alpha-meter': print(one.detail, [shut.detail for shut in one.models.values()])
"""
SERVER = f"{ROOT}/.venv/bin/python -m tests.fakes.model_server"
LAB = {
    "kind": "custom",
    "models": ["m"],
    "price": {"input": 1, "output": 2},
    "managed": {
        "command": ["{python}", "-m", "tests.fakes.model_server", "{host}", "{port}", "{key}", "0.1"],
        "ready": "/ready",
        "min_copies": 2,
        "max_copies": 2,
        "num_cpus": 0,
        "num_gpus": 1,
        "slots": 8,
    },
}
SLOW_NOW_AND_THEN, SLOW_PAUSE_S = {"well": 1, "slow": 1}, 0.02


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
    for meter in meters.values():
        # A streamed answer of the slow ones takes three seconds: the ledger hears of it while it is under way.
        meter.fates, meter.pause_s = SLOW_NOW_AND_THEN, SLOW_PAUSE_S
    plain, _ = made_key(cluster, "plain")
    ample, ample_id = made_key(cluster, "ample", 5.0)
    with Load(cluster.workers, {"plain": plain, "ample": ample}, route, callers=4) as load:
        until_true(lambda: load.answered("ample") > 80, "there is load", within_s=BACK_S)
        # Of four callers at each node who stream the ledger knows these: at least one is at the node that will be lost.
        until_true(lambda: cluster.admin("ledger", at=there)["under_way"] >= 5, "long answers are under way")
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
    # Of any caller: the other node's, too, may have been answered by a replica of this one.
    ended = {one.request: one.at_s + one.took_s - lost_at for one in load.asked}
    missing = {name: ended_s for name, ended_s in ended.items() if any(f"'{name}'" in one for one in account.wrong)}
    print(f"{len(missing)} requests are without a row; they ended so many seconds after the loss: {missing}")
    assert all(any(f"'{name}'" in one for name in missing) for one in account.wrong), account.wrong[:5]
    assert all(-LAST_S < ended_s < LAST_S for ended_s in missing.values())
    rows = rows_of(cluster, route, at=there)
    given_up = [row for row in rows if "lost" in row["flags"]]
    assert given_up
    assert all(row["cost_nanousd"] == row["hold_nanousd"] and "estimated" in row["flags"] for row in given_up)
    limits = cluster.admin("budgets", at=there)["limits"]
    limit = next(one for one in limits if one["of"] == ample_id and one["counts"] == "money")
    charged = metered(meters, {one.request for one in load.of("ample")})
    kept = limit["used"] + limit["lent"] + limit["lost"]
    print(f"{len(given_up)} given up at their hold; metered {charged}, charged {limit['used']}, kept {kept}")
    assert charged <= kept <= limit["amount"]
    assert share([one for one in theirs if one.at_s > lost_at - LAST_S]) >= ALMOST_ALL


def test_an_open_breaker_is_probed_one_call_at_a_time_and_a_cut_off_node_keeps_a_bound_of_its_own(
    cluster: Cluster, meters: dict[str, Meter]
) -> None:
    there, away = cluster.workers
    route, ill = "probes", meters["alpha-meter"]
    settings = document(cluster.net, meters, cluster.head.inner)
    # The permit of an edge that dies with it is forgotten after as long.
    settings["breaker"] = {"open_s": OPEN_S, "open_max_s": OPEN_S, "probe_ttl_s": OPEN_S}
    assert apply(cluster, settings)["behind"] == []
    plain, _ = made_key(cluster, "plain")

    def calls_since(moment_s: float) -> list[Served]:
        return [one for one in list(ill.served) if one.at_s > moment_s and one.request.startswith(route)]

    # Slowly: no attempt may come to more than its hold, and each has more tokens than the one before.
    with Load(cluster.workers, {"plain": plain}, route, pause_s=0.4) as load:
        until_true(lambda: load.answered("plain") > 100, "there is load", within_s=BACK_S)
        ill.fates = {"error": 1}
        ill_at = time.monotonic()
        # Each edge shuts it at once; the cluster does once enough have said so, or enough of their probes have failed.
        until_true(lambda: "failed" in cluster.python(SAID), "its breaker is open for all", within_s=90, every_s=1)
        time.sleep(1)
        open_at = time.monotonic()
        time.sleep(6 * OPEN_S)
        cut_at = time.monotonic()
        away.cut("i")
        time.sleep(30)
        away.heal("i")
        until_true(lambda: is_back(cluster, away) and cluster.answers(away, "warm"), "it is back", within_s=BACK_S)
        back_at = time.monotonic()
        time.sleep(6 * OPEN_S)
        well_at = time.monotonic()
        ill.fates = WELL
        until_true(lambda: len(calls_since(well_at)) > 50, "it is asked again", within_s=60)
    host_of = {one.request: one.host for one in load.asked}
    probes = [(one.at_s, host_of[one.request]) for one in calls_since(open_at) if one.at_s < well_at]
    apart = [one for one in probes if cut_at < one[0] < back_at]
    spans = {
        "before the cut, of both": (cut_at - open_at, [at for at, _ in probes if at <= cut_at]),
        "meanwhile, there": (back_at - cut_at, [at for at, host in apart if host == there.name]),
        "meanwhile, away": (back_at - cut_at, [at for at, host in apart if host == away.name]),
        "after it, of both": (well_at - back_at, [at for at, _ in probes if at >= back_at]),
    }
    soon = [one for one in calls_since(ill_at) if one.at_s < open_at]
    print(f"the cluster's breaker was open after {open_at - ill_at:.1f} s and {len(soon)} calls")
    for name, (span_s, moments) in spans.items():
        least_s = min((later - one for one, later in pairwise(moments)), default=0.0)
        print(f"{name}: {len(moments)} probes within {span_s:.1f} s, at least {least_s:.2f} s from one to the next")
    print(f"there: {told(load.of('plain', there), cut_at)}; away: {told(load.of('plain', away), cut_at)}")
    for name, (_, moments) in spans.items():
        assert moments, f"nobody was asked {name}"
        assert all(later - one > OPEN_S * LEAST_PART for one, later in pairwise(moments)), name
    settled(cluster, route, meters, load, within_s=90)


def test_a_copy_of_a_model_server_is_passed_over_when_its_node_is_cut_off(
    cluster: Cluster, meters: dict[str, Meter]
) -> None:
    there, away = cluster.workers
    settings = document(cluster.net, meters, cluster.head.inner)
    settings["providers"]["lab"] = LAB
    settings["routes"]["lab"] = {"targets": ["lab/m"]}
    assert apply(cluster, settings)["behind"] == []
    plain, _ = made_key(cluster, "plain")

    until_true(lambda: all(len(one.processes(SERVER)) == 1 for one in cluster.workers), "a copy each", within_s=BACK_S)
    until_true(lambda: cluster.answers(there, "lab"), "they serve", within_s=BACK_S)
    time.sleep(3)
    with Load([there], {"plain": plain}, "lab", callers=6) as load:
        until_true(lambda: load.answered("plain") > 100, "there is load", within_s=BACK_S)
        cut_at = time.monotonic()
        away.cut("i")
        time.sleep(25)
        away.heal("i")
    slow = sorted(round(one.took_s, 1) for one in load.asked if one.took_s > 0.9)
    print(f"{told(load.of('plain'), cut_at)}; slower than 0.9 s: {slow}")
    assert share(load.of("plain")) >= ALMOST_ALL
    # Those that waited for its answer, or had a connection from before, learn that nobody is there; then nobody goes.
    assert all(one.took_s < UNHEARD_S + 5 for one in load.asked)
    assert all(one.took_s < 3 for one in load.asked if one.at_s > cut_at + UNHEARD_S)
