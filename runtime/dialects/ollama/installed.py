"""What there is to ask: `/api/tags`, `/api/ps`, `/api/show`, `/api/version`.

Models are named `provider/model` and marked as remote ones, as Ollama marks those of its cloud. A size, a family or a
quantisation that nobody knows is empty, a date is 1970's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import sha256

from runtime.dialects.fields import Wrong, obj, text
from runtime.dialects.ollama.render import moment_of
from runtime.models import Feature, ModelInfo
from runtime.outcome import Failure
from runtime.request import Json

API_VERSION = "0.13.0"
"""Whose API this is. Clients compare it with the oldest that they support."""

NEVER = "2999-12-31T00:00:00Z"
"""When a model that nobody unloads leaves memory; clients take a past moment for a model that stops."""

_ARCHITECTURE = "raygate"
_CAPABILITIES: Mapping[Feature, str] = {
    Feature.TOOLS: "tools",
    Feature.VISION: "vision",
    Feature.REASONING: "thinking",
    Feature.EMBEDDINGS: "embedding",
}


def render_tags(infos: Iterable[ModelInfo], *, modified_s: int = 0) -> dict[str, Json]:
    """The body of GET /api/tags."""
    return {"models": [{**_entry(info), "modified_at": moment_of(modified_s)} for info in infos]}


def render_running(infos: Iterable[ModelInfo]) -> dict[str, Json]:
    """The body of GET /api/ps."""
    return {"models": [_running(info) for info in infos]}


def render_show(info: ModelInfo, *, modified_s: int = 0) -> dict[str, Json]:
    """The body of POST /api/show."""
    known: dict[str, Json] = {"general.architecture": _ARCHITECTURE, "general.basename": info.model}
    if info.context_length is not None:
        known[f"{_ARCHITECTURE}.context_length"] = info.context_length
    if info.max_output_tokens is not None:
        known[f"{_ARCHITECTURE}.max_output_tokens"] = info.max_output_tokens
    return {
        "modelfile": f"FROM {name_of(info)}\n",
        "parameters": "",
        "template": "{{ .Prompt }}",
        "details": _details(),
        "model_info": known,
        "capabilities": capabilities_of(info),
        "modified_at": moment_of(modified_s),
        **_remote(info),
    }


def render_version(version: str = API_VERSION) -> dict[str, Json]:
    """The body of GET /api/version."""
    return {"version": version}


def parse_show(body: Json) -> str | Failure:
    """The model that a body of POST /api/show names; older clients call it `name`."""
    try:
        return _named(obj(body, "body"))
    except Wrong as wrong:
        return wrong.failure()


def name_of(info: ModelInfo) -> str:
    """What a client asks for to get this model."""
    return f"{info.provider}/{info.model}" if info.provider else info.model


def capabilities_of(info: ModelInfo) -> list[Json]:
    """What it is known to do, in Ollama's words. What only makes vectors completes nothing."""
    words: list[Json] = [] if info.only_embeds else ["completion"]
    return words + [word for feature, word in _CAPABILITIES.items() if feature in info.features]


def _named(fields: dict[str, Json]) -> str:
    named = fields.get("model") or fields.get("name")
    if not named:
        raise Wrong("model", "model is missing: name a model that GET /api/tags lists.")
    return text(named, "model")


def _entry(info: ModelInfo) -> dict[str, Json]:
    name = name_of(info)
    return {
        "name": name,
        "model": name,
        **_remote(info),
        "size": 0,
        # Clients show its first letters, so there must be some; here it tells names apart, not contents.
        "digest": sha256(name.encode()).hexdigest(),
        "details": _details(),
    }


def _running(info: ModelInfo) -> dict[str, Json]:
    length = {} if info.context_length is None else {"context_length": info.context_length}
    return {**_entry(info), "size_vram": 0, "expires_at": NEVER, **length}


def _remote(info: ModelInfo) -> dict[str, Json]:
    return {"remote_model": info.model, "remote_host": info.provider} if info.provider else {}


def _details() -> dict[str, Json]:
    return {
        "parent_model": "",
        "format": "",
        "family": "",
        "families": [],
        "parameter_size": "",
        "quantization_level": "",
    }
