"""`raygate replay` against a server of ours: what is asked, what is kept, and what a second run does."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from serve.cli import main
from serve.cli.replay.lines import Report, read
from tests.serve.test_cli import said


class Gateway(BaseHTTPRequestHandler):
    """Answers with the last word of the prompt. "later" is first told to come again, "bad" always fails."""

    protocol_version = "HTTP/1.1"
    asked: ClassVar[list[dict[str, Any]]] = []
    judged: ClassVar[list[dict[str, Any]]] = []
    refused: ClassVar[set[str]] = set()

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.path == "/v1/feedback":
            self.judged.append(body)
            return self._say(200, {})
        self.asked.append(body)
        prompt = body["messages"][-1]["content"]
        if prompt == "later" and prompt not in self.refused:
            self.refused.add(prompt)
            return self._say(429, {"error": {"message": "wait", "type": "rate_limit_error"}}, **{"retry-after": "0"})
        if prompt == "bad":
            return self._say(500, {"error": {"message": "no", "type": "server_error"}})
        message = {"role": "assistant", "content": f"it is {prompt.split()[-1]}"}
        usage = {"prompt_tokens": 3, "completion_tokens": 2, "cost": 0.25}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        who = {"x-raygate-provider": "p", "x-raygate-model": body.get("model", "m"), "x-request-id": f"req_{prompt}"}
        return self._say(200, {"model": "m", "choices": [choice], "usage": usage}, **who)

    def _say(self, status: int, body: object, **headers: str) -> None:
        raw = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {**headers, "content-length": str(len(raw))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def gateway() -> Iterator[tuple[str, type[Gateway]]]:
    handler = type("Ours", (Gateway,), {"asked": [], "judged": [], "refused": set()})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", handler
        finally:
            server.shutdown()


@pytest.fixture(autouse=True)
def nothing_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYGATE_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("RAYGATE_API_KEY", "rk-mine")


def written(tmp_path: Path, *lines: object) -> Path:
    file = tmp_path / "asked.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file


def answers(tmp_path: Path) -> dict[int, dict[str, Any]]:
    lines = (tmp_path / "asked.answers.jsonl").read_text().splitlines()
    return {one["line"]: one for one in map(json.loads, lines)}


def test_each_form_of_a_line_is_asked_and_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(
        tmp_path,
        {"model": "a", "messages": [{"role": "user", "content": "red"}], "stream": True, "temperature": 0},
        {"custom_id": "two", "method": "POST", "url": "/v1/chat/completions", "body": {"prompt": "blue", "model": "b"}},
        {"prompt": "later", "expect": "LATER"},
        {"prompt": "green", "expect": ["yellow", "orange"]},
    )
    with gateway() as (url, server):
        code, out, err = said(capsys, "replay", str(file), "--url", url, "--json")
    assert (code, err) == (0, "")
    assert [one["text"] for one in dict(sorted(answers(tmp_path).items())).values()] == [
        *("it is red", "it is blue", "it is later", "it is green")
    ]
    assert all("stream" not in one for one in server.asked)
    assert next(one for one in server.asked if one.get("model") == "a")["temperature"] == 0
    assert answers(tmp_path)[2]["id"] == "two"
    total = json.loads(out)["total"]
    assert (total["requests"], total["failed"], total["cost_usd"], total["quality"]) == (4, 0, 1.0, 0.5)


def test_a_second_run_asks_only_what_failed_and_what_is_new(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path, {"prompt": "red"}, {"prompt": "bad"})
    with gateway() as (url, server):
        code, _, err = said(capsys, "replay", str(file), "--url", url)
        assert code == 1
        assert "the same command asks those again" in err
        written(tmp_path, {"prompt": "red"}, {"prompt": "bad now well"}, {"prompt": "blue"})
        server.asked.clear()
        code, out, _ = said(capsys, "replay", str(file), "--url", url, "--json")
        assert code == 0
        assert sorted(one["messages"][0]["content"] for one in server.asked) == ["bad now well", "blue"]
        assert (json.loads(out)["asked"], json.loads(out)["total"]["requests"]) == (2, 3)
        server.asked.clear()
        assert said(capsys, "replay", str(file), "--url", url, "--fresh")[0] == 0
        assert len(server.asked) == 3


def test_an_answer_that_was_cut_off_is_asked_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path, {"prompt": "red"}, {"prompt": "blue"})
    with gateway() as (url, server):
        said(capsys, "replay", str(file), "--url", url, "--concurrency", "1")
        kept = tmp_path / "asked.answers.jsonl"
        kept.write_bytes(kept.read_bytes()[:-20])
        server.asked.clear()
        assert said(capsys, "replay", str(file), "--url", url)[0] == 0
        assert [one["messages"][0]["content"] for one in server.asked] == ["blue"]
        # Nothing is left of the broken line that would hide the new one.
        assert json.loads(kept.read_bytes().splitlines()[-1])["text"] == "it is blue"


def test_no_more_is_asked_once_the_money_is_spent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path, *({"prompt": f"n{number}"} for number in range(10)))
    with gateway() as (url, server):
        code, _, err = said(capsys, "replay", str(file), "--url", url, "--max-usd", "0.5", "--concurrency", "1")
        assert code == 1
        assert len(server.asked) == 2
        assert "$0.5000 are spent" in err


def test_the_learner_is_told_what_was_right(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path, {"prompt": "red", "expect": "red"}, {"prompt": "blue", "expect": "red"}, {"prompt": "x"})
    with gateway() as (url, server):
        assert said(capsys, "replay", str(file), "--url", url, "--feedback")[0] == 0
    assert sorted(server.judged, key=str) == [
        {"request_id": "req_blue", "score": 0.0},
        {"request_id": "req_red", "score": 1.0},
    ]


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("{", "line 2 is no JSON"),
        ("[]", "line 2 is no JSON object"),
        ('{"prompt": 1}', "line 2 has no messages"),
        ('{"prompt": "x", "expect": 1}', "expect is a text"),
        ('{"body": {"input": "x"}, "url": "/v1/embeddings"}', "only /v1/chat/completions"),
    ],
)
def test_a_line_that_is_no_request_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], line: str, what: str
) -> None:
    file = tmp_path / "asked.jsonl"
    file.write_text('{"prompt": "x"}\n' + line + "\n")
    code, out, err = said(capsys, "replay", str(file), "--url", "http://127.0.0.1:9")
    assert (code, out) == (2, "")
    assert what in err
    assert not (tmp_path / "asked.answers.jsonl").exists()


def test_nobody_there_and_a_bad_file_end_it_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path, {"prompt": "x"})
    assert main(["replay", str(file), "--url", "http://127.0.0.1:9"]) == 1
    assert main(["replay", str(tmp_path / "none.jsonl"), "--url", "http://127.0.0.1:9"]) == 2
    assert main(["replay", str(file), "--out", str(file), "--url", "http://127.0.0.1:9"]) == 2
    assert read(file)[0].body["messages"] == [{"role": "user", "content": "x"}]
    assert Report.of([]).total.requests == 0
