"""Meters behind a Raygate that runs, a crowd that asks, and the rows held against what was metered."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import random
import threading
from collections import Counter, defaultdict
from collections.abc import Coroutine, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import ray

from actors.names import JOURNALS
from runtime.models import NANOUSD
from tests.chaos.meter import FATES, Meter, Served
from tests.e2e.conftest import Live, settings, until

INPUT_NANOUSD, OUTPUT_NANOUSD = 1_000, 2_000
"""Of a token; the meters' own prices."""
MOST_TOKENS = 60
METERS = {"alpha-meter": ("custom", "/v1"), "beta-meter": ("custom", "/v1"), "gamma-meter": ("anthropic", "/v1")}
MOST_ROWS = 1_000
"""That one question shows."""


@contextmanager
def running_meters(meters: dict[str, Meter] | None = None) -> Iterator[dict[str, Meter]]:
    """Meters in a thread of their own: they outlive the loop of a single test, and so no breaker opens on them."""
    meters = meters or {name: Meter() for name in METERS}
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    def run(what: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(what, loop).result(timeout=30)

    for meter in meters.values():
        run(meter.start())
    try:
        yield meters
    finally:
        for meter in meters.values():
            run(meter.stop())
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def metered(
    live: Live,
    meters: Mapping[str, Meter],
    routes: Iterable[str],
    *,
    seed: int = 0,
    fates: Mapping[str, int] = FATES,
    least_tokens: int = 20,
    **changes: Any,
) -> None:
    """Have these meters, with nothing served yet, as this Raygate's providers, and routes over all of them."""
    for index, meter in enumerate(meters.values()):
        meter.fates, meter.least_tokens = fates, least_tokens
        meter.served.clear()
        meter.reseed(seed + index)
    await asyncio.to_thread(live.switch, **{**metered_settings(meters, routes), **changes})
    for name in meters:
        # What a test before this one has broken.
        await asyncio.to_thread(until, lambda name=name: _is_open(live, name), f"{name} may be asked")


def _is_open(live: Live, name: str) -> bool:
    try:
        live.control(live.provider(name), "reopen")
    except (ValueError, ray.exceptions.RayError):
        return False
    return all(one.breaker == "closed" for one in live.overview()["providers"] if one.provider == name)


def metered_settings(meters: Mapping[str, Meter], routes: Iterable[str]) -> dict[str, Any]:
    providers = {
        name: {
            "kind": METERS[name][0],
            "base_url": meter.url + METERS[name][1],
            "api_key": "sk-meter-test",
            "price": {"input": INPUT_NANOUSD / 1_000, "output": OUTPUT_NANOUSD / 1_000},
        }
        for name, meter in meters.items()
    }
    return {
        "providers": {**settings().to_document()["providers"], **providers},
        # A model of its own for each route: what broke under the one shuts no door of the other.
        "routes": {route: {"targets": [f"{name}/{route}" for name in meters]} for route in routes},
        "hedge": {"after_s": 0.1, "max_share": 0.5},
        "retry": {"base_s": 0.02, "cap_s": 0.05, "budget_ratio": 1.0},
        "breaker": {"failures": 1_000_000},
    }


@dataclass(frozen=True, slots=True)
class Whole:
    """An answer that came to its end, with what it says that it used."""

    request: str
    input_tokens: int
    output_tokens: int


@dataclass
class Crowd:
    """Callers that ask until `most` requests were made or they are told to stop: plain, streamed, or given up, unless
    they are patient."""

    live: Live
    route: str
    key: str
    callers: int = 12
    most: int = 400
    seed: int = 0
    patient: bool = False
    whole: list[Whole] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)
    said: dict[str, str] = field(default_factory=dict)
    """The first answer of each status and code that is an error, as `answers` counts them."""
    asked: int = 0
    stopped: bool = False

    async def run(self) -> None:
        rng = random.Random(self.seed)
        timeout = aiohttp.ClientTimeout(total=60)
        headers = {"authorization": f"Bearer {self.key}"}
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(
            self.live.url, headers=headers, timeout=timeout, connector=connector
        ) as session:
            await asyncio.gather(*(self._caller(session, rng) for _ in range(self.callers)))

    async def _caller(self, session: aiohttp.ClientSession, rng: random.Random) -> None:
        while not self.stopped and self.asked < self.most:
            name, self.asked = f"{self.route}-{self.asked}", self.asked + 1
            patience_s = None if self.patient else rng.choice([None, None, None, 0.03, 0.08, 0.15])
            try:
                async with asyncio.timeout(patience_s):
                    await self.ask(session, name, stream=rng.random() < 0.5)
            except TimeoutError:
                self.answers["given up"] += 1
            except (aiohttp.ClientError, ConnectionError) as error:
                self.answers[type(error).__name__] += 1
                await asyncio.sleep(0.05)

    async def ask(self, session: aiohttp.ClientSession, name: str, *, stream: bool) -> None:
        body = {
            "model": self.route,
            "messages": [{"role": "user", "content": f"{name} tell me a word or two"}],
            "max_tokens": MOST_TOKENS,
            "stream": stream,
            **({"stream_options": {"include_usage": True}} if stream else {}),
        }
        async with session.post("/v1/chat/completions", json=body, headers={"x-request-id": name}) as reply:
            text = await reply.text()
        said: dict[str, Any] = {}
        if reply.status != 200:
            with suppress(ValueError, KeyError, TypeError):
                said = json.loads(text)["error"]
            error = f"{reply.status} {said.get('code') or said.get('type', '')}"
            self.answers[error] += 1
            self.said.setdefault(error, text[:300])
            await asyncio.sleep(random.uniform(0.5, 1.5) if self.patient else 0.02)
            return
        if stream and not text.endswith("data: [DONE]\n\n"):
            self.answers["cut"] += 1
            return
        told = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")] if stream else []
        usage = next((one["usage"] for one in told if one.get("usage")), None) if stream else json.loads(text)["usage"]
        self.answers["whole"] += 1
        if usage is not None:
            self.whole.append(Whole(name, usage["prompt_tokens"], usage["completion_tokens"]))


