"""CONTRIBUTING.md's provider in one module, done as the page says, over a socket to a server that speaks Acme's."""

from __future__ import annotations

import random
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from runtime.assemble import Workshop, policy_of
from runtime.catalog import Catalog
from runtime.edge_provider import Senses
from runtime.gateway import Gateway
from runtime.hooks.build import problems_of
from runtime.outcome import Completion, Delta, Failure, FailureKind, StreamEnd
from runtime.request import Request, Tool, ask
from runtime.settings import Settings
from tests.docs.pages import ROOT, Block, blocks
from tests.fakes.clock import FakeClock
from tests.fakes.upstream import Upstream, reply

JSON = {"Content-Type": "application/json"}


def steps() -> tuple[Block, Block]:
    """The module and the settings, as the page has them under its heading."""
    page = ROOT / "CONTRIBUTING.md"
    heading = page.read_text().splitlines().index("## A provider in one module") + 1
    module, settings = [one for one in blocks(page) if one.line > heading][:2]
    assert (module.language, settings.language) == ("python", "yaml")
    return module, settings


@pytest.fixture
def on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "acme.py").write_text(steps()[0].text)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "acme", raising=False)


def followed(base_url: str = "http://127.0.0.1:9009/v1") -> Settings:
    """The page's settings, with the address of the server that stands for Acme's."""
    document = yaml.safe_load(steps()[1].text)
    assert document["providers"]["acme"]["base_url"] == "http://127.0.0.1:9009/v1"
    document["providers"]["acme"]["base_url"] = base_url
    return Settings.model_validate(document)


@asynccontextmanager
async def gateway(settings: Settings) -> AsyncIterator[Gateway]:
    clock = FakeClock()
    senses = Senses(clock=clock, wall=clock)
    workshop = Workshop(senses=senses, rng=random.Random(1), sleep=clock.sleep, env={"ACME_KEY": "k-1"})
    provider = workshop.provider("acme", settings, catalog=Catalog(settings))
    made = Gateway(policy_of(settings, {"acme": provider}), clock=clock, sleep=clock.sleep, rng=random.Random(1))
    try:
        yield made
    finally:
        await made.close()


def road_runner(said: str = "beep beep", **more: Any) -> Request:
    return replace(ask(said, model="acme/road-runner"), **more)


@pytest.mark.usefixtures("on_path")
async def test_the_module_gives_a_completion_with_its_price() -> None:
    async with Upstream() as acme, gateway(followed(f"{acme.url}/v1")) as asked:
        acme.on("/v1/answer", reply(b'{"says": "meep", "took": {"in": 1000, "out": 500}}', headers=JSON))
        request = road_runner()
        request = replace(request, sampling=replace(request.sampling, temperature=0.5, seed=7))
        answer = await asked.complete(request)
        assert isinstance(answer, Completion), answer
        assert (answer.text, answer.provider, answer.dropped) == ("meep", "acme", ("seed",))
        assert answer.cost is not None
        assert answer.cost.total_nanousd == 2_000_000
        (sent,) = acme.requests
        assert sent.headers["x-acme-key"] == "k-1"
        assert sent.json() == {
            "model": "road-runner",
            "turns": [{"by": "user", "says": "beep beep"}],
            "heat": 0.5,
            "longest": None,
        }


@pytest.mark.usefixtures("on_path")
@pytest.mark.parametrize("labelled", [JSON, {}])
async def test_whoever_wants_a_stream_gets_the_answer_in_one_piece(labelled: dict[str, str]) -> None:
    async with Upstream() as acme, gateway(followed(f"{acme.url}/v1")) as asked:
        acme.on("/v1/answer", reply(b'{"says": "meep", "took": {"in": 1, "out": 1}}', headers=labelled))
        events = [one async for one in asked.stream(road_runner(stream=True))]
    assert "".join(one.text for one in events if isinstance(one, Delta)) == "meep"
    assert isinstance(events[-1], StreamEnd)
    assert isinstance(events[-1].outcome, Completion)


@pytest.mark.usefixtures("on_path")
async def test_what_acme_cannot_is_refused_and_what_it_garbles_is_a_failure() -> None:
    async with Upstream() as acme, gateway(followed(f"{acme.url}/v1")) as asked:
        acme.on("/v1/answer", reply(b'{"says": 5}', headers=JSON))
        tool = Tool(name="run", description="", parameters={"type": "object"})
        refused = await asked.complete(road_runner(tools=(tool,)))
        garbled = await asked.complete(road_runner())
    assert isinstance(refused, Failure)
    assert refused.kind is FailureKind.UNSUPPORTED
    assert isinstance(garbled, Failure)
    assert garbled.kind is FailureKind.MALFORMED


@pytest.mark.usefixtures("on_path")
def test_a_dialect_that_cannot_be_found_is_named_with_its_key() -> None:
    assert problems_of(followed(), {}) == []
    for wrong, what in {
        "acme:Acne": "has no `Acne`",
        "acne:Acme": "PYTHONPATH",
        "openay": "there are anthropic",
        "json:JSONDecoder": "has no `encode`",
    }.items():
        settings = followed()
        provider = settings.providers["acme"].model_copy(update={"dialect": wrong})
        (problem,) = problems_of(settings.model_copy(update={"providers": {"acme": provider}}), {})
        assert problem.path == "providers.acme.dialect"
        assert what in problem.what, problem.what
