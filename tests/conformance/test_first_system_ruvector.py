"""What the first system's RuVector provider did wrong against a ruvLLM server, and what is right; over real sockets.

It never worked: it read fields that the server does not send, and what looked like its answers was Ollama's.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest

from runtime.assemble import Workshop, policy_of
from runtime.catalog import Catalog
from runtime.edge_provider import EdgeProvider, Senses
from runtime.gateway import Gateway
from runtime.outcome import Completion, Delta, FinishReason, Outcome, StreamEnd, StreamStart
from runtime.request import CostLimits, Message, Request, Role, TextPart, Tool, ask, user
from runtime.settings import BadSettings, Settings, effective, load
from tests.fakes import ruvector
from tests.fakes.chance import Steady
from tests.fakes.clock import FakeClock
from tests.fakes.upstream import Upstream, closed_port, reply

HOW = pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
OPEN_S = 40.0
"""Longer than a breaker stays open, jitter included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """The three servers, and a gateway over them by the settings that a user would write."""

    server: Upstream
    ollama: Upstream
    embedded: Upstream
    providers: dict[str, EdgeProvider]
    gateway: Gateway
    clock: FakeClock

    async def asked(self, request: Request | None = None, *, stream: bool = False) -> Completion:
        request = replace(request or ask("hi"), stream=stream, model=request.model if request else "rv")
        outcome = await self._streamed(request) if stream else await self.gateway.complete(request)
        assert isinstance(outcome, Completion), outcome
        return outcome

    async def _streamed(self, request: Request) -> Outcome:
        """Its outcome, once what was shown was seen to be the same."""
        events = [event async for event in self.gateway.stream(request)]
        *shown, end = events
        assert isinstance(end, StreamEnd)
        outcome = end.outcome
        if isinstance(outcome, Completion):
            start, *deltas = shown
            assert isinstance(start, StreamStart)
            assert (start.provider, start.model) == (outcome.provider, outcome.model)
            assert "".join(one.text for one in deltas if isinstance(one, Delta)) == outcome.text
        return outcome

    def asked_of_ollama(self) -> list[str]:
        return [one.json()["model"] for one in self.ollama.requests if one.path == "/api/chat"]


@asynccontextmanager
async def world(**rv: Any) -> AsyncGenerator[World]:
    clock = FakeClock()
    async with Upstream() as server, Upstream() as ollama, Upstream() as embedded:
        ruvector.ruvllm(server)
        ruvector.ollama(ollama)
        ruvector.embedded(embedded)
        said = Settings.model_validate(
            {
                "providers": {
                    "rv": {"kind": "ruvector", "base_url": server.url, **rv},
                    "ollama": {"kind": "ollama", "base_url": ollama.url},
                    "local": {"kind": "local", "base_url": embedded.url},
                },
                "routes": {"safe": {"targets": ["rv"], "residency": ["eu"]}},
            }
        )
        settings = effective(said, {}).settings
        catalog = Catalog(settings)
        workshop = Workshop(senses=Senses(clock=clock, wall=clock), rng=Steady(), sleep=clock.sleep, env={})
        providers = {name: workshop.provider(name, settings, catalog=catalog) for name in settings.providers}
        policy = policy_of(settings, providers, catalog)
        gateway = Gateway(policy, clock=clock, sleep=clock.sleep, rng=random.Random(1))
        try:
            yield World(
                server=server, ollama=ollama, embedded=embedded, providers=providers, gateway=gateway, clock=clock
            )
        finally:
            await gateway.close()


def who(answer: Completion) -> tuple[str, str, str]:
    return answer.provider, answer.model, answer.text


RUVLLM = ("rv", "ruvllm-1.2b", "ruvLLM speaks")
OLLAMA = ("ollama", "qwen2.5:0.5b", "Ollama speaks")
LOCAL = ("local", "smollm2-135m", "SmolLM speaks")


@HOW
async def test_the_servers_own_fields_are_read(stream: bool) -> None:
    """There: no content, 0 tokens, finish reason "length", from a provider "custom"."""
    async with world() as it:
        answer = await it.asked(stream=stream)
    assert who(answer) == RUVLLM
    assert answer.choices[0].finish_reason is FinishReason.STOP
    assert answer.usage.estimated
    assert answer.usage.input_tokens > 0
    assert answer.usage.output_tokens > 0
    assert answer.extra["confidence"] == 0.7


async def test_a_stream_is_the_servers_whole_answer_and_never_a_pretence_of_tokens() -> None:
    async with world() as it:
        events = [event async for event in it.gateway.stream(ask("hi", model="rv", stream=True))]
    assert [one.text for one in events if isinstance(one, Delta) and one.text] == ["ruvLLM speaks"]


