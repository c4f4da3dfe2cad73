"""Names and models: where a name leads, and what is known, unknown or free."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from runtime.catalog import Catalog, Feature
from runtime.model_table import DEFAULT_MODEL, TABLE, rows
from runtime.models import FREE, Pricing, per_million
from runtime.settings import ProviderKind, Settings


def catalog(**said: Any) -> Catalog:
    return Catalog(Settings.model_validate(said))


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


def test_models_limit_what_bare_names_find() -> None:
    found = catalog(providers={"a": {"kind": "openai", "models": ["gpt-4o", "house-model"]}})
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
    assert found.resolve("gpt-4o") == (("openai", "gpt-4o"), *mini)
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


# The table itself.


@pytest.mark.parametrize("kind", TABLE)
def test_the_table_is_in_order(kind: str) -> None:
    assert kind in list(ProviderKind)
    names = [row[0] for row in TABLE[kind]]
    assert len(names) == len(set(names)) == len(rows(kind))
    for info in rows(kind).values():
        assert info.pricing is not None
        assert info.recommended_replacement is None or kind == "openrouter" or info.recommended_replacement in names
    assert kind == "ruvllm" or DEFAULT_MODEL[kind] in names
    assert kind == "ruvllm" or not rows(kind)[DEFAULT_MODEL[kind]].deprecated


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
