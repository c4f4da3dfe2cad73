"""What one manager and one ledger carry: 200 edges, 40 providers, 20,000 requests a second, under a virtual clock.

The parts are the real ones (`SharedView`, `Told`, `Authority`, `Observations`, `Owner`, `Purse`), wired as in actors/.
Messages take milliseconds. Counted are messages, how old and how wrong is what an edge knows, what leases cost a
budget, and the processor time of the central side. An actor call costs `CALL_S` besides, whatever is in it.

Run: python -m bench.scale [--edges 200] [--seconds 12] [--page docs/scale.md]
"""

from __future__ import annotations

import argparse
import asyncio
import heapq
import json
import pickle
import random
import statistics
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from itertools import count
from pathlib import Path

from actors.manager_actor import SOONEST_S
from bench.edge import Bench
from runtime.authority import Authority
from runtime.balance.pace import Timings
from runtime.feed import AuthorityPolicy, EdgeReport, Observations, Published, Snapshot
from runtime.ledger.accounts import Counted, Limit, Pass, Scope
from runtime.ledger.owner import Owner
from runtime.ledger.purse import TICK_S, Need, Purse
from runtime.ledger.rows import Account
from runtime.outcome import Completion, Failure, Usage
from runtime.view import InFlight, SharedView, Told, is_news
from tests.ledger.money_world import World, money, rate

CALL_S = 0.0005
"""Of an actor's processor, for one call: measured on Ray 2.60, where one moves about 2,000 a second."""
EVERY_S = 1.0
"""`feed.report_every_s`."""
NETWORK_S = (0.0005, 0.004)
MANY = 10
"""Errors are of providers with so many calls elsewhere at least: of a few calls every error is large."""
ARRIVALS_S = 0.02
"""Requests that begin within so long begin together."""

BEGIN, END = "<!-- measured: python -m bench.scale -->", "<!-- /measured -->"


@dataclass
class Clock:
    """Virtual time."""

    now: float = 1_000.0
    _events: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _order: count[int] = field(default_factory=count)

    def after(self, seconds: float, then: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.now + seconds, next(self._order), then))

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self._events and self._events[0][0] <= end:
            self.now, _, then = heapq.heappop(self._events)
            then()
        self.now = end


class Meter:
    """Processor time by what it was spent on."""

    def __init__(self) -> None:
        self.spent: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()

    def __call__(self, what: str) -> _Spell:
        return _Spell(self, what)


class _Spell:
    def __init__(self, meter: Meter, what: str) -> None:
        self._meter, self._what = meter, what

    def __enter__(self) -> None:
        self._begun = time.thread_time()

    def __exit__(self, *_: object) -> None:
        self._meter.spent[self._what] += time.thread_time() - self._begun  # type: ignore[assignment]
        self._meter.calls[self._what] += 1


@dataclass(frozen=True)
class Feed:
    """What came of the feed, per second; ages in seconds, errors as shares."""

    edges: int
    providers: int
    requests: int
    reports: float
    snapshots: float
    exchanges: float
    snapshot_bytes: int
    report_bytes: int
    age_mean_s: float
    age_p99_s: float
    heard_within_p99_s: float
    in_flight_error_mean: float
    in_flight_error_p99: float
    cpu: dict[str, float]
    busy: float


