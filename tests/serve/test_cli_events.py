"""`raygate events`, and what is said of hooks at the command line."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from serve.cli import main
from serve.cli.events import line
from tests.serve.test_cli import refused, serving


@pytest.fixture(autouse=True)
def _nothing_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("RAYGATE_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("RAYGATE_STATE_DIR", str(tmp_path / "state"))


TOLD = {
    "type": "response",
    "at_s": 1_790_000_000.25,
    "source": "edge@x:1",
    "request_id": "r1",
    "provider": "a",
    "cost_nanousd": 1_500,
    "took_s": 0.25,
    "streamed": False,
    "finish_reason": "",
}


def test_an_event_is_a_line_with_what_it_says() -> None:
    assert line(TOLD) == "14:13:20.250 response request_id=r1 provider=a cost=$1.5e-06 took_s=0.250"
    assert line({"type": "config", "at_s": 0.0, "changed": ["hooks", "port"]}).endswith("changed=hooks,port")
    assert "\n" not in line({"type": "request", "at_s": 0.0, "prompt": "a\nb"})


def test_events_are_shown_until_the_stream_ends(capsys: Any) -> None:
    body = f": listening\n\nevent: response\ndata: {json.dumps(TOLD)}\n\n: still here\n\n".encode()
    with serving(body, sse=True) as (url, seen):
        assert main(["events", "--type", "response", "--type", "error", "--json", "--url", url, "--key", "k"]) == 1
    out, err = capsys.readouterr()
    assert json.loads(out) == TOLD
    assert "has ended the stream" in err
    assert seen[0][0] == "/admin/events?type=response%2Cerror"


def test_whoever_is_no_admin_is_told(capsys: Any) -> None:
    body = json.dumps({"error": {"message": "only an admin's key may ask this"}}).encode()
    with serving(body, status=403) as (url, _):
        assert "only an admin's key" in refused(capsys, "events", "--url", url, "--key", "k")


def test_a_settings_file_with_a_hook_that_cannot_be_made_is_wrong(tmp_path: Path, capsys: Any) -> None:
    file = tmp_path / "raygate.yaml"
    file.write_text("hooks:\n  - redact\n  - use: no_such_module:Hook\n  - {use: cost, with: {max_us: 1}}\n")
    assert main(["config", "check", str(file)]) == 2
    err = capsys.readouterr().err
    assert "hooks[1]: `no_such_module:Hook` cannot be imported" in err
    assert "hooks[2].with.max_us: unknown key `max_us`; did you mean `max_usd`?" in err


def test_a_right_one_is_right_and_shows_no_secret(tmp_path: Path, capsys: Any) -> None:
    file = tmp_path / "raygate.yaml"
    file.write_text("hooks:\n  - {use: guardrail, with: {words: [a-secret-word]}}\n")
    assert main(["config", "check", str(file), "--json"]) == 0
    assert "a-secret-word" not in capsys.readouterr().out
