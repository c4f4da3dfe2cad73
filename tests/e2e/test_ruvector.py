"""A RuVector provider in a Raygate that runs: its server dies, others answer under their own names, it comes back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from runtime.settings import effective
from tests.e2e.conftest import Live, settings
from tests.e2e.test_http import PATHS
from tests.fakes import ruvector
from tests.fakes.upstream import Upstream

BREAKER = {"failures": 3, "open_s": 0.5, "open_max_s": 0.5, "ramp_s": 0.0}


@pytest.fixture(autouse=True, scope="module")
def as_it_was(live: Live) -> Iterator[None]:
    yield
    live.switch()


def _switch(live: Live, path: str, server: Upstream, ollama: Upstream) -> None:
    providers: dict[str, Any] = {
        **settings().to_document()["providers"],
        "rv": {"kind": "ruvector", "base_url": server.url},
        "ollama": {"kind": "ollama", "base_url": ollama.url},
    }
    # As `raygate up` and `raygate config apply` hand settings over.
    found = effective(settings(providers=providers), {}).settings.to_document()["providers"]
    # What nobody calls is not looked after here either: whoever asks finds out.
    live.switch(data_path=path, providers=found, breaker=BREAKER, health={"every_s": 0})
    for name in ("rv", "ollama"):
        live.control(live.provider(name), "whereabouts")


async def asked(client: httpx.AsyncClient, *, stream: bool) -> tuple[str, str, str]:
    """Provider and model by the headers, and the text; the body names the same model."""
    body = {"model": "rv", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 8, "stream": stream}
    reply = await client.post("/v1/chat/completions", json=body)
    assert reply.status_code == 200, reply.text
    if stream:
        data = [line.removeprefix("data: ") for line in reply.text.splitlines() if line.startswith("data: ")]
        assert data[-1] == "[DONE]"
        chunks = [json.loads(one) for one in data[:-1]]
        text = "".join(choice["delta"].get("content") or "" for one in chunks for choice in one["choices"])
        models = {one["model"] for one in chunks}
    else:
        said = reply.json()
        text, models = said["choices"][0]["message"]["content"], {said["model"]}
    provider, model = reply.headers["x-raygate-provider"], reply.headers["x-raygate-model"]
    assert {one.removeprefix(f"{provider}/") for one in models} == {model}
    return provider, model, text


async def until_it_is(client: httpx.AsyncClient, provider: str, *, stream: bool) -> tuple[str, str, str]:
    """All requests are answered; sooner or later by this one."""
    for _ in range(400):
        if (answer := await asked(client, stream=stream))[0] == provider:
            return answer
        await asyncio.sleep(0.05)
    raise AssertionError(f"never {provider}")


@pytest.mark.parametrize("path", PATHS)
async def test_the_fallbacks_answer_by_name_and_the_server_again_once_it_is_back(live: Live, path: str) -> None:
    async with Upstream() as server, Upstream() as ollama:
        ruvector.ruvllm(server)
        ruvector.ollama(ollama)
        await asyncio.to_thread(_switch, live, path, server, ollama)
        async with httpx.AsyncClient(base_url=live.url, headers=live.headers, timeout=60) as client:
            for stream in (False, True):
                found = await until_it_is(client, "rv", stream=stream)
                assert found == ("rv", "ruvllm-1.2b", "ruvLLM speaks")
            ruvector.broken(server)
            for stream in (False, True, False, True, False, True):
                found = await until_it_is(client, "ollama", stream=stream)
                assert found == ("ollama", "qwen2.5:0.5b", "Ollama speaks")
            ruvector.ollama(ollama, installed=())
            for stream in (False, True):
                provider, model, text = await asked(client, stream=stream)
                assert (provider, model) == ("local", "smollm2-135m")
                assert text
            ruvector.ruvllm(server)
            for stream in (False, True):
                assert (await until_it_is(client, "rv", stream=stream))[1] == "ruvllm-1.2b"
