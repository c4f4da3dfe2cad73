"""`raygate learn status`, `export`, `rollback` and the like, as a person types them, against what the API answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.serve.test_cli import refused, said, serving

STATE = {
    "org": "default",
    "paused": True,
    "learns": True,
    "prompts": 1_234,
    "warm_up": 50,
    "judged": 20.0,
    "learned": 25,
    "remembered": 1_234,
    "models": {"lab/small": {"quality": 0.5, "doubt": 0.05}, "lab/large": {"quality": 0.9, "doubt": 0.1}},
    "signals": {},
}


@pytest.fixture(autouse=True)
def _nothing_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYGATE_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("RAYGATE_API_KEY", "rg-root")


def typed(answer: Any, capsys: pytest.CaptureFixture[str], *args: str) -> tuple[str, str]:
    """The path that was asked, and what the person sees."""
    body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    with serving(body) as (url, seen):
        code, out, err = said(capsys, "learn", *args, "--url", url)
    assert (code, err) == (0, "")
    assert seen[0][1] == "Bearer rg-root"
    return seen[0][0], out


def test_status_shows_the_best_first_and_that_it_is_paused(capsys: pytest.CaptureFixture[str]) -> None:
    path, out = typed(STATE, capsys, "status", "--org", "acme")
    assert path == "/admin/learning?org=acme"
    assert out.index("lab/large") < out.index("lab/small")
    assert "1,234 prompts, 20 judged" in out
    assert "learn resume" in out


@pytest.mark.parametrize(
    ("args", "path", "word"),
    [
        (["pause"], "/admin/learning/pause", "nothing learned"),
        (["resume"], "/admin/learning/resume", "7 events"),
        (["reset"], "/admin/learning/reset", "nothing"),
        (["rollback"], "/admin/learning/rollback", "snapshot 7"),
        (["rollback", "7"], "/admin/learning/rollback?snapshot=7", "snapshot 7"),
        (["forget", "--request", "a/b"], "/admin/learning/traces/a%2Fb", "7 traces"),
        (["forget", "--org", "acme"], "/admin/learning/traces?org=acme", "7 traces"),
    ],
)
def test_each_asks_its_way_and_says_what_was_done(
    capsys: pytest.CaptureFixture[str], args: list[str], path: str, word: str
) -> None:
    done = {"org": "default", "done": args[0], "number": 7}
    where, out = typed(done, capsys, *args)
    assert where == path
    assert word in out


def test_snapshots_are_listed_with_their_time(capsys: pytest.CaptureFixture[str]) -> None:
    there = {"org": "default", "snapshots": [{"snapshot": 812, "at": 1_790_000_000.0}, {"snapshot": 4, "at": None}]}
    _, out = typed(there, capsys, "snapshots")
    assert "812" in out
    assert "2026-09-21" in out


def test_export_is_a_file_once_it_is_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "log.jsonl"
    path, out = typed(b'{"a": 1}\n{"a": 2}\n', capsys, "export", str(file))
    assert path == "/admin/learning/trajectories"
    assert "2 decisions" in out
    assert file.read_bytes().count(b"\n") == 2
    assert [one.name for one in tmp_path.iterdir() if one.name.startswith(".log")] == []


def test_nobody_forgets_everything_by_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--request" in refused(capsys, "learn", "forget")
    assert ".jsonl" in refused(capsys, "learn", "export", "log.csv")
    assert ".zip" in refused(capsys, "learn", "export", "--patterns", "log.jsonl")
    assert "cannot be read" in refused(capsys, "learn", "import", "nowhere.zip")


IMPORTED = {
    "request_id": "import:berlin",
    "who": "berlin",
    "learned_at": 1_790_000_000.0,
    "imported_at": 1_790_000_000.0,
    "embedder": "e",
    "patterns": 3,
    "outcomes": 80.0,
    "models": ["a/m", "b/m"],
    "adapters": ["micro"],
}


def test_what_was_learned_travels_as_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "patterns.zip"
    path, out = typed(b"PK...", capsys, "export", "--patterns", str(file), "--as", "berlin")
    assert path == "/admin/learning/patterns?who=berlin"
    assert file.read_bytes() == b"PK..."
    path, out = typed({**IMPORTED, "org": "acme", "paused": False, "known": ["a/m"]}, capsys, "import", str(file))
    assert path == "/admin/learning/patterns"
    assert "3 patterns of 80 outcomes, adapters micro, learned by berlin until 2026-09-21" in out
    assert "known here: a/m" in out
    assert "forget --request import:berlin" in out


def test_status_names_whose_knowledge_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    there = [{**IMPORTED, "teaches": True}, {**IMPORTED, "who": "oslo", "teaches": False}]
    _, out = typed({**STATE, "imports": there}, capsys, "status")
    assert "learned by berlin" in out
    assert "gone back behind" in out.partition("oslo")[2]
    assert "gone back behind" not in out.partition("oslo")[0]
