"""Money and tokens, by hand-computed figures."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.models import FREE, ModelInfo, Pricing
from runtime.outcome import Cost, Usage
from runtime.price import ASSUMED_OUTPUT_TOKENS, cost_of, estimate, is_list_priced, plain_total
from runtime.request import (
    AudioPart,
    FilePart,
    ImagePart,
    Message,
    NativePart,
    NativeTool,
    Part,
    ReasoningPart,
    Request,
    ResponseFormat,
    Role,
    Sampling,
    TextPart,
    Tool,
    ToolCall,
    VideoPart,
    ask,
)
from runtime.tokens import (
    AUDIO_TOKENS,
    FILE_TOKENS,
    IMAGE_TOKENS,
    LOW_DETAIL_IMAGE_TOKENS,
    VIDEO_TOKENS,
    estimate_tokens,
)

MINI = Pricing(input=150_000_000, output=600_000_000, cached_input=75_000_000)
"""gpt-4o-mini: $0.15, $0.60 and $0.075 per million tokens."""


def info(pricing: Pricing | None, **more: int) -> ModelInfo:
    return ModelInfo(provider="p", model="m", pricing=pricing, **more)


# Cost.


def test_a_cost_by_hand() -> None:
    # 1,234 × $0.15/M = $0.0001851; 567 × $0.60/M = $0.0003402
    assert cost_of(Usage(input_tokens=1234, output_tokens=567), MINI) == Cost(
        input_nanousd=185_100, output_nanousd=340_200, total_nanousd=525_300
    )


def test_cached_tokens_have_their_own_price() -> None:
    # 200 fresh × 150 + 800 cached × 75 = 90,000 nano-dollars
    cost = cost_of(Usage(input_tokens=1000, cached_input_tokens=800), MINI)
    assert cost is not None
    assert cost.total_nanousd == 90_000


def test_cached_tokens_cost_like_others_where_no_price_is_named() -> None:
    plain = Pricing(input=1_000_000, output=0)
    assert total(Usage(input_tokens=10, cached_input_tokens=5), plain) == total(Usage(input_tokens=10), plain)


def test_writing_the_cache_costs_more() -> None:
    # claude-3-haiku: 100 fresh × 250 + 50 read × 30 + 40 written × 300
    haiku = Pricing(input=250_000_000, output=1_250_000_000, cached_input=30_000_000, cache_write=300_000_000)
    cost = cost_of(Usage(input_tokens=190, cached_input_tokens=50, cache_write_tokens=40), haiku)
    assert cost is not None
    assert cost.total_nanousd == 25_000 + 1_500 + 12_000


CLAUDE = Pricing(
    input=1_000_000_000,
    output=5_000_000_000,
    cached_input=100_000_000,
    cache_write=1_250_000_000,
    cache_write_1h=2_000_000_000,
    web_search=10_000_000,
)
"""claude-haiku-4-5: $1, $5, $0.10, $1.25 and $2 per million tokens, and a cent a search."""


def total(usage: Usage, pricing: Pricing) -> int | None:
    cost = cost_of(usage, pricing)
    return cost.total_nanousd if cost else None


def test_what_is_kept_for_an_hour_costs_more() -> None:
    # 10 fresh × 1,000 + 30 of five minutes × 1,250 + 20 of an hour × 2,000
    usage = Usage(input_tokens=60, cache_write_tokens=50, cache_write_1h_tokens=20)
    assert total(usage, CLAUDE) == 10_000 + 37_500 + 40_000
    assert total(usage, replace(CLAUDE, cache_write_1h=None)) is None, "unknown, not five minutes' price"
    plain = Pricing(input=1_000_000_000, output=0)
    assert total(usage, plain) == 60_000, "who sells writes as input sells them all so"


def test_searches_are_charged_by_the_search() -> None:
    # 1,000 × 1,000 + 2 × 10,000,000
    searched = Usage(input_tokens=1000, server_tool_calls={"web_search": 2, "web_fetch": 3})
    cost = cost_of(searched, CLAUDE)
    assert cost == Cost(input_nanousd=1_000_000, per_call_nanousd=20_000_000, total_nanousd=21_000_000)
    assert total(searched, MINI) is None
    assert total(Usage(server_tool_calls={"code_execution": 1}), CLAUDE) is None
    assert total(Usage(server_tool_calls={"web_fetch": 1}), MINI) == 0


def test_what_is_billed_counts_where_it_is_said() -> None:
    """Cohere processes more than it charges for."""
    usage = Usage(input_tokens=500, output_tokens=50, billed_input_tokens=10, billed_output_tokens=20)
    assert total(usage, CLAUDE) == 10_000 + 100_000


def test_sound_has_its_own_price() -> None:
    sound = replace(MINI, audio_input=10_000_000_000, audio_output=20_000_000_000)
    # 10 × 150 + 5 × 10,000 + 10 × 600 + 10 × 20,000
    usage = Usage(input_tokens=15, audio_input_tokens=5, output_tokens=20, audio_output_tokens=10)
    assert total(usage, sound) == 1_500 + 50_000 + 6_000 + 200_000
    assert total(usage, MINI) is None
    assert total(replace(usage, cached_input_tokens=1), sound) is None, "nobody says how much of it was sound"


def test_a_long_prompt_costs_more_as_a_whole() -> None:
    longest = Pricing(input=3_000_000, output=30_000_000)
    longer = Pricing(input=2_000_000, output=20_000_000, applies_up_to_tokens=1_000, beyond=longest)
    tiered = Pricing(input=1_000_000, output=10_000_000, applies_up_to_tokens=100, beyond=longer)
    assert total(Usage(input_tokens=100, output_tokens=1), tiered) == 110
    assert total(Usage(input_tokens=101, output_tokens=1), tiered) == 222
    assert total(Usage(input_tokens=1_001, output_tokens=1), tiered) == 3_033


@pytest.mark.parametrize(("price", "total"), [(499_999, 0), (500_000, 1), (1_499_999, 1), (1_500_000, 2)])
def test_half_a_nanodollar_is_rounded_up(price: int, total: int) -> None:
    cost = cost_of(Usage(input_tokens=1), Pricing(input=price, output=0))
    assert cost is not None
    assert cost.total_nanousd == total


def test_it_is_rounded_once() -> None:
    # 0.4 + 0.4 is 0.8, so 1; rounded apart it would be 0.
    cost = cost_of(Usage(input_tokens=1, output_tokens=1), Pricing(input=400_000, output=400_000))
    assert cost == Cost(input_nanousd=0, output_nanousd=1, total_nanousd=1)


def test_what_a_request_costs_besides_its_tokens_is_charged_once() -> None:
    # sonar: $1 and $1 per million tokens and $12 per thousand requests: 1,000 × 1,000 + 12,000,000
    sonar = Pricing(input=1_000_000_000, output=1_000_000_000, per_request=12_000_000)
    cost = cost_of(Usage(input_tokens=1000), sonar)
    assert cost == Cost(input_nanousd=1_000_000, per_call_nanousd=12_000_000, total_nanousd=13_000_000)


def test_thoughts_may_have_a_price_of_their_own() -> None:
    # sonar-deep-research: $8 an answered and $3 a thought million: 10 × 8,000 + 90 × 3,000
    thinker = Pricing(input=2_000_000_000, output=8_000_000_000, reasoning=3_000_000_000)
    cost = cost_of(Usage(output_tokens=100, reasoning_tokens=90), thinker)
    assert cost == Cost(output_nanousd=350_000, reasoning_nanousd=270_000, total_nanousd=350_000)


def test_thoughts_are_part_of_the_output_and_never_counted_twice() -> None:
    plain = total(Usage(output_tokens=100), MINI)
    assert total(Usage(output_tokens=100, reasoning_tokens=60), MINI) == plain
    assert total(Usage(output_tokens=100, reasoning_tokens=130), MINI) == plain, "a provider counted them beside it"


def test_a_whole_invoice_by_hand() -> None:
    """claude-haiku-4-5, a long chat: each part in its own line."""
    usage = Usage(
        input_tokens=10_000,
        cached_input_tokens=7_000,
        cache_write_tokens=2_000,
        cache_write_1h_tokens=500,
        output_tokens=800,
        reasoning_tokens=300,
        server_tool_calls={"web_search": 1},
    )
    cost = cost_of(usage, CLAUDE)
    assert cost is not None
    assert cost.parts == {
        "input": 1_000 * 1_000,
        "cached_input": 7_000 * 100,
        "cache_write": 1_500 * 1_250 + 500 * 2_000,
        "output": 500 * 5_000,
        "reasoning": 300 * 5_000,
        "per_call": 10_000_000,
        "unsplit": 0,
    }
    assert cost.total_nanousd == sum(cost.parts.values()) == 18_575_000


TOKENS, PRICES = st.integers(0, 10**7), st.integers(0, 10**12)
MAYBE = st.none() | PRICES


@given(
    st.builds(
        Usage,
        input_tokens=TOKENS,
        output_tokens=TOKENS,
        cached_input_tokens=TOKENS,
        cache_write_tokens=TOKENS,
        cache_write_1h_tokens=TOKENS,
        reasoning_tokens=TOKENS,
        billed_output_tokens=st.none() | TOKENS,
        server_tool_calls=st.dictionaries(st.just("web_search"), st.integers(0, 9)),
    ),
    st.builds(
        Pricing,
        input=PRICES,
        output=PRICES,
        cached_input=MAYBE,
        cache_write=PRICES,
        cache_write_1h=PRICES,
        reasoning=MAYBE,
        web_search=PRICES,
        per_request=PRICES,
    ),
)
def test_parts_make_the_total(usage: Usage, pricing: Pricing) -> None:
    cost = cost_of(usage, pricing)
    assert cost is not None
    assert min(cost.parts.values()) >= 0
    assert sum(cost.parts.values()) == cost.total_nanousd
    assert cost.unsplit_nanousd == 0


@given(TOKENS, TOKENS, PRICES, PRICES)
def test_a_total_is_exact_to_half_a_nanodollar(tokens_in: int, tokens_out: int, price_in: int, price_out: int) -> None:
    cost = cost_of(Usage(input_tokens=tokens_in, output_tokens=tokens_out), Pricing(input=price_in, output=price_out))
    assert cost is not None
    exact = tokens_in * price_in + tokens_out * price_out
    assert abs(cost.total_nanousd * 1_000_000 - exact) <= 500_000


@given(
    TOKENS,
    TOKENS,
    TOKENS,
    st.builds(
        Pricing, input=PRICES, output=PRICES, cached_input=MAYBE, per_request=PRICES, applies_up_to_tokens=TOKENS
    ),
)
def test_the_short_way_to_a_total_is_that_of_the_long_one(
    tokens_in: int, cached: int, tokens_out: int, pricing: Pricing
) -> None:
    usage = Usage(input_tokens=tokens_in, cached_input_tokens=cached, output_tokens=tokens_out)
    cost = cost_of(usage, pricing)
    total = plain_total(pricing, input_tokens=tokens_in, cached=cached, output_tokens=tokens_out)
    assert total == (None if cost is None else cost.total_nanousd)
    assert plain_total(None, input_tokens=tokens_in) is None


@pytest.mark.parametrize(
    ("said", "listed"),
    [
        ({}, True),
        ({"service_tier": "default", "inference_geo": "global"}, True),
        ({"serviceTier": "standard"}, True),
        ({"service_tier": "priority"}, False),
        ({"service_tier": "flex"}, False),
        ({"speed": "fast"}, False),
    ],
)
def test_what_was_served_in_a_dearer_or_cheaper_tier_has_no_list_price(said: dict[str, str], *, listed: bool) -> None:
    assert is_list_priced(said) is listed


def test_a_total_that_was_not_split_is_not_split() -> None:
    cost = Cost(total_nanousd=1_000, source="provider")
    assert (cost.input_nanousd, cost.output_nanousd, cost.parts["unsplit"]) == (0, 0, 1_000)


def test_an_unknown_price_is_no_cost_and_free_is_one() -> None:
    usage = Usage(input_tokens=1000, output_tokens=1000)
    assert cost_of(usage, None) is None
    assert cost_of(usage, FREE) == Cost()
    heard = Usage(input_tokens=10, audio_input_tokens=5, cached_input_tokens=8, audio_output_tokens=3, output_tokens=3)
    assert cost_of(heard, FREE) == Cost(), "what runs on one's own machine is free whatever it hears"


def test_a_list_price_is_not_stretched() -> None:
    tiered = Pricing(input=1, output=1, applies_up_to_tokens=128_000)
    assert cost_of(Usage(input_tokens=128_000), tiered) is not None
    assert cost_of(Usage(input_tokens=128_001), tiered) is None
    assert cost_of(Usage(input_tokens=10, audio_input_tokens=5), MINI) is None


def test_who_named_the_price_is_told() -> None:
    cost = cost_of(Usage(), Pricing(input=1, output=1, source="settings"))
    assert cost is not None
    assert cost.source == "settings"


# Estimates.


def test_an_estimate_by_hand() -> None:
    # 400 bytes are 100 tokens: 100 × 150 + 50 × 600
    request = Request(messages=ask("x" * 400).messages, sampling=Sampling(max_tokens=50))
    guess = estimate(request, info(MINI))
    assert (guess.prompt_tokens, guess.completion_tokens, guess.total_tokens) == (100, 50, 150)
    assert guess.cost is not None
    assert guess.cost.total_nanousd == 15_000 + 30_000
    assert guess.confidence == 0.7


def test_an_unlimited_answer_is_assumed_and_trusted_less() -> None:
    guess = estimate(ask("hi"), info(MINI))
    assert guess.completion_tokens == ASSUMED_OUTPUT_TOKENS
    assert guess.confidence == 0.4


def test_no_answer_is_longer_than_the_model_can() -> None:
    request = Request(messages=ask("hi").messages, sampling=Sampling(max_tokens=5000))
    assert estimate(request, info(MINI, max_output_tokens=100)).completion_tokens == 100


def test_every_alternative_is_paid_for() -> None:
    request = Request(messages=ask("hi").messages, sampling=Sampling(max_tokens=10), choices=3)
    assert estimate(request, info(MINI)).completion_tokens == 30


@pytest.mark.parametrize("known", [None, info(None)])
def test_an_unknown_price_is_not_estimated_at_nothing(known: ModelInfo | None) -> None:
    """The first system said $0 here, and its cheapest provider was whoever had no price."""
    guess = estimate(ask("hi"), known)
    assert guess.cost is None
    assert guess.confidence == 0.0
    assert guess.total_tokens > 0


# Tokens.


def said(*parts: Part, **more: object) -> Request:
    return Request(messages=(Message(role=Role.USER, parts=parts),), **more)  # type: ignore[arg-type]


def test_text_counts_and_the_json_around_it_does_not() -> None:
    """The first system counted the JSON of its messages as well."""
    assert estimate_tokens(said(TextPart("x" * 200), TextPart("x" * 200))) == 100
    assert estimate_tokens(Request(messages=ask("x" * 200).messages * 2)) == 100
    assert estimate_tokens(said()) == 0


def test_what_is_begun_counts_whole() -> None:
    assert estimate_tokens(said(TextPart("x"))) == 1


def test_bytes_count_not_letters() -> None:
    assert estimate_tokens(said(TextPart("日本語日"))) == 3


def test_images_and_audio_count_by_the_piece() -> None:
    url = "data:" + "x" * 10_000
    assert estimate_tokens(said(ImagePart(url=url), ImagePart(data="x" * 9999))) == 2 * IMAGE_TOKENS
    assert estimate_tokens(said(ImagePart(url=url, detail="low"))) == LOW_DETAIL_IMAGE_TOKENS
    assert estimate_tokens(said(AudioPart(data="x" * 9999))) == AUDIO_TOKENS


def test_files_and_video_count_by_the_piece_and_texts_as_text() -> None:
    assert estimate_tokens(said(VideoPart(url="http://v"), FilePart(data="x" * 9999))) == VIDEO_TOKENS + FILE_TOKENS
    assert estimate_tokens(said(FilePart(text="x" * 400))) == 100


def test_thoughts_count_and_what_only_one_dialect_has() -> None:
    assert estimate_tokens(said(ReasoningPart(text="x" * 400, signature="y" * 400))) == 100
    # {"a":1} is 7 bytes
    native: dict[str, object] = {"dialect": "d", "kind": "k", "value": {"a": 1}}
    assert estimate_tokens(said(NativePart(**native))) == 2  # type: ignore[arg-type]
    assert estimate_tokens(said(tools=(NativeTool(**native),))) == 2  # type: ignore[arg-type]


def test_tools_count_with_their_schemas() -> None:
    tool = Tool(name="add_", description="Adds up.", parameters={"type": "object"})
    # 4 + 8 + 17 bytes of {"type":"object"} make 29
    assert estimate_tokens(said(tools=(tool,))) == 8
    schema = ResponseFormat(kind="json_schema", name="x", schema={"type": "object"})
    assert estimate_tokens(said(response_format=schema)) == 5


def test_tool_calls_of_the_past_count() -> None:
    call = ToolCall(id="not counted", name="add_", arguments='{"a":12}')
    assert estimate_tokens(Request(messages=(Message(role=Role.ASSISTANT, parts=(call,)),))) == 3
