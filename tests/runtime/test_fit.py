"""What a model cannot take of a request: what is left out and named, what is refused, and what nobody knows."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.catalog import Catalog
from runtime.fit import Fitted, fit
from runtime.models import ASKED, Feature, ModelInfo, Parameter
from runtime.outcome import Failure, FailureKind
from runtime.request import (
    AudioPart,
    FilePart,
    ImagePart,
    Message,
    NativeTool,
    Part,
    Reasoning,
    Request,
    ResponseFormat,
    Role,
    Sampling,
    TextPart,
    Tool,
    VideoPart,
    ask,
)
from runtime.settings import Settings

FULL = replace(
    ask("hi"),
    sampling=Sampling(
        temperature=0.0,
        top_p=0.5,
        top_k=3,
        max_tokens=9,
        frequency_penalty=0.0,
        presence_penalty=0.1,
        stop=("x",),
        seed=0,
    ),
    choices=2,
    parallel_tool_calls=False,
    reasoning=Reasoning(effort="low"),
    user="u",
    metadata={"a": 1},
)
"""Says everything that a model may not take; zeros and False are words too."""

PARAMETERS: tuple[Parameter, ...] = get_args(Parameter)


def info(**said: Any) -> ModelInfo:
    return ModelInfo(provider="p", model="m", **said)


def known(kind: str, model: str) -> ModelInfo | None:
    return Catalog(Settings.model_validate({"providers": {"p": {"kind": kind}}})).info("p", model)


def fitted(request: Request, of: ModelInfo | None) -> Fitted:
    found = fit(request, of)
    assert isinstance(found, Fitted), found
    return found


def refused(request: Request, of: ModelInfo | None) -> Failure:
    found = fit(request, of)
    assert isinstance(found, Failure), found
    assert found.kind is FailureKind.UNSUPPORTED, "another candidate may do it"
    assert (found.provider, found.model) == ("p", of.model if of else "")
    return found


# Left out.


@pytest.mark.parametrize("name", PARAMETERS)
def test_what_is_not_taken_is_left_out_and_named(name: Parameter) -> None:
    found = fitted(FULL, info(unsupported_parameters=frozenset((name,))))
    assert found.dropped == (name,)
    assert fitted(found.request, info(unsupported_parameters=frozenset((name,)))) == Fitted(found.request)
    kept = {one.name for one in fields(Sampling)} - {name}
    assert all(getattr(found.request.sampling, one) == getattr(FULL.sampling, one) for one in kept)


@pytest.mark.parametrize("name", PARAMETERS)
def test_what_is_not_said_is_not_named(name: Parameter) -> None:
    assert fitted(ask("hi"), info(unsupported_parameters=frozenset((name,)))) == Fitted(ask("hi"))


@given(st.frozensets(st.sampled_from(PARAMETERS)))
def test_all_that_is_not_taken_goes_at_once(names: frozenset[Parameter]) -> None:
    found = fitted(FULL, info(unsupported_parameters=names))
    assert set(found.dropped) == names
    assert len(found.dropped) == len(names)


def test_o_series_models_are_not_sent_what_they_refuse() -> None:
    """The first system sent them temperature and max_tokens as they came."""
    request = replace(ask("hi"), sampling=Sampling(temperature=0.2, max_tokens=5, stop=("x",)))
    found = fitted(request, known("openai", "o3-mini"))
    assert found.dropped == ("temperature", "stop")
    assert found.request.sampling == Sampling(max_tokens=5)


def test_a_newer_claude_is_not_sent_a_temperature() -> None:
    """Users of the first system reported the 400 (ruflo #2357)."""
    found = fitted(replace(ask("hi"), sampling=Sampling(temperature=0.2)), known("anthropic", "claude-opus-4-7"))
    assert found.dropped == ("temperature",)


@pytest.mark.parametrize(
    ("wanted", "dropped"),
    [
        (None, True),
        (Reasoning(enabled=False), False),
        (Reasoning(effort="none"), False),
        (Reasoning(budget_tokens=0), False),
        (Reasoning(show=True), True),
        (Reasoning(effort="low"), True),
    ],
)
def test_what_it_takes_hangs_on_whether_it_thinks(wanted: Reasoning | None, *, dropped: bool) -> None:
    heat: frozenset[Parameter] = frozenset(("temperature",))
    unasked = info(unsupported_while_reasoning=heat, reasons_by_default=True)
    request = replace(ask("hi"), sampling=Sampling(temperature=0.2), reasoning=wanted)
    assert fitted(request, unasked).dropped == (("temperature",) if dropped else ())


def test_some_think_only_when_asked() -> None:
    request = replace(ask("hi"), sampling=Sampling(temperature=0.2, top_p=0.3))
    model = known("openai", "gpt-5.1")
    assert fitted(request, model).dropped == ()
    assert fitted(replace(request, reasoning=Reasoning(show=True)), model).dropped == ()
    assert fitted(replace(request, reasoning=Reasoning(effort="high")), model).dropped == ("temperature", "top_p")


def test_who_cannot_think_is_not_told_how() -> None:
    """Ollama refuses such a request."""
    request = replace(ask("hi"), reasoning=Reasoning(effort="low"))
    assert fitted(request, known("ollama", "llama3.2")).dropped == ("reasoning",)
    assert fitted(request, known("ollama", "qwen3")) == Fitted(request)


def test_of_two_that_exclude_each_other_the_first_stays() -> None:
    model = known("anthropic", "claude-sonnet-4-5")
    both = replace(ask("hi"), sampling=Sampling(temperature=0.2, top_p=0.3))
    found = fitted(both, model)
    assert (found.request.sampling, found.dropped) == (Sampling(temperature=0.2), ("top_p",))
    one = replace(ask("hi"), sampling=Sampling(top_p=0.3))
    assert fitted(one, model) == Fitted(one)
    # One that is not taken at all excludes nothing.
    exclusive: tuple[tuple[Parameter, ...], ...] = (("temperature", "top_p"),)
    cold = info(exclusive_parameters=exclusive, unsupported_parameters=frozenset(("temperature",)))
    assert fitted(both, cold).dropped == ("temperature",)


def test_who_has_no_system_messages_hears_them_from_the_user() -> None:
    said = tuple(Message(role=role, parts=(TextPart("x"),)) for role in (Role.SYSTEM, Role.USER, Role.DEVELOPER))
    found = fitted(Request(messages=said), known("openai", "o1-mini"))
    assert [message.role for message in found.request.messages] == [Role.USER] * 3
    assert [message.text for message in found.request.messages] == ["x"] * 3
    assert found.dropped == ("messages[0].role", "messages[2].role")
    assert fitted(ask("hi"), known("openai", "o1-mini")) == Fitted(ask("hi"))


def test_who_cannot_stream_is_asked_for_the_whole() -> None:
    found = fitted(ask("hi", stream=True), info(lacks=frozenset((Feature.STREAMING,))))
    assert found == Fitted(ask("hi"))


# Refused.


def said(*parts: Part) -> Request:
    return Request(messages=(ask("before").messages[0], Message(role=Role.USER, parts=(TextPart("x"), *parts))))


@pytest.mark.parametrize(
    ("part", "feature", "what"),
    [
        (ImagePart(url="http://i"), Feature.VISION, "images"),
        (AudioPart(data="a"), Feature.AUDIO, "sound"),
        (VideoPart(url="http://v"), Feature.VIDEO, "video"),
        (FilePart(data="f"), Feature.FILES, "files"),
    ],
)
def test_a_part_that_a_model_cannot_take_is_refused(part: Part, feature: Feature, what: str) -> None:
    failure = refused(said(part), info(lacks=frozenset((feature,))))
    assert failure.param == "messages[1].content[1]"
    assert f"m takes no {what}" in failure.detail
    assert fitted(said(part), info(lacks=ASKED - {feature, Feature.EMBEDDINGS}, features=frozenset((feature,))))
    assert fitted(said(part), info()) == Fitted(said(part)), "nobody knows, so the provider is asked"


def test_a_document_of_plain_text_is_text() -> None:
    request = said(FilePart(text="hello"))
    assert fitted(request, known("openai", "o3-mini")) == Fitted(request)


@pytest.mark.parametrize("tool", [Tool(name="f"), NativeTool(dialect="openai", kind="custom", value={})])
def test_tools_that_a_model_cannot_call_are_refused(tool: Tool | NativeTool) -> None:
    request = replace(ask("hi"), tools=(tool,))
    assert refused(request, known("openai", "o1-mini")).param == "tools"
    assert fitted(request, known("openai", "gpt-4o")) == Fitted(request)
    assert fitted(request, known("openai", "gpt-99")) == Fitted(request)


def test_a_schema_that_a_model_cannot_keep_to_is_refused() -> None:
    request = replace(ask("hi"), response_format=ResponseFormat(kind="json_schema", schema={}))
    assert refused(request, known("openai", "gpt-4-turbo")).param == "response_format"
    assert fitted(request, known("openai", "gpt-4o")) == Fitted(request)
    loose = replace(ask("hi"), response_format=ResponseFormat(kind="json_object"))
    assert fitted(loose, known("openai", "gpt-4-turbo")) == Fitted(loose)


def test_a_model_that_only_embeds_is_not_talked_to() -> None:
    failure = refused(ask("hi"), known("openai", "text-embedding-3-small"))
    assert failure.param == "model"
    assert "makes embeddings" in failure.detail


def test_of_an_unknown_model_nothing_is_taken_away() -> None:
    assert fitted(FULL, None) == fitted(FULL, info()) == Fitted(FULL)
    assert fitted(FULL, known("ollama", "whatever")) == Fitted(FULL)
