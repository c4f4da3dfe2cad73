"""The page in a real Chromium, over a real Raygate of two replicas. `make test-ui` installs what it needs.

Every test ends with the same three questions: has the browser written an error, has a request left for another host,
and (where the test asked) does axe-core find anything serious? Screenshots of it all are kept in `.ui/shots`.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import ray

from actors.names import NAMESPACE
from runtime.settings import Settings
from serve.launch import down, up
from tests.e2e.conftest import Live, until

HERE = Path(__file__).parent
INSTALLED = HERE.parent.parent / ".ui"
SHOTS = INSTALLED / "shots"
AXE = INSTALLED / "axe.min.js"

ASKED_FOR = os.environ.get("RAYGATE_TEST_UI") == "1"
NOT_ASKED = "looks at the page in a real browser: make test-ui installs it"

SERIOUS = {"serious", "critical"}

POEM = "The sea is wide and the boats come home at night with the tide."


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not ASKED_FOR:
        for item in items:
            if HERE in item.path.parents:
                item.add_marker(pytest.mark.skip(reason=NOT_ASKED))


def scripted(model: str, price: float, step: dict[str, Any]) -> dict[str, Any]:
    usage = {"usage": {"input_tokens": 40, "output_tokens": 40}} if "fault" not in step else {}
    return {
        "kind": "scripted",
        "models": [model],
        "price": {"input": price, "output": price},
        "script": {"steps": [{**step, **usage}]},
    }


FINE = {"text": "All is well.", "delay_s": 0.02}
ILL = {"fault": {"status": 503}}


def document(steady: dict[str, Any] = FINE) -> dict[str, Any]:
    """What the running system is given; `steady` is what the provider of that name plays."""
    said = {
        "port": 0,
        "replicas": 2,
        "providers": {
            "steady": scripted("one", 1.0, steady),
            "small": scripted("one", 0.1, {"text": POEM, "chunk_delay_s": 0.03}),
            "large": scripted("one", 10.0, {"text": POEM, "chunk_delay_s": 0.06}),
            "shaky": {
                "kind": "scripted",
                "models": ["one"],
                "script": {"steps": [{"fault": {"status": 500}}, {"text": "Here again."}]},
            },
        },
        "routes": {
            "either": {"targets": ["small/one", "large/one"], "strategy": "learned"},
            "safe": ["shaky/one", "small/one"],
        },
        "default_model": "either",
        "retry": {"per_provider": 1},
        "breaker": {"open_s": 3.0},
        "learning": {"warm_up": 20, "least_feedback": 10, "feedback_per_min": 6_000, "keep_text": True},
    }
    return Settings.model_validate(said).to_document()


@dataclass
class Running(Live):
    """A Raygate of its own for the page."""

    def plays(self, step: dict[str, Any]) -> None:
        """Let `steady` play this, and wait until every replica does."""
        version = self.control(self.manager, "apply_settings", document(step))
        until(lambda: all(seen == version for seen in self.following().values()), "all edges follow")

    def chat(self, model: str, words: str, key: str = "") -> Any:
        headers = {"authorization": f"Bearer {key}"} if key else {}
        with self.client() as client:
            body = {"model": model, "messages": [{"role": "user", "content": words}]}
            return client.post("/v1/chat/completions", json=body, headers=headers)

    def new_key(self, **wish: Any) -> dict[str, Any]:
        with self.client() as client:
            made: dict[str, Any] = client.post("/admin/keys", json=wish).raise_for_status().json()
            return made

    def judged(self) -> float:
        with self.client() as client:
            return float(client.get("/admin/learning").raise_for_status().json()["judged"])


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("ui")
    env = {**os.environ, "RAYGATE_STATE_DIR": str(folder)}
    started = up(folder, env, Settings.from_document(document()), say=lambda _: None, sleep=time.sleep)
    try:
        assert started.key is not None
        manager = ray.get_actor("manager", namespace=NAMESPACE)
        yield Running(url=started.url, key=started.key, folder=folder, manager=manager)
    finally:
        down(folder, say=lambda _: None)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    sys.path.insert(0, str(INSTALLED / "python"))
    from playwright.sync_api import sync_playwright

    shutil.rmtree(SHOTS, ignore_errors=True)
    SHOTS.mkdir(parents=True)
    with sync_playwright() as playwright:
        # Debian's, where it is; else Playwright's own.
        where = shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=where, args=["--no-sandbox"])
        yield browser
        browser.close()


@dataclass
class Seat:
    """Somebody in front of a page, and what the browser said meanwhile."""

    page: Any
    url: str
    errors: list[str] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)

    def open(self, panel: str = "") -> None:
        self.page.goto(f"{self.url}/ui" + (f"#/{panel}" if panel else ""))

    def log_in(self, key: str, panel: str = "") -> None:
        self.open(panel)
        self.page.get_by_label("Raygate key").fill(key)
        self.page.get_by_role("button", name="Log in").click()
        self.page.get_by_role("navigation", name="Panels").wait_for()

    def go(self, panel: str) -> None:
        self.page.get_by_role("navigation", name="Panels").get_by_role("link", name=panel).click()
        self.page.get_by_role("heading", level=1).first.wait_for()

    def shot(self, name: str) -> None:
        self.page.screenshot(path=SHOTS / f"{name}.png", full_page=True)

    def accessible(self) -> None:
        """By axe-core's rules for WCAG 2.2 A and AA, and its best practices."""
        self.page.evaluate(AXE.read_text())
        found = self.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        bad = [
            f"{one['id']}: {one['help']} at {[node['target'] for node in one['nodes']][:4]}"
            for one in found["violations"]
            if one["impact"] in SERIOUS
        ]
        assert not bad, bad
        assert len(found["passes"]) > 5


@pytest.fixture
def seat(chromium: Any, live: Running, request: pytest.FixtureRequest) -> Generator[Seat]:
    """Parametrised indirectly with options of a browser context."""
    options = {"viewport": {"width": 1280, "height": 900}, **getattr(request, "param", {})}
    context = chromium.new_context(**options)
    page = context.new_page()
    made = Seat(page, live.url)
    ours = urlsplit(live.url).netloc

    def watch(route: Any) -> None:
        if urlsplit(route.request.url).netloc != ours:
            made.strangers.append(route.request.url)
            route.abort()
        else:
            route.continue_()

    context.route("**/*", watch)
    page.on("console", lambda said: made.errors.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: made.errors.append(str(error)))
    yield made
    context.close()
    assert not made.errors, json.dumps(made.errors, indent=1)
    assert not made.strangers, made.strangers
