"""The command line as a person types it, where no Ray is needed. `tests/e2e` runs it against a live system."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path

import pytest

from actors.launch.head import free_port
from actors.store import Store
from runtime.settings import Settings
from runtime.settings.difference import Change
from serve.cli import main
from serve.cli.config import draw

HEAVY = ("ray", "pydantic", "pydantic_settings", "rich", "httpx", "aiohttp", "yaml", "numpy")


@pytest.fixture(autouse=True)
def nothing_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder of its own, in which nothing ever ran, and an environment that says nothing."""
    for name in os.environ:
        if name.startswith("RAYGATE_") or name.endswith("_API_KEY"):
            monkeypatch.delenv(name)
    folder = tmp_path / "state"
    monkeypatch.setenv("RAYGATE_STATE_DIR", str(folder))
    return folder


def said(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command."""
    code = main(args)
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    return code, out, err


def refused(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    """The one line that says what is wrong with these arguments."""
    code, out, err = said(capsys, *args)
    assert code == 2
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("raygate: ")
    return err


class Upstream(BaseHTTPRequestHandler):
    """Answers every request with what the test put here; remembers what it was asked."""

    status = 200
    content_type = "application/json"
    body = b""
    seen: list[tuple[str, str, bytes]]

    def do_GET(self) -> None:
        self.seen.append((self.path, self.headers.get("authorization", ""), self._read()))
        self.send_response(self.status)
        self.send_header("content-type", self.content_type)
        self.send_header("x-raygate-provider", "alpha")
        self.send_header("x-raygate-model", "say")
        self.send_header("content-length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    do_POST = do_DELETE = do_GET  # noqa: N815  # the base class looks for it

    def _read(self) -> bytes:
        return self.rfile.read(int(self.headers.get("content-length", 0)))

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(body: bytes, *, status: int = 200, sse: bool = False) -> Iterator[tuple[str, list[tuple[str, str, bytes]]]]:
    seen: list[tuple[str, str, bytes]] = []
    content_type = "text/event-stream; charset=utf-8" if sse else "application/json"
    handler = type("Answers", (Upstream,), {"body": body, "status": status, "content_type": content_type, "seen": seen})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", seen
        finally:
            server.shutdown()


def stream(*events: object, done: bool = True) -> bytes:
    parts = [f"data: {json.dumps(event)}\n\n" for event in events]
    return "".join([*parts, "data: [DONE]\n\n" if done else ""]).encode()


def word(text: str, finish: str | None = None) -> dict[str, object]:
    return {"model": "say", "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}]}


USAGE = {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5, "cost": 0.00045}}


# What is loaded


@pytest.mark.parametrize("code", ["import serve.cli", "import serve.cli; serve.cli.main(['--help'])"])
def test_help_loads_nothing_heavy(code: str) -> None:
    report = f"import sys; print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", f"{code}; {report}"], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


@pytest.mark.parametrize("module", ["place", "http", "chat"])
def test_chat_does_not_load_ray(module: str) -> None:
    code = f"import sys, serve.cli.{module}; print('ray' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "--version") == (0, f"raygate {version('raygate')}\n", "")


def test_alone_it_shows_its_commands(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = said(capsys)
    assert code == 0
    assert all(command in out for command in ("up", "down", "status", "chat", "models", "config"))


# Wrong input


@pytest.mark.parametrize(
    ("args", "named"),
    [
        (["--nonsense"], "--nonsense"),
        (["nonsense"], "nonsense"),
        (["up", "--nonsense"], "--nonsense"),
        (["up", "--proxy", "nginx"], "nginx"),
        (["up", "--config", "no-such-file.yaml"], "no-such-file.yaml: cannot be read"),
        (["chat"], "raygate chat --help"),
        (["chat", "hi", "--max-tokens", "0"], "--max-tokens"),
        (["chat", "hi", "--max-tokens", "many"], "integer"),
        (["chat", "hi", "--temperature", "3"], "--temperature"),
        (["chat", "hi"], "raygate up"),
        (["chat", "  "], "the prompt is empty"),
        (["chat", "hi", "--url", "nonsense"], "is not a URL"),
        (["chat", "hi", "--url", "ftp://host"], "is not a URL"),
        (["chat", "hi", "--url", "http://127.0.0.1:99999"], "is not a URL"),
        (["chat", "hi", "--url", "http://127.0.0.1:1", "--key", "schlüssel"], "--key"),
        (["chat", "h\udcffi", "--url", "http://127.0.0.1:1"], "not UTF-8"),
        (["models"], "raygate up"),
        (["config", "check", "no-such-file.yaml"], "cannot be read"),
        (["config", "check"], "raygate config check --help"),
        (["config", "nonsense"], "nonsense"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(
    args: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert named in refused(capsys, *args)


def test_a_wrong_setting_in_the_environment_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAYGATE_PROT", "8001")
    assert "did you mean `RAYGATE_PORT`?" in refused(capsys, "up")


def test_nobody_listens(capsys: pytest.CaptureFixture[str]) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    assert f"nobody answers at {url}" in refused(capsys, "chat", "hi", "--url", url)


def test_an_open_gateway_without_keys_is_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAYGATE_AUTH", "false")
    monkeypatch.setenv("RAYGATE_HOST", "0.0.0.0")
    assert "keep auth on" in refused(capsys, "up")


# Nothing runs


def test_status_says_that_nothing_runs(capsys: pytest.CaptureFixture[str], nothing_runs: Path) -> None:
    code, out, err = said(capsys, "status")
    assert (code, out) == (1, "")
    assert "nothing runs here" in err
    assert str(nothing_runs) in err


def test_status_for_programs(capsys: pytest.CaptureFixture[str], nothing_runs: Path) -> None:
    code, out, _ = said(capsys, "status", "--json")
    assert code == 1
    assert json.loads(out) == {"running": False, "state_folder": str(nothing_runs)}


def test_down_is_content(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = said(capsys, "down")
    assert (code, out.count("\n"), err) == (0, 1, "")
    assert json.loads(said(capsys, "down", "--json")[1]) == {"ended": False, "processes": 0}


def test_looking_leaves_no_trace(capsys: pytest.CaptureFixture[str], nothing_runs: Path) -> None:
    for args in (["status"], ["down"], ["chat", "hi"], ["models"]):
        said(capsys, *args)
    assert not nothing_runs.exists()


# chat


def test_the_answer_goes_to_stdout_and_the_rest_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(stream(word("Hel"), word("lo", "stop"), USAGE), sse=True) as (url, seen):
        code, out, err = said(capsys, "chat", "hi", "-s", "Be brief.", "-m", "alpha/say", "--url", url, "--key", "rg-1")
    assert (code, out) == (0, "Hello\n")
    assert err.startswith("alpha/say · 3 in + 2 out tokens · $0.00045 · ")
    assert err.count("\n") == 1
    ((path, authorization, body),) = seen
    assert (path, authorization) == ("/v1/chat/completions", "Bearer rg-1")
    assert json.loads(body) == {
        "model": "alpha/say",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_the_answer_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(stream(word("Hello", "length"), USAGE), sse=True) as (url, _):
        code, out, err = said(capsys, "chat", "hi", "--url", f"{url}/v1/", "--json")
    answer = json.loads(out)
    assert (code, err) == (0, "")
    assert answer.pop("ms") >= 0
    assert answer == {
        "text": "Hello",
        "provider": "alpha",
        "model": "say",
        "finish_reason": "length",
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
        "cost_usd": 0.00045,
        "attempts": 1,
    }


def test_url_and_key_come_from_the_environment(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(stream(word("Hello", "stop")), sse=True) as (url, seen):
        monkeypatch.setenv("RAYGATE_URL", url)
        monkeypatch.setenv("RAYGATE_API_KEY", "rg-2")
        _, _, err = said(capsys, "chat", "hi")
    assert seen[0][1] == "Bearer rg-2"
    assert "cost unknown" in err


def test_the_key_of_this_machine_is_not_sent_elsewhere(capsys: pytest.CaptureFixture[str], nothing_runs: Path) -> None:
    nothing_runs.mkdir()
    (nothing_runs / "key").write_text("rg-bootstrap")
    with serving(stream(word("Hello", "stop")), sse=True) as (url, seen):
        said(capsys, "chat", "hi", "--url", url)
    assert seen[0][1] == ""


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (stream(word("Hel"), done=False), "cut off"),
        (stream(word("Hel"), {"error": {"message": "alpha: it fell over"}}, done=False), "alpha: it fell over"),
    ],
)
def test_a_broken_answer_is_no_answer(body: bytes, named: str, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(body, sse=True) as (url, _):
        code, out, err = said(capsys, "chat", "hi", "--url", url)
    assert (code, out) == (1, "Hel\n")
    assert named in err


@pytest.mark.parametrize(
    ("status", "code", "named"),
    [(401, 2, "(it came from --key)"), (404, 2, "oh dear"), (429, 1, "oh dear"), (503, 1, "oh dear")],
)
def test_a_refusal_is_one_line(status: int, code: int, named: str, capsys: pytest.CaptureFixture[str]) -> None:
    body = json.dumps({"error": {"message": "oh dear\x1b[31m\nindeed"}}).encode()
    with serving(body, status=status) as (url, _):
        ended, out, err = said(capsys, "chat", "hi", "--url", url, "--key", "rg-wrong")
    assert (ended, out, err.count("\n")) == (code, "", 1)
    assert named in err
    assert "\x1b" not in err
    assert "rg-wrong" not in err


def test_somebody_else_answers(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(b"<html>hello</html>") as (url, _):
        assert "not as Raygate would" in refused(capsys, "chat", "hi", "--url", url)
        assert "JSON" in refused(capsys, "models", "--url", url)


# models


def test_what_is_not_known_of_a_model_is_called_unknown(capsys: pytest.CaptureFixture[str]) -> None:
    body = json.dumps({"object": "list", "data": [{"id": "far/away/model", "object": "model"}]}).encode()
    with serving(body) as (url, _):
        code, out, _ = said(capsys, "models", "--url", url)
        listed = json.loads(said(capsys, "models", "--url", url, "--json")[1])
    assert code == 0
    assert "far/away/model" in out
    assert out.count("unknown") == 4
    assert listed[0]["id"] == "far/away/model"
    assert listed[0]["pricing"] is None


# config check

GOOD = """
providers:
  lab: {kind: custom, base_url: "http://me:hunter2@gpu-box:8080/v1", api_key: sk-hunter2, options: {token: hunter2}}
  alpha: {kind: scripted, script: [one two three]}
routes:
  fast: [lab/llama, missing/model]
"""
BAD = """
strategi: latency
providers:
  alpha: {kind: scripted, script: [one], base_ulr: x}
retry: {max_attempts: many}
"""


def test_a_right_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "raygate.yaml"
    file.write_text(GOOD)
    code, out, err = said(capsys, "config", "check", str(file))
    assert (code, err) == (0, "")
    assert all(name in out for name in ("lab", "alpha", "local"))
    assert "there is no provider `missing`" in out
    assert "hunter2" not in out


def test_a_right_file_for_programs(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "raygate.yaml"
    file.write_text(GOOD)
    code, out, _ = said(capsys, "config", "check", str(file), "--json")
    found = json.loads(out)
    assert (code, found["ok"], len(found["warnings"])) == (0, True, 1)
    assert set(found["settings"]["providers"]) == {"lab", "alpha", "local"}
    assert "hunter2" not in out


def test_every_problem_has_its_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "raygate.yaml"
    file.write_text(BAD)
    code, out, err = said(capsys, "config", "check", str(file))
    assert (code, out) == (2, "")
    assert [line.partition(":")[0] for line in err.splitlines()] == ["raygate"] * 3
    assert f"{file}:2: strategi: unknown key `strategi`; did you mean `strategy`?" in err
    assert "base_url" in err
    assert "retry.max_attempts" in err


def test_every_problem_for_programs(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "raygate.yaml"
    file.write_text(BAD)
    code, out, _ = said(capsys, "config", "check", str(file), "--json")
    found = json.loads(out)
    assert (code, found["ok"], len(found["problems"])) == (2, False, 3)


def test_a_script_that_cannot_be_played(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "raygate.yaml"
    file.write_text("providers: {alpha: {kind: scripted, script: [{fault: explode}]}}")
    err = refused(capsys, "config", "check", str(file))
    assert "providers.alpha: script.steps[0].fault" in err


# config apply and show, where nothing runs; tests/e2e has the rest


def test_a_wrong_file_is_refused_before_anything_is_looked_for(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "raygate.yaml"
    file.write_text(BAD)
    code, out, err = said(capsys, "config", "apply", str(file))
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 3
    code, out, _ = said(capsys, "config", "apply", str(file), "--json")
    assert (code, json.loads(out)["ok"]) == (2, False)


@pytest.mark.parametrize("command", ["apply", "show"])
def test_where_nothing_runs_it_says_so(capsys: pytest.CaptureFixture[str], tmp_path: Path, command: str) -> None:
    file = tmp_path / "raygate.yaml"
    file.write_text(GOOD)
    err = refused(capsys, "config", command, *([str(file)] if command == "apply" else []))
    assert "nothing runs here" in err


def test_what_held_last_is_shown_without_secrets(capsys: pytest.CaptureFixture[str], nothing_runs: Path) -> None:
    settings = Settings.model_validate(
        {
            "strategy": "latency",
            "providers": {"lab": {"kind": "custom", "base_url": "http://me:hunter2@lab/v1", "api_key": "hunter2"}},
        }
    )
    Store(nothing_runs).put_settings(settings.to_document())
    code, out, _ = said(capsys, "config", "show")
    assert code == 0
    assert "strategy: latency" in out
    assert "nothing runs" in out
    assert "hunter2" not in out
    assert "hunter2" not in said(capsys, "config", "show", "--json")[1]


def test_a_difference_is_one_line_a_key_and_commands_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    draw((Change("a", "1", "2"), Change("b", None, "x\n\x1b[31m"), Change("ray.num_cpus", "1", None)))
    out = capsys.readouterr().out.splitlines()
    assert out[:3] == ["~ a: 1 → 2", "+ b: x [31m", "- ray.num_cpus: 1"]
    assert "ray.num_cpus will count after" in out[3]
