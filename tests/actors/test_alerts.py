"""Webhooks of budgets: once for each warning and period, tried again, signed, and to public addresses alone."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from actors.alerts import Alerts
from runtime.alerts import alert_id, is_ours, signature, wait_s
from runtime.ledger.accounts import Counted, Limit, Scope
from runtime.ledger.book import Notice
from runtime.ledger.periods import Period
from runtime.settings import AlertSettings
from runtime.transport.webhook import is_public, post
from tests.fakes.clock import FakeClock

LIMIT = Limit(scope=Scope.KEY, of="key_1", counted=Counted.MONEY, amount=10_000_000_000, period=Period.MONTH)


def notice(*, all_: bool = False, start_ms: int = 0, scope: Scope = Scope.KEY) -> Notice:
    limit = Limit(scope=scope, of="key_1", counted=Counted.MONEY, amount=10_000_000_000, period=Period.MONTH)
    return Notice(limit=limit, spent_nanousd=8_100_000_000, all=all_, start_ms=start_ms)


class Receiver:
    """Takes messages, after so many failures."""

    def __init__(self, *, fails: int = 0) -> None:
        self.fails = fails
        self.tries = 0
        self.taken: list[tuple[str, dict[str, Any], Mapping[str, str]]] = []

    async def __call__(
        self, url: str, body: bytes, headers: Mapping[str, str], *, timeout_s: float, allow_private: bool
    ) -> str:
        self.tries += 1
        if self.tries <= self.fails:
            return "it answered 500"
        self.taken.append((url, json.loads(body), headers))
        return ""


class Rig:
    def __init__(self, folder: Path, *webhooks: dict[str, Any], receiver: Receiver | None = None) -> None:
        self.settings = AlertSettings.model_validate({"webhooks": list(webhooks) or [{"url": "https://h.example/x"}]})
        self.receiver = receiver or Receiver()
        self.clock = FakeClock()
        self.alerts = Alerts(
            folder,
            lambda: self.settings,
            {"SECRET": "s3cret"},
            post=self.receiver,
            wall=lambda: 1_700_000_000.0,
            sleep=self.clock.sleep,
            rng=random.Random(1),
        )


async def test_a_warning_and_the_end_are_told_once_each_in_each_period(tmp_path: Path) -> None:
    made = Rig(tmp_path)
    for _ in range(3):
        made.alerts.tell(notice())
        made.alerts.tell(notice(all_=True))
        await made.alerts.settled()
    made.alerts.tell(notice(start_ms=1))
    await made.alerts.settled()
    assert [one["alert"] for _, one, _ in made.receiver.taken] == ["budget.warning", "budget.spent", "budget.warning"]
    _, body, headers = made.receiver.taken[0]
    assert (body["scope"], body["of"], body["spent_usd"], body["limit_usd"], body["share"]) == (
        "key",
        "key_1",
        8.1,
        10.0,
        0.81,
    )
    assert headers["x-raygate-delivery"] == body["id"] == alert_id(notice())


async def test_what_fails_is_tried_again_with_growing_waits_and_then_given_up(tmp_path: Path) -> None:
    made = Rig(tmp_path, receiver=Receiver(fails=3))
    made.alerts.tell(notice())
    await made.alerts.settled()
    assert len(made.receiver.taken) == 1
    assert len(made.clock.slept) == 3
    dead = Rig(tmp_path / "x", {"url": "https://h.example/x", "attempts": 2}, receiver=Receiver(fails=99))
    (tmp_path / "x").mkdir()
    dead.alerts.tell(notice())
    await dead.alerts.settled()
    assert (dead.receiver.tries, dead.alerts.given_up) == (2, 1)


def test_waits_double_up_to_ten_minutes() -> None:
    rng = random.Random(1)
    waits = [wait_s(tried, rng) for tried in range(1, 15)]
    assert all(2.0 ** (at + 1) / 2 <= one <= 2.0 ** (at + 1) for at, one in enumerate(waits[:8]))
    assert max(waits) <= 600.0


async def test_another_life_goes_on_and_does_not_repeat(tmp_path: Path) -> None:
    made = Rig(tmp_path, receiver=Receiver(fails=99))
    held = asyncio.Event()

    async def hold(seconds: float) -> None:
        await held.wait()

    made.alerts._sleep = hold
    made.alerts.tell(notice())
    await asyncio.sleep(0)
    await made.alerts.stop()
    after = Rig(tmp_path)
    after.alerts.resume()
    await after.alerts.settled()
    assert len(after.receiver.taken) == 1
    third = Rig(tmp_path)
    third.alerts.resume()
    third.alerts.tell(notice())
    await third.alerts.settled()
    assert third.receiver.taken == []


async def test_each_webhook_has_its_own_and_only_what_it_wants(tmp_path: Path) -> None:
    made = Rig(tmp_path, {"url": "https://a.example"}, {"url": "https://b.example", "scopes": ["team"]})
    made.alerts.tell(notice())
    await made.alerts.settled()
    made.alerts.tell(notice(scope=Scope.TEAM))
    await made.alerts.settled()
    assert sorted(url for url, *_ in made.receiver.taken) == [
        "https://a.example",
        "https://a.example",
        "https://b.example",
    ]


async def test_a_message_proves_whose_it_is(tmp_path: Path) -> None:
    made = Rig(tmp_path, {"url": "https://h.example", "secret": "os.environ/SECRET"})
    made.alerts.tell(notice())
    await made.alerts.settled()
    ((_, said, headers),) = made.receiver.taken
    body = json.dumps(said, separators=(",", ":")).encode()
    header = headers["x-raygate-signature"]
    assert is_ours("s3cret", body, header, now_s=1_700_000_010.0)
    assert not is_ours("other", body, header, now_s=1_700_000_010.0)
    assert not is_ours("s3cret", body + b" ", header, now_s=1_700_000_010.0)
    assert not is_ours("s3cret", body, header, now_s=1_700_001_000.0), "it is too old"
    assert not is_ours("s3cret", body, "nonsense", now_s=0.0)
    assert signature("s3cret", body, at_s=1_700_000_000.9) == header


def test_the_folder_keeps_no_secret(tmp_path: Path) -> None:
    async def run() -> None:
        made = Rig(tmp_path, {"url": "https://h.example/token-in-the-path", "secret": "s3cret"})
        made.alerts.tell(notice())
        await made.alerts.settled()

    asyncio.run(run())
    kept = (tmp_path / "alerts.json").read_text()
    assert "token-in-the-path" not in kept
    assert "s3cret" not in kept


# On the wire.


PRIVATE = [
    "127.0.0.1",
    "10.1.2.3",
    "192.168.0.1",
    "172.16.0.1",
    "169.254.169.254",
    "0.0.0.0",
    "100.64.0.1",
    "224.0.0.1",
    "255.255.255.255",
    "::1",
    "::",
    "fe80::1",
    "fd00::1",
    "::ffff:127.0.0.1",
    "64:ff9b::7f00:1",
    "2002:7f00:1::",
    "ff02::1",
]


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_are_known(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700:4700::1111"])
def test_public_ones_too(address: str) -> None:
    assert is_public(address)


async def served(status: int, seen: list[Any]) -> tuple[web.AppRunner, int]:
    async def take(request: web.Request) -> web.Response:
        seen.append((request.headers, await request.read()))
        return web.Response(status=status, headers={"location": "/again"})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    return runner, runner.addresses[0][1]


@pytest.mark.parametrize(("status", "why"), [(200, ""), (204, ""), (500, "it answered 500"), (302, "it answered 302")])
async def test_a_message_is_posted_once_and_no_redirect_is_followed(status: int, why: str) -> None:
    seen: list[Any] = []
    runner, port = await served(status, seen)
    try:
        url = f"http://127.0.0.1:{port}/hook"
        assert await post(url, b"{}", {"x-test": "1"}, timeout_s=5.0, allow_private=True) == why
        assert len(seen) == 1
        assert seen[0][0]["x-test"] == "1"
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "[::1]", "[::ffff:127.0.0.1]"])
async def test_a_private_address_is_refused_however_it_is_written(host: str) -> None:
    seen: list[Any] = []
    runner, port = await served(200, seen)
    try:
        why = await post(f"http://{host}:{port}/hook", b"{}", {}, timeout_s=5.0)
        assert why
        assert seen == []
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("url", ["ftp://h.example", "nonsense", "http://", "http://[::1"])
async def test_what_is_no_address_is_said(url: str) -> None:
    assert "url" in await post(url, b"{}", {}, timeout_s=1.0)
