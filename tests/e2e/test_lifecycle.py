"""From nothing to an answer and back to nothing, by the command line, in a state folder of its own."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from actors.launch import head
from actors.launch.processes import listeners
from tests.e2e.conftest import Live, until

RAYGATE = str(Path(sys.executable).parent / "raygate")


class Shell:
    """The command line with a state folder."""

    def __init__(self, folder: Path, **more: str) -> None:
        self.folder = folder
        keys = ("OPENAI_API_KEY", "OPENROUTER_API_KEY", "ANTHROPIC_API_KEY", "GOOGLE_API_KEY", "GEMINI_API_KEY")
        clean = {name: value for name, value in os.environ.items() if name not in keys}
        self._env = {**clean, "RAYGATE_STATE_DIR": str(folder), "RAYGATE_PORT": "0", **more}

    def __call__(self, *args: str, code: int = 0, stdin: str = "") -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [RAYGATE, *args], env=self._env, input=stdin, capture_output=True, text=True, timeout=180, check=False
        )
        assert done.returncode == code, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stdout + done.stderr
        return done

    def begin(self, *args: str) -> subprocess.Popen[bytes]:
        """Start a command and do not wait for it."""
        return subprocess.Popen([RAYGATE, *args], env=self._env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def json(self, *args: str, code: int = 0) -> Any:
        return json.loads(self(*args, "--json", code=code).stdout)


@pytest.fixture
def vendor() -> Iterator[str]:
    """The base URL of something that speaks OpenAI, in a process of its own."""
    command = [sys.executable, "-m", "tests.fakes.upstream"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as process:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}/v1"
        process.terminate()


@pytest.fixture
def shell(tmp_path: Path, vendor: str) -> Iterator[Shell]:
    ours = Shell(tmp_path / "state", OPENAI_API_KEY="sk-of-a-test", OPENAI_BASE_URL=vendor)
    yield ours
    ours("down")


def test_up_twice_and_down(shell: Shell) -> None:
    first = shell.json("up")
    key_file = Path(first["key_file"])
    assert first["key"] == key_file.read_text()
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(shell.folder.stat().st_mode) == 0o700

    second = shell.json("up")
    assert second["adopted"]
    assert second["url"] == first["url"]
    assert second["key"] is None, "the key is shown once"

    said = shell("chat", "Say hello.", "--model", "local", "--max-tokens", "8")
    assert "smollm2-135m" in said.stdout + said.stderr
    assert "local/smollm2-135m" in shell("models").stdout
    assert "Hello from the fake." in shell("chat", "hi", "--model", "openai/fake-1").stdout, "its key was in the env"
    stored = (shell.folder / "state.db").read_bytes() + (shell.folder / "run.json").read_bytes()
    assert b"sk-of-a-test" not in stored

    run = head.running(shell.folder)
    assert run is not None
    ports = {(one.address, one.port) for one in listeners(head.processes_of(run))}
    assert ports
    shell("down")
    assert not head.processes_of(run)
    assert not Path(run.scratch).exists()
    for address, port in ports:
        assert not _listens(address, port), f"{address}:{port} still listens"
    shell("down")
    shell("status", code=1)


def test_down_finds_what_a_killed_start_left(shell: Shell) -> None:
    starting = shell.begin("up")
    until((shell.folder / head.RECORD).exists, "Ray is being started")
    starting.kill()
    starting.wait()
    left = head.remains(shell.folder) or head.running(shell.folder)
    assert left is not None
    assert head.processes_of(left)
    shell("down")
    assert not head.processes_of(left)
    assert not Path(left.scratch).exists()


def test_against_the_running_system(live: Live) -> None:
    shell = Shell(live.folder)
    status = shell.json("status")
    assert {one["provider"] for one in status["providers"]} == {"local", "alpha", "beta"}
    assert sum(name.startswith("edge@") for name in status["edges"]) == 2
    assert any(str(one["port"]) in live.url for one in status["listening"])
    text = shell("status").stdout
    for word in ("alpha", "closed", "127.0.0.1"):
        assert word in text
    assert "one two three" in shell("chat", "hi", "--model", "alpha/say").stdout
    assert "one two three" in shell("chat", "-", "--model", "alpha/say", stdin="hi").stdout
    wrong = shell("chat", "hi", "--key", "rg-wrong", code=2)
    assert len(wrong.stderr.strip().splitlines()) == 1
    missing = shell("chat", "hi", "--model", "gpt-77", code=2)
    assert "gpt-77" in missing.stderr


def _listens(address: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as probe:
        probe.settimeout(1)
        return probe.connect_ex((address, port)) == 0