class Manager:
    """`actors.manager_actor.ManagerActor`'s half of the feed, without Ray."""

    def __init__(
        self, clock: Clock, meter: Meter, providers: list[str], deliver: Callable[[str, Snapshot], None]
    ) -> None:
        self.clock, self.meter, self.providers, self.deliver = clock, meter, providers, deliver
        self.view, self.told = SharedView(), Told()
        policy = AuthorityPolicy(open_s=30.0, probe_ttl_s=30.0)
        self.authorities = {name: Authority(name, policy, now=clock.now) for name in providers}
        self.version, self.stamps = 0, dict[str, int]()
        self.last_counted = -1, InFlight(0.0, {}, {})
        self.waiting: set[str] = set()
        self.publication: float | None = None
        self.outbox: dict[str, dict[str, list]] = defaultdict(lambda: defaultdict(list))
        self.bytes: list[int] = []
        for number, name in enumerate(providers):
            clock.after(number / len(providers), lambda name=name: self.exchange(name))

    def report(self, packed: bytes) -> None:
        with self.meter("reports"):
            report: EdgeReport = pickle.loads(packed)
            now = self.clock.now
            if not self.view.apply(report, now):
                return
            for batch in report.observed:
                self.outbox[batch.provider][report.edge].append((batch, now))
            measured, edges = self.view.measured(now, self.view.news), len(self.view.edges(now))
            moved = any(is_news(self.told.last(one.provider, one.model), one) for one in measured)
            within_s = max(SOONEST_S, 0.005 * edges) if moved else max(EVERY_S, 0.01 * edges)
        if self.publication is None or self.publication > now + within_s:
            self.publication = at = now + within_s
            self.clock.after(within_s, lambda: self.publish(at))

    def publish(self, at: float) -> None:
        if self.publication != at:
            return
        self.publication = None
        with self.meter("publications"):
            self.told.tell(self.view.measured(self.clock.now, self.view.take_news()), self.version + 1)
            self.version += 1
        waiting, self.waiting = self.waiting, set()
        for edge in waiting:
            self.answer(edge)

    def exchange(self, name: str) -> None:
        with self.meter("exchanges"):
            now = self.clock.now
            batches = {
                edge: tuple(one.aged(now - at) for one, at in seen) for edge, seen in self.outbox.pop(name, {}).items()
            }
            packed = pickle.dumps(batches, protocol=5)
        # In a process of its own: one for each provider.
        with self.meter("authorities"):
            for edge, observed in pickle.loads(packed).items():
                self.authorities[name].apply(edge, observed, now)
            self.authorities[name].published(now)
        self.clock.after(1.0, lambda: self.exchange(name))

    def poll(self, edge: str) -> None:
        if self.stamps.get(edge, -1) < self.version:
            self.answer(edge)
        else:
            self.waiting.add(edge)

    def counted(self, now: float) -> InFlight:
        """As the manager does: once for a publication."""
        version, counted = self.last_counted
        if version != self.version or now - counted.at > EVERY_S:
            counted = self.view.counted(now, every_s=EVERY_S)
            self.last_counted = self.version, counted
        return counted

    def answer(self, edge: str) -> None:
        with self.meter("snapshots"):
            now = self.clock.now
            self.view.hear(edge, now)
            snapshot = Snapshot(
                incarnation=1,
                version=self.version,
                settings_version=1,
                providers=tuple(Published(provider=name) for name in self.providers),
                measured=self.view.measured(now, self.told.since(self.stamps.get(edge, -1))),
                others_in_flight=self.counted(now).others(edge),
            )
            self.bytes.append(len(pickle.dumps(snapshot, protocol=5)))
        self.stamps[edge] = self.version
        self.deliver(edge, snapshot)


