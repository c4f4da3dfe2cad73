"""Names and models: where a name leads, and what is known, unknown or free."""

from __future__ import annotations

import subprocess
import sys
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from runtime import price_list
from runtime.catalog import Catalog, Feature
from runtime.model_families import family_of
from runtime.model_table import DEFAULT_MODEL, TABLE, rows
from runtime.models import FREE, ModelInfo, Pricing, per_million
from runtime.settings import ProviderKind, Settings

DAY = date(2026, 11, 22)


def catalog(**said: Any) -> Catalog:
    return Catalog(Settings.model_validate(said), today=lambda: DAY)


def known(kind: str, model: str, **more: Any) -> ModelInfo:
    base_url = {"base_url": "http://host"} if kind in ("custom", "ruvllm") else {}
    info = catalog(providers={"p": {"kind": kind, **base_url, **more}}).info("p", model)
    assert info is not None
    return info


OPENAI = {"openai": {"kind": "openai"}}
BOTH = {**OPENAI, "openrouter": {"kind": "openrouter"}}


# Where a name leads.


def test_provider_and_model_part_at_the_first_slash() -> None:
    found = catalog(providers=BOTH)
    assert found.resolve("openai/gpt-4o") == (("openai", "gpt-4o"),)
    assert found.resolve("openrouter/anthropic/claude-3-haiku") == (("openrouter", "anthropic/claude-3-haiku"),)


def test_an_unlisted_model_of_a_known_provider_is_allowed_at_an_unknown_price() -> None:
    found = catalog(providers=OPENAI)
    assert found.resolve("openai/gpt-99") == (("openai", "gpt-99"),)
    info = found.info("openai", "gpt-99")
    assert info is not None
    assert info.pricing is None
    assert info.has(Feature.TOOLS) is None


def test_a_bare_name_leads_to_all_that_serve_it_the_highest_priority_first() -> None:
    found = catalog(
        providers={"a": {"kind": "openai"}, "b": {"kind": "openai", "priority": 5}, "c": {"kind": "google"}}
    )
    assert found.resolve("gpt-4o") == (("b", "gpt-4o"), ("a", "gpt-4o"))


def test_a_vendor_slash_model_name_is_bare_where_there_is_no_such_provider() -> None:
    assert catalog(providers={"openrouter": {"kind": "openrouter"}}).resolve("openai/gpt-4o-mini") == (
        ("openrouter", "openai/gpt-4o-mini"),
    )
    assert catalog(providers=BOTH).resolve("openai/gpt-4o-mini") == (("openai", "gpt-4o-mini"),)


def test_a_bare_name_may_be_known_by_the_price_data_alone() -> None:
    found = catalog(providers={**BOTH, "google": {"kind": "google"}, "c": {"kind": "anthropic"}})
    assert found.resolve("gpt-4.1") == (("openai", "gpt-4.1"), ("openrouter", "openai/gpt-4.1"))
    assert found.resolve("claude-opus-4-1") == (("c", "claude-opus-4-1"),)
    assert found.resolve("anthropic/claude-sonnet-4") == (("openrouter", "anthropic/claude-sonnet-4"),)
    assert found.resolve("gpt-4.1-typo") == ()


def test_a_bare_name_leads_to_all_who_serve_it_by_whatever_name() -> None:
    assert catalog(providers=BOTH).resolve("gpt-4o") == (("openai", "gpt-4o"), ("openrouter", "openai/gpt-4o"))
    few = {**OPENAI, "openrouter": {"kind": "openrouter", "models": ["openai/o3"]}}
    assert catalog(providers=few).resolve("gpt-4o") == (("openai", "gpt-4o"),)
    assert catalog(providers=few).resolve("o3") == (("openai", "o3"), ("openrouter", "openai/o3"))
    assert catalog(providers=BOTH).resolve("openrouter/openai/gpt-4o") == (("openrouter", "openai/gpt-4o"),)


def test_models_limit_what_bare_names_find() -> None:
    found = catalog(providers={"a": {"kind": "openai", "models": ["gpt-4o", "house-model"]}})
    assert found.resolve("gpt-4.1") == ()
    assert found.resolve("house-model") == (("a", "house-model"),)
    assert found.resolve("gpt-4o-mini") == ()
    assert found.resolve("a/gpt-4o-mini") == (("a", "gpt-4o-mini"),)


def test_a_dated_snapshot_is_found_by_its_family() -> None:
    assert catalog(providers=OPENAI).resolve("gpt-4o-2024-08-06") == (("openai", "gpt-4o-2024-08-06"),)


