"""What is counted, summed and told. The texts are read back by Prometheus' own parsers."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_open
from prometheus_client.parser import text_string_to_metric_families as read

from runtime.catalog import sold
from runtime.feed import EdgeReport, Observed
from runtime.metrics.labels import Labels
from runtime.metrics.meter import MOST_CELLS, Meter
from runtime.metrics.named import BY_NAME, METRICS, SECONDS, TOKENS
from runtime.metrics.page import renewed
from runtime.metrics.sums import Family, Sums, budgets, doors, levels, parts, single
from runtime.metrics.text import rendered, wants_open
from runtime.outcome import Attempt, Completion, Failure, FailureKind, Usage
from runtime.settings import ProviderKind, Settings
from runtime.sona.presets import TASTES

SETTINGS = Settings.model_validate(
    {
        "providers": {
            "a": {"kind": "custom", "base_url": "http://127.0.0.1:9/v1", "models": ["m"]},
            "o": {"kind": "openai"},
        },
        "routes": {"fast": ["a/m", "a/n"]},
        "models": {"a/m": {"price": {"input": 1, "output": 2}}},
    }
)
LABELS = Labels(SETTINGS)


def tried(outcome: str = "ok", model: str = "m", provider: str = "a") -> Attempt:
    return Attempt(provider=provider, model=model, outcome=outcome, elapsed_s=0.1)


def answer(*attempts: Attempt, **said: Any) -> Completion:
    more = {"usage": Usage(input_tokens=30, output_tokens=5), "overhead_s": 0.0002, **said}
    return Completion(id="1", model="m-2026", provider="a", attempts=attempts or (tried(),), **more)


def meter() -> Meter:
    return Meter(LABELS, Counter())


def told(one: Meter, *, edge: str = "e", sequence: int = 1, **said: Any) -> EdgeReport:
    return EdgeReport(edge=edge, sequence=sequence, served=one.take(), counters=dict(one._counters), **said)


def values(sums: Sums, name: str) -> dict[tuple[str, ...], Any]:
    return {at: value for family in sums.families() if family.name == name for at, value in family.samples}


def test_a_request_is_counted_by_its_door_its_route_and_what_came_of_it() -> None:
    one, sums = meter(), Sums()
    one.served("openai", "a/m", answer(), 0.3)
    one.served("anthropic", "fast", Failure(kind=FailureKind.RATE_LIMITED, provider="a", model="m"), 0.1)
    one.served("openai", "", None, 1.0)
    sums.add(told(one), LABELS)
    assert values(sums, "raygate_requests_total") == {
        ("openai", "a/m", "ok"): 1,
        ("anthropic", "fast", "rate_limited"): 1,
        ("openai", "default", "cancelled"): 1,
    }
    duration = values(sums, "gen_ai_client_operation_duration_seconds")
    counts, total = duration["chat", "custom", "m", "a", ""]
    assert (sum(counts), total, counts[SECONDS.index(0.32)]) == (1, 0.3, 1)
    assert ("chat", "custom", "m", "a", "rate_limited") in duration
    usage = values(sums, "gen_ai_client_token_usage")
    assert usage["chat", "custom", "m", "a", "input"][0][TOKENS.index(64)] == 1


def test_names_that_the_settings_do_not_know_are_one_label() -> None:
    assert LABELS.route("fast") == "fast"
    assert LABELS.route("a/n") == "a/n", "a route's target"
    assert LABELS.route("a/whatever") == "a/other"
    assert LABELS.route("made up") == "other"
    assert LABELS.route("gpt-4o") == "gpt-4o", "the price data knows it"
    assert LABELS.model("o", "gpt-4o-mini") == "gpt-4o-mini"
    assert LABELS.model("o", "ft:gpt-4o:me") == "other"
    assert LABELS.provider("gone") == "other"


@given(st.lists(st.text(max_size=8), max_size=60))
def test_whatever_is_asked_for_the_series_are_few(names: list[str]) -> None:
    one = meter()
    for name in names:
        one.served("openai", name, answer(), 0.1)
        one.served("openai", f"a/{name}", answer(tried(model=name)), 0.1)
    known = {"m", "n", *sold(ProviderKind.OPENAI)}
    shown = {served.route.removeprefix("a/").removeprefix("o/") for served in one.peek()}
    assert shown - known <= {"other", "default", "fast", "a", "o", "", *TASTES}


def test_cells_are_bounded_and_nothing_is_lost() -> None:
    one = meter()
    for number in range(MOST_CELLS + 50):
        one.served(f"surface {number}", "fast", answer(), 0.1)
        one.served(f"surface {number}", "a/m", answer(), 0.1)
    assert sum(served.count for served in one.take()) == 2 * (MOST_CELLS + 50)
    assert not one


def test_several_attempts_are_retries_failovers_and_hedges() -> None:
    one = meter()
    one.served("openai", "fast", answer(tried("overloaded"), tried("timed_out"), tried(model="n")), 0.1)
    one.served("openai", "fast", answer(tried("refused"), tried(model="n")), 0.1)
    one.served("openai", "fast", answer(tried(), tried("hedged", "n")), 0.1)
    assert dict(one._counters) == {"retries": 1, "failovers": 2, "hedges": 1}
    assert {served.model for served in one.peek()} == {"m", "n"}


def test_what_was_had_already_is_a_hit_and_says_what_it_saved() -> None:
    one, sums = meter(), Sums()
    had = Completion(
        id="1", model="m", provider="a", attempts=(tried("shared"),), usage=Usage(input_tokens=30, output_tokens=5)
    )
    one.served("openai", "a/m", had, 0.001)
    sums.add(told(one), LABELS)
    assert values(sums, "raygate_cache_hits_total") == {("cached",): 0, ("shared",): 1}
    assert values(sums, "raygate_saved_usd_total")[()] == 30 * 1_000 + 5 * 2_000
    sums.add(EdgeReport(edge="f", sequence=1, counters={"cache_saved_nanousd": 0, "cached": 1}), LABELS)
    assert "raygate_saved_usd_total 0.00004\n" in rendered(sums.families())
    assert not values(sums, "gen_ai_client_token_usage"), "nobody was asked"


def test_counters_of_a_process_that_died_stay_and_a_new_one_adds_to_them() -> None:
    sums = Sums()
    sums.add(EdgeReport(edge="x", sequence=1, counters={"shed": 3}), LABELS)
    sums.add(EdgeReport(edge="x", sequence=2, counters={"shed": 5}), LABELS)
    sums.add(EdgeReport(edge="y", sequence=1, counters={"shed": 2}), LABELS)
    assert values(sums, "raygate_shed_total") == {(): 7}


def test_attempts_tokens_and_money_are_those_that_providers_were_asked_for() -> None:
    sums = Sums()
    seen = Observed(
        provider="a",
        model="m",
        spell=0,
        answered=2,
        failures={FailureKind.OVERLOADED: 1},
        input_tokens=60,
        output_tokens=9,
        cost_nanousd=1_000_000_000_000_000_001,
        unpriced=1,
    )
    sums.add(EdgeReport(edge="x", sequence=1, observed=(seen,)), LABELS)
    assert values(sums, "raygate_attempts_total") == {("a", "m", "ok"): 2, ("a", "m", "overloaded"): 1}
    text = rendered(sums.families())
    assert 'raygate_cost_usd_total{provider="a",model="m"} 1000000000.000000001\n' in text, "no rounding"


def everything() -> tuple[Family, ...]:
    """Samples of every metric in the table."""
    one, sums = meter(), Sums()
    one.served("openai", "fast", answer(ttft_s=0.2), 0.3)
    one.served("openai", "fast", Failure(kind=FailureKind.TIMED_OUT, provider="a", model="m"), 0.3)
    one._counters["decisions"] += 4
    one._counters["explored"] += 1
    seen = Observed(provider="a", model="m", spell=0, answered=1, input_tokens=1, output_tokens=1, reasoning_tokens=1)
    sums.add(told(one, observed=(seen,)), LABELS)
    limits = [
        {"scope": "team", "of": 'x"\\\n', "period": "day", "counts": "money", "amount": 100, "used": 85},
        {"scope": "key", "of": "key_1", "period": "day", "counts": "money", "amount": 100, "used": 100},
        {"scope": "key", "of": "key_1", "period": None, "counts": "requests", "amount": 100, "used": 1},
    ]
    return (
        *sums.families(),
        *levels([{"waiting": 1}, {"rows_waiting": 3}]),
        *doors({"a": "closed", "o": "open"}, {"a": 2, "o": 0}),
        *single(replicas=2, edges=4, edges_behind=0, settings_version=7),
        *budgets(limits),
        *parts({"manager": True, "ledger": False}, version="0.1.0", python="3.11"),
        Family(name="raygate_of_a_later_version", samples=(((), 1),)),
    )


@pytest.mark.parametrize(("open_metrics", "reader"), [(False, read), (True, read_open)])
def test_both_texts_are_what_their_readers_understand(open_metrics: bool, reader: Any) -> None:
    text = rendered(everything(), open_metrics=open_metrics)
    found = {sample.name: sample for family in reader(text) for sample in family.samples}
    for metric in METRICS:
        name = f"{metric.name}_bucket" if metric.kind == "histogram" else metric.name
        assert name in found, f"{metric.name} is in the table and not exposed"
        assert set(found[name].labels) - {"le"} <= set(metric.labels)
    assert "raygate_of_a_later_version" not in text
    assert 'raygate_budget_used_ratio{scope="team",id="x\\"\\\\\\n",period="day"} 0.85' in text
    assert 'raygate_breaker_state{provider="o",state="open"} 1' in text
    assert "key_1" not in text, "keys are no labels"


def test_no_metric_has_a_dot_in_its_name_nor_a_key_among_its_labels() -> None:
    assert all("." not in one.name for one in METRICS)
    assert not {"key", "request_id", "tenant", "user"} & {label for one in METRICS for label in one.labels}
    assert len(BY_NAME) == len(METRICS)


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        ("", False),
        ("*/*", False),
        ("text/plain", False),
        (
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;q=0.5",
            True,
        ),
        ("text/plain;version=0.0.4, application/openmetrics-text;q=0.1", False),
        ("application/openmetrics-text;q=x", False),
    ],
)
def test_openmetrics_is_for_those_that_rather_have_it(accept: str, wanted: bool) -> None:
    assert wants_open(accept) is wanted


@given(st.lists(st.integers(min_value=0, max_value=10**15), max_size=20))
def test_money_is_summed_and_told_without_rounding(costs: list[int]) -> None:
    sums = Sums()
    for number, cost in enumerate(costs):
        seen = Observed(provider="a", model="m", spell=0, cost_nanousd=cost)
        sums.add(EdgeReport(edge=f"e{number}", sequence=1, observed=(seen,)), LABELS)
    lines = [line for line in rendered(sums.families()).splitlines() if line.startswith("raygate_cost_usd_total{")]
    assert sum((Decimal(line.rpartition(" ")[2]) for line in lines), Decimal(0)) == Decimal(sum(costs)) / 10**9


def test_the_page_of_operations_has_the_table_as_it_is() -> None:
    path = Path(__file__).parents[2] / "docs" / "operations.md"
    assert renewed(path.read_text()) == path.read_text(), "run make docs"
