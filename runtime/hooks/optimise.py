"""`optimise`: words a request as each provider serves it best. Applied to each candidate by itself, just before it is
asked, so that no provider sees what is meant for another.

    anthropic   prompt caching: breakpoints behind the tools, the instructions and the last turn
                (a prefix that was marked is read at a tenth of its price; writing it costs a quarter more)
    openai      tools in the order of their names, so that equal prompts have equal prefixes; a `prompt_cache_key` by
                tenant, instructions and tools, so that they meet the same cache; `predict: true`: the file that is to
                be changed as predicted output
    google      safety settings, the caller's own (`safety_settings` in an OpenAI-shaped body) or those of `safety`

What the caller says himself goes before all of it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from runtime.hooks.payloads import Attempted
from runtime.request import CacheHint, Json, Message, Request, Role, TextPart, Tool
from runtime.tokens import estimate_tokens

HARMS = ("harassment", "hate_speech", "sexually_explicit", "dangerous_content", "civic_integrity")
THRESHOLDS = ("OFF", "BLOCK_NONE", "BLOCK_ONLY_HIGH", "BLOCK_MEDIUM_AND_ABOVE", "BLOCK_LOW_AND_ABOVE")

PREDICTS = re.compile(r"(?:.*/)?(gpt-4o(?!.*(audio|realtime|search|transcribe|tts))|gpt-4\.1)")
"""Models that take predicted outputs, by OpenAI's guide."""

BLOCK = re.compile(r"```[^\n`]*\n(.*?)\n?```", re.DOTALL)

SAFETY = ("safety_settings", "safetySettings")


class Optimise:
    """`anthropic_cache`: `ttl` is `5m` or `1h`; prompts below `min_tokens` (an estimate) are not worth it, and below
    1,024 no model caches. `predict` counts what is predicted and not said as output: it is off unless asked for."""

    def __init__(
        self,
        *,
        anthropic_cache: bool = True,
        ttl: str | None = None,
        min_tokens: int = 1_024,
        openai_prefix: bool = True,
        predict: bool = False,
        predict_chars: int = 400,
        safety: Mapping[str, str] | None = None,
    ) -> None:
        if ttl not in (None, "5m", "1h"):
            raise ValueError("`ttl` should be `5m` or `1h`")
        for harm, threshold in (safety or {}).items():
            if harm not in HARMS or threshold not in THRESHOLDS:
                raise ValueError(f"`safety` should say {', '.join(HARMS)}, each one of {', '.join(THRESHOLDS)}")
        self._hint = CacheHint(ttl=ttl)
        self._min_tokens = min_tokens
        self._marks = anthropic_cache
        self._prefix = openai_prefix
        self._predict_chars = predict_chars if predict else None
        self._safety: list[Json] = [
            {"category": f"HARM_CATEGORY_{harm.upper()}", "threshold": threshold}
            for harm, threshold in (safety or {}).items()
        ]
        self._by_kind = {"anthropic": self._anthropic, "openai": self._openai, "google": self._google}

    def attempt(self, made: Attempted) -> Request | None:
        better = self._by_kind.get(made.kind)
        return None if better is None else better(made)

    # Anthropic.

    def _anthropic(self, made: Attempted) -> Request | None:
        request = made.request
        if not self._marks or _has_hints(request) or estimate_tokens(request) < self._min_tokens:
            return None
        tools = _marked_last(request.tools, self._hint)
        messages = list(request.messages)
        system = [at for at, one in enumerate(messages) if one.role in (Role.SYSTEM, Role.DEVELOPER) and one.parts]
        rest = [at for at, one in enumerate(messages) if one.role in (Role.USER, Role.TOOL) and one.parts]
        for at in (*system[-1:], *rest[-1:]):
            messages[at] = _marked(messages[at], self._hint)
        return replace(request, tools=tools, messages=tuple(messages))

    # OpenAI.

    def _openai(self, made: Attempted) -> Request | None:
        request = made.request
        changes: dict[str, Any] = {}
        if self._prefix:
            tools = tuple(sorted(request.tools, key=_name))
            if tools != request.tools:
                changes["tools"] = tools
            options = request.provider_options.get(made.provider, {})
            said = "prompt_cache_key" in options or "prompt_cache_key" in request.extra
            if not said and (key := _prefix_key(request, tools)):
                changes["provider_options"] = _with(request, made.provider, {"prompt_cache_key": key})
        if self._predict_chars is not None and (said_before := self._predicted(made)):
            request_now = replace(request, **changes)
            content = {"prediction": {"type": "content", "content": said_before}}
            changes["provider_options"] = _with(request_now, made.provider, content)
        return replace(request, **changes) if changes else None

    def _predicted(self, made: Attempted) -> str:
        """The last block of the last turn, where the API takes it: no tools, one answer, no limit, no penalties."""
        request, sampling = made.request, made.request.sampling
        last = request.messages[-1] if request.messages else None
        if (
            last is None
            or last.role is not Role.USER
            or not PREDICTS.match(made.model)
            or request.tools
            or request.choices != 1
            or sampling.max_tokens is not None
            or sampling.presence_penalty
            or sampling.frequency_penalty
            or "prediction" in request.extra
            or "logprobs" in request.extra
        ):
            return ""
        blocks = BLOCK.findall(last.text)
        return blocks[-1] if blocks and len(blocks[-1]) >= (self._predict_chars or 0) else ""

    # Google.

    def _google(self, made: Attempted) -> Request | None:
        request = made.request
        options = request.provider_options.get(made.provider, {})
        own = next((request.extra[name] for name in SAFETY if name in request.extra), None)
        said = own if isinstance(own, list) and request.dialect != "google" else None
        wanted = said or self._safety
        if not wanted or "safetySettings" in options or (request.dialect == "google" and own is not None):
            return None
        extra = {name: one for name, one in request.extra.items() if said is None or name not in SAFETY}
        return replace(request, extra=extra, provider_options=_with(request, made.provider, {"safetySettings": wanted}))


def _has_hints(request: Request) -> bool:
    if request.cache is not None:
        return True
    parts = (part for message in request.messages for part in (message, *message.parts))
    return any(getattr(one, "cache", None) is not None for one in (*request.tools, *parts))


def _marked_last(tools: Sequence[Any], hint: CacheHint) -> tuple[Any, ...]:
    if not tools or not isinstance(tools[-1], Tool):
        return tuple(tools)
    return (*tools[:-1], replace(tools[-1], cache=hint))


def _marked(message: Message, hint: CacheHint) -> Message:
    """Its last part, where that can bear a mark; else it stays as it is."""
    last = message.parts[-1]
    if isinstance(last, TextPart) and last.text.strip():
        return replace(message, parts=(*message.parts[:-1], replace(last, cache=hint)))
    return message


def _name(tool: Any) -> tuple[str, str]:
    return (getattr(tool, "name", "") or getattr(tool, "kind", ""), "")


def _prefix_key(request: Request, tools: Sequence[Any]) -> str:
    """The same for prompts that begin alike; empty where nothing is said before the first turn."""
    system = [one.text for one in request.messages if one.role in (Role.SYSTEM, Role.DEVELOPER)]
    if not system and not tools:
        return ""
    said = "\x00".join((request.tenant, *system, *(_name(one)[0] for one in tools)))
    return hashlib.sha256(said.encode()).hexdigest()[:32]


def _with(request: Request, provider: str, more: Mapping[str, Json]) -> Mapping[str, Mapping[str, Json]]:
    return {**request.provider_options, provider: {**request.provider_options.get(provider, {}), **more}}
