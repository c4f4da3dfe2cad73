"""`raygate config apply` on a system that runs: all of a file or nothing, and nobody's request notices."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.conftest import Live, settings, until
from tests.e2e.test_lifecycle import Shell

WORDS = [f"w{at} " for at in range(150)]
SLOW = {"kind": "scripted", "models": ["say"], "script": {"steps": [{"chunks": WORDS, "chunk_delay_s": 0.1}]}}
LIMITED = {
    "kind": "scripted",
    "models": ["say"],
    "script": {"steps": [{"fault": {"status": 429, "retry_after_s": 120}}]},
}


class Operator:
    """Somebody with a settings file and the command line."""

    def __init__(self, live: Live, folder: Path) -> None:
        self.shell = Shell(live.folder)
        self._file = folder / "raygate.yaml"

    def file(self, **changes: Any) -> str:
        said = settings().model_dump(mode="json", exclude_defaults=True)
        providers = {**said["providers"], "slow": SLOW, "limited": LIMITED, **changes.pop("providers", {})}
        self._file.write_text(yaml.safe_dump({**said, **changes, "providers": providers}))
        return str(self._file)

    def apply(self, *more: str, **changes: Any) -> Any:
        return self.shell.json("config", "apply", self.file(**changes), *more)

    def version(self) -> int:
        return int(self.shell.json("config", "show")["version"])


@pytest.fixture
def operator(live: Live, tmp_path: Path) -> Iterator[Operator]:
    ours = Operator(live, tmp_path)
    ours.apply()
    yield ours
    live.switch()


def test_streams_waits_and_spend_survive(live: Live, operator: Operator) -> None:
    # What an authority does not hear as it is only starting is told to nobody.
    until(lambda: _has_started(live, "limited"), "its actor has started", within_s=60.0)
    with live.client() as client:
        assert client.post("/v1/chat/completions", json=_body("alpha/say")).status_code == 200
        until(lambda: client.post("/v1/chat/completions", json=_body("limited/say")).status_code == 429, "it says wait")
        until(lambda: _status(live, "limited").breaker == "throttled", "everybody knows")
        until(lambda: live.control(live.manager, "usage", "all").requests > 0, "it is counted")
    spent = live.control(live.manager, "usage", "all").requests
    stream = Stream(live)
    until(lambda: stream.words > 2, "the stream runs")
    # Also what belongs to the very providers that are in the middle of something.
    changed = {"slow": {**SLOW, "timeout_s": 50}, "limited": {**LIMITED, "timeout_s": 50}}
    done = operator.apply(providers=changed, routes={"new": ["alpha/say"]}, strategy="latency")
    assert not stream.ended, "else it proves nothing"
    assert (done["applied"], done["behind"]) == (True, [])
    assert {one["path"] for one in done["changes"]} == {
        *("providers.slow.timeout_s", "providers.limited.timeout_s", "routes.new", "routes.pair", "strategy")
    }
    with live.client() as client:
        for _ in range(20):  # each replica has its turn
            assert client.post("/v1/chat/completions", json=_body("new")).status_code == 200
            limited = client.post("/v1/chat/completions", json=_body("limited/say"))
            assert (limited.status_code, int(limited.headers["retry-after"]) > 30) == (429, True)
    assert _status(live, "limited").breaker == "throttled"
    stream.join()
    assert stream.whole
    assert stream.words == len(WORDS)
    assert live.control(live.manager, "usage", "all").requests >= spent


def test_a_bad_file_changes_nothing(live: Live, operator: Operator) -> None:
    before = operator.shell.json("config", "show")
    file = operator.file(strategi="latency", retry={"max_attempts": 0})
    said = operator.shell("config", "apply", file, code=2)
    assert "did you mean `strategy`" in said.stderr
    assert "retry.max_attempts" in said.stderr
    file = operator.file(providers={"lab": {"kind": "custom", "base_url": "http://x/v1", "api_key": "os.environ/LAB"}})
    there = Shell(live.folder, LAB="sk-only-here")
    assert "LAB is not set where Raygate runs" in there("config", "apply", file, code=1).stderr
    assert operator.shell.json("config", "show") == before


def test_a_dry_run_shows_and_does_nothing(live: Live, operator: Operator) -> None:
    version = operator.version()
    said = operator.shell("config", "apply", operator.file(strategy="latency", replicas=3), "--dry-run").stdout
    assert "~ strategy: round_robin → latency" in said
    assert "nothing was done" in said
    assert "down" in said, "some of it would need a new start"
    assert operator.version() == version
    other = Shell(live.folder, OPENAI_API_KEY="sk-only-here")
    said = other("config", "apply", operator.file()).stdout
    assert "Nothing differs" in said, "what the environment offers is a matter of the one that runs"


def test_two_operators_do_not_overwrite_each_other_unseen(live: Live, operator: Operator) -> None:
    seen = operator.version()
    operator.apply(strategy="latency")
    document = settings().to_document()
    assert live.control(live.manager, "apply_settings", document, seen) is None
    assert operator.shell.json("config", "show")["settings"]["strategy"] == "latency"


def test_up_with_a_file_is_an_apply_and_without_one_changes_nothing(live: Live, operator: Operator) -> None:
    version = operator.version()
    same = operator.shell.json("up")
    assert (same["adopted"], same["changes"], same["version"]) == (True, [], version)
    other = operator.shell.json("up", "--config", operator.file(strategy="latency"))
    assert [one["path"] for one in other["changes"]] == ["strategy"]
    assert operator.shell.json("up")["changes"] == []
    assert operator.shell.json("config", "show")["settings"]["strategy"] == "latency"


class Stream:
    """A client that reads a slow stream meanwhile."""

    def __init__(self, live: Live) -> None:
        self.words = 0
        self.whole = self.ended = False
        self._live = live
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def join(self) -> None:
        self._thread.join(60)

    def _read(self) -> None:
        with (
            self._live.client() as client,
            client.stream("POST", "/v1/chat/completions", json=_body("slow/say", stream=True)) as reply,
        ):
            for line in reply.iter_lines():
                if line == "data: [DONE]":
                    self.whole = True
                elif line.startswith("data: "):
                    choices = json.loads(line[6:])["choices"]
                    self.words += any(one["delta"].get("content") for one in choices)
        self.ended = True


def _body(model: str, **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": "hello"}], **more}


def _status(live: Live, name: str) -> Any:
    return next(one for one in live.overview()["providers"] if one.provider == name)


def _has_started(live: Live, name: str) -> bool:
    try:
        return bool(live.control(live.provider(name), "reopen"))
    except ValueError:
        return False
