"""How hosts and model families that speak OpenAI differ on the wire, as data.

A row of `HOSTS` says what a host takes. `RENAMED` are the model families whose limit has the newer name. What a model
takes of sampling is the catalogue's business. Every flag here can be overruled in a provider's `options`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Any, Literal
from urllib.parse import urlsplit

from runtime.dialects.base import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Quirks:
    """What one host and model take.

    developer_role      knows the role; otherwise developer is sent as system
    top_k               takes it; otherwise it is dropped by name
    stream_options      takes it; otherwise streams report no usage
    max_tokens_field    what the limit is called
    reasoning           how thinking is asked for: `reasoning_effort`, or an object `reasoning`
    thoughts            how earlier thoughts go back: not at all, as `reasoning_content`, as `reasoning_details`
    cache_control       takes prompt-caching markers
    video, file_url     takes video parts, and files by address
    media_results       takes more than text as the result of a tool
    """

    developer_role: bool = False
    top_k: bool = True
    stream_options: bool = True
    max_tokens_field: str = "max_tokens"
    reasoning: Literal["effort", "object"] = "effort"
    thoughts: Literal["none", "content", "details"] = "content"
    cache_control: bool = False
    video: bool = True
    file_url: bool = True
    media_results: bool = True


ANY_HOST = Quirks()
"""llama.cpp, vLLM and the like: what they do not know they mostly ignore."""

_OPENAI = Quirks(developer_role=True, top_k=False, thoughts="none", video=False, file_url=False, media_results=False)

OPENROUTER = Quirks(developer_role=True, reasoning="object", thoughts="details", cache_control=True)

HOSTS: tuple[tuple[str, Quirks], ...] = (
    ("api.openai.com", _OPENAI),
    ("openai.azure.com", _OPENAI),
    ("openrouter.ai", OPENROUTER),
)

RENAMED = ("gpt-5", "o1", "o3", "o4")
"""Model families that want `max_completion_tokens`, wherever they are hosted."""

_NAMES = frozenset(one.name for one in fields(Quirks))


def quirks_of(target: Target, host: Quirks | None = None) -> Quirks:
    """What this target takes: as `host` says, else by its address. `Target.options` overrule the tables."""
    found = _known(target.base_url, target.model, host)
    told: dict[str, Any] = {
        name: value
        for name, value in target.options.items()
        if name in _NAMES and type(value) is type(getattr(found, name))
    }
    return replace(found, **told) if told else found


@lru_cache(maxsize=1024)
def _known(base_url: str, model: str, host: Quirks | None) -> Quirks:
    found = host or _host(base_url)
    name = model.rsplit("/", 1)[-1]
    if any(name == family or name.startswith((f"{family}-", f"{family}.")) for family in RENAMED):
        return replace(found, max_tokens_field="max_completion_tokens")
    return found


def _host(base_url: str) -> Quirks:
    try:
        host = urlsplit(base_url).hostname or ""
    except ValueError:
        host = ""
    return next((row for name, row in HOSTS if host == name or host.endswith(f".{name}")), ANY_HOST)
