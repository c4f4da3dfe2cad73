"""Callers' keys on the running system: made and revoked at the command line, and what holds without a ledger."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import ray

from actors.names import LEDGER, NAMESPACE
from serve.cli import main
from tests.e2e.conftest import Live, until
from tests.e2e.test_backup import shell


@pytest.fixture
def command(live: Live, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """A command of `raygate`, and what it prints as JSON."""
    monkeypatch.setenv("RAYGATE_STATE_DIR", str(live.folder))

    def run(*args: str) -> Any:
        capsys.readouterr()
        assert main([*args, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    return run


@pytest.fixture(autouse=True)
def the_ledger_is_there(live: Live) -> Iterator[None]:
    yield
    until(lambda: _pid(live), "the ledger is there")


def chat(live: Live, key: str) -> httpx.Response:
    body = {"model": "alpha/say", "messages": [{"role": "user", "content": "hi"}]}
    headers = {"authorization": f"Bearer {key}"}
    return httpx.post(f"{live.url}/v1/chat/completions", json=body, headers=headers, timeout=30)


def _pid(live: Live) -> int:
    try:
        return int(live.control(ray.get_actor(LEDGER, namespace=NAMESPACE), "whereabouts")[1])
    except (ValueError, ray.exceptions.RayError):
        return 0


def test_a_key_lives_from_create_to_revoke_in_every_replica(live: Live, command: Any) -> None:
    made = command("keys", "create", "ci", "--network", "127.0.0.0/8")
    for _ in range(8):
        assert chat(live, made["key"]).status_code == 200
    assert made["id"] in [one["id"] for one in command("keys", "list")]
    command("budget", "set", "key", made["id"], "7/month")
    command("keys", "revoke", made["id"])
    took_s = until(lambda: chat(live, made["key"]).status_code == 401, "it lets nobody in", within_s=2.0)
    # Every replica has heard, not only the one that answered.
    assert {chat(live, made["key"]).status_code for _ in range(8)} == {401}
    print(f"\nrevoked everywhere after {took_s:.2f} s")


def test_a_first_key_that_somebody_has_seen_is_renewed(live: Live, command: Any) -> None:
    seen = live.key
    # In a process of its own: it leaves the Ray that it has joined.
    live.key = json.loads(shell(live.folder, "keys", "renew", "--json").stdout)["key"]
    until(lambda: chat(live, seen).status_code == 401, "the old one lets nobody in", within_s=5.0)
    assert {chat(live, seen).status_code for _ in range(8)} == {401}
    until(lambda: chat(live, live.key).status_code == 200, "the new one does")
    assert command("keys", "list") is not None, "the command line has found the new one"


def test_a_known_key_goes_on_while_the_ledger_is_away_and_both_outlive_it(live: Live, command: Any) -> None:
    known, unknown = command("keys", "create", "known"), command("keys", "create", "unknown")
    for _ in range(8):
        assert chat(live, known["key"]).status_code == 200
    old = _pid(live)
    os.kill(old, signal.SIGKILL)
    seen = {chat(live, known["key"]).status_code for _ in range(20)}
    assert seen == {200}
    until(lambda: _pid(live) not in (0, old), "the ledger is back")
    until(lambda: chat(live, unknown["key"]).status_code == 200, "a key that no replica knew yet")
    assert chat(live, "rg-nobodys").status_code == 401