def test_what_is_switched_off_leads_nowhere() -> None:
    found = catalog(providers={"openai": {"kind": "openai", "enabled": False}})
    assert found.resolve("openai/gpt-4o") == found.resolve("gpt-4o") == found.resolve("") == ()


def test_routes_lead_on_and_may_bear_the_name_of_a_model() -> None:
    found = catalog(
        providers=BOTH,
        routes={"fast": ["gpt-4o-mini", "openrouter/openai/gpt-4o-mini"], "gpt-4o": ["gpt-4o", "fast"], "x": ["y"]},
    )
    mini = (("openai", "gpt-4o-mini"), ("openrouter", "openai/gpt-4o-mini"))
    assert found.resolve("fast") == mini
    assert found.resolve("gpt-4o") == (("openai", "gpt-4o"), ("openrouter", "openai/gpt-4o"), *mini)
    assert found.resolve("x") == ()


def test_routes_in_a_circle_end() -> None:
    assert catalog(providers=OPENAI, routes={"a": ["b"], "b": ["a", "gpt-4o"]}).resolve("a") == (("openai", "gpt-4o"),)


def test_no_name_means_the_default() -> None:
    assert catalog().resolve("") == ()
    assert catalog(providers=OPENAI).resolve("") == (("openai", "gpt-4o-mini"),)
    assert catalog(providers=OPENAI, default_model="gpt-4o").resolve("") == (("openai", "gpt-4o"),)
    low = {"local": {"kind": "local", "priority": -100}, **OPENAI}
    assert catalog(providers=low).resolve("") == (("openai", "gpt-4o-mini"),)
    assert catalog(providers=OPENAI).resolve("openai") == (("openai", "gpt-4o-mini"),)


def test_a_typing_error_finds_its_name() -> None:
    found = catalog(providers=BOTH, routes={"cheap": ["gpt-4o-mini"]})
    assert "gpt-4o-mini" in found.nearest("gpt-4o-mni")
    assert found.nearest("chaep") == ("cheap",)
    assert found.nearest("openai/gtp-4o")[0] == "openai/gpt-4o"
    assert found.nearest("qqqqqqqqqqqq") == ()


# What is known of a model.


def test_nothing_is_known_of_a_model_of_an_unknown_provider() -> None:
    assert catalog().info("openai", "gpt-4o") is None


@pytest.mark.parametrize(
    ("kind", "model", "usd_in", "usd_out"),
    [
        ("google", "gemini-2.0-flash", "0.1", "0.4"),  # the first system had it for nothing
        ("openai", "gpt-4o", "2.5", "10"),
        ("openai", "gpt-4o-mini", "0.15", "0.6"),
        ("openai", "gpt-4o-2024-08-06", "2.5", "10"),
        ("openai", "gpt-4o-2024-05-13", "5", "15"),
        ("openai", "o1-mini", "1.1", "4.4"),
        ("openrouter", "openai/gpt-4o-mini", "0.15", "0.6"),
        ("openrouter", "anthropic/claude-3-haiku", "0.25", "1.25"),
        ("anthropic", "claude-3-opus-20240229", "15", "75"),
        ("cohere", "command-r-plus", "2.5", "10"),
    ],
)
def test_list_prices(kind: str, model: str, usd_in: str, usd_out: str) -> None:
    info = catalog(providers={"p": {"kind": kind}}).info("p", model)
    assert info is not None
    assert info.pricing is not None
    assert (info.pricing.input, info.pricing.output) == (per_million(usd_in), per_million(usd_out))
    assert info.pricing.source == "catalogue"


def test_free_is_known_and_unknown_is_not_free() -> None:
    found = catalog(
        providers={
            "local": {"kind": "local"},
            "ollama": {"kind": "ollama"},
            "vllm": {"kind": "custom", "base_url": "http://vllm/v1"},
        }
    )

    def price(provider: str, model: str) -> Pricing | None:
        info = found.info(provider, model)
        assert info is not None
        return info.pricing

    assert price("local", "smollm2-135m") == FREE
    assert price("ollama", "llama3.2") == price("ollama", "something:7b") == FREE
    assert price("ollama", "gpt-oss:120b-cloud") is None
    # It speaks OpenAI, but OpenAI's price list is not its own.
    assert price("vllm", "gpt-4o") is None


