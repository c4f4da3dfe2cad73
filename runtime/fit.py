"""What a model cannot take of a request: dropped and named, or refused, before any dialect sees it.

    sampling and the like that it does not take                           left out, named
    of parameters of which it takes one: all but the first                left out, named
    system messages, where it has none                                    said by the user, named
    a stream, where it has none                                           asked for whole; nothing is lost
    images, sound, video, files, tools, a JSON schema; a chat with        refused: another model may do it
      a model that only embeds

Only what is known counts (`ModelInfo.has` is False). Of what nobody knows, the provider itself is asked.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from runtime.models import Feature, ModelInfo, Parameter
from runtime.outcome import Failure, FailureKind
from runtime.request import (
    AudioPart,
    FilePart,
    ImagePart,
    Message,
    Part,
    Reasoning,
    Request,
    Role,
    Sampling,
    VideoPart,
)
from runtime.values import replace

_SAMPLING: tuple[Parameter, ...] = (
    "temperature",
    "top_p",
    "top_k",
    "max_tokens",
    "frequency_penalty",
    "presence_penalty",
    "stop",
    "seed",
)
_BESIDE: tuple[Parameter, ...] = ("choices", "parallel_tool_calls", "reasoning", "user", "metadata")

_NOTHING = Sampling()
_REASONING: frozenset[Parameter] = frozenset(("reasoning",))
_NEEDS: tuple[tuple[type[Part], Feature, str], ...] = (
    (ImagePart, Feature.VISION, "images"),
    (AudioPart, Feature.AUDIO, "sound"),
    (VideoPart, Feature.VIDEO, "video"),
    (FilePart, Feature.FILES, "files"),
)
_SYSTEM = (Role.SYSTEM, Role.DEVELOPER)


@dataclass(frozen=True, slots=True)
class Fitted:
    """A request as its model takes it. `dropped` names what was left out, as `HttpCall.dropped` does."""

    request: Request
    dropped: tuple[str, ...] = ()


def fit(request: Request, info: ModelInfo | None) -> Fitted | Failure:
    """The request without what the model is known not to take, or why it cannot answer it at all."""
    if info is None:
        return Fitted(request)
    if (refusal := _refusal(request, info)) is not None:
        return refusal
    dropped: list[str] = []
    if info.has(Feature.SYSTEM_MESSAGES) is False:
        request = _without_system(request, dropped)
    if request.stream and info.has(Feature.STREAMING) is False:
        request = replace(request, stream=False)
    unwanted = [name for name in _untaken(request, info) if _said(request, name)]
    return Fitted(_without(request, unwanted) if unwanted else request, (*dropped, *unwanted))


def _refusal(request: Request, info: ModelInfo) -> Failure | None:
    if info.only_embeds:
        return _refused(info, "model", "makes embeddings and holds no conversations; ask a model that does")
    for position, message in enumerate(request.messages):
        for index, part in enumerate(message.parts):
            if isinstance(part, FilePart) and part.text is not None:
                # Every dialect can say it as text.
                continue
            for kind, feature, what in _NEEDS:
                if isinstance(part, kind) and info.has(feature) is False:
                    where = f"messages[{position}].content[{index}]"
                    return _refused(info, where, f"takes no {what}; leave it out, or ask a model that does")
    if request.tools and info.has(Feature.TOOLS) is False:
        return _refused(info, "tools", "calls no tools; leave them out, or ask a model that does")
    wanted = request.response_format
    if wanted is not None and wanted.kind == "json_schema" and info.has(Feature.JSON_SCHEMA) is False:
        return _refused(
            info, "response_format", "keeps to no JSON schema; ask for it in words, or ask a model that does"
        )
    return None


def _refused(info: ModelInfo, param: str, what: str) -> Failure:
    return Failure(
        kind=FailureKind.UNSUPPORTED,
        provider=info.provider,
        model=info.model,
        param=param,
        detail=f"{info.model} {what} (if that is wrong, say so under `models` in the settings)",
    )


def _without_system(request: Request, dropped: list[str]) -> Request:
    """The same, with the user saying what the system said, in its place."""
    messages: list[Message] = []
    for position, message in enumerate(request.messages):
        if message.role in _SYSTEM:
            dropped.append(f"messages[{position}].role")
        messages.append(replace(message, role=Role.USER) if message.role in _SYSTEM else message)
    return replace(request, messages=tuple(messages)) if dropped else request


def _untaken(request: Request, info: ModelInfo) -> Iterator[Parameter]:
    """The parameters that this model does not take in this request, said or not; each once, in order."""
    untaken = info.unsupported_parameters
    if info.has(Feature.REASONING) is False:
        untaken |= _REASONING
    wanted = None if "reasoning" in untaken else request.reasoning
    if info.unsupported_while_reasoning and _thinks(wanted, info):
        untaken |= info.unsupported_while_reasoning
    for group in info.exclusive_parameters:
        said = [name for name in group if name not in untaken and _said(request, name)]
        untaken |= frozenset(said[1:])
    return (name for name in (*_SAMPLING, *_BESIDE) if name in untaken)


def _thinks(wanted: Reasoning | None, info: ModelInfo) -> bool:
    if wanted is None:
        return info.reasons_by_default
    if wanted.enabled is False or wanted.effort == "none" or wanted.budget_tokens == 0:
        return False
    return info.reasons_by_default or bool(wanted.enabled or wanted.effort or wanted.budget_tokens)


def _said(request: Request, name: Parameter) -> bool:
    if name in _SAMPLING:
        return bool(getattr(request.sampling, name) != getattr(_NOTHING, name))
    value = getattr(request, name)
    return bool(value != 1) if name == "choices" else value is not None and value != {}


def _without(request: Request, names: list[Parameter]) -> Request:
    sampling = {name: getattr(_NOTHING, name) for name in names if name in _SAMPLING}
    plain = Request(messages=())
    beside = {name: getattr(plain, name) for name in names if name in _BESIDE}
    return replace(request, sampling=replace(request.sampling, **sampling), **beside)
