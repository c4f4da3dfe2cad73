"""The hold: whatever is used within its bounds costs no more."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from runtime.hold import (
    DEFAULT_OUTPUT_TOKENS,
    LARGE_IMAGE_TOKENS,
    Bounds,
    bounds_of,
    hold,
    output_bound,
    with_output_limit,
    within,
)
from runtime.models import FREE, ModelInfo, Pricing
from runtime.outcome import Usage
from runtime.price import cost_of
from runtime.request import (
    AudioPart,
    CacheHint,
    EmbedRequest,
    FilePart,
    ImagePart,
    Message,
    NativePart,
    NativeTool,
    Part,
    Reasoning,
    ReasoningPart,
    Request,
    Role,
    Sampling,
    TextPart,
    Tool,
    ToolCall,
    VideoPart,
    ask,
)

HAIKU = Pricing(
    input=1_000_000_000,
    output=5_000_000_000,
    cached_input=100_000_000,
    cache_write=1_250_000_000,
    cache_write_1h=2_000_000_000,
    web_search=10_000_000,
)


def info(pricing: Pricing | None = HAIKU, **more: object) -> ModelInfo:
    return ModelInfo(provider="p", model="m", pricing=pricing, **more)  # type: ignore[arg-type]


def said(*parts: Part, **more: object) -> Request:
    return Request(messages=(Message(role=Role.USER, parts=parts),), **more)  # type: ignore[arg-type]


def bounds(request: Request, **more: object) -> Bounds:
    found = bounds_of(request, info(**more))
    assert found is not None
    return found


# The law.

prices = st.integers(0, 10**10)
maybe = st.none() | prices
tiers = st.builds(
    Pricing,
    input=prices,
    output=prices,
    cached_input=maybe,
    cache_write=maybe,
    cache_write_1h=maybe,
    audio_input=maybe,
    audio_output=maybe,
    web_search=maybe,
    reasoning=maybe,
    per_request=prices,
)
pricings = (
    st.builds(
        lambda first, edge, beyond: replace(first, applies_up_to_tokens=edge, beyond=beyond),
        tiers,
        st.integers(0, 6_000),
        st.none() | tiers,
    )
    | tiers
)
counts = st.integers(0, 12_000)
usages = st.builds(
    Usage,
    input_tokens=counts,
    output_tokens=counts,
    cached_input_tokens=counts,
    cache_write_tokens=counts,
    cache_write_1h_tokens=counts,
    reasoning_tokens=counts,
    audio_input_tokens=counts,
    audio_output_tokens=counts,
    billed_input_tokens=st.none() | counts,
    billed_output_tokens=st.none() | counts,
    server_tool_calls=st.dictionaries(st.sampled_from(["web_search", "web_fetch"]), st.integers(0, 4)),
)
requests = st.builds(
    said,
    st.builds(TextPart, st.text(max_size=200)) | st.builds(AudioPart, data=st.text("ab", max_size=99)),
    choices=st.integers(1, 3),
    sampling=st.builds(Sampling, max_tokens=st.none() | st.integers(0, 3_000)),
    cache=st.none() | st.builds(CacheHint, ttl=st.sampled_from(["5m", "1h", None])),
    tools=st.just(())
    | st.tuples(
        st.builds(
            lambda uses: NativeTool(dialect="anthropic", kind="web_search_20250305", value={"max_uses": uses}),
            st.integers(0, 3),
        )
    ),
)


@given(requests, pricings, usages)
def test_whatever_is_used_within_the_bounds_costs_no_more_than_the_hold(
    request: Request, pricing: Pricing, usage: Usage
) -> None:
    model = info(pricing, context_length=8_000, max_output_tokens=2_000)
    held, most = hold(request, model), bounds_of(request, model)
    assert most is not None
    usage = replace(
        usage,
        audio_input_tokens=usage.audio_input_tokens if most.audio else 0,
        cache_write_1h_tokens=min(usage.cache_write_tokens, usage.cache_write_1h_tokens) if most.an_hour else 0,
    )
    assume(most.contain(usage))
    cost = cost_of(usage, pricing)
    if cost is not None and held is not None:
        assert cost.total_nanousd <= held


@given(requests, pricings, st.integers(0, 10**6), st.integers(0, 10**6))
def test_an_estimate_is_cut_to_what_was_held(request: Request, pricing: Pricing, came_in: int, went_out: int) -> None:
    model = info(pricing, context_length=8_000)
    limited = with_output_limit(request, model)
    cut = within(Usage(input_tokens=came_in, output_tokens=went_out, estimated=True), limited, model)
    cost, held = cost_of(cut, pricing), hold(limited, model)
    if cost is not None and held is not None:
        assert cost.total_nanousd <= held


# By hand.


def test_a_hold_by_hand() -> None:
    # 40 bytes + 16 for the message + 2,048 at the price of written input; one answer of 100 tokens and one to spare
    request = said(TextPart("x" * 40), sampling=Sampling(max_tokens=100))
    assert hold(request, info()) == 2_104 * 1_250 + 101 * 5_000


def test_bytes_bound_tokens_in_every_script() -> None:
    latin, kana = (bounds(said(TextPart(text))) for text in ("x" * 30, "日" * 30))
    assert kana.input_tokens - latin.input_tokens == 60


def test_where_no_price_is_known_there_is_no_hold_and_where_all_is_free_it_is_nothing() -> None:
    assert hold(ask("hi"), None) is None
    assert hold(ask("hi"), info(None)) is None
    assert hold(said(VideoPart(url="http://v")), info(FREE)) == 0, "however long it may be"
    assert hold(ask("hi"), info(Pricing(input=1, output=1, applies_up_to_tokens=100))) is None, "a prompt may be longer"


def test_a_prompt_that_may_be_long_is_held_at_the_price_of_long_ones() -> None:
    tiered = replace(HAIKU, applies_up_to_tokens=2_100, beyond=Pricing(input=9_000_000_000, output=0))
    assert hold(said(TextPart("x" * 36), sampling=Sampling(max_tokens=15)), info(tiered)) == 2_100 * 1_250 + 17 * 5_000
    assert hold(said(TextPart("x" * 37), sampling=Sampling(max_tokens=15)), info(tiered)) == 2_101 * 9_000


def test_every_choice_is_held() -> None:
    one, three = (bounds(said(sampling=Sampling(max_tokens=100), choices=choices)) for choices in (1, 3))
    assert three.output_tokens == 3 * one.output_tokens


def test_the_limit_is_the_requests_else_the_models_else_a_default_that_is_sent() -> None:
    limited = said(sampling=Sampling(max_tokens=7))
    assert output_bound(limited, info(max_output_tokens=5_000)) == 7
    assert output_bound(said(), info(max_output_tokens=5_000)) == 5_000
    assert output_bound(said(), info()) == DEFAULT_OUTPUT_TOKENS
    assert output_bound(said(reasoning=Reasoning(budget_tokens=1_000)), info()) == DEFAULT_OUTPUT_TOKENS + 1_000
    assert with_output_limit(said(), info()).sampling.max_tokens == DEFAULT_OUTPUT_TOKENS
    assert with_output_limit(limited, info()) == limited


def test_a_model_that_takes_no_limit_is_bounded_by_its_own_or_not_at_all() -> None:
    refuses = frozenset({"max_tokens"})
    asked = said(sampling=Sampling(max_tokens=7))
    assert output_bound(asked, info(unsupported_parameters=refuses, max_output_tokens=50)) == 50
    assert hold(asked, info(unsupported_parameters=refuses)) is None


@pytest.mark.parametrize(
    "options",
    [
        {"max_completion_tokens": 9_000},
        {"generationConfig": {"maxOutputTokens": 9_000}},
        {"options": [{"num_predict": 9_000}]},
    ],
)
def test_a_limit_that_options_raise_is_the_limit(options: dict[str, object]) -> None:
    asked = said(sampling=Sampling(max_tokens=100))
    assert bounds(replace(asked, provider_options={"p": options})).output_tokens == 9_001
    assert bounds(replace(asked, extra=options)).output_tokens == 9_001


def test_choices_that_options_ask_for_are_held() -> None:
    asked = said(sampling=Sampling(max_tokens=99), extra={"best_of": 4})
    assert bounds(asked).output_tokens == 400


@pytest.mark.parametrize(
    "options",
    [{"service_tier": "priority"}, {"models": ["a/b"]}, {"speed": "fast"}, {"x": {"plugins": [{"id": "web"}]}}],
)
def test_options_that_choose_another_price_leave_no_hold(options: dict[str, object]) -> None:
    assert hold(said(extra=options), info()) is None
    assert hold(said(extra=options), info(FREE)) is None, "what answers may be another model, which is not free"


def test_a_tier_that_costs_no_more_is_held_as_usual() -> None:
    assert hold(said(extra={"service_tier": "default"}), info()) is not None


def test_what_is_kept_for_an_hour_is_held_at_its_price() -> None:
    asked = said(TextPart("x", cache=CacheHint(ttl="1h")), sampling=Sampling(max_tokens=15))
    assert hold(asked, info()) == (2_048 + 16 + 1) * 2_000 + 17 * 5_000
    assert hold(asked, info(replace(HAIKU, cache_write_1h=None))) is None


def test_searches_are_held_as_often_as_they_are_allowed_and_read_anew_each_time() -> None:
    def tool(**value: object) -> Request:
        kind = "web_search_20250305"
        return said(tools=(NativeTool(dialect="anthropic", kind=kind, value={"type": kind, **value}),))

    held = bounds(tool(max_uses=2), context_length=10_000)
    assert held.searches == 2
    assert held.input_tokens > 3 * 10_000
    assert bounds_of(tool(), info(context_length=10_000)) is None, "as often as it likes"
    assert bounds_of(tool(max_uses=2), info()) is None, "results as long as an unknown context"
    assert hold(tool(max_uses=1), info(replace(HAIKU, web_search=None), context_length=9)) is None


def test_tools_that_the_caller_runs_need_no_bound() -> None:
    assert bounds_of(said(tools=(NativeTool(dialect="anthropic", kind="bash_20250124", value={}),)), info()) is not None
    assert bounds_of(said(tools=(NativeTool(dialect="google", kind="codeExecution", value={}),)), info()) is None


def test_media_that_can_be_measured_has_bounds_of_its_own_and_the_rest_fills_the_context() -> None:
    assert bounds(said(ImagePart(url="http://i"))).input_tokens < 20_000
    mini = replace(info(), model="openai/gpt-4o-mini")
    found = bounds_of(said(ImagePart(url="http://i")), mini)
    assert found is not None
    assert found.input_tokens > LARGE_IMAGE_TOKENS
    for part in (FilePart(data="x"), VideoPart(data="x"), AudioPart(url="http://a"), FilePart(file_id="f")):
        assert bounds_of(said(part), info()) is None
        assert bounds(said(part), context_length=50_000).input_tokens > 50_000
    native = NativePart(dialect="d", kind="k", value={"encrypted": "x"})
    assert bounds(said(native), context_length=50_000).input_tokens > 50_000


def test_what_lies_at_the_provider_fills_the_context() -> None:
    assert bounds_of(said(extra={"cachedContent": "c/1"}), info()) is None
    assert bounds(said(extra={"cachedContent": "c/1"}), context_length=50_000).input_tokens > 50_000


def test_sound_of_an_unknown_price_has_no_hold() -> None:
    asked = said(AudioPart(data="x" * 800))
    assert hold(asked, info()) is None
    assert bounds(asked).audio
    assert hold(asked, info(replace(HAIKU, audio_input=10**10))) is not None


def test_whatever_goes_into_a_prompt_is_counted() -> None:
    bare = bounds(said()).input_tokens
    for more in (
        said(ReasoningPart(text="x" * 500)),
        said(ReasoningPart(signature="x" * 500)),
        said(ReasoningPart(redacted="x" * 500)),
        said(ToolCall(id="i", name="n", arguments="x" * 500)),
        said(FilePart(text="x" * 500)),
        said(TextPart("", extra={"title": "x" * 500})),
        said(tools=(Tool(name="n", description="x" * 500),)),
        said(tools=(Tool(name="n", parameters={"x": "x" * 500}),)),
        said(extra={"documents": ["x" * 500]}),
        said(provider_options={"p": {"system": "x" * 500}}),
        Request(messages=(Message(role=Role.TOOL, tool_call_id="x" * 500),)),
    ):
        assert bounds(more).input_tokens >= bare + 500, more


def test_vectors_have_holds_too() -> None:
    cheap = info(Pricing(input=20_000_000, output=0))
    assert hold(EmbedRequest(inputs=("x" * 84, "日" * 28)), cheap) == 200 * 20
    assert hold(EmbedRequest(tokens=((1,) * 50, (2,) * 50)), cheap) == 100 * 20
    assert hold(EmbedRequest(inputs=("x",)), info(None)) is None
