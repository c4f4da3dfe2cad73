"""What real processes write: JSON lines, by event, with nothing of a prompt and no key in them."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from tests.e2e.conftest import Live, until


def written(live: Live) -> Iterator[str]:
    """Every line that Ray keeps of our processes' standard error."""
    for path in sorted(Path(live.folder / "logs").resolve().rglob("*")):
        if path.is_file() and path.suffix in (".err", ".log", ".out"):
            yield from path.read_text(errors="replace").splitlines()


def lines(live: Live) -> list[dict[str, Any]]:
    return [json.loads(line) for line in written(live) if line.startswith('{"at":')]


def test_processes_write_lines_of_json_and_nothing_that_was_said(live: Live) -> None:
    secret = f"diagnosis-{time.monotonic_ns()}"
    body = {"model": "alpha/say", "messages": [{"role": "user", "content": secret}]}
    assert httpx.post(f"{live.url}/v1/chat/completions", json=body, headers=live.headers, timeout=30).status_code == 200
    live.switch(routes={})
    live.switch()
    until(lambda: any(one["event"] == "settings.applied" for one in lines(live)), "the manager's line is there")
    applied = [one for one in lines(live) if one["event"] == "settings.applied"]
    assert {one["process"] for one in applied} == {"manager"}
    assert all(one["level"] == "info" and one["version"] > 0 for one in applied)
    # While the manager is dead, replicas say that they have lost it.
    os.kill(live.overview()["pid"], signal.SIGKILL)
    until(lambda: {"feed.lost", "feed.report_delayed"} & _events(live, "replica"), "a replica's line is there")
    until(lambda: _follow(live), "the manager is back", within_s=60.0)
    everything = "\n".join(written(live))
    assert secret not in everything
    assert live.key not in everything


def _events(live: Live, process: str) -> set[str]:
    return {one["event"] for one in lines(live) if one["process"] == process}


def _follow(live: Live) -> bool:
    try:
        return set(live.following()) != set()
    except Exception:
        return False  # it is just being made anew