def feed(  # noqa: PLR0915  # one story
    *, edges: int, providers: int, per_s: int, seconds: float, seed: int = 1, kept: list[bytes] | None = None
) -> Feed:
    """Play the feed for so long, after five seconds that do not count. The first edge's snapshots may be `kept`."""
    rng, clock, meter = random.Random(seed), Clock(), Meter()
    names = [f"p{number}" for number in range(providers)]
    usual = {name: rng.uniform(0.3, 3.0) for name in names}
    flight: dict[str, Counter[str]] = {f"e{number}": Counter() for number in range(edges)}
    total: Counter[str] = Counter()
    seen = {edge: Observations(lambda: clock.now) for edge in flight}
    sequence: Counter[str] = Counter()
    done = Completion(id="c", model="m", provider="p", usage=Usage(input_tokens=100, output_tokens=200))
    ages: list[float] = []
    errors: list[float] = []
    heard: list[float] = []
    sizes: list[int] = []
    counting = [False]
    share = min(1.0, 10 / edges)

    def deliver(edge: str, snapshot: Snapshot) -> None:
        if kept is not None and counting[0] and edge == "e0":
            kept.append(pickle.dumps(snapshot, protocol=5))
        delay = rng.uniform(*NETWORK_S)
        told = dict(manager.view._told_at) if counting[0] and rng.random() < share else None

        def arrive() -> None:
            if told is not None:
                for other, at in told.items():
                    if other != edge:
                        ages.append(clock.now - at)
                for name in names:
                    true = total[name] - flight[edge][name]
                    if true >= MANY:
                        errors.append(abs(snapshot.others_in_flight.get(name, 0) - true) / true)
                heard.extend(one.heard_ago_s + delay for one in snapshot.measured if one.heard_ago_s is not None)
            clock.after(rng.uniform(*NETWORK_S), lambda: manager.poll(edge))

        clock.after(delay, arrive)

    manager = Manager(clock, meter, names, deliver)

    def arrivals(edge: str) -> None:
        for _ in range(_poisson(rng, per_s / edges * ARRIVALS_S)):
            name = rng.choice(names)
            flight[edge][name] += 1
            total[name] += 1
            took = usual[name] * rng.lognormvariate(0.0, 0.5)

            def end(name: str = name, took: float = took) -> None:
                flight[edge][name] -= 1
                total[name] -= 1
                pace = Timings(begun=1, ttft_s=took / 4, answered=1, tokens=200, paced=199, token_s=took * 3 / 4)
                seen[edge].add(name, "m", done, spell=1, latency_s=took, pace=pace)

            clock.after(took, end)
        clock.after(ARRIVALS_S, lambda: arrivals(edge))

    def tell(edge: str) -> None:
        sequence[edge] += 1
        in_flight = {name: number for name, number in flight[edge].items() if number}
        report = EdgeReport(edge=edge, sequence=sequence[edge], observed=seen[edge].take(), in_flight=in_flight)
        packed = pickle.dumps(report, protocol=5)
        sizes.append(len(packed))
        clock.after(rng.uniform(*NETWORK_S), lambda: manager.report(packed))
        clock.after(EVERY_S * rng.uniform(0.75, 1.25), lambda: tell(edge))

    for edge in flight:
        clock.after(rng.random() * ARRIVALS_S, lambda edge=edge: arrivals(edge))
        clock.after(rng.random() * EVERY_S, lambda edge=edge: tell(edge))
        manager.poll(edge)
    clock.run(5.0)
    meter.spent.clear()
    meter.calls.clear()
    manager.bytes.clear()
    counting[0] = True
    clock.run(seconds)
    calls = {what: meter.calls[what] / seconds for what in ("reports", "snapshots", "exchanges")}
    cpu = {what: round(spent / seconds, 4) for what, spent in meter.spent.items()}
    return Feed(
        edges=edges,
        providers=providers,
        requests=per_s,
        reports=round(calls["reports"], 1),
        snapshots=round(calls["snapshots"], 1),
        exchanges=round(calls["exchanges"], 1),
        snapshot_bytes=round(statistics.fmean(manager.bytes)),
        report_bytes=round(statistics.fmean(sizes)),
        age_mean_s=round(statistics.fmean(ages), 2),
        age_p99_s=round(_quantile(ages, 0.99), 2),
        heard_within_p99_s=round(_quantile(heard, 0.99), 2),
        in_flight_error_mean=round(statistics.fmean(errors), 4),
        in_flight_error_p99=round(_quantile(errors, 0.99), 4),
        cpu=cpu,
        busy=round(sum(cpu.values()) - cpu["authorities"] + CALL_S * sum(calls.values()), 3),
    )


@dataclass(frozen=True)
class Idle:
    """What a replica without requests spends on hearing of all the others, as a share of one core."""

    edges: int
    providers: int
    snapshots_per_s: float
    snapshot_ms: float
    report_ms: float
    busy: float


async def idle(*, edges: int, providers: int, per_s: int, seconds: float) -> Idle:
    """Play the others' snapshots to a real edge, which tells of itself as often as if it had something to tell."""
    kept: list[bytes] = []
    feed(edges=edges, providers=providers, per_s=per_s, seconds=seconds, kept=kept)
    one = {"kind": "custom", "base_url": "http://127.0.0.1:9/v1", "api_key": "sk-bench", "models": ["m"]}
    meter = Meter()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), providers={"lab": one, **{f"p{number}": one for number in range(providers)}})
        for packed in kept:
            with meter("snapshots"):
                bench.edge.apply(pickle.loads(packed))
        for _ in range(len(kept)):
            with meter("reports"):
                pickle.dumps(bench.edge._report(), protocol=5)
        await bench.books.stop()
    snapshot_s, report_s = (meter.spent[what] / meter.calls[what] for what in ("snapshots", "reports"))
    heard = len(kept) / seconds
    return Idle(
        edges=edges,
        providers=providers,
        snapshots_per_s=round(heard, 1),
        snapshot_ms=round(snapshot_s * 1e3, 2),
        report_ms=round(report_s * 1e3, 2),
        busy=round(heard * (snapshot_s + CALL_S) + (report_s + CALL_S) / EVERY_S, 4),
    )


