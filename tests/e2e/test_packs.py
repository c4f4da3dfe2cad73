"""Recorded outcomes of real models over HTTP: whom `ruvector-auto` asks moves to the better model of each topic.

Scripted providers stand for the models: each costs what that model's calls cost on average. The outcomes are those of a
pack that lies beside this repository (RAYGATE_SHARED); without it there is nothing to play.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from runtime.sona.pack import Pack, read
from tests.e2e.conftest import Live, settings, until

SHARED = Path(os.environ.get("RAYGATE_SHARED", Path(__file__).parents[3] / "shared"))
PACK = SHARED / "routing/dev_llmrouter9.parquet"
CHEAP, MIDDLE, DEAR = "gemma-2-9b-it", "qwen2.5-7b-instruct", "llama-3.1-nemotron-51b-instruct"
TOPICS = {"mmlu": "knowledge", "human_eval": "code", "agentverse-mgsm": "maths"}
TOKENS = 80
PART = 150
"""Requests of a part of the stream."""

pytestmark = pytest.mark.skipif(not PACK.exists(), reason=f"there is no {PACK}; RAYGATE_SHARED names its folder")


@dataclass(frozen=True)
class Went:
    """One request: its topic, who answered, what that cost by the answer's header, and how good it was."""

    topic: str
    model: str
    cost_usd: float
    quality: float


@pytest.fixture(scope="module")
def pack() -> Pack:
    whole = read(PACK)
    return whole.take(np.isin(np.array(whole.tasks), list(TOPICS)))


@pytest.fixture(scope="module")
def playing(live: Live, pack: Pack) -> Iterator[tuple[Live, httpx.Client]]:
    prices = dict(zip(pack.models, pack.mean_cost, strict=True))
    providers = {name: scripted(name, float(prices[name])) for name in (CHEAP, MIDDLE, DEAR)}
    live.switch(
        providers=settings().to_document()["providers"] | providers,
        learning={"warm_up": 50, "least_feedback": 60, "feedback_per_min": 60_000},
    )
    for name in providers:
        live.control(live.provider(name), "whereabouts")
    with live.client() as client:
        client.delete("/admin/learning/traces", params={"org": "default"}, timeout=60).raise_for_status()
        # `ruvector-auto` goes over all that a key may use.
        wish = {"name": "packs", "models": [f"{name}/*" for name in providers]}
        key = client.post("/admin/keys", json=wish).raise_for_status().json()["key"]
    with httpx.Client(base_url=live.url, headers={"authorization": f"Bearer {key}"}, timeout=60) as client:
        yield live, client
    live.switch()


def scripted(name: str, cost_usd: float) -> dict[str, Any]:
    """The dear one is the quickest, so that the default order, by latency, asks it first."""
    price = round(cost_usd * 1e6 / TOKENS, 6)
    usage = {"input_tokens": TOKENS // 2, "output_tokens": TOKENS // 2}
    step = {"text": "an answer", "usage": usage, "delay_s": 0.0 if name == DEAR else 0.03}
    return {
        "kind": "scripted",
        "models": [name],
        "price": {"input": price, "output": price},
        "script": {"steps": [step]},
    }


def test_traffic_moves_to_the_better_model_of_each_topic_and_the_bill_falls(
    playing: tuple[Live, httpx.Client], pack: Pack
) -> None:
    _, client = playing
    rows = np.random.default_rng(0).permutation(len(pack.prompts))
    ask(client, pack, int(rows[-1]))
    until(lambda: "embedder" not in noted(client), "both replicas decide", within_s=60)
    before = client.get("/v1/sona/metrics").json()
    rows = rows[: 4 * PART]
    parts = [play(client, pack, rows[at : at + PART]) for at in range(0, 4 * PART, PART)]
    for one in parts:
        print(f"\n{told(one)}", end="")
    known = client.get("/v1/sona/metrics").raise_for_status().json()
    assert known["judged"] - before.get("judged", 0) >= 4 * PART * 0.99
    assert {CHEAP, MIDDLE, DEAR} <= {name.partition("/")[0] for name in known["models"]}
    first, last = parts[0], parts[-1]
    # By what a point of quality may cost here, the cheap one is best at questions of knowledge, the middle one at code,
    # and the dear one nowhere. (The middle one is better at sums, too; that takes more answers than there are here.)
    for topic, model in (("knowledge", CHEAP), ("code", MIDDLE)):
        assert share(last, topic, model) > share(first, topic, model) + 0.2
        assert share(last, topic, model) > 0.7
    assert sum(one.model == DEAR for one in last) < 0.2 * len(last)
    assert bill(last) < 0.7 * bill(first)
    assert bill(last) < 0.4 * float(pack.mean_cost[pack.models.index(DEAR)])
    # Of 150 answers the mean is off by .04, so answers to the same prompts are compared: the cheap one alone would do
    # worse, the dear one, which takes over four times as much, not much better.
    same = rows[-len(last) :]
    assert good(last) > good_of(pack, CHEAP, same) + 0.05
    assert good(last) > good_of(pack, DEAR, same) - 0.15


def play(client: httpx.Client, pack: Pack, rows: Sequence[int] | np.ndarray) -> list[Went]:
    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(lambda row: ask(client, pack, int(row)), rows))


def ask(client: httpx.Client, pack: Pack, row: int) -> Went:
    """Ask, and say how good the answer was, as the pack has it."""
    body = {"model": "ruvector-auto", "messages": [{"role": "user", "content": pack.prompts[row]}]}
    reply = client.post("/v1/chat/completions", json=body)
    assert reply.status_code == 200, reply.text
    model = reply.headers["x-raygate-model"]
    quality = float(pack.quality[row, pack.models.index(model)])
    said = {"request_id": reply.headers["x-request-id"], "score": quality}
    client.post("/v1/feedback", json=said).raise_for_status()
    return Went(TOPICS[pack.tasks[row]], model, float(reply.headers["x-raygate-cost-usd"]), quality)


def noted(client: httpx.Client) -> str:
    body = {"model": "ruvector-auto", "messages": [{"role": "user", "content": "hi"}]}
    return "".join(client.post("/v1/route/explain", json=body).json().get("note", "") for _ in range(6))


def share(went: Sequence[Went], topic: str, model: str) -> float:
    mine = [one.model == model for one in went if one.topic == topic]
    return sum(mine) / len(mine)


def bill(went: Sequence[Went]) -> float:
    """Of a request, in dollars."""
    return sum(one.cost_usd for one in went) / len(went)


def good(went: Sequence[Went]) -> float:
    return sum(one.quality for one in went) / len(went)


def good_of(pack: Pack, model: str, rows: np.ndarray) -> float:
    """What one model would have been worth on all of these."""
    return float(pack.quality[rows, pack.models.index(model)].mean())


def told(went: Sequence[Went]) -> str:
    shares = {
        topic: {name: round(share(went, topic, name), 2) for name in (CHEAP, MIDDLE, DEAR)}
        for topic in dict.fromkeys(TOPICS.values())
    }
    return f"${bill(went) * 1e6:.1f} a million requests · quality {good(went):.2f} · {shares}"
