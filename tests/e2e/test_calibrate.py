"""`raygate calibrate` through a real Raygate: its calls are on the ledger, and from its end on the learner decides."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from serve.cli import main
from tests.e2e.conftest import Live, settings, until
from tests.e2e.test_learning import THINGS

SMALL, LARGE = "small/one", "large/one"


def scripted(price: float, text: str) -> dict[str, Any]:
    return {
        "kind": "scripted",
        "models": ["one"],
        "price": {"input": price, "output": price},
        "script": {"steps": [{"text": text, "usage": {"input_tokens": 40, "output_tokens": 40}}]},
    }


def words(number: int) -> str:
    thing = THINGS[number % len(THINGS)]
    if number // len(THINGS) % 2:
        return f"Compute {number * 37} plus {number * 11} times {3 + number % 9} and explain each step of it."
    return f"Write a short poem about {thing}, in {2 + number % 7} lines, with rhymes and a little sadness."


def is_sum(number: int) -> bool:
    return bool(number // len(THINGS) % 2)


@pytest.fixture(scope="module")
def two(live: Live) -> Iterator[Live]:
    providers = {"small": scripted(0.1, "a poem"), "large": scripted(10.0, "a poem, or the sum")}
    live.switch(
        providers=settings().to_document()["providers"] | providers,
        routes={"either": {"targets": [SMALL, LARGE], "strategy": "learned"}},
        learning={"warm_up": 30, "least_feedback": 40},
    )
    for name in providers:
        live.control(live.provider(name), "whereabouts")
    with live.client() as client:
        client.delete("/admin/learning/traces", params={"org": "default"}, timeout=60).raise_for_status()
    yield live
    live.switch()


def test_a_calibration_is_paid_for_kept_learned_once_and_decides(
    two: Live, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    live, file = two, tmp_path / "set.jsonl"
    # A poem is right if there is a poem, and either model writes one; only the large one knows the sum.
    lines = [{"prompt": words(n), "expect": "sum" if is_sum(n) else "poem"} for n in range(60)]
    file.write_text("".join(json.dumps(one) + "\n" for one in lines))
    args = ["calibrate", str(file), "--route", "either", "--url", live.url, "--key", live.key, "--json"]
    assert main([*args, "--max-usd", "1"]) == 2
    assert "confirm the cost" in capsys.readouterr().err
    with live.client() as client:
        before = spent(client)
        assert main([*args, "--max-usd", "1", "--yes"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert (told["prompts"], told["learned"]) == (60, 120)
        assert {one["model"]: one["quality"] for one in told["models"]} == {SMALL: 0.5, LARGE: 1.0}
        bill = sum(one["cost_usd"] for one in told["models"])
        assert bill == pytest.approx(60 * 80 * (0.1 + 10.0) / 1e6)
        until(lambda: spent(client) - before == pytest.approx(bill, rel=1e-6), "the ledger has every call")
        assert main([*args, "--yes"]) == 0
        assert json.loads(capsys.readouterr().out)["learned"] == 0
        known = client.get("/v1/sona/metrics").json()
        assert (known["prompts"], known["judged"]) == (60, 120)
        until(lambda: decides(client), "both replicas have the policy", within_s=60)
        went = Counter((is_sum(n), ask(client, words(n))) for n in range(200, 240))
        print(f"\n{dict(went)}")
        assert went[True, LARGE] >= 16
        assert went[False, SMALL] >= 16


def ask(client: httpx.Client, text: str) -> str:
    body = {"model": "either", "messages": [{"role": "user", "content": text}]}
    told = client.post("/v1/chat/completions", json=body).raise_for_status().headers
    return f"{told['x-raygate-provider']}/{told['x-raygate-model']}"


def decides(client: httpx.Client) -> bool:
    body = {"model": "either", "messages": [{"role": "user", "content": "hi"}]}
    told = [client.post("/v1/route/explain", json=body).json() for _ in range(6)]
    return all("note" not in one for one in told)


def spent(client: httpx.Client) -> float:
    """At the two alone: others may have been asked before, at prices that nobody knows."""
    said = [client.get("/admin/spend", params={"last": "1d", "provider": one}) for one in ("small", "large")]
    return sum(float(one.raise_for_status().json()["total"]["cost_usd"]) for one in said)


def test_a_model_grades_answers_behind_them_and_its_bill_is_its_own(live: Live) -> None:
    providers = {"small": scripted(0.1, "a poem"), "large": scripted(10.0, "a poem"), "court": scripted(1.0, "7")}
    live.switch(
        providers=settings().to_document()["providers"] | providers,
        routes={"either": {"targets": [SMALL, LARGE], "strategy": "learned"}},
        learning={"warm_up": 30, "judge": {"model": "court/one", "share": 1.0, "max_usd_per_day": 1.0}},
    )
    try:
        for name in providers:
            live.control(live.provider(name), "whereabouts")
        with live.client() as client:
            judged = client.get("/v1/sona/metrics").json()["judged"]
            for number in range(10):
                ask(client, words(300 + number))
            until(lambda: client.get("/v1/sona/metrics").json()["judged"] >= judged + 10, "all are graded", within_s=30)
            cost = pytest.approx(10 * 80 * 1.0 / 1e6)
            until(lambda: of_judge(client) == cost, "the ledger has all of it as its own", within_s=30)
    finally:
        live.switch()


def of_judge(client: httpx.Client) -> float:
    said = client.get("/admin/spend", params={"last": "1d", "key": "judge"}).raise_for_status().json()
    return float(said["total"]["cost_usd"])
