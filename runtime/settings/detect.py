"""Which providers the environment offers by itself, and the settings that result.

| variable | provider |
| --- | --- |
| OPENAI_API_KEY, with OPENAI_BASE_URL, OPENAI_ORG_ID, OPENAI_PROJECT_ID | openai |
| ANTHROPIC_API_KEY, else ANTHROPIC_AUTH_TOKEN, with ANTHROPIC_BASE_URL | anthropic |
| GOOGLE_API_KEY, else GEMINI_API_KEY | google |
| CO_API_KEY, else COHERE_API_KEY, with CO_API_URL | cohere |
| OPENROUTER_API_KEY | openrouter |
| OLLAMA_HOST (host, host:port or URL), with OLLAMA_API_KEY | ollama |
| RUVLLM_URL | ruvllm |

A detected provider holds the *name* of its key. An empty variable counts as unset.

A ruvLLM server may be away, and cannot stream, call tools or keep to a schema. Behind each stand an Ollama (the one
that there is, else the one at Ollama's own address) and the embedded model: as candidates like all others, so that
breakers, prices and the names in answers are theirs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from pydantic import ValidationError

from runtime.settings.model import ProviderKind, ProviderSettings, Reach, Settings
from runtime.settings.problems import BadSettings, Problem, nearest
from runtime.settings.report import problems_of
from runtime.settings.secrets import EnvReference

STAND_IN = "qwen2.5:0.5b"
"""What Ollama is asked for in the place of a ruvLLM server that chooses its model by itself."""


@dataclass(frozen=True, slots=True)
class Detected:
    """Providers by name, and sentences for whoever started us."""

    providers: Mapping[str, ProviderSettings] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Effective:
    """The settings with every provider there is, and sentences for whoever started us."""

    settings: Settings
    warnings: tuple[str, ...] = ()


def detect(env: Mapping[str, str]) -> Detected:
    """The providers whose keys are here. Raises `BadSettings` where an address makes no sense."""
    found: dict[str, ProviderSettings] = {}
    warnings: list[str] = []

    def add(kind: ProviderKind, *keys: str, variable: str = "", base_url: str = "", **more: Any) -> None:
        key = _first(env, *keys)
        secret = EnvReference(key) if key else None
        try:
            found[kind.value] = ProviderSettings(kind=kind, api_key=secret, base_url=base_url, **more)
        except ValidationError as error:
            problems = problems_of(error, ProviderSettings, lambda _: f"environment variable {variable}")
        else:
            return
        raise BadSettings([Problem(problem.where, "", problem.what) for problem in problems])

    if _first(env, "OPENAI_API_KEY"):
        asides = {"OpenAI-Organization": "OPENAI_ORG_ID", "OpenAI-Project": "OPENAI_PROJECT_ID"}
        add(
            ProviderKind.OPENAI,
            "OPENAI_API_KEY",
            variable="OPENAI_BASE_URL",
            base_url=env.get("OPENAI_BASE_URL", ""),
            headers={header: EnvReference(name) for header, name in asides.items() if env.get(name)},
        )
    if _first(env, *(keys := ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"))):
        # A token is sent as a bearer's, as their own SDK sends it.
        options = {} if env.get(keys[0]) else {"auth": "bearer"}
        address = env.get("ANTHROPIC_BASE_URL", "")
        add(ProviderKind.ANTHROPIC, *keys, variable="ANTHROPIC_BASE_URL", base_url=address, options=options)
    if _first(env, *(keys := ("GOOGLE_API_KEY", "GEMINI_API_KEY"))):
        add(ProviderKind.GOOGLE, *keys)
        if env.get(keys[0]) and env.get(keys[1]):
            warnings.append("GOOGLE_API_KEY and GEMINI_API_KEY are both set; GOOGLE_API_KEY is used")
    if _first(env, *(keys := ("CO_API_KEY", "COHERE_API_KEY"))):
        # Their own SDK takes it without the version, and takes one off that older SDKs wanted.
        address = env.get("CO_API_URL", "").rstrip("/").removesuffix("/v1").removesuffix("/v2")
        add(ProviderKind.COHERE, *keys, variable="CO_API_URL", base_url=address)
    if _first(env, "OPENROUTER_API_KEY"):
        add(ProviderKind.OPENROUTER, "OPENROUTER_API_KEY")
    if host := env.get("OLLAMA_HOST", "").strip():
        add(ProviderKind.OLLAMA, "OLLAMA_API_KEY", variable="OLLAMA_HOST", base_url=_ollama(host))
    if address := env.get("RUVLLM_URL", "").strip():
        add(ProviderKind.RUVLLM, variable="RUVLLM_URL", base_url=address.rstrip("/").removesuffix("/query"))
    return Detected(found, tuple(warnings))


def effective(settings: Settings, env: Mapping[str, str]) -> Effective:
    """Configured, then detected, then the embedded model; of two with one name the earlier stays.

    A configured provider without key and address takes both from the environment, as its kind's SDK would. With an
    address of its own it does not: our key is for nobody else.
    """
    found = detect(env)
    providers = {name: _filled(given, found.providers) for name, given in settings.providers.items()}
    for name, provider in found.providers.items():
        providers.setdefault(name, provider)
    if settings.local.enabled and not any(given.kind is ProviderKind.LOCAL for given in settings.providers.values()):
        providers.setdefault("local", ProviderSettings(kind=ProviderKind.LOCAL, reach=Reach.ACTOR, priority=-100))
    _backed(providers)
    merged = settings.model_copy(update={"providers": providers})
    return Effective(merged, (*found.warnings, *_strangers(merged)))


def _backed(providers: dict[str, ProviderSettings]) -> None:
    """Say who stands behind each ruvLLM server of which the settings do not say it."""
    alone = [
        name
        for name, given in providers.items()
        if given.kind is ProviderKind.RUVLLM and given.enabled and given.fallbacks is None
    ]
    if not alone:
        return
    if "ollama" not in providers and _first_of(ProviderKind.OLLAMA, providers) is None:
        # For the fallback alone: of the bare names that others serve it takes none.
        providers["ollama"] = ProviderSettings(kind=ProviderKind.OLLAMA, models=(STAND_IN,), priority=-50)
    ollama = _first_of(ProviderKind.OLLAMA, providers)
    behind = [] if ollama is None else [f"{ollama}/{providers[ollama].default_model or STAND_IN}"]
    behind += [name for name in (_first_of(ProviderKind.LOCAL, providers),) if name is not None]
    for name in alone:
        providers[name] = providers[name].model_copy(update={"fallbacks": tuple(behind)})


def _first_of(kind: ProviderKind, providers: Mapping[str, ProviderSettings]) -> str | None:
    return next((name for name, given in providers.items() if given.kind is kind and given.enabled), None)


def _filled(given: ProviderSettings, detected: Mapping[str, ProviderSettings]) -> ProviderSettings:
    offered = detected.get(given.kind.value)
    if offered is None or given.secrets or given.base_url:
        return given
    headers = {**offered.headers, **given.headers}
    options = {**offered.options, **given.options}
    return given.model_copy(
        update={"api_key": offered.api_key, "base_url": offered.base_url, "headers": headers, "options": options}
    )


def _strangers(settings: Settings) -> list[str]:
    """Names that lead to no provider. Only a warning: the provider may appear with its key."""
    named = [("default_model", settings.default_model)]
    named += [(f"models `{name}`", name) for name in settings.models]
    named += [
        (f"route `{alias}`", target)
        for alias, route in settings.routes.items()
        for target in (*route.targets, *route.larger)
    ]
    named += [
        (f"provider `{name}`", target) for name, given in settings.providers.items() for target in given.fallbacks or ()
    ]
    warnings = []
    for where, name in named:
        provider, slash, _ = name.partition("/")
        if slash and provider not in settings.providers and name not in settings.routes:
            close = nearest(provider, settings.providers)
            hint = f"; did you mean `{close[0]}`?" if close else ""
            warnings.append(f"{where}: there is no provider `{provider}`{hint}")
    return warnings


def _first(env: Mapping[str, str], *names: str) -> str:
    """The first of these variables that is set."""
    return next((name for name in names if env.get(name)), "")


def _ollama(host: str) -> str:
    """What OLLAMA_HOST means to a client: a bare host has Ollama's port, a URL its scheme's.

    >>> _ollama("gpu-box"), _ollama("0.0.0.0:8080"), _ollama("https://ollama.example")
    ('http://gpu-box:11434', 'http://127.0.0.1:8080', 'https://ollama.example')
    """
    if "://" not in host:
        if host.count(":") > 1 and not host.startswith("["):
            host = f"[{host}]"
        host = f"http://{host}"
        if not _has_port(host):
            host = f"{host.rstrip('/')}:11434"
    # The same variable tells the server to listen everywhere; a client cannot connect to everywhere.
    host = host.replace("//0.0.0.0", "//127.0.0.1").replace("//[::]", "//[::1]")
    # Some have it with the path of the OpenAI-compatible endpoint.
    return host.rstrip("/").removesuffix("/v1").removesuffix("/api")


def _has_port(url: str) -> bool:
    try:
        return urlsplit(url).port is not None
    except ValueError:
        return True