@dataclass(frozen=True)
class Leases:
    """One key that all edges spend at once, to its end. Shares of its budget."""

    edges: int
    requests_per_s: int
    over: float
    used: float
    unused_at_first_refusal: float
    exchanges_per_s: float
    rate_wanted_per_min: int
    rate_admitted: float


def leases(*, edges: int, per_s: int, seed: int = 1) -> Leases:
    """A budget that lasts for about ten seconds, and a rate of half of what is asked."""
    hold, cost, lasts_s = 5_000, 3_000, 10.0
    cap = round(per_s * cost * lasts_s)
    world = World((money(cap),), edges=edges, seed=seed)
    first: list[float] = []

    def watch() -> None:
        if not first and world.refused:
            first.append(1.0 - (world.billed + world.running) / cap)

    world.watch = watch
    for number in range(round(per_s * lasts_s * 1.3)):
        edge = world.edges[number % edges]
        world.after(
            number / per_s, lambda edge=edge: world.request(edge, hold, cost, takes_s=world.rng.uniform(0.1, 2.0))
        )
    world.run(lasts_s * 2)
    exchanges = world.exchanges / (lasts_s * 2)

    wanted, window_s = per_s * 60 // 2, 20.0
    paced = World((rate(wanted),), edges=edges, seed=seed)
    for number in range(round(per_s * window_s)):
        edge = paced.edges[number % edges]
        paced.after(number / per_s, lambda edge=edge: paced.request(edge, 0, 0, takes_s=0.5))
    paced.run(window_s)
    # A minute's worth may come at once: what a single meter would admit meanwhile, all of it being asked for.
    ideal = min(per_s * window_s, wanted + wanted / 60 * window_s)
    return Leases(
        edges=edges,
        requests_per_s=per_s,
        over=round(max(0.0, world.billed / cap - 1.0), 6),
        used=round(world.billed / cap, 4),
        unused_at_first_refusal=round(first[0], 4) if first else 0.0,
        exchanges_per_s=round(exchanges, 1),
        rate_wanted_per_min=wanted,
        rate_admitted=round(len(paced.admitted) / ideal, 4),
    )


@dataclass(frozen=True)
class Lending:
    """What the ledger's owner does while all edges spend from many keys."""

    edges: int
    keys: int
    requests_per_s: int
    exchanges_per_s: float
    claims_per_s: float
    cpu: float
    busy: float


def lending(*, edges: int, keys: int, per_s: int, seconds: float = 3.0, seed: int = 1) -> Lending:
    """Each request is of any key, at any edge. Grants come back at once: only the owner's time counts."""
    rng, meter, now = random.Random(seed), Meter(), 1_800_000_000.0
    owner = Owner(epoch=1, now=now, restarted=False)
    passes = []
    for number in range(keys):
        limits = (
            Limit(scope=Scope.KEY, of=f"k{number}", counted=Counted.MONEY, amount=10**12),
            Limit(scope=Scope.KEY, of=f"k{number}", counted=Counted.REQUESTS, amount=60_000),
        )
        for limit in limits:
            owner.put(limit, now=now)
        passes.append(Pass(account=Account(key=f"k{number}"), limits=limits))
    purses = [Purse(edge=f"e{number}") for number in range(edges)]
    claimed = 0
    warm = 2.0
    for tick in range(round((warm + seconds) / TICK_S)):
        if tick == round(warm / TICK_S):
            meter.spent.clear()
            meter.calls.clear()
            claimed = 0
        for purse in purses:
            short = []
            for _ in range(_poisson(rng, per_s / edges * TICK_S)):
                pass_ = rng.choice(passes)
                got = purse.reserve(pass_, 5_000_000, 0, now)
                if isinstance(got, Need):
                    short.append((pass_, got))
                elif not isinstance(got, Failure):
                    purse.settle(got, 3_000_000, 0, now)
            # As the till does: one exchange for all who wait.
            claimed += _exchange(purse, owner, meter, now)
            for pass_, need in short:
                got = purse.reserve(pass_, 5_000_000, 0, now, asked=need)
                if not isinstance(got, (Need, Failure)):
                    purse.settle(got, 3_000_000, 0, now)
        now += TICK_S
    cpu, calls = meter.spent["grants"] / seconds, meter.calls["grants"] / seconds
    return Lending(
        edges=edges,
        keys=keys,
        requests_per_s=per_s,
        exchanges_per_s=round(calls, 1),
        claims_per_s=round(claimed / seconds, 1),
        cpu=round(cpu, 3),
        busy=round(cpu + CALL_S * calls, 3),
    )


