"""`raygate doctor` on this machine, with settings that are wrong in one way or another."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

from serve.cli import main
from serve.cli.doctor import machine
from serve.cli.doctor.findings import Mark
from tests.serve.test_cli import said, serving

MODELS = b'{"object": "list", "data": [{"id": "m", "object": "model"}]}'


@pytest.fixture(autouse=True)
def nothing_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in os.environ:
        if name.startswith("RAYGATE_") or name.endswith("_API_KEY"):
            monkeypatch.delenv(name)
    folder = tmp_path / "state"
    monkeypatch.setenv("RAYGATE_STATE_DIR", str(folder))
    monkeypatch.setenv("RAYGATE_PORT", "0")
    return folder


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading what is compiled takes seconds, and has a test of its own."""
    monkeypatch.setattr(machine, "LOADED", {})
    monkeypatch.setenv("RAYGATE_LOCAL__ENABLED", "false")


def findings(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, dict[str, list[dict[str, str]]]]:
    code = main(["doctor", "--json", *args])
    found: dict[str, list[dict[str, str]]] = {}
    for one in json.loads(capsys.readouterr().out)["findings"]:
        found.setdefault(one["about"], []).append(one)
    return code, found


def test_where_all_is_well_it_says_so(capsys: pytest.CaptureFixture[str], nothing_runs: Path) -> None:
    code, out, err = said(capsys, "doctor")
    assert (code, err) == (0, "")
    assert "every request needs a key" in out
    assert "✗" not in out
    assert not nothing_runs.exists(), "looking leaves no trace"


def test_a_good_key_a_bad_key_and_nobody_are_told_apart(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-mine")
    with serving(MODELS) as (url, asked):
        monkeypatch.setenv("OPENAI_BASE_URL", f"{url}/v1")
        code, found = findings(capsys)
        assert code == 0
        assert "is good" in found["openai"][0]["says"]
        assert [path for path, _, _ in asked] == ["/v1/models"]
    with serving(b'{"error": {"message": "no such key", "code": "invalid_api_key"}}', status=401) as (url, _):
        monkeypatch.setenv("OPENAI_BASE_URL", f"{url}/v1")
        code, found = findings(capsys)
        assert code == 1
        assert "refuses its key" in found["openai"][0]["says"]
        assert "sk-of-mine" not in json.dumps(found)
    code, found = findings(capsys)
    assert code == 1
    assert "cannot be reached" in found["openai"][0]["says"]
    code, found = findings(capsys, "--offline")
    assert code == 0
    assert "openai" not in found


def test_a_port_that_somebody_has_is_named(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        port = held.getsockname()[1]
        monkeypatch.setenv("RAYGATE_PORT", str(port))
        code, found = findings(capsys)
    assert code == 1
    assert f"(process {os.getpid()}) has it" in found["port"][0]["says"]


def test_every_mistake_in_the_settings_is_one_finding(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "raygate.yaml"
    file.write_text("replicas: none\nstratgy: cost\n")
    code, found = findings(capsys, "--config", str(file))
    assert code == 1
    assert [one["mark"] for one in found["settings"]] == ["wrong", "wrong"]


def test_an_open_door_is_wrong_and_one_to_this_machine_a_note(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAYGATE_AUTH", "false")
    code, found = findings(capsys)
    assert (code, found["access"][0]["mark"]) == (0, "note")
    monkeypatch.setenv("RAYGATE_HOST", "0.0.0.0")
    code, found = findings(capsys)
    assert (code, found["access"][0]["mark"]) == (1, "wrong")


def test_a_key_that_others_can_read_is_wrong(capsys: pytest.CaptureFixture[str], nothing_runs: Path) -> None:
    nothing_runs.mkdir(mode=0o755)
    code, found = findings(capsys)
    assert code == 1
    assert found["state"][0]["do"] == f"chmod go-rwx {nothing_runs}"


def test_what_does_not_run_on_this_cpu_is_found() -> None:
    die = "import os, signal; os.kill(os.getpid(), signal.SIGILL)"
    assert "another CPU" in machine._loads("numpy", die).do
    assert machine._loads("numpy", "import numpy").mark is Mark.GOOD
    assert "no such thing" in machine._loads("numpy", "raise ValueError('no such thing')").says
    assert machine._loads("there-is-no-such-package", "").says == "is not installed"


def test_what_is_compiled_runs_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert {one.mark for one in machine.compiled(local=False)} == {Mark.GOOD}
