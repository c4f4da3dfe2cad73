"""The ledger's rows on the running system: as a file, whole or visibly not; and what `status` says of it."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import ray

from actors.names import LEDGER, NAMESPACE
from runtime.ledger.rows import Batch
from serve.cli import main
from tests.e2e.conftest import Live, until
from tests.ledger.rows import NOON, row

RAYGATE = str(Path(sys.executable).parent / "raygate")

LONG_AGO_H = (1_795_000_000_000 - NOON) // 3_600_000 + 20_000
"""Rows of years ago: no other test asks for them."""

ROWS, BATCH = 60_000, 2_000
"""More bytes than any socket on the way holds."""


@pytest.fixture(autouse=True)
def _state(live: Live, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("RAYGATE_STATE_DIR", str(live.folder))
    yield
    until(lambda: _pid(live), "the ledger is there")


def _pid(live: Live) -> int:
    try:
        return int(live.control(ray.get_actor(LEDGER, namespace=NAMESPACE), "whereabouts")[1])
    except (ValueError, ray.exceptions.RayError):
        return 0


def _chat(live: Live, key: str) -> int:
    body = {"model": "alpha/say", "messages": [{"role": "user", "content": "hi"}]}
    headers = {"authorization": f"Bearer {key}"}
    return httpx.post(f"{live.url}/v1/chat/completions", json=body, headers=headers, timeout=30).status_code


def test_what_was_asked_for_is_in_the_file(live: Live, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "create", "files", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert {_chat(live, made["key"]) for _ in range(5)} == {200}
    file = tmp_path / "rows.csv"

    def rows() -> list[dict[str, Any]]:
        assert main(["spend", "--only", f"key={made['id']}", "--last", "1h", "--export", str(file)]) == 0
        with file.open(newline="") as lines:
            return list(csv.DictReader(lines))

    until(lambda: len(rows()) == 5, "every attempt is in it")
    assert {(one["provider"], one["model"], one["output_tokens"]) for one in rows()} == {("alpha", "say", "3")}


def test_a_file_whose_ledger_dies_does_not_look_whole(
    live: Live, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger = ray.get_actor(LEDGER, namespace=NAMESPACE)
    for first in range(0, ROWS, BATCH):
        some = tuple(row(f"e2e:{n}", at_ms=NOON + n) for n in range(first, first + BATCH))
        assert live.control(ledger, "ship", Batch(writer="e2e", rows=some)) is None
    query = {"last": f"{LONG_AGO_H}h", "format": "jsonl", "key": "alice"}
    with (
        live.client() as client,
        client.stream("GET", "/admin/export", params=query) as reply,
    ):
        assert reply.status_code == 200
        assert reply.headers["content-type"] == "application/x-ndjson"
        pieces = reply.iter_bytes()
        next(pieces)
        os.kill(_pid(live), signal.SIGKILL)
        with pytest.raises(httpx.RemoteProtocolError):
            list(pieces)
    until(lambda: _pid(live), "the ledger is back")
    file = tmp_path / "rows.jsonl"
    until(lambda: main(["spend", "--only", "key=alice", "--last", query["last"], "--export", str(file)]) == 0, "whole")
    with file.open() as lines:
        assert sum(1 for _ in lines) == ROWS


def test_status_tells_of_the_ledger(live: Live, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "create", "none", "--budget", "0/day", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    said = json.loads(_status(live, "--json"))["ledger"]
    assert said["epoch"] >= 1
    assert said["bytes"] > 0
    assert f"key/{made['id']}/day" in [one["limit"] for one in said["nearly_spent"]]
    out = _status(live)
    assert "prices of 2026-" in out
    assert "begins anew" in out


def _status(live: Live, *args: str) -> str:
    """In a process of its own: it leaves the Ray that it has joined."""
    env = {**os.environ, "RAYGATE_STATE_DIR": str(live.folder)}
    done = subprocess.run([RAYGATE, "status", *args], env=env, capture_output=True, text=True, check=True, timeout=120)
    return done.stdout
