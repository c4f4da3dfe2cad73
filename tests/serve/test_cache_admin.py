"""What admins do about remembered answers, over HTTP and as a person types it."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from runtime.cache import Forget
from tests.serve.office import Office
from tests.serve.test_cli import refused, said, serving
from tests.serve.test_openapi import described, valid

COUNTS = {"cache_entries": 3, "cache_hits": 9, "cache_misses": 1, "cache_forgotten": 0, "cache_forgot": 0}


class Manager:
    """Two processes, of which the second follows late, or never."""

    def __init__(self, follows_after: int = 1) -> None:
        self.words: list[Forget] = []
        self.left = follows_after

    async def cached(self) -> dict[str, dict[str, int]]:
        self.left -= bool(self.words)
        done = {**COUNTS, "cache_forgot": 1, "cache_forgotten": 2}
        if not self.words:
            return {"a": dict(COUNTS), "b": dict(COUNTS), "new": {}}
        return {"a": done, "b": done if self.left <= 0 else dict(COUNTS)}

    async def forget(self, what: Forget) -> tuple[int, int | None]:
        self.words.append(what)
        return 1, None


@pytest.fixture
def manager(office: Office) -> Manager:
    made: Any = Manager()
    edge: Any = office.served.edge
    edge.manager, edge.cache = made, SimpleNamespace(tier=None)
    return made


def shape(method: str) -> Any:
    return described(method, "/admin/cache")["responses"]["200"]["content"]["application/json"]["schema"]


async def test_all_processes_are_summed(office: Office, manager: Manager) -> None:
    state = await office.got("GET", "cache")
    valid(shape("GET"), state)
    assert state["total"] == {"entries": 6, "hits": 18, "misses": 2, "forgotten": 0}
    assert state["processes"]["new"] == {}
    assert state["shared"] is None


@pytest.mark.parametrize(
    ("query", "what"),
    [
        ("", Forget()),
        ("?tag=faq", Forget(tag="faq")),
        ("?model=openai/*&tenant=t", Forget(model="openai/*", tenant="t")),
        ("?key=ab12", Forget(key="ab12")),
    ],
)
async def test_forgetting_waits_until_all_have_and_is_in_the_trail(
    office: Office, manager: Manager, query: str, what: Forget
) -> None:
    manager.left = 3
    done = await office.got("DELETE", f"cache{query}")
    valid(shape("DELETE"), done)
    assert done == {"forgotten": 4, "shared": None, "processes": 2, "followed": 2}
    assert manager.words == [what]
    trail = (await office.got("GET", "audit"))["entries"]
    assert trail[-1]["what"] == "cache.clear"


async def test_a_process_that_does_not_follow_is_told_of(
    office: Office, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    from serve import admin_cache

    monkeypatch.setattr(admin_cache, "FOLLOWED_WITHIN_S", 0.1)
    manager.left = 1_000
    assert (await office.got("DELETE", "cache"))["followed"] == 1


async def test_a_filter_with_a_typo_forgets_nothing(office: Office, manager: Manager) -> None:
    call = await office.ask("DELETE", "cache?tags=faq")
    assert call.status == 400
    assert manager.words == []


async def test_only_admins_may(office: Office, manager: Manager) -> None:
    made = await office.got("POST", "keys", {"name": "ci"})
    assert (await office.ask("DELETE", "cache", key=made["key"])).status == 403
    assert manager.words == []


# The command line.


@pytest.fixture(autouse=True)
def _nothing_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYGATE_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("RAYGATE_API_KEY", "rg-root")


def typed(answer: Any, capsys: pytest.CaptureFixture[str], *args: str) -> tuple[str, str]:
    with serving(json.dumps(answer).encode()) as (url, seen):
        code, out, err = said(capsys, "cache", *args, "--url", url)
    assert (code, err) == (0, "")
    return seen[0][0], out


def test_stats_say_what_it_saved(capsys: pytest.CaptureFixture[str]) -> None:
    one = Counter(entries=1_234, bytes=5_600_000, hits=75, misses=25, saved_nanousd=2_000_000_000)
    path, out = typed({"total": one, "processes": {"a": one}, "shared": {"entries": 7}}, capsys, "stats")
    assert path == "/admin/cache"
    assert "1,234" in out
    assert "75% of 100 were remembered, which saved $2.00" in out
    assert "The shared tier: entries 7." in out
    assert "off" in typed({"total": {}, "processes": {}, "shared": None}, capsys, "stats")[1]


def test_clear_says_what_is_gone_and_who_has_not_heard(capsys: pytest.CaptureFixture[str]) -> None:
    done = {"forgotten": 5, "shared": 2, "processes": 3, "followed": 2}
    path, out = typed(done, capsys, "clear", "--tag", "faq", "--model", "a/*", "--answer", "ab")
    assert path == "/admin/cache?tag=faq&model=a%2F%2A&key=ab"
    assert "5 answers and 2 of the shared tier are forgotten" in out
    assert "2 of 3 processes" in out


def test_a_word_that_is_not_known(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--tags" in refused(capsys, "cache", "clear", "--tags", "x")
