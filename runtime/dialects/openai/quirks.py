"""How hosts and model families that speak OpenAI differ, as data.

A row of `HOSTS` says what a host takes; a row of `FAMILIES` what a model takes, wherever it is hosted. Either can be
overruled in a provider's `options`: `developer_role`, `top_k`, `stream_options`, `reasoning_model` (booleans) and
`max_tokens_field`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from urllib.parse import urlsplit

from runtime.dialects.base import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Quirks:
    """What one host and model take.

    `developer_role`: knows the role; otherwise developer is sent as system. `top_k`: takes it; otherwise it is
    dropped by name. `stream_options`: takes it; otherwise streams report no usage. `fixed`: fields that the model
    does not take.
    """

    developer_role: bool = False
    top_k: bool = True
    stream_options: bool = True
    max_tokens_field: str = "max_tokens"
    fixed: frozenset[str] = frozenset()


ANY_HOST = Quirks()
"""llama.cpp, vLLM and the like."""

HOSTS: tuple[tuple[str, Quirks], ...] = (
    ("api.openai.com", Quirks(developer_role=True, top_k=False)),
    ("openai.azure.com", Quirks(developer_role=True, top_k=False)),
    ("openrouter.ai", Quirks(developer_role=True)),
)

REASONING = frozenset({"temperature", "top_p", "frequency_penalty", "presence_penalty"})
"""Reasoning models answer 400 to these."""

PLAIN: frozenset[str] = frozenset()

FAMILIES: tuple[tuple[str, frozenset[str]], ...] = (
    ("gpt-5-chat", PLAIN),
    ("gpt-5", REASONING),
    ("o1", REASONING),
    ("o3", REASONING),
    ("o4", REASONING),
)
"""Model families that want `max_completion_tokens`, with what they refuse. The first that fits decides."""


def quirks_of(target: Target) -> Quirks:
    """What this target takes. `Target.options` overrule the tables."""
    found = _known(target.base_url, target.model)
    options = target.options
    if not options:
        return found

    def flag(name: str, *, otherwise: bool) -> bool:
        said = options.get(name)
        return said if isinstance(said, bool) else otherwise

    field = options.get("max_tokens_field")
    return Quirks(
        developer_role=flag("developer_role", otherwise=found.developer_role),
        top_k=flag("top_k", otherwise=found.top_k),
        stream_options=flag("stream_options", otherwise=found.stream_options),
        max_tokens_field=field if isinstance(field, str) else found.max_tokens_field,
        fixed=REASONING if flag("reasoning_model", otherwise=found.fixed is REASONING) else PLAIN,
    )


@lru_cache(maxsize=1024)
def _known(base_url: str, model: str) -> Quirks:
    try:
        host = urlsplit(base_url).hostname or ""
    except ValueError:
        host = ""
    found = next((row for name, row in HOSTS if host == name or host.endswith(f".{name}")), ANY_HOST)
    name = model.rsplit("/", 1)[-1]
    for family, fixed in FAMILIES:
        if name == family or name.startswith((f"{family}-", f"{family}.")):
            return replace(found, max_tokens_field="max_completion_tokens", fixed=fixed)
    return found