def _exchange(purse: Purse, owner: Owner, meter: Meter, now: float) -> int:
    claims = purse.claims(now)
    if claims is None:
        return 0
    with meter("grants"):
        grants = owner.grant(claims, now)
    purse.take(grants, now)
    return len(claims.claims)


def _poisson(rng: random.Random, mean: float) -> int:
    number, left = 0, rng.expovariate(1.0)
    while left < mean:
        number, left = number + 1, left + rng.expovariate(1.0)
    return number


def _quantile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def table(feeds: list[Feed], still: Idle, lent: Leases, lenders: list[Lending]) -> str:
    lines = [
        "| edges | requests/s | reports/s | snapshots/s | exchanges/s | snapshot | report | known is old: mean, p99 | "
        "calls elsewhere are wrong by: mean, p99 | manager busy |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {one.edges} | {one.requests:,} | {one.reports:.0f} | {one.snapshots:.0f} | {one.exchanges:.0f} "
        f"| {one.snapshot_bytes / 1024:.1f} KB | {one.report_bytes / 1024:.1f} KB "
        f"| {one.age_mean_s:.2f} s, {one.age_p99_s:.2f} s "
        f"| {one.in_flight_error_mean:.1%}, {one.in_flight_error_p99:.1%} | {one.busy:.0%} |"
        for one in feeds
    ]
    lines += [
        "",
        f"| an edge without requests, among {still.edges} with {still.providers} providers | |",
        "| --- | --- |",
        f"| snapshots/s, processor time of one | {still.snapshots_per_s}, {still.snapshot_ms} ms |",
        f"| processor time of a report, one a second | {still.report_ms} ms |",
        f"| together, of one core (goal: 1 %) | {still.busy:.2%} |",
        "",
        "| one key, all edges | |",
        "| --- | --- |",
        f"| edges, its requests/s | {lent.edges}, {lent.requests_per_s:,} |",
        f"| spent beyond the budget | {lent.over:.4%} |",
        f"| of the budget, not used when somebody was first refused | {lent.unused_at_first_refusal:.2%} |",
        f"| of the budget, used in the end | {lent.used:.2%} |",
        f"| of what one central meter admits, admitted under a rate | {lent.rate_admitted:.2%} |",
        f"| exchanges/s | {lent.exchanges_per_s:.0f} |",
        "",
        "| edges | keys | requests/s | exchanges/s | claims/s | owner busy |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {one.edges} | {one.keys:,} | {one.requests_per_s:,} | {one.exchanges_per_s:.0f} | {one.claims_per_s:,.0f} "
        f"| {one.busy:.0%} |"
        for one in lenders
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--edges", type=int, default=200)
    parser.add_argument("--providers", type=int, default=40)
    parser.add_argument("--per-s", type=int, default=20_000)
    parser.add_argument("--seconds", type=float, default=12.0)
    parser.add_argument("--page", type=Path)
    ours = parser.parse_args()
    feeds = []
    for edges in sorted({ours.edges // 4, ours.edges // 2, ours.edges, ours.edges * 2}):
        per_s = ours.per_s * edges // ours.edges
        feeds.append(feed(edges=edges, providers=ours.providers, per_s=per_s, seconds=ours.seconds))
        print(feeds[-1], file=sys.stderr)
    still = asyncio.run(idle(edges=64, providers=32, per_s=6_400, seconds=ours.seconds))
    print(still, file=sys.stderr)
    lent = leases(edges=ours.edges, per_s=2_000)
    print(lent, file=sys.stderr)
    lenders = [lending(edges=ours.edges, keys=keys, per_s=ours.per_s) for keys in (10, 100, 1_000)]
    print(lenders, file=sys.stderr)
    text = table(feeds, still, lent, lenders)
    print(text, file=sys.stderr)
    print(
        json.dumps(
            {
                "feeds": [asdict(one) for one in feeds],
                "idle": asdict(still),
                "leases": asdict(lent),
                "lending": [asdict(one) for one in lenders],
            }
        )
    )
    if ours.page is not None:
        page = ours.page.read_text()
        head, rest = page.split(BEGIN, 1)
        ours.page.write_text(f"{head}{BEGIN}\n\n{text}\n\n{END}{rest.split(END, 1)[1]}")


if __name__ == "__main__":
    main()