async def test_nothing_is_asked_of_the_server_that_it_does_not_have() -> None:
    """There: /v1/models, /v1/chat/completions, /v1/sona and /v1/hnsw, each failure hidden by a default value."""
    async with world() as it:
        rv = it.providers["rv"]
        await it.asked()
        await it.asked(stream=True)
        assert (await rv.health_check()).healthy
        assert {one.model for one in await rv.list_models()} >= {"ruvector-auto", "ruvector-fast"}
        await rv.usage("all")
        await rv.status()
        assert {(one.method, one.path) for one in it.server.requests} == {("POST", "/query"), ("GET", "/health")}


async def test_a_server_that_is_ill_is_not_called_healthy_by_default() -> None:
    async with world() as it:
        it.server.on("/health", ruvector.said({"status": "starting", "version": "0.1.0"}))
        assert not (await it.providers["rv"].health_check()).healthy
        it.server.on("/health", reply(b"{}"))
        assert not (await it.providers["rv"].health_check()).healthy


@HOW
async def test_without_the_server_ollama_answers_under_its_own_name(stream: bool) -> None:
    """There: none for streams; and what passed for RuVector was Ollama."""
    async with world() as it:
        ruvector.broken(it.server)
        answer = await it.asked(stream=stream)
        assert who(answer) == OLLAMA
        assert [(one.provider, one.outcome) for one in answer.attempts] == [("rv", "unavailable"), ("ollama", "ok")]


@HOW
async def test_without_ollama_the_embedded_model_answers_under_its_own_name(stream: bool) -> None:
    async with world() as it:
        await it.server.stop()
        await it.ollama.stop()
        assert who(await it.asked(stream=stream)) == LOCAL


@HOW
async def test_an_ollama_that_lacks_the_model_is_no_end(stream: bool) -> None:
    async with world() as it:
        ruvector.broken(it.server)
        ruvector.ollama(it.ollama, installed=())
        assert who(await it.asked(stream=stream)) == LOCAL


@HOW
async def test_the_server_answers_again_once_it_is_back(stream: bool) -> None:
    """There: after one failure Ollama answered for good."""
    async with world() as it:
        ruvector.broken(it.server)
        for _ in range(8):
            assert who(await it.asked(stream=stream)) == OLLAMA
        asked = len(it.server.requests)
        assert asked == 5, "its breaker is open: nobody waits for it any more"
        ruvector.ruvllm(it.server)
        it.clock.advance(OPEN_S)
        assert who(await it.asked(stream=stream)) == RUVLLM
        assert len(it.server.requests) == asked + 1


@HOW
async def test_a_failure_or_two_do_not_make_the_fallback_stick(stream: bool) -> None:
    async with world() as it:
        it.server.once("/query", reply(b"inference failed", status=500))
        assert who(await it.asked(stream=stream)) == OLLAMA
        assert who(await it.asked(stream=stream)) == RUVLLM


@pytest.mark.parametrize("name", ["ruvector-auto", "ruvector-fast", "ruvector-quality", "ruvector-balanced"])
async def test_no_name_of_the_servers_own_is_sent_to_ollama_as_a_model(name: str) -> None:
    async with world() as it:
        ruvector.broken(it.server)
        await it.asked(ask("hi", model=f"rv/{name}"))
        assert it.asked_of_ollama() == ["qwen2.5:0.5b"]


@HOW
@pytest.mark.parametrize("name", ["tinyllama", "smollm:135m", "somebody/their-model:7b"])
async def test_any_model_of_ollamas_may_be_named(name: str, stream: bool) -> None:
    async with world() as it:
        ruvector.broken(it.server)
        ruvector.ollama(it.ollama, installed=(name,))
        assert who(await it.asked(ask("hi", model=f"rv/{name}"), stream=stream)) == ("ollama", name, "Ollama speaks")


async def test_the_fallback_is_what_the_settings_say() -> None:
    async with world(fallbacks=["ollama/tinyllama"]) as it:
        ruvector.broken(it.server)
        assert who(await it.asked()) == ("ollama", "tinyllama", "Ollama speaks")
    async with world(fallbacks=[]) as it:
        await it.server.stop()
        outcome = await it.gateway.complete(ask("hi", model="rv"))
        assert not isinstance(outcome, Completion)
        assert it.ollama.requests == []
        assert it.embedded.requests == []


async def test_a_provider_whose_fallback_answers_is_not_passed_over() -> None:
    """There: it called itself unavailable, so that the manager never got as far as the fallback."""
    async with world() as it:
        ruvector.broken(it.server)
        for _ in range(8):
            await it.asked()
        assert not (await it.providers["rv"].status()).available
        assert (await it.providers["ollama"].status()).available
        assert who(await it.asked()) == OLLAMA


