"""The page without a browser: its files, who may see what, and that nothing is asked while nobody looks."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
from collections.abc import Mapping
from typing import Any

import pytest

from actors.refs import Unreachable
from runtime.outcome import Failure, FailureKind
from runtime.request import Json
from serve.ui.files import FOLDER, POLICY, files
from serve.ui.live import Teller, Watch, event, follow, slim
from tests.fakes.asgi import Call
from tests.ledger.rows import Account, row
from tests.serve.office import NOW, ROOT, Office
from tests.serve.test_app import Served


async def got(path: str, *headers: tuple[bytes, bytes], method: str = "GET", served: Served | None = None) -> Call:
    return await (served or Served())(Call(method, path, headers=headers))


# The files.


async def test_the_page_is_served_without_a_key_and_names_its_files_by_version() -> None:
    call = await got("/ui")
    assert (call.status, call.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert call.headers["cache-control"] == "no-cache"
    named = re.findall(r'(?:href|src)="(ui/v/[^"]+)"', call.body.decode())
    assert len(named) >= 5
    for path in named:
        file = await got(f"/{path}")
        assert file.status == 200, path
        assert file.headers["cache-control"] == "public, max-age=31536000, immutable"


def test_every_import_of_a_module_is_there() -> None:
    for name, file in files().of.items():
        if name.endswith(".js") and "vendor" not in name:
            for wanted in re.findall(r'from "\./([^"]+)"', file.body.decode()):
                assert wanted in files().of, f"{name} imports {wanted}"


def test_no_file_names_another_host_and_none_holds_markup_or_handlers() -> None:
    for name, file in files().of.items():
        text = file.body.decode()
        if "vendor" in name:
            continue
        hosts = set(re.findall(r"https?://[^\s\"'`)<]+", text)) - {"http://www.w3.org/2000/svg"}
        assert not hosts, (name, hosts)
        assert "innerHTML" not in text, name
        assert "eval(" not in text, name
    page = files().page(asks=True).body.decode()
    assert not re.findall(r"<script(?![^>]*src=)", page)
    assert not re.findall(r"\son\w+=|\sstyle=", page)


def test_all_of_it_is_small_and_the_licence_of_what_others_wrote_is_there() -> None:
    assert sum(len(file.body) for file in files().of.values()) < 200_000
    assert b"Permission is hereby granted" in files().of["vendor/uPlot.LICENSE"].body


async def test_nothing_may_be_loaded_framed_or_run_from_elsewhere() -> None:
    for path in ("/ui", f"/ui/v/{files().version}/app.js"):
        said = (await got(path)).headers
        assert said["content-security-policy"] == POLICY.decode()
        assert said["x-content-type-options"] == "nosniff"
    assert b"default-src 'self'" in POLICY
    assert b"frame-ancestors 'none'" in POLICY
    assert b"unsafe" not in POLICY


async def test_what_has_not_changed_is_not_sent_again() -> None:
    first = await got("/ui")
    again = await got("/ui", (b"if-none-match", first.headers["etag"].encode()))
    assert (again.status, again.body) == (304, b"")


async def test_it_comes_packed_to_whoever_takes_that() -> None:
    path = f"/ui/v/{files().version}/app.js"
    call = await got(path, (b"accept-encoding", b"gzip, br"))
    assert call.headers["content-encoding"] == "gzip"
    assert gzip.decompress(call.body) == (FOLDER / "app.js").read_bytes()
    head = await got(path, method="HEAD")
    assert (head.status, head.body) == (200, b"")


async def test_a_file_of_another_version_is_given_but_not_for_ever() -> None:
    call = await got("/ui/v/0123456789ab/app.js")
    assert (call.status, call.headers["cache-control"]) == (200, "no-cache")


@pytest.mark.parametrize("path", ["/ui/v/x/nothing.js", "/ui/v/x/../page.py", "/ui/app.js", "/ui/v/x/%2e%2e/page.py"])
async def test_there_is_nothing_else(path: str) -> None:
    assert (await got(path)).status == 404


async def test_it_only_answers_get_and_sends_a_slash_to_the_page() -> None:
    assert (await got("/ui", method="POST")).status == 405
    call = await got("/ui/")
    assert (call.status, call.headers["location"]) == (308, "../ui")


async def test_the_page_knows_whether_a_key_is_asked_for() -> None:
    assert b'asks-for-key" content="yes"' in (await got("/ui")).body
    assert b'asks-for-key" content="no"' in (await got("/ui", served=Served(auth=False))).body


@pytest.mark.parametrize("path", ["/ui/live", "/ui/spend", "/ui/budgets"])
async def test_what_is_told_is_told_to_keys_alone(path: str) -> None:
    call = await got(path)
    assert (call.status, call.error()["code"]) == (401, "invalid_api_key")


# Who sees what.


class Manager:
    def __init__(self) -> None:
        self.asked = 0
        self.state: dict[str, Any] = {"providers": [], "used": {}}
        self.away = False

    async def glance(self) -> Mapping[str, Any]:
        self.asked += 1
        if self.away:
            raise Unreachable("manager is not running at the moment")
        return dict(self.state)


def told(body: bytes) -> list[tuple[str, Any]]:
    found = re.findall(r"event: (\w+)\ndata: (.*)\n\n", body.decode())
    return [(name, json.loads(data)) for name, data in found]


async def looked(office: Office, key: str, enough: int = 3) -> list[tuple[str, Any]]:
    """What one is told until so many events have come."""
    call = Call("GET", "/ui/live", headers=[(b"authorization", f"Bearer {key}".encode())])
    task = asyncio.create_task(office.served(call))
    async with asyncio.timeout(5):
        while len(told(call.body if call.sent else b"")) < enough and not call.ended:
            call.wrote.clear()
            await call.wrote.wait()
    call.hang_up()
    await task
    return told(call.body)


@pytest.fixture
def manager(office: Office) -> Manager:
    made = Manager()
    office.served.edge.manager = made  # type: ignore[assignment]  # all that the page asks of it
    return made


async def test_an_admin_sees_providers_and_everybodys_rows(office: Office, manager: Manager) -> None:
    await office.ledger._store.append([row(at_ms=round(NOW * 1_000) - 5)])
    events = await looked(office, ROOT)
    hello = events[0]
    assert (hello[0], hello[1]["role"]) == ("hello", "admin")
    assert hello[1]["providers"]["one"]["kind"] == "scripted"
    rows = next(said for name, said in events if name == "rows")
    assert rows[0]["provider"] == "openai"
    assert "state" in dict(events)
    assert office.served.app._page._watching.watchers == 0


async def test_an_ordinary_key_sees_itself_alone(office: Office, manager: Manager) -> None:
    made = await office.got("POST", "keys", {"name": "ci", "budgets": [{"period": "day", "limit_usd": 1}]})
    await office.got("POST", "keys", {"name": "other", "budgets": [{"period": "day", "limit_usd": 2}]})
    now_ms = round(NOW * 1_000) - 5
    await office.ledger._store.append(
        [row("w:1", at_ms=now_ms), row("w:2", at_ms=now_ms, cost=7_000, account=Account(key=made["id"]))]
    )
    events = await looked(office, made["key"], enough=2)
    assert (events[0][1]["role"], events[0][1]["name"]) == ("user", "ci")
    assert "providers" not in events[0][1]
    assert "state" not in dict(events)
    assert {one["attempt"] for name, said in events if name == "rows" for one in said} == {"w:2"}

    async def ask(path: str) -> Any:
        headers = [(b"authorization", f"Bearer {made['key']}".encode())]
        path, _, query = path.partition("?")
        call = Call("GET", path, headers=headers)
        call.scope["query_string"] = query.encode()
        await office.served(call)
        return call.status, json.loads(call.body)

    status, spend = await ask("/ui/spend")
    assert (status, spend["total"]["cost_nanousd"]) == (200, 7_000)
    status, limits = await ask("/ui/budgets")
    assert [one["of"] for one in limits["limits"]] == [made["id"]]
    # Nobody asks for another's by naming it.
    assert (await ask("/ui/spend?key=alice"))[0] == 400


async def test_settings_are_told_without_secrets(office: Office, manager: Manager) -> None:
    events = await looked(office, ROOT, enough=1)
    assert not re.search(r"api_key|headers|base_url", json.dumps(events[0][1]))


async def test_without_keys_there_is_only_the_playground() -> None:
    served = Served(auth=False)

    class NoLedger:
        async def ask(self, *args: Any, **named: Any) -> Failure:
            return Failure(kind=FailureKind.UNAVAILABLE)

    served.edge.ledger = NoLedger()
    served.edge.manager = Manager()  # type: ignore[assignment]  # see above
    call = Call("GET", "/ui/live")
    task = asyncio.create_task(served(call))
    await call.wrote.wait()
    call.hang_up()
    await task
    assert told(call.body)[0][1]["role"] == "nobody"


async def test_no_more_than_so_many_look_at_one_replica(office: Office, manager: Manager) -> None:
    await looked(office, ROOT, enough=1)
    office.served.app._page._watching.watchers = 64
    call = await got("/ui/live", (b"authorization", f"Bearer {ROOT}".encode()), served=office.served)
    assert call.status in (429, 503)
    assert "close a page" in call.error()["message"]


# While somebody looks.


class World:
    """Turns come when the test says so."""

    def __init__(self) -> None:
        self.manager = Manager()
        self.rows: list[dict[str, Any]] = []
        self.asked: list[int] = []
        self.turn = asyncio.Event()
        self.ledger_away = False
        self.now = 0.0
        self.stamp = 0
        self.watch = Watch(
            self.manager.glance, self.tail, wall=lambda: self.now, stamp=lambda: self.stamp, sleep=self.sleep
        )

    async def tail(self, after: int, most: int) -> Json | Failure:
        self.asked.append(after)
        if self.ledger_away:
            return Failure(kind=FailureKind.UNAVAILABLE, detail="the ledger is away")
        return {"seq": len(self.rows), "rows": self.rows[after:][::-1][:most]}

    async def sleep(self, seconds: float) -> None:
        await self.turn.wait()
        self.turn.clear()

    async def look(self, after: int) -> Any:
        return (await self.watch.next(after, 1.0))[-1]


async def test_nothing_is_asked_before_somebody_looks_nor_after_the_last_has_gone() -> None:
    world = World()
    assert world.manager.asked == 0
    world.watch.join()
    world.watch.join()
    await world.look(0)
    assert world.manager.asked == 1
    world.watch.leave()
    world.watch.leave()
    world.turn.set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert world.manager.asked == 1


async def test_all_who_look_share_one_question_a_second_and_rows_come_once() -> None:
    world = World()
    world.watch.join()
    first = await world.look(0)
    world.rows.append({"attempt": "a", "provider": "one"})
    world.turn.set()
    second = await world.look(first.number)
    world.turn.set()
    third = await world.look(second.number)
    assert ([one["attempt"] for one in second.rows], third.rows) == (["a"], ())
    assert world.asked == [0, 0, 1]
    assert world.manager.asked == 3
    world.watch.leave()


async def test_while_nothing_moves_it_is_seldom_asked_and_at_once_when_something_does() -> None:
    world = World()
    world.watch.join()
    seen = await world.look(0)
    for _ in range(40):
        world.turn.set()
        for _ in range(8):  # as many as a look takes, and more
            await asyncio.sleep(0)
    calm = world.manager.asked
    assert calm < 15
    assert len(world.asked) == calm
    assert world.watch.number - seen.number < 15, "nobody is woken where there was no look"
    seen = (await world.watch.next(seen.number, 1.0))[-1]
    world.stamp = 1
    world.turn.set()
    await world.look(seen.number)
    assert world.manager.asked == calm + 1
    world.watch.leave()


async def test_what_is_away_is_said_and_what_was_seen_before_stays() -> None:
    world = World()
    world.watch.join()
    teller = Teller()
    seen = await world.look(0)
    assert [name for name, _ in told(teller.told(seen))] == ["state"]
    world.manager.away = world.ledger_away = True
    world.turn.set()
    seen = await world.look(seen.number)
    events = told(teller.told(seen))
    assert [name for name, _ in events] == ["away"]
    assert set(events[0][1]) == {"manager", "ledger"}
    assert seen.state == world.manager.state
    world.watch.leave()


async def test_what_has_not_changed_is_not_said() -> None:
    world = World()
    world.watch.join()
    teller = Teller()
    seen = await world.look(0)
    assert teller.told(seen)
    world.now = 1.0
    world.turn.set()
    assert teller.told(await world.look(seen.number)) == b""
    world.watch.leave()


async def test_a_stream_ends_by_itself_and_its_key_is_looked_at_meanwhile() -> None:
    world = World()
    world.turn.set()
    wrote: list[bytes] = []
    now, asked = 0.0, 0

    def clock() -> float:
        nonlocal now
        now += 30.0
        world.turn.set()
        return now

    async def hello() -> bytes:
        nonlocal asked
        asked += 1
        return event("hello", {})

    async def first() -> list[dict[str, Any]]:
        return []

    async def write(data: bytes) -> None:
        wrote.append(data)

    async with asyncio.timeout(5):
        await follow(world.watch, Teller(), write, hello=hello, first=first, clock=clock)
    assert asked > 2
    assert b"".join(wrote).count(b"event: hello") == 1
    assert world.watch.watchers == 0


async def test_a_revoked_key_is_told_so_and_sees_nothing_more(office: Office, manager: Manager) -> None:
    made = await office.got("POST", "keys", {"name": "chief", "admin": True})
    call = Call("GET", "/ui/live", headers=[(b"authorization", f"Bearer {made['key']}".encode())])
    page = office.served.app._page
    task = asyncio.create_task(office.served(call))
    await call.wrote.wait()
    await office.got("DELETE", f"keys/{made['id']}")
    office.served.edge.passes.renew({made["id"]})
    async with asyncio.timeout(10):
        await task
    assert told(call.body)[-1][0] == "gone"
    assert page._watching.watchers == 0


def test_a_row_says_a_known_cost_of_nothing_but_no_other_zero() -> None:
    assert slim({"attempt": "a", "cost_nanousd": 0, "reasoning_tokens": 0, "tags": [], "team": ""}) == {
        "attempt": "a",
        "cost_nanousd": 0,
    }
    assert "cost_nanousd" not in slim({"attempt": "a", "cost_nanousd": None})
