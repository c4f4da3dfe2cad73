"""What is learned through real processes moves traffic to the model that is good enough, and survives its owner."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import ray

from actors.names import NAMESPACE, RUVECTOR
from runtime.sona.evaluate import Always, evaluate
from runtime.sona.trajectory import read
from tests.e2e.conftest import Live, settings, until

SMALL, LARGE = "small/one", "large/one"
GOOD = {("poem", SMALL): 0.95, ("poem", LARGE): 0.95, ("sum", SMALL): 0.05, ("sum", LARGE): 0.95}
"""How good each model's answers are by topic: whoever asks for a poem need not pay the large one."""

THINGS = (
    "the sea",
    "a grey cat",
    "old trees",
    "my mother",
    "the moon",
    "rain",
    "winter",
    "a red boat",
    "bread",
    "dust",
)
ROUNDS = 14


def scripted(price: float) -> dict[str, Any]:
    step = {"text": "an answer", "usage": {"input_tokens": 40, "output_tokens": 40}}
    return {
        "kind": "scripted",
        "models": ["one"],
        "price": {"input": price, "output": price},
        "script": {"steps": [step]},
    }


@pytest.fixture(scope="module", params=["edge", "actor"])
def learning(live: Live, request: pytest.FixtureRequest) -> Iterator[Live]:
    """By each way that a request may go, with an organisation's learning that begins with nothing."""
    providers = settings().to_document()["providers"] | {"small": scripted(0.1), "large": scripted(10.0)}
    live.switch(
        data_path=request.param,
        providers=providers,
        routes={
            "either": {"targets": [SMALL, LARGE], "strategy": "learned"},
            **{model: {"targets": [model], "strategy": "learned"} for model in (SMALL, LARGE)},
        },
        learning={"warm_up": 40, "least_feedback": 40, "feedback_per_min": 6_000},
    )
    for name in providers:
        live.control(live.provider(name), "whereabouts")
    with live.client() as client:
        client.delete("/admin/learning/traces", params={"org": "default"}, timeout=60).raise_for_status()
    yield live
    live.switch()


def words_of(topic: str, number: int) -> str:
    thing = THINGS[number % len(THINGS)]
    if topic == "poem":
        return f"Write a short poem about {thing}, in {2 + number % 7} lines, with rhymes and a little sadness."
    return f"Compute {number * 37} plus {number * 11} times {3 + number % 9} and explain each step of the arithmetic."


def ask(client: httpx.Client, topic: str, number: int, name: str = "either") -> tuple[str, str, float]:
    """Who answered, the answer's id, and what it cost."""
    body = {"model": name, "messages": [{"role": "user", "content": words_of(topic, number)}]}
    reply = client.post("/v1/chat/completions", json=body)
    assert reply.status_code == 200, reply.text
    told = reply.headers
    model = f"{told['x-raygate-provider']}/{told['x-raygate-model']}"
    return model, told["x-request-id"], float(told["x-raygate-cost-usd"])


def metrics(client: httpx.Client) -> dict[str, Any]:
    said: dict[str, Any] = client.get("/v1/sona/metrics").raise_for_status().json()
    return said


def test_traffic_moves_to_the_better_model_per_topic_the_bill_falls_and_a_kill_loses_nothing(
    learning: Live, tmp_path: Path
) -> None:
    live = learning
    with live.client() as client:
        ask(client, "poem", 0)  # the embedder is read by now, or soon
        until(lambda: "embedder" not in told(client), "both replicas decide", within_s=60)
        # Others in the organisation have asked each of the two by its name before, and said what they thought.
        known_before = [(topic, number, name) for number in range(30) for topic, name in GOOD]
        judge(client, known_before, together(client, known_before))
        rounds: list[list[tuple[str, str, float]]] = []
        for at in range(ROUNDS):
            numbers = range(20 * at, 20 * at + 20)
            pairs = [(topic, number) for number in numbers for topic in ("poem", "sum")]
            found = together(client, pairs)
            judge(client, pairs, found)
            rounds.append([(topic, model, cost) for (topic, _), (model, _, cost) in zip(pairs, found, strict=True)])
            if settled(rounds[-1]):
                break
        last = rounds[-1]
        print(f"\nround {len(rounds)}: {shares(last)}; first: {shares(rounds[0])}")
        assert settled(last), [shares(one) for one in rounds]
        print(f"bill of a round ${bill(last):.6f}, ${LARGE_ALONE:.6f} by the large one alone; quality {good(last):.2f}")
        assert bill(last) < 0.7 * LARGE_ALONE
        assert good(last) > 0.8
        _, request, _ = ask(client, "poem", 900)
        by_manager = live.control(live.manager, "feedback", request, label="good")
        assert by_manager["learned"][0]["quality"] == 1.0, by_manager
        known = metrics(client)
        assert set(known["models"]) == {SMALL, LARGE}
        pid = ruvector_pid(live)
        os.kill(pid, signal.SIGKILL)
        during = [ask(client, topic, 1_000 + number) for number in range(20) for topic in ("poem", "sum")]
        assert {model for model, _, _ in during} == {SMALL, LARGE}
        until(lambda: back(live, pid), "RuVector is back", within_s=60)
        after = until_known(client)
        # What was asked meanwhile is learned as well; nothing that was acknowledged is gone.
        assert after["judged"] == known["judged"]
        assert after["prompts"] >= known["prompts"]
        log = client.get("/admin/learning/trajectories", timeout=60).raise_for_status()
        (tmp_path / "log.jsonl").write_bytes(log.content)
        rows = list(read(tmp_path / "log.jsonl"))
        assert len(rows) >= after["judged"]
        cheap = evaluate([row for row in rows if len(row.candidates) == 2], Always(SMALL))
        assert cheap.measures["quality"].estimates is not None
        saved = client.post("/v1/sona/learn", json={}, timeout=60).raise_for_status().json()["prompts"]
        ask(client, "poem", 901)
        until(lambda: metrics(client)["prompts"] > saved, "one more is learned")
        client.post("/admin/learning/rollback", timeout=60).raise_for_status()
        assert metrics(client)["prompts"] <= saved


