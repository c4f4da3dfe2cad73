"""A server that Raygate runs itself: more copies under load, what is too much goes elsewhere, what dies comes back."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from actors.launch import head
from tests.e2e.conftest import SCRIPTED, Live, until
from tests.e2e.load import Load

MOST = 2
LAB: dict[str, Any] = {
    "kind": "custom",
    "models": ["m"],
    "price": {"input": 1, "output": 2},
    "managed": {
        "command": ["{python}", "-m", "tests.fakes.model_server", "{host}", "{port}", "{key}", "0.3"],
        "ready": "/ready",
        "max_copies": MOST,
        "num_cpus": 0.1,
        "slots": 2,
        "queue": 1,
        "up_after_s": 1,
        "down_after_s": 2,
    },
}


def servers(live: Live) -> list[int]:
    found = []
    for process in head.processes_of(live.run()):
        try:
            if "tests.fakes.model_server" in process.cmdline():
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


@pytest.fixture
def lab(live: Live) -> Iterator[Live]:
    live.switch(providers={"alpha": SCRIPTED, "lab": LAB}, routes={"spilling": ["lab/m", "alpha/say"]})
    until(lambda: ask(live)[0] == "lab", "the server serves", within_s=60)
    yield live
    live.switch()
    until(lambda: not servers(live), "no server is left", within_s=60)


def ask(live: Live, model: str = "spilling") -> tuple[str, str, str]:
    body = {"model": model, "messages": [{"role": "user", "content": "hello"}]}
    with live.client() as client:
        reply = client.post("/v1/chat/completions", json=body)
    text = reply.json()["choices"][0]["message"]["content"] if reply.status_code == 200 else reply.text
    return reply.headers.get("x-raygate-provider", ""), text, reply.headers.get("x-raygate-cost-usd", "")


def test_copies_grow_spill_heal_and_go(lab: Live) -> None:
    assert ask(lab, "lab/m")[2] == "0.000020000", "10 tokens in and 5 out, at the price of the settings"
    with Load(lab, "spilling", callers=12, streams=False) as load:
        until(lambda: len(servers(lab)) == MOST, "as many copies as may be", within_s=60)
        asked = len(load.answers)
        until(lambda: len(load.answers) > asked + 60, "they carry on", within_s=60)
        # One dies under load: the other one and alpha carry what it would have.
        os.kill(servers(lab)[0], signal.SIGKILL)
        until(lambda: len(servers(lab)) == MOST, "it is started anew", within_s=60)
        asked = len(load.answers)
        until(lambda: len(load.answers) > asked + 40, "they carry on", within_s=60)
    providers = [one.provider for one in load.answers]
    print(f"lab {providers.count('lab')}, alpha {providers.count('alpha')}, faults {len(load.faults)}")
    assert load.faults == []
    assert providers.count("lab") > 20
    assert providers.count("alpha") > 20
    until(lambda: len(servers(lab)) == 1, "one copy is enough again", within_s=60)
    # Calls that were cut may have opened its breaker.
    until(lambda: ask(lab)[0] == "lab", "it is asked again", within_s=60)


def test_a_server_dies_with_its_actor_and_comes_back_with_it(lab: Live) -> None:
    (server,) = servers(lab)
    parent = psutil.Process(server).parent()
    assert parent is not None
    parent.kill()
    until(lambda: not psutil.pid_exists(server), "it is gone", within_s=20)
    until(lambda: servers(lab) and ask(lab, "lab/m")[0] == "lab", "another one serves", within_s=60)