async def made_key(live: Live, limit_usd: float | None = None, **more: Any) -> tuple[str, str]:
    """A new key and its id."""
    budgets = [] if limit_usd is None else [{"period": "total", "limit_usd": limit_usd}]
    made = await admin(live, "keys", {"name": "crowd", "budgets": budgets, **more})
    return made["key"], made["id"]


async def admin(live: Live, path: str, body: Mapping[str, Any] | None = None, **query: Any) -> Any:
    async with aiohttp.ClientSession(live.url, headers=live.headers) as session:
        how = session.get if body is None else session.post
        async with how(f"/admin/{path}", params=query, **({} if body is None else {"json": body})) as reply:
            said = await reply.json()
            assert reply.status == 200, said
            return said


async def rows_of(live: Live, **only: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = (await admin(live, "rows", last="24h", limit=MOST_ROWS, **only))["rows"]
    assert len(rows) < MOST_ROWS, "more rows than one question shows"
    return rows


async def limit_of(live: Live, key: str) -> dict[str, Any]:
    limits = (await admin(live, "budgets"))["limits"]
    return next(one for one in limits if one["of"] == key and one["counts"] == "money")


def abandoned_journals(live: Live) -> list[str]:
    """Journals that nobody holds, and that nobody has brought in yet."""
    folder = live.folder / JOURNALS
    found = []
    for path in folder.glob("*.lock"):
        with suppress(OSError):
            file = os.open(path, os.O_RDWR)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                found.append(path.stem)
            finally:
                os.close(file)
    held = {path.stem for path in folder.glob("*.lock")}
    return found + [path.name for path in folder.glob("*.journal") if path.name.split(".")[0] not in held]


# What was metered, held against the rows.


@dataclass
class Account:
    """What a round came to. Money is in nano-dollars."""

    name: str
    rows: int = 0
    exact: int = 0
    refused: int = 0
    estimated: int = 0
    lost: int = 0
    unseen: int = 0
    charged: int = 0
    metered: int = 0
    over: int = 0
    under: int = 0
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        money = "".join(f" {one / NANOUSD:9.6f}" for one in (self.charged, self.metered, self.over, self.under))
        return (
            f"{self.name:34} {self.rows:5} {self.exact:6} {self.refused:5} {self.estimated:5} {self.lost:5} "
            f"{self.unseen:6}{money}"
        )


HEAD = (
    f"{'round':34} {'rows':>5} {'exact':>6} {'free':>5} {'estim':>5} {'lost':>5} {'unseen':>6}"
    f" {'rows $':>9} {'meters $':>9} {'over $':>9} {'under $':>9}"
)


def price(one: Served) -> int:
    return one.input_tokens * INPUT_NANOUSD + one.output_tokens * OUTPUT_NANOUSD if one.charged else 0


def held_against(
    name: str, rows: Iterable[Mapping[str, Any]], meters: Mapping[str, Meter], route: str, whole: Iterable[Whole]
) -> Account:
    """Every attempt that a meter saw is a row, once; what is said to be exact is so to the nano-dollar."""
    account = Account(name)
    ours: dict[tuple[str, str], list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        ours[row["provider"], row["request_id"]].append(row)
        account.rows += 1
    theirs: dict[tuple[str, str], list[Served]] = defaultdict(list)
    for provider, meter in meters.items():
        for one in meter.served:
            if one.request.startswith(f"{route}-"):
                theirs[provider, one.request].append(one)
    for at in ours.keys() | theirs.keys():
        _compare(account, at, ours[at], list(theirs[at]))
    exact = {
        (row["request_id"], row["input_tokens"], row["output_tokens"])
        for row in rows
        if "estimated" not in row["flags"]
    }
    account.wrong += [
        f"answered whole, and no exact row: {one}"
        for one in whole
        if (one.request, one.input_tokens, one.output_tokens) not in exact
    ]
    return account


def _compare(account: Account, at: tuple[str, str], rows: list[Mapping[str, Any]], served: list[Served]) -> None:
    unsure, wrong = [], account.wrong
    failed = [one for one in served if not one.charged]
    for row in rows:
        cost, hold, flags = row["cost_nanousd"], row["hold_nanousd"], row["flags"]
        if cost is None or hold is None or cost > hold:
            wrong.append(f"{at}: it is not within its hold: {_short(row)}")
            continue
        account.charged += cost
        if "estimated" in flags:
            unsure.append(row)
        elif row["input_tokens"]:
            told = [one for one in served if (one.input_tokens, one.output_tokens) == _used(row) and one.reported]
            if not told or cost != price(told[0]):
                wrong.append(f"{at}: no meter has said this: {_short(row)}")
                continue
            served.remove(told[0])
            account.exact += 1
            account.metered += price(told[0])
        elif failed:
            served.remove(failed.pop())
            account.refused += 1
        else:
            wrong.append(f"{at}: free, and yet the meter has charged: {_short(row)}")
    for row in unsure:
        cost = row["cost_nanousd"]
        account.lost += "lost" in row["flags"]
        account.estimated += "lost" not in row["flags"]
        if served:
            # Which of them it was, nobody knows: in order.
            charge = price(served.pop(0))
        elif "lost" in row["flags"] or "cancelled" in row["flags"]:
            account.unseen += 1
            charge = 0
        else:
            wrong.append(f"{at}: a row that no meter saw: {_short(row)}")
            continue
        account.metered += charge
        account.over += max(0, cost - charge)
        account.under += max(0, charge - cost)
    wrong.extend(f"{at}: no row of {one}" for one in served)


def _used(row: Mapping[str, Any]) -> tuple[int, int]:
    return row["input_tokens"], row["output_tokens"]


def _short(row: Mapping[str, Any]) -> dict[str, Any]:
    shown = ("attempt", "outcome", "flags", "input_tokens", "output_tokens", "cost_nanousd", "hold_nanousd")
    return {name: row[name] for name in shown}
