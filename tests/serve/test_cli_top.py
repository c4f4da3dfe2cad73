"""`raygate top`: what is told becomes a picture."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runtime.dialects.sse import SseEvent
from serve.cli import main
from serve.cli.screen import console
from serve.cli.top import Seen, picture
from tests.serve.test_cli import said, serving

PROVIDER = {
    "provider": "lab",
    "breaker": "open",
    "available": False,
    "in_flight": 2,
    "queued": 1,
    "detail": "5 failures",
}
STATE = {"providers": [PROVIDER], "replicas": 2, "used": {"lab/m": [7, 1, 2_500_000, 90, 0]}, "at_s": 60.0}
ROWS = [
    {
        "attempt": f"a{at}",
        "at_ms": at * 1_000,
        "provider": "lab",
        "model": f"m{at}",
        "key": "red",
        "outcome": "ok",
        "latency_ms": 250,
    }
    for at in range(50)
]


def told(name: str, data: object) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()


def drawn(seen: Seen, most: int = 5) -> str:
    screen = console()
    with screen.capture() as held:
        screen.print(picture(seen, now_s=60.0, most=most))
    return held.get()


def test_a_picture_shows_the_state_and_the_newest_rows_first() -> None:
    seen = Seen()
    for name, data in (("state", STATE), ("rows", ROWS), ("rows", ROWS[-3:]), ("away", {"ledger": "it is starting"})):
        assert seen.take(SseEvent(json.dumps(data).encode(), name))
    assert not seen.take(SseEvent(b"{}", "hello"))
    text = drawn(seen)
    assert "2 replicas · this hour 7 requests, 1 failed, $0.0025" in text
    assert "ledger is away: it is starting" in text
    provider = next(line for line in text.splitlines() if "5 failures" in line).split()
    assert provider[:4] == ["lab", "open", "2", "1"]
    assert provider[6:9] == ["0.25", "s", "0.25"]
    shown = [line.split()[1] for line in text.splitlines() if "lab/m" in line]
    assert shown == ["lab/m49", "lab/m48", "lab/m47", "lab/m46", "lab/m45"]


def test_nothing_told_is_a_picture_too_and_no_text_from_outside_moves_the_cursor() -> None:
    assert "0 replicas" in drawn(Seen())
    seen = Seen(rows=Seen().rows, away={"manager": "gone\x1b[2J"})
    assert "\x1b[2J" not in drawn(seen)


def test_once_prints_one_picture(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAYGATE_STATE_DIR", str(tmp_path))
    with serving(told("rows", ROWS) + told("state", STATE), sse=True) as (url, _):
        code, out, _ = said(capsys, "top", "--once", "--url", url, "--key", "rg-x")
    assert code == 0
    assert "lab/m49" in out


def test_without_a_terminal_it_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["top"]) == 2
    assert "--once" in capsys.readouterr().err