def test_prompts_are_read_by_an_embeddings_endpoint_on_a_key_of_its_own_and_its_loss_costs_no_answer(
    live: Live,
) -> None:
    providers = settings().to_document()["providers"] | {"small": scripted(0.1), "large": scripted(10.0)}
    reads = {"kind": "scripted", "models": ["vectors"], "price": {"input": 0.1, "output": 0}, "script": {"steps": [{}]}}
    lost = {**reads, "script": {"steps": [{"fault": {"status": 503}}]}}
    routes = {"either": {"targets": [SMALL, LARGE], "strategy": "learned"}}
    embeddings = {"model": "reads/vectors", "dimension": 32, "shorten": True}
    learning = {"warm_up": 20, "least_feedback": 10, "feedback_per_min": 6_000, "embeddings": embeddings}
    live.switch(providers=providers | {"reads": reads}, routes=routes, learning=learning)
    try:
        with live.client() as client:
            ask(client, "poem", 0)
            until_known(client)
            # What is decided before all have turned from the other embedder teaches nobody.
            until(lambda: metrics(client)["prompts"] < 10, "its owner has turned", within_s=30)
            until(lambda: all(is_taken(client, at) for at in range(6)), "both replicas have", within_s=60)
            numbers = [(topic, number) for number in range(15) for topic in ("poem", "sum")]
            judge(client, numbers, together(client, numbers))
            until(lambda: metrics(client)["prompts"] >= 20, "what was decided without a vector is read and learned")

            def decides() -> bool:
                ask(client, "poem", 77)
                body = {"model": "either", "messages": [{"role": "user", "content": words_of("poem", 77)}]}
                return "propensity" in client.post("/v1/route/explain", json=body).text

            until(decides, "a decision goes by what was learned", within_s=60)
            spent = client.get("/admin/spend", params={"last": "1d", "key": "embedder"}).raise_for_status().json()
            assert float(spent["total"]["cost_usd"]) > 0.0
            live.switch(providers=providers | {"reads": lost}, routes=routes, learning=learning)
            answers = together(client, [("poem", number) for number in range(200, 220)])
            assert len(answers) == 20
    finally:
        live.switch()


def is_taken(client: httpx.Client, number: int) -> bool:
    _, request, _ = ask(client, "poem", 500 + number)
    return client.post("/v1/feedback", json={"request_id": request, "score": 0.95}).status_code == 200


def together(client: httpx.Client, asked: Sequence[tuple[Any, ...]]) -> list[tuple[str, str, float]]:
    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(lambda one: ask(client, *one), asked))


def judge(client: httpx.Client, asked: Sequence[tuple[Any, ...]], answers: Sequence[tuple[str, str, float]]) -> None:
    for (topic, *_), (model, request, _) in zip(asked, answers, strict=True):
        judged = client.post("/v1/feedback", json={"request_id": request, "score": GOOD[topic, model]})
        assert judged.status_code == 200, judged.text


LARGE_ALONE = 40 * 80 * 10.0 / 1e6
"""Dollars of a round if the large model answered all of it."""


def told(client: httpx.Client) -> str:
    body = {"model": "either", "messages": [{"role": "user", "content": "hi"}]}
    return "".join(client.post("/v1/route/explain", json=body).json().get("note", "") for _ in range(6))


def shares(one: list[tuple[str, str, float]]) -> dict[str, float]:
    """By topic, how often the model was asked that is good enough for least."""
    right = {"poem": SMALL, "sum": LARGE}
    return {
        topic: sum(model == right[topic] for kind, model, _ in one if kind == topic) / 20 for topic in ("poem", "sum")
    }


def settled(one: list[tuple[str, str, float]]) -> bool:
    return min(shares(one).values()) >= 0.8


def bill(one: list[tuple[str, str, float]]) -> float:
    return sum(cost for _, _, cost in one)


def good(one: list[tuple[str, str, float]]) -> float:
    return sum(GOOD[topic, model] for topic, model, _ in one) / len(one)


def ruvector_pid(live: Live) -> int:
    return int(live.control(ray.get_actor(RUVECTOR, namespace=NAMESPACE), "whereabouts")[1])


def back(live: Live, old: int) -> bool:
    try:
        return ruvector_pid(live) != old
    except ray.exceptions.RayError:
        return False


def until_known(client: httpx.Client) -> dict[str, Any]:
    until(lambda: client.get("/v1/sona/metrics").status_code == 200, "what was learned can be asked", within_s=60)
    return metrics(client)