async def test_each_backend_has_a_breaker_of_its_own() -> None:
    async with world() as it:
        ruvector.broken(it.server)
        await it.ollama.stop()
        for _ in range(8):
            assert who(await it.asked()) == LOCAL
        assert not (await it.providers["ollama"].status()).available
        assert (await it.providers["local"].status()).available


@HOW
async def test_what_the_server_cannot_do_goes_straight_to_who_can(stream: bool) -> None:
    tool = Tool(name="add", parameters={"type": "object", "properties": {}})
    async with world() as it:
        answer = await it.asked(replace(ask("hi", model="rv"), tools=(tool,)), stream=stream)
        assert answer.provider == "ollama"
        assert it.server.requests == []


async def test_who_may_not_see_a_request_is_no_fallback_for_it() -> None:
    """A route's tags hold for who stands behind its targets, too; and so does a bound on quality."""
    async with world(tags=["eu"]) as it:
        assert who(await it.asked(ask("hi", model="safe"))) == RUVLLM
        ruvector.broken(it.server)
        assert not isinstance(await it.gateway.complete(ask("hi", model="safe")), Completion)
        bound = replace(ask("hi", model="rv"), cost=CostLimits(min_quality=0.99))
        assert not isinstance(await it.gateway.complete(bound), Completion)
        assert it.ollama.requests == []
        assert it.embedded.requests == []


async def test_the_whole_conversation_is_asked_and_strangers_share_no_session() -> None:
    """There: the last message and one system message; and each request's id was a session."""
    talk = (
        Message(role=Role.SYSTEM, parts=(TextPart("be brief"),)),
        Message(role=Role.SYSTEM, parts=(TextPart("be kind"),)),
        user("my name is Ada"),
        Message(role=Role.ASSISTANT, parts=(TextPart("hello Ada"),)),
        user("who am I?"),
    )
    async with world() as it:
        await it.asked(Request(messages=talk, model="rv"))
        (body,) = [one.json() for one in it.server.requests]
    assert all(message.text in body["query"] for message in talk)
    assert body.keys() == {"query"}


@pytest.mark.parametrize("key", ["enableSona", "sonaEnabled", "routerStrategy", "hnswM"])
def test_a_setting_that_nobody_reads_is_refused(key: str, tmp_path: Any) -> None:
    """There: enableSona was one of its settings, sonaEnabled was what its test passed; neither did anything."""
    file = tmp_path / "raygate.yaml"
    file.write_text(f"providers: {{rv: {{kind: ruvector, base_url: 'http://127.0.0.1:3000', {key}: true}}}}")
    with pytest.raises(BadSettings, match=key):
        load(file, {})


async def test_a_caller_who_leaves_leaves_all_of_them() -> None:
    async with world() as it:
        hangs = asyncio.Event()

        async def hang(exchange: Any) -> None:
            hangs.set()
            await exchange.gone.wait()

        it.server.on("/query", hang)
        task = asyncio.create_task(it.gateway.complete(ask("hi", model="rv")))
        await hangs.wait()
        task.cancel()
        async with asyncio.timeout(5):
            await it.server.until(lambda: it.server.open_connections == 0)
        assert it.ollama.requests == []


def test_a_server_in_the_environment_has_its_fallback_without_any_setting() -> None:
    found = effective(Settings(), {"RUVLLM_URL": f"http://127.0.0.1:{closed_port()}"}).settings.providers
    assert found["ruvllm"].fallbacks == ("ollama/qwen2.5:0.5b", "local")
    assert found["ollama"].url == "http://127.0.0.1:11434"
    assert found["ollama"].models == ("qwen2.5:0.5b",), "other bare names stay with who serves them"


def test_the_ollama_that_there_is_is_the_one_that_is_asked() -> None:
    said = {
        "providers": {
            "rv": {"kind": "ruvllm", "base_url": "http://127.0.0.1:3000"},
            "box": {"kind": "ollama", "base_url": "http://127.0.0.1:4", "default_model": "smollm:360m"},
        },
        "local": {"enabled": False},
    }
    found = effective(Settings.model_validate(said), {})
    assert found.settings.providers["rv"].fallbacks == ("box/smollm:360m",)
    assert "ollama" not in found.settings.providers
    assert effective(Settings(), {}).settings.providers.keys() == {"local"}, "without a ruvLLM there is no Ollama"


def test_a_fallback_that_leads_nowhere_is_named() -> None:
    said = {"providers": {"rv": {"kind": "ruvllm", "base_url": "http://h", "fallbacks": ["olama/qwen2.5:0.5b"]}}}
    (warning,) = effective(Settings.model_validate(said), {}).warnings
    assert "no provider `olama`" in warning
