"""What there is: health, versions, documents, models, and how many tokens a request would be."""

from __future__ import annotations

from runtime.dialects.anthropic import render as anthropic
from runtime.dialects.anthropic.parse import parse_count
from runtime.dialects.ollama.installed import (
    name_of,
    parse_show,
    render_running,
    render_show,
    render_tags,
    render_version,
)
from runtime.dialects.openai_surface import render_models
from runtime.models import ModelInfo
from runtime.outcome import Failure
from runtime.tokens import expected_tokens
from serve import openapi
from serve.asked import Asked, no_such_model, refuse
from serve.http import Headers
from serve.version import VERSION

_TEXT: Headers = [(b"content-type", b"text/plain; charset=utf-8")]
_PAGE: Headers = [
    (b"content-type", b"text/html; charset=utf-8"),
    (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'"),
]


async def greet(asked: Asked) -> None:
    """Ollama's clients look here for a sign of life."""
    await asked.exchange.reply(200, b"Raygate is running. GET /docs says what it can do.\n", _TEXT)


async def alive(asked: Asked) -> None:
    await asked.reply({"status": "alive"})


async def readiness(asked: Asked) -> None:
    """Ready once the settings have come and there is anyone to ask; asks nobody."""
    ready = asked.edge.ready and bool(asked.edge.gateway.policy.upstreams)
    said = {"status": "ready" if ready else "no provider is configured"}
    await asked.exchange.reply_json(200 if ready else 503, said)


async def version(asked: Asked) -> None:
    await asked.reply({"version": VERSION})


async def openapi_document(asked: Asked) -> None:
    await asked.reply(openapi.document(VERSION))


async def docs(asked: Asked) -> None:
    await asked.exchange.reply(200, openapi.page(VERSION).encode(), _PAGE)


async def models(asked: Asked) -> None:
    """In Anthropic's form, with its pages, for Anthropic's clients."""
    infos = await _listed(asked)
    if asked.exchange.surface.name != "anthropic":
        await asked.reply(render_models(map(name_of, infos)))
        return
    query = asked.exchange.query
    limit = query.get("limit", "")
    await asked.reply(
        anthropic.render_models(
            infos,
            limit=int(limit) if limit.isascii() and limit.isdigit() and int(limit) > 0 else None,
            after_id=query.get("after_id", ""),
            before_id=query.get("before_id", ""),
        )
    )


async def _listed(asked: Asked) -> tuple[ModelInfo, ...]:
    """All models of all providers, and by which names they are chosen among."""
    return (*await asked.target.list_models(), *asked.edge.gateway.policy.catalog.tastes())


async def _found(asked: Asked, name: str) -> ModelInfo | None:
    taste = next((one for one in asked.edge.gateway.policy.catalog.tastes() if one.model == name), None)
    return taste or await asked.target.model_info(name)


async def model(asked: Asked) -> None:
    name = asked.path.removeprefix("/models/")
    info = await _found(asked, name)
    if info is None:
        raise no_such_model(name)
    if asked.exchange.surface.name == "anthropic":
        await asked.reply(anthropic.render_model(info))
    else:
        await asked.reply(render_models([name_of(info)])["data"][0])


async def count_tokens(asked: Asked) -> None:
    """An estimate: no provider is asked."""
    request = parse_count(await asked.json())
    if isinstance(request, Failure):
        refuse(request)
    counted = expected_tokens(request, request.model, asked.edge.gateway.policy.ratios)
    await asked.reply(anthropic.render_count(counted, estimated=True))


async def ollama_version(asked: Asked) -> None:
    await asked.reply(render_version())


async def tags(asked: Asked) -> None:
    await asked.reply(render_tags(await _listed(asked)))


async def running(asked: Asked) -> None:
    await asked.reply(render_running(await asked.target.list_models()))


async def show(asked: Asked) -> None:
    name = parse_show(await asked.json())
    if isinstance(name, Failure):
        refuse(name)
    info = await _found(asked, name)
    if info is None:
        raise no_such_model(name)
    await asked.reply(render_show(info))
