"""`raygate keys`, `budget`, `spend` and what `status` says of money, as a person types and sees it."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from serve.cli import ledger, screen
from tests.serve.test_cli import refused, said, serving

TODAY = date(2026, 11, 23)
KEY = {
    "id": "key_1",
    "shown": "…M8hQ",
    "name": "ci",
    "team": "red",
    "org": "acme",
    "tags": [],
    "models": ["openai/*"],
    "routes": [],
    "networks": [],
    "budgets": [
        {"period": "day", "limit_usd": 0.0001, "limit_nanousd": 100_000, "warn_at": 0.8, "hard": True},
        {"period": "total", "limit_usd": 9.0, "limit_nanousd": 9 * 10**9, "warn_at": 0.8, "hard": False},
    ],
    "rate": {"requests_per_min": 1_200, "tokens_per_min": None, "concurrent": None},
    "admin": False,
    "created_at": 1_790_000_000.0,
    "expires_at": None,
    "revoked": False,
}
STATE = {
    "epoch": 3,
    "bytes": 13_000_000,
    "under_way": 2,
    "keys": 1,
    "limits": 2,
    "lag_s": 1.25,
    "prices_as_of": "2026-11-09",
}


@pytest.fixture(autouse=True)
def _nothing_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("RAYGATE_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("RAYGATE_STATE_DIR", str(tmp_path / "state"))


def limit(used: int, *, lost: int = 0, amount: int = 10**9, **more: Any) -> dict[str, Any]:
    return {
        "limit": "key/key_1/month",
        "counts": "money",
        "amount": amount,
        "used": used,
        "lent": 0,
        "lost": lost,
        "hard": True,
        "ends_ms": 1_796_083_200_000,
        **more,
    }


# What is typed.


@pytest.mark.parametrize("typed", ["5", "x/day", "5/year", "/day", "5/", "-5/day", "nan/day", "1e999/day", "5/day/x"])
@pytest.mark.parametrize("command", [("budget", "set", "key", "k"), ("keys", "create", "--budget")])
def test_a_budget_that_is_none_is_told_how_to_write_one(
    typed: str, command: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    typed = f"--budget={typed}" if command[-1] == "--budget" else typed
    words = command[:-1] if command[-1] == "--budget" else (*command, "--")
    assert "write it as 50/month" in refused(capsys, *words, typed)


@pytest.mark.parametrize(
    ("typed", "named"),
    [
        (("budget", "remove", "key", "k", "year"), "hour, day, week, month, total"),
        (("budget", "set", "house", "k", "5/day"), "'key', 'team', 'org'"),
        (("spend", "--only", "colour=red"), "team=red"),
        (("spend", "--only", "team"), "team=red"),
        (("spend", "--export", "rows.xlsx"), ".csv, .jsonl, .parquet"),
        (("keys", "revoke"), "Missing argument 'ID'"),
    ],
)
def test_wrong_input_is_one_line_that_says_what_to_do(
    typed: tuple[str, ...], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert named in refused(capsys, *typed)


# What is seen.


def test_keys_are_listed_with_their_limits_to_the_last_digit(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(json.dumps({"keys": [KEY]}).encode()) as (url, seen):
        code, out, _ = said(capsys, "keys", "list", "--url", url, "--key", "rg-x")
    assert code == 0
    assert seen[0][:2] == ("/admin/keys", "Bearer rg-x")
    assert "$0.0001 a day, $9.00 in all (warns only), 1,200 requests/min, models: openai/*" in out
    assert "acme/red" in out


def test_without_keys_it_says_how_to_make_one(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(b'{"keys": []}') as (url, _):
        assert "keys create" in said(capsys, "keys", "list", "--url", url, "--key", "rg-x")[1]


def test_a_filter_is_passed_on(capsys: pytest.CaptureFixture[str]) -> None:
    nothing = {"lines": [], "by": ["model"], "total": {}, "projection": None}
    with serving(json.dumps(nothing).encode()) as (url, seen):
        said(capsys, "spend", "--only", "team=red", "--only", "model=a b", "--last", "7d", "--url", url, "--key", "k")
    assert "team=red" in seen[0][0]
    assert "model=a+b" in seen[0][0] or "model=a%20b" in seen[0][0]


# A file.


def test_an_export_is_written_as_it_came(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "rows.csv"
    with serving(b"a,b\r\n1,2\r\n") as (url, seen):
        code, out, _ = said(capsys, "spend", "--export", str(file), "--last", "7d", "--url", url, "--key", "k")
    assert (code, file.read_bytes()) == (0, b"a,b\r\n1,2\r\n")
    assert seen[0][0] == "/admin/export?last=7d&format=csv"
    assert "10 bytes" in out


@contextmanager
def breaking() -> Iterator[str]:
    """Sends a piece of a file and hangs up."""

    class Breaks(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"5\r\na,b\r\n\r\n")
            self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Breaks) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


def test_an_export_that_breaks_off_leaves_what_was_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("old")
    with breaking() as url:
        code, out, err = said(capsys, "spend", "--export", str(file), "--url", url, "--key", "k")
    assert (code, out) == (1, "")
    assert "broke off" in err
    assert [one.name for one in tmp_path.iterdir() if one.is_file()] == ["rows.csv"]
    assert file.read_text() == "old"


def test_what_the_ledger_refuses_is_told_and_no_file_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    body = json.dumps({"error": {"message": "pyarrow is not installed; take CSV"}}).encode()
    with serving(body, status=400) as (url, _):
        code, _, err = said(capsys, "spend", "--export", str(tmp_path / "r.parquet"), "--url", url, "--key", "k")
    assert (code, err) == (2, "raygate: pyarrow is not installed; take CSV\n")
    assert not list(tmp_path.glob("*r.parquet*"))


def test_a_folder_that_is_not_there_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(b"a") as (url, _):
        code, _, err = said(capsys, "spend", "--export", str(tmp_path / "no/r.csv"), "--url", url, "--key", "k")
    assert (code, err.count("\n")) == (1, 1)
    assert "No such file or directory" in err


# What status says of it.


def test_status_says_how_the_ledger_is() -> None:
    assert ledger.sentence(STATE, TODAY) == (
        "12.4 MB, epoch 3, rows come at most 1.2 s late, 2 under way, prices of 2026-11-09 (14 days old)"
    )
    quiet = {**STATE, "lag_s": None, "prices_as_of": None}
    assert "no rows in the last minute" in ledger.sentence(quiet, TODAY)
    assert "prices of an unknown day" in ledger.sentence(quiet, TODAY)
    assert ledger.sentence({"trouble": "there is none yet"}, TODAY) == "there is none yet"


@pytest.mark.parametrize(
    ("found", "nearly"),
    [
        (limit(799_999_999), False),
        (limit(800_000_000), True),
        (limit(700_000_000, lost=100_000_000), True),
        (limit(900, amount=1_000, counts="tokens"), False),
        (limit(0, amount=0), True),
    ],
)
def test_budgets_past_eighty_percent_are_nearly_spent(found: dict[str, Any], nearly: bool) -> None:
    assert ledger.is_nearly_spent(found) is nearly


def test_a_budget_that_is_nearly_spent_is_shown_with_when_it_begins_anew(capsys: pytest.CaptureFixture[str]) -> None:
    shown = ledger.table({**STATE, "nearly_spent": [limit(1_250_000_000), limit(0, amount=0, ends_ms=None)]})
    screen.console().print(shown)
    out = capsys.readouterr().out
    assert "$1.25" in out
    assert "125%" in out
    assert "2026-12-01 00:00 UTC" in out
    assert "never" in out
    assert ledger.table(STATE) is None