def test_settings_know_better_than_the_table() -> None:
    found = catalog(
        providers={"openai": {"kind": "openai", "price": {"input": 1, "output": 2}}},
        models={
            "openai/gpt-4o": {"price": {"input": "0.001", "output": 3, "cached_input": 0}, "context_length": 10},
            "openai/o3-mini": {"features": ["tools"], "max_output_tokens": 5},
        },
    )
    gpt, mini = found.info("openai", "gpt-4o"), found.info("openai", "o3-mini")
    assert gpt is not None
    assert mini is not None
    assert gpt.pricing == Pricing(input=1_000_000, output=3_000_000_000, cached_input=0, source="settings")
    assert (gpt.context_length, gpt.max_output_tokens) == (10, 16_384)
    assert mini.pricing == Pricing(input=1_000_000_000, output=2_000_000_000, source="settings")
    assert mini.features == {Feature.TOOLS}
    assert mini.max_output_tokens == 5


def test_the_narrowest_price_of_the_settings_counts() -> None:
    def price(name: str) -> int:
        info = found.info(*name.split("/"))
        assert info is not None
        assert info.pricing is not None
        return info.pricing.input

    listed = {"a/one": 1, "a/two": 2, "a/t*": 3}
    found = catalog(
        providers={name: {"kind": "openai", "price": {"input": 9, "output": 9}} for name in "ab"},
        models={"a/one": {"price": {"input": 7, "output": 7}}},
        prices={"as_of": "2026-11-20", "models": {name: {"input": usd, "output": 0} for name, usd in listed.items()}},
    )
    nano = per_million("1")
    assert [price(f"a/{name}") // nano for name in ("one", "two", "three", "four")] == [7, 2, 3, 9]
    assert price("b/one") // nano == 9
    two = found.info("a", "two")
    assert two is not None
    assert two.pricing is not None
    assert two.pricing.as_of == date(2026, 11, 20)


def test_the_price_data_says_how_old_it_is() -> None:
    """A newer version must be looked at: `price_list.AS_OF` has no day for it."""
    assert price_list.as_of() == date(2026, 11, 9)
    pricing = known("openai", "gpt-4o-mini").pricing
    assert pricing is not None
    assert pricing.as_of == price_list.as_of()
    found = catalog(providers={"openai": {"kind": "openai"}, "local": {"kind": "local"}})
    assert found.prices_as_of("openai") == price_list.as_of()
    assert found.prices_as_of("local") is None


@pytest.mark.parametrize(
    ("kind", "model"),
    [
        ("openai", "gpt-4o-search-preview"),
        ("openai", "o3-deep-research"),
        ("openrouter", "openai/gpt-4o-mini-search-preview"),
        ("openrouter", "perplexity/sonar"),
        ("openrouter", "openai/gpt-4o:online"),
    ],
)
def test_what_is_charged_by_the_call_is_not_priced_by_its_tokens_alone(kind: str, model: str) -> None:
    assert known(kind, model).pricing is None


def test_the_embedded_model_has_the_context_that_it_is_given() -> None:
    info = catalog(providers={"local": {"kind": "local"}}, local={"context_length": 4096}).info("local", "smollm2-135m")
    assert info is not None
    assert info.context_length == 4096


def test_what_a_provider_lists_is_truer_than_the_table() -> None:
    found = catalog(
        providers={"o": {"kind": "ollama", "default_model": "mine"}, "p": {"kind": "openai", "models": ["x"]}},
        models={"o/told": {}},
    )
    assert [info.model for info in found.models("o", also=("llama3.2", "mine"))] == ["mine", "told", "llama3.2"]
    assert {info.model for info in found.models("o")} == {"mine", "told", *rows("ollama")}
    assert [info.model for info in found.models("p", also=("y",))] == ["x"]
    assert found.models("nobody") == ()


def test_capabilities_are_those_of_the_models() -> None:
    offered = catalog(providers={"p": {"kind": "openai", "models": ["gpt-4", "new"], "max_in_flight": 7}}).capabilities(
        "p"
    )
    assert offered.supported_models == ("gpt-4", "new")
    assert offered.max_context_length == {"gpt-4": 8_192}
    assert offered.pricing.keys() == {"gpt-4"}
    assert offered.rate_limits.concurrent == 7
    assert Feature.TOOLS in offered.features
    assert Feature.VISION not in offered.features


def test_equal_settings_make_equal_catalogues() -> None:
    assert catalog(providers=OPENAI) == catalog(providers=OPENAI) != catalog(providers=BOTH)


# The price data.


def test_a_model_of_the_price_data_has_price_and_context() -> None:
    routed = known("openrouter", "anthropic/claude-opus-4.5")
    assert routed.pricing is not None
    assert (routed.pricing.input, routed.pricing.output) == (per_million("5"), per_million("25"))
    assert routed.context_length == 200_000
    mini = known("openai", "gpt-4.1-mini-2025-04-14")
    assert mini.pricing is not None
    assert mini.pricing.cached_input == per_million("0.1")
    assert mini.context_length == 1_000_000
    claude = known("anthropic", "claude-opus-4-1").pricing
    assert claude is not None
    assert (claude.cache_write, claude.cache_write_1h) == (per_million("18.75"), per_million("30"))
    assert claude.web_search == per_million("0.01")


def test_long_prompts_have_their_own_prices() -> None:
    pricing = known("google", "gemini-2.5-pro").pricing
    assert pricing is not None
    assert (pricing.input, pricing.applies_up_to_tokens) == (per_million("1.25"), 200_000)
    assert pricing.beyond is not None
    assert (pricing.beyond.input, pricing.beyond.output) == (per_million("2.5"), per_million("15"))
    assert pricing.beyond.beyond is None


def test_prices_are_those_of_the_day() -> None:
    def price(on: date) -> int:
        found = price_list.find("openai", "o3", on)
        assert found is not None
        assert found.pricing is not None
        return found.pricing.input

    assert price(date(2025, 6, 1)) == per_million("10")
    assert price(DAY) == per_million("2")
    days = iter((date(2025, 6, 1), DAY))
    found = Catalog(Settings.model_validate({"providers": OPENAI}), today=lambda: next(days))
    first, second = found.info("openai", "o3"), found.info("openai", "o3")
    assert first != second, "a catalogue that lives on sees the new price"


@pytest.mark.parametrize(
    ("kind", "model"),
    [("openai", "whisper-1"), ("openai", "gpt-image-1.5"), ("google", "gemma-3-27b-it"), ("openai", "gpt-99")],
)
def test_what_tokens_do_not_price_has_no_price(kind: str, model: str) -> None:
    assert known(kind, model).pricing is None


def test_what_openrouter_gives_away_is_free() -> None:
    assert known("openrouter", "qwen/qwen9:free").pricing == FREE
    assert known("openrouter", "qwen/qwen9").pricing is None


@pytest.mark.parametrize("kind", sorted(price_list.KINDS))
def test_every_model_of_the_price_data_can_be_read(kind: str) -> None:
    for model in price_list.models(kind):
        info = known(kind, model)
        assert not info.features & info.lacks, model


def test_the_price_data_is_not_read_before_it_is_asked() -> None:
    """It takes time and memory, which `raygate --help` and the embedded model do not need."""
    code = """
import sys
from runtime.catalog import Catalog
from runtime.settings import Settings
found = Catalog(Settings.model_validate({"providers": {"o": {"kind": "openai"}, "l": {"kind": "local"}}}))
assert found.resolve("gpt-4o") and found.resolve("o/gpt-4.1") and found.info("l", "smollm2-135m")
assert "genai_prices" not in sys.modules
assert found.info("o", "gpt-4.1").pricing and "genai_prices" in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


# Parameters.


def refused(info: ModelInfo) -> str:
    return " ".join(sorted(info.unsupported_parameters))


ALL_OF_SAMPLING = "frequency_penalty presence_penalty stop temperature top_p"


@pytest.mark.parametrize(
    ("kind", "model", "expected"),
    [
        ("openai", "o3", "frequency_penalty parallel_tool_calls presence_penalty stop temperature top_p"),
        ("openai", "gpt-5-mini-2025-08-07", ALL_OF_SAMPLING),
        ("openai", "gpt-5.2-chat-latest", ALL_OF_SAMPLING),
        ("openai", "gpt-5.4-pro", ALL_OF_SAMPLING),
        ("openai", "gpt-6-astra", ALL_OF_SAMPLING),
        ("openai", "gpt-5.4-mini", "frequency_penalty presence_penalty stop"),
        ("openai", "gpt-5-chat-latest", "reasoning"),
        ("openai", "gpt-4o-mini", "reasoning"),
        ("openai", "ft:gpt-4o-mini-2024-07-18:acme::x1", "reasoning"),
        ("openai", "gpt-oss-120b", ""),
        ("openai", "o30-of-somebody", ""),
        ("anthropic", "claude-opus-4-6", "frequency_penalty presence_penalty seed"),
        # The first system sent it a temperature, and its users reported the 400 (ruflo #2357).
        ("anthropic", "claude-opus-4-7", "frequency_penalty presence_penalty seed temperature top_k top_p"),
        ("anthropic", "claude-sonnet-5-5", "frequency_penalty presence_penalty seed temperature top_k top_p"),
        ("anthropic", "claude-3-5-haiku-latest", "frequency_penalty presence_penalty reasoning seed"),
        ("google", "models/gemini-2.5-flash", "frequency_penalty presence_penalty"),
        ("google", "gemini-2.0-flash", "reasoning"),
        ("google", "gemini-3.8-flash", "frequency_penalty presence_penalty temperature top_k top_p"),
        ("cohere", "command-a-03-2025", "reasoning"),
        ("cohere", "command-a-reasoning-08-2025", ""),
        (
            "openrouter",
            "openai/o3-mini",
            "frequency_penalty parallel_tool_calls presence_penalty stop temperature top_p",
        ),
        ("openrouter", "anthropic/claude-opus-4.7", "frequency_penalty presence_penalty seed temperature top_k top_p"),
        ("openrouter", "~anthropic/claude-opus-latest", "frequency_penalty presence_penalty seed"),
        ("openrouter", "google/gemini-2.5-pro:free", "frequency_penalty presence_penalty"),
        ("openrouter", "meta-llama/llama-4-maverick", ""),
        ("custom", "gpt-5", ALL_OF_SAMPLING),
        (
            "custom",
            "proxy/anthropic/claude-haiku-5-5",
            "frequency_penalty presence_penalty seed temperature top_k top_p",
        ),
        ("custom", "command-r", ""),
        ("custom", "gemma-3-27b-it", ""),
        ("ollama", "gpt-5", ""),
        ("local", "smollm2-135m", ""),
        ("scripted", "gpt-5", ""),
    ],
)
def test_what_a_model_takes_is_known_by_its_name(kind: str, model: str, expected: str) -> None:
    assert refused(known(kind, model)) == expected


def test_what_is_taken_may_hang_on_thinking() -> None:
    unasked, asked = known("openai", "gpt-5.6-sol"), known("openai", "gpt-5.1")
    assert unasked.unsupported_while_reasoning == asked.unsupported_while_reasoning == {"temperature", "top_p"}
    assert (unasked.reasons_by_default, asked.reasons_by_default) == (True, False)


def test_of_some_parameters_one_is_taken() -> None:
    assert known("anthropic", "claude-sonnet-4-5").exclusive_parameters == (("temperature", "top_p"),)
    assert known("openrouter", "anthropic/claude-sonnet-4.5").exclusive_parameters == (("temperature", "top_p"),)
    assert known("anthropic", "claude-sonnet-4-0").exclusive_parameters == ()


def test_settings_know_better_what_is_taken() -> None:
    found = catalog(
        providers={"a": {"kind": "anthropic"}, "lab": {"kind": "custom", "base_url": "http://lab/v1"}},
        models={
            "a/claude-sonnet-4-5": {"unsupported_parameters": []},
            "lab/mine": {"unsupported_parameters": ["top_k", "user"], "features": ["tools", "streaming"]},
        },
    )
    claude, mine = found.info("a", "claude-sonnet-4-5"), found.info("lab", "mine")
    assert claude is not None
    assert mine is not None
    assert (claude.unsupported_parameters, claude.exclusive_parameters) == (frozenset(), ())
    assert mine.unsupported_parameters == {"top_k", "user"}
    assert (mine.has(Feature.TOOLS), mine.has(Feature.VISION)) == (True, False)


# Features.


@pytest.mark.parametrize(
    ("kind", "model", "feature", "expected"),
    [
        ("openai", "o1-mini", Feature.TOOLS, False),
        ("openai", "o1-mini-2024-09-12", Feature.SYSTEM_MESSAGES, False),
        ("openai", "o3", Feature.VISION, True),
        ("openai", "o3-mini", Feature.VISION, False),
        ("openai", "gpt-4o-audio-preview", Feature.AUDIO, True),
        ("openai", "gpt-4o", Feature.AUDIO, False),
        ("openai", "gpt-4-turbo", Feature.JSON_SCHEMA, False),
        ("openai", "gpt-99", Feature.VISION, None),
        ("anthropic", "claude-3-haiku-20240307", Feature.VISION, True),
        ("anthropic", "claude-3-haiku-20240307", Feature.FILES, None),
        ("anthropic", "claude-3-7-sonnet-latest", Feature.JSON_SCHEMA, False),
        ("anthropic", "claude-sonnet-4-5-20250929", Feature.JSON_SCHEMA, True),
        ("anthropic", "claude-2.1", Feature.VISION, False),
        ("google", "gemini-1.0-pro", Feature.SYSTEM_MESSAGES, False),
        ("google", "gemini-3.8-flash", Feature.VIDEO, True),
        ("google", "gemini-2.5-flash-image", Feature.TOOLS, False),
        ("cohere", "command-a-vision-07-2025", Feature.VISION, True),
        ("cohere", "command-a-vision-07-2025", Feature.TOOLS, False),
        ("cohere", "command-a-03-2025", Feature.VISION, False),
        ("ollama", "llava", Feature.VISION, None),
        ("ollama", "llama3.2", Feature.JSON_SCHEMA, True),
        ("openrouter", "openai/o3-mini", Feature.VISION, False),
        # OpenRouter reads files for every model.
        ("openrouter", "openai/o3-mini", Feature.FILES, None),
        ("openrouter", "mistralai/pixtral-12b", Feature.VISION, None),
        ("custom", "gpt-4o", Feature.AUDIO, None),
        ("ruvllm", "ruvector-auto", Feature.TOOLS, False),
    ],
)
def test_what_a_model_can_is_known_or_unknown(kind: str, model: str, feature: Feature, expected: bool | None) -> None:
    assert known(kind, model).has(feature) is expected


def test_a_model_that_only_embeds_is_known() -> None:
    assert known("openai", "text-embedding-3-large").only_embeds
    assert known("google", "text-embedding-004").only_embeds
    assert known("cohere", "embed-english-v3.0").only_embeds
    assert not known("openai", "gpt-4o").only_embeds
    assert not known("openai", "gpt-99").only_embeds


def test_the_longest_answer_is_known_by_family() -> None:
    assert known("anthropic", "claude-opus-4-1-20250805").max_output_tokens == 32_000
    assert known("openai", "gpt-4.1").max_output_tokens == 32_768
    assert known("custom", "gpt-4.1").max_output_tokens is None


# The table itself.


@pytest.mark.parametrize("kind", TABLE)
def test_the_table_is_in_order(kind: str) -> None:
    assert kind in list(ProviderKind)
    names = [row[0] for row in TABLE[kind]]
    assert len(names) == len(set(names)) == len(rows(kind))
    for info in rows(kind).values():
        known = price_list.find(kind, info.model, DAY)
        assert info.pricing is not None or (known is not None and known.pricing is not None)
        assert not info.features & info.lacks
        assert info.recommended_replacement is None or kind == "openrouter" or info.recommended_replacement in names
    assert DEFAULT_MODEL[kind] in names
    assert not rows(kind)[DEFAULT_MODEL[kind]].deprecated


@pytest.mark.parametrize("kind", TABLE)
def test_the_table_and_the_families_agree(kind: str) -> None:
    """A row may say more than its family, and never the opposite."""
    for info in rows(kind).values():
        family = family_of(kind, info.model)
        assert not info.features & family.lacks, info.model
        assert not info.lacks & family.has, info.model
        assert family.longest is None or info.max_output_tokens in (None, family.longest), info.model


SEED = """claude-3-5-sonnet-20241022 claude-3-opus-20240229 claude-3-sonnet-20240229 claude-3-haiku-20240307 gpt-4o
gpt-4o-mini gpt-4-turbo o1-preview o1-mini openai/gpt-4o-mini anthropic/claude-3-haiku gemini-2.0-flash gemini-1.5-pro
gemini-1.5-flash command-r-plus command-r command-light llama3.2 mistral codellama phi-4 qwen2.5 qwen2.5:0.5b
qwen2.5:1.5b ruvector-auto ruvector-fast ruvector-quality ruvector-balanced"""


@pytest.mark.parametrize("model", SEED.split())
def test_every_model_of_the_seed_document_is_there(model: str) -> None:
    assert any(model in rows(kind) for kind in TABLE)


@pytest.mark.parametrize("price", ["-1", "0.0000000001"])
def test_a_price_is_a_whole_number_of_nanodollars(price: str) -> None:
    with pytest.raises(ValueError, match="nine decimal places"):
        per_million(Decimal(price))
