"""What an operator does to a cluster under load: everything is redeployed, every actor dies and keeps the settings that
were applied, a second cluster takes over the ledger.
"""

from __future__ import annotations

import os
import signal
import time

import pytest

from runtime.models import NANOUSD
from tests.chaos.meter import Meter
from tests.cluster.checks import ALMOST_ALL, BACK_S, apply, document, is_back, learned, settled, shown, spent, teach
from tests.cluster.hosts import until_true
from tests.cluster.load import Load, made_key, metered, rows_of, share, told
from tests.cluster.world import CACHE, LEDGER, MANAGER, PROVIDER, REPLICA, RUVECTOR, Cluster, started

pytestmark = pytest.mark.usefixtures("whole")


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
    changed["cache"] = {"tier": "actor"}
    changed["routes"]["found"]["cache"] = {"enabled": True}
    assert apply(cluster, changed)["behind"] == []
    until_true(lambda: everywhere(cluster, CACHE), "answers are remembered")
    teach(cluster, 2)
    before, knew = shown(cluster), learned(cluster)
    plain, _ = made_key(cluster, "plain")
    with Load(cluster.workers, {"plain": plain}, "actors") as load:
        for title in (MANAGER, LEDGER, RUVECTOR, CACHE, PROVIDER, REPLICA):
            for gone in everywhere(cluster, title):
                begun, many = time.monotonic(), len(everywhere(cluster, title))
                os.kill(gone, signal.SIGKILL)
                until_true(
                    lambda gone=gone, title=title, many=many: is_another(cluster, title, gone, many),
                    f"{title} is back",
                    within_s=BACK_S,
                )
                until_true(
                    lambda: is_back(cluster) and all(cluster.answers(host, "found") for host in cluster.workers),
                    "it answers",
                    within_s=BACK_S,
                )
                print(f"{title} ({gone}): back within {time.monotonic() - begun:.1f} s")
                after = shown(cluster)
                assert (after["settings"], after["version"]) == (before["settings"], before["version"])
                assert learned(cluster) == knew
    print(told(load.of("plain"), load.asked[0].at_s))
    for host in cluster.workers:
        assert cluster.answers(host, "found")
    settled(cluster, "actors", meters, load)


def test_a_second_cluster_takes_over_the_ledger_of_the_first(cluster: Cluster, meters: dict[str, Meter]) -> None:
    net, amount_usd, number = cluster.net, 0.2, 21
    plain, _ = made_key(cluster, "plain")
    epoch = cluster.admin("ledger")["epoch"]
    loads = {"old": Load(cluster.workers, {"plain": plain}, "old")}
    with (
        loads["old"],
        started(net, "b", (number, number + 1), document(net, meters, net.inner(number)), model="warm") as other,
    ):
        # Of this key the new cluster's ledger has not heard, which has been open for a while.
        tight, tight_id = made_key(cluster, "tight", amount_usd)
        loads["first"] = Load(cluster.workers, {"tight": tight}, "first")
        loads["new"] = Load(other.workers, {"plain": plain, "tight": tight}, "new")
        with loads["first"] as first:
            first_s = until_true(lambda: first.answered("tight") > 50, "the old one lends")
            both_s = time.monotonic()
            with loads["new"] as new:
                until_true(lambda: new.answered("plain") > 50, "both are asked")
                # All traffic moves; the old cluster stays, and is asked for nothing.
                loads["old"].end()
                first.end()
                moved_s = time.monotonic()
                try:
                    until_true(
                        lambda: any(one.at_s > moved_s for one in new.of("tight") if not one.fault), "the new one lends"
                    )
                finally:
                    print(f"new, tight: {told(new.of('tight'), moved_s)}")
                lends_s = time.monotonic() - moved_s
                until_true(lambda: any(one.status == 429 for one in new.of("tight")), "all is spent", within_s=90)
        for name, load in loads.items():
            print(f"{name}: plain {told(load.of('plain'), both_s)}; tight {told(load.of('tight'), both_s)}")
            settled(other, name, meters, load, within_s=90)
        limit = spent(other, tight_id)
        rows = [row for name in loads for row in rows_of(other, name) if row["key"] == tight_id]
        charged = metered(meters, {one.request for load in loads.values() for one in load.of("tight")})
        refused = [sum("is fenced" in line for line in logs_of(one)) for one in (cluster, other)]
        epochs = other.admin("ledger")["epoch"] - epoch
    print(
        f"${amount_usd}: ${charged / NANOUSD:.6f} metered, ${limit['used'] / NANOUSD:.6f} in rows; the ledger changed "
        f"hands {epochs} times, {refused} writes refused; the old one lent again within {first_s:.1f} s, "
        f"the new one {lends_s:.1f} s after the move"
    )
    assert charged == limit["used"] == sum(row["cost_nanousd"] for row in rows)
    assert limit["used"] + limit["lent"] + limit["lost"] <= limit["amount"]
    assert epochs > 0
    assert sum(refused) > 0
    for load in loads.values():
        assert share(load.of("plain")) >= ALMOST_ALL or not load.of("plain")
        assert {one.status for one in load.of("tight")} <= {200, 429, 503}


def logs_of(cluster: Cluster) -> list[str]:
    """Lines of what the actors of the head have said."""
    files = (cluster.head.disk / "ray").glob("session_2*/logs/*.err")
    return [line for file in files for line in file.read_text(errors="replace").splitlines()]


def everywhere(cluster: Cluster, title: str) -> list[int]:
    return [pid for host in cluster.hosts for pid in host.processes(title)]


def is_another(cluster: Cluster, title: str, gone: int, many: int) -> bool:
    now = everywhere(cluster, title)
    return gone not in now and len(now) >= many
