"""`raygate calibrate` against a server of ours: what is asked, confirmed, kept and told, and what a second run does."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from runtime.models import Pricing
from serve.cli.calibrate import lines
from serve.cli.calibrate.bill import bill_of
from tests.serve import test_cli
from tests.serve.test_cli_replay import Gateway as Replayed

BUDGET = {"error": {"message": "spent", "type": "insufficient_quota", "code": "budget_exceeded"}}


class Gateway(Replayed):
    """Knows two models; `small` is wrong about what is blue. Takes outcomes, each once."""

    told: ClassVar[dict[tuple[str, str], dict[str, Any]]] = {}
    most: ClassVar[list[int]] = []
    admin: ClassVar[bool] = True

    def do_GET(self) -> None:  # noqa: N802  # its name is the library's
        self._say(200 if self.admin else 403, {"org": "default"} if self.admin else {"error": {"message": "admins"}})

    def do_POST(self) -> None:  # noqa: N802
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.path == "/v1/route/explain":
            models = [{"provider": one, "model": "m"} for one in ("small", "large")]
            return self._say(200, {"candidates": models})
        if self.path.startswith("/admin/learning/outcomes"):
            new = {(row["prompt"], one["model"]): one for row in body["outcomes"] for one in row["tried"]}
            fresh = {of: one for of, one in new.items() if of not in self.told}
            self.told.update(fresh)
            return self._say(200, {"org": "default", "done": "outcomes", "number": len(fresh)})
        self.asked.append(body)
        if self.most and len(self.asked) > self.most[0]:
            return self._say(429, BUDGET, **{"retry-after": "50"})
        prompt, provider = body["messages"][-1]["content"], body["model"].split("/")[0]
        text = "grade: 3" if "<answer>\nred" in prompt else "9" if "<answer>" in prompt else prompt.split()[-1]
        if provider == "small" and "blue" in prompt and "<answer>" not in prompt:
            text = "red"
        usage = {"prompt_tokens": 3, "completion_tokens": 2, "cost": 0.25}
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        who = {"x-raygate-provider": provider, "x-raygate-model": "m", "x-request-id": "req"}
        return self._say(200, {"model": "m", "choices": [choice], "usage": usage}, **who)


@contextmanager
def gateway(most: int | None = None, *, admin: bool = True) -> Iterator[tuple[str, type[Gateway]]]:
    fresh: dict[str, Any] = {"asked": [], "judged": [], "refused": set(), "told": {}, "admin": admin}
    handler = type("Ours", (Gateway,), {**fresh, "most": [] if most is None else [most]})
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


def said(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str, str]:
    return test_cli.said(capsys, *args, "--max-usd", "100")


def written(tmp_path: Path, *lines: object, name: str = "set.jsonl") -> Path:
    file = tmp_path / name
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file


COLOURS = ({"prompt": "say red", "expect": "red"}, {"prompt": "say blue", "expect": "blue"})


def test_all_models_of_the_route_answer_each_prompt_and_the_outcomes_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path, *COLOURS)
    with gateway() as (url, server):
        code, out, err = said(capsys, "calibrate", str(file), "--url", url, "--yes", "--json", "-n", "1")
        assert code == 0, err
        assert "4 calls" in err
        quality = {of: one["quality"] for of, one in server.told.items()}
        assert quality == {
            ("say red", "small/m"): 1.0,
            ("say red", "large/m"): 1.0,
            ("say blue", "small/m"): 0.0,
            ("say blue", "large/m"): 1.0,
        }
        assert all(one["cost_usd"] == 0.25 and one["latency_s"] > 0 for one in server.told.values())
        # A remembered answer would cost nothing and say nothing of the model.
        assert all(one["raygate"] == {"cache": {"no_store": True}} for one in server.asked)
        told = json.loads(out)
        assert (told["prompts"], told["learned"]) == (2, 4)
        assert {one["model"]: one["quality"] for one in told["models"]} == {"small/m": 0.5, "large/m": 1.0}
        # Whole prompts come one after the other.
        assert [one["messages"][0]["content"] for one in server.asked] == ["say red"] * 2 + ["say blue"] * 2
        server.asked.clear()
        code, out, err = said(capsys, "calibrate", str(file), "--url", url, "--json")
        assert (code, err, server.asked, json.loads(out)["learned"]) == (0, "", [], 0)


def test_nothing_is_asked_before_the_cost_is_confirmed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path, *COLOURS)
    with gateway() as (url, server):
        code, _, err = said(capsys, "calibrate", str(file), "--url", url)
        assert (code, server.asked, server.told) == (2, [], {})
        assert "confirm the cost with --yes" in err
        assert "which is not known" in err
        code, _, err = test_cli.said(capsys, "calibrate", str(file), "--url", url, "--yes")
        assert (code, server.asked) == (2, [])
        assert "large/m, small/m costs: bound it with --max-usd" in err


def test_who_may_not_teach_is_told_before_he_spends(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with gateway(admin=False) as (url, server):
        assert said(capsys, "calibrate", str(written(tmp_path, *COLOURS)), "--url", url, "--yes")[0] == 2
        assert server.asked == []


def test_no_more_is_asked_once_the_bound_is_reached(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path, *COLOURS)
    with gateway() as (url, server):
        args = ("calibrate", str(file), "--url", url, "-y", "-n", "1", "--max-usd", "0.3")
        code, _, err = test_cli.said(capsys, *args)
        assert (code, len(server.asked), len(server.told)) == (1, 2, 2)
        assert "$0.5000 are spent" in err


def test_the_estimate_is_of_what_is_still_to_be_asked(tmp_path: Path) -> None:
    file = written(tmp_path, {"prompt": "x" * 4_000, "expect": "n", "max_tokens": 100}, {"prompt": "y"})
    samples, models = lines.read(file), ["lab/a", "lab/b"]
    prices = {"lab/a": Pricing(input=10**9, output=2 * 10**9), "lab/b": None, "lab/j": Pricing(input=10**9, output=0)}
    rest = lines.calls(samples, models)
    bill = bill_of(samples, rest, (), prices=prices, judge="")
    assert bill.usd == pytest.approx((1_000 + 2 * 100 + 2 * lines.TOKENS_OF_ANSWER) / 1e6, rel=0.1)
    assert bill.unknown == ("lab/b",)
    del rest["1", "lab/a"], rest["1", "lab/b"]
    assert bill_of(samples, rest, (), prices=prices, judge="").usd == pytest.approx(8e-4, rel=0.1)
    judged = bill_of(samples, {}, [("2", "lab/a")], prices=prices, judge="lab/j")
    assert 4e-4 < judged.usd < 8e-4
    assert judged.unknown == ()


def test_a_spent_budget_ends_it_at_once_and_the_next_run_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path, *({"prompt": f"n{number}", "expect": "n"} for number in range(10)))
    with gateway(most=5) as (url, server):
        code, _, err = said(capsys, "calibrate", str(file), "--url", url, "-y", "-n", "1")
        assert (code, len(server.asked), len(server.told)) == (1, 6, 5)
        assert "budget is spent" in err
        server.most.clear()
        assert said(capsys, "calibrate", str(file), "--url", url, "-y")[0] == 0
        assert (len(server.asked), len(server.told)) == (21, 20)


def test_known_scores_need_no_call(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scores = {"small/m": 0.25, "large/m": 0.75}
    file = written(tmp_path, {"prompt": "say red", "scores": scores, "costs": {"small/m": 0.001}})
    with gateway() as (url, server):
        assert said(capsys, "calibrate", str(file), "--url", url)[0] == 0
        assert server.asked == []
        assert server.told["say red", "small/m"] == {"model": "small/m", "quality": 0.25, "cost_usd": 0.001}
        assert server.told["say red", "large/m"]["quality"] == 0.75


def test_answers_without_a_score_wait_for_a_file_of_scores_or_a_judge(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path, {"custom_id": "b", "prompt": "say blue"})
    scores = written(tmp_path, {"custom_id": "b", "model": "large/m", "score": 1}, name="scores.jsonl")
    with gateway() as (url, server):
        code, _, err = said(capsys, "calibrate", str(file), "--url", url, "-y")
        assert (code, server.told) == (1, {})
        assert "how good 2 answers are" in err
        asked = len(server.asked)
        code, _, err = said(capsys, "calibrate", str(file), "--url", url, "--scores", str(scores))
        assert (code, len(server.asked), len(server.told)) == (1, asked, 1)
        both = ("--scores", str(scores), "--judge", "lab/judge")
        assert said(capsys, "calibrate", str(file), "--url", url, *both)[0] == 2  # its cost is not confirmed
        assert said(capsys, "calibrate", str(file), "--url", url, *both, "--yes")[0] == 0
        assert server.told["say blue", "small/m"]["quality"] == 0.3
        assert [one["model"] for one in server.asked[asked:]] == ["lab/judge"]


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ({"prompt": "x", "scores": {"a/b": 2}}, "from 0 to 1"),
        ({"prompt": "x", "scores": [1]}, "numbers by provider/model"),
        ({"messages": [{"role": "system", "content": "x"}]}, "no user says anything"),
        ({"prompt": "ok", "custom_id": "1"}, "another line with custom_id 1"),
    ],
)
def test_a_line_that_is_no_prompt_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], line: object, what: str
) -> None:
    file = written(tmp_path, {"prompt": "first"}, line)
    code, _, err = said(capsys, "calibrate", str(file), "--url", "http://127.0.0.1:9")
    assert code == 2
    assert "line 2" in err
    assert what in err
