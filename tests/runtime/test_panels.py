"""What a notebook shows of status, usage, health, estimates and plans: escaped, whole, and short where it is plain."""

from __future__ import annotations

import pickle
from collections.abc import Callable

import pytest

from runtime.outcome import Choice, Completion, Cost, Failure, FailureKind, Usage
from runtime.panels import MOST_ROWS, Explanation
from runtime.price import CostEstimate
from runtime.reports import HealthReport, ModelUsage, ProviderStatus, Shut, UsageReport
from tests.runtime.test_display import EVIL, Reader

ALL = (
    ProviderStatus(
        provider="raygate",
        available=True,
        parts=(
            ProviderStatus(provider=EVIL, available=False, breaker=EVIL, detail=EVIL, retry_in_s=12.0),
            ProviderStatus(
                provider="b",
                available=True,
                latency_s=0.2,
                max_in_flight=4,
                models={EVIL: Shut(state="open", detail=EVIL)},
            ),
        ),
    ),
    UsageReport(
        period="day",
        start_s=1_700_000_000.0,
        end_s=1_700_000_100.0,
        total=ModelUsage(requests=3, answered=3, cost_nanousd=450_000, latency_sum_s=6.0),
        models={
            EVIL: ModelUsage(requests=1, answered=1, unpriced_requests=1),
            "a/dear": ModelUsage(requests=2, answered=2, cost_nanousd=450_000, input_tokens=12_345),
        },
    ),
    HealthReport(provider="raygate", healthy=False, parts=(HealthReport(provider=EVIL, healthy=False, detail=EVIL),)),
    CostEstimate(
        prompt_tokens=10,
        completion_tokens=20,
        options=(CostEstimate(prompt_tokens=1, completion_tokens=2, provider=EVIL),),
    ),
    Explanation(
        model=EVIL,
        strategy=EVIL,
        candidates=[{"provider": EVIL, "model": EVIL, "terms": {EVIL: 0.5, "chance": EVIL}}],
        dropped=[{"provider": EVIL, "why": EVIL, "detail": EVIL}],
    ),
)


@pytest.mark.parametrize("shown", ALL, ids=lambda one: type(one).__name__)
def test_nothing_from_outside_is_markup(shown: object) -> None:
    html: Callable[[], str] = shown._repr_html_  # type: ignore[attr-defined]  # each of them has it
    read = Reader(html())
    assert not {"script", "img"} & set(read.tags)
    assert read.names <= {"style", "class"}
    assert EVIL in read.text


def test_a_status_tells_who_is_shut_and_for_how_long() -> None:
    text = Reader(ALL[0]._repr_html_()).text  # type: ignore[union-attr]  # as above
    assert "12.0 s" in text
    assert "0 of 4" in text
    assert "200 ms" in text


def test_usage_names_the_dearest_first_and_says_what_is_unknown() -> None:
    text = Reader(ALL[1]._repr_html_()).text  # type: ignore[union-attr]  # as above
    assert text.index("all together") < text.index("a/dear") < text.index(EVIL)
    assert "$0.00045" in text
    assert "1 at an unknown price" in text
    assert "2.0 s" in text


def test_an_unknown_cost_is_no_small_one() -> None:
    assert "cost unknown" in Reader(ALL[3]._repr_html_()).text  # type: ignore[union-attr]  # as above
    assert "$0.00" not in Reader(ALL[3]._repr_html_()).text  # type: ignore[union-attr]  # as above


def test_a_plan_is_a_mapping_that_crosses_and_says_who_would_be_asked() -> None:
    plan = Explanation(
        model="fast",
        strategy="latency",
        candidates=[{"provider": "a", "model": "m", "terms": {"base_s": 0.91234, "chance": "drawn"}}],
        dropped=[],
    )
    back = pickle.loads(pickle.dumps(plan))
    assert back == plan == dict(plan)
    assert "1.a/mbase_s 0.9123, chance drawn" in Reader(back._repr_html_()).text
    assert "nobody would be asked" in Reader(Explanation()._repr_html_()).text


def test_a_long_table_ends_with_how_many_more_there_are() -> None:
    many = ProviderStatus(
        provider="raygate",
        available=True,
        parts=tuple(ProviderStatus(provider=f"p{at}", available=True) for at in range(MOST_ROWS + 5)),
    )
    assert "and 5 more" in Reader(many._repr_html_()).text


def test_the_plain_form_is_one_short_line() -> None:
    long = Completion(
        id="1", model="m", provider="p", choices=(Choice.of("word\n" * 500),), usage=Usage(input_tokens=5)
    )
    for shown in (*ALL[:4], long, Failure(kind=FailureKind.TIMED_OUT, provider="p", detail="too slow")):
        assert "\n" not in repr(shown)
        assert len(repr(shown)) < 300
    priced = CostEstimate(prompt_tokens=1, completion_tokens=2, cost=Cost(total_nanousd=5_000_000_000))
    assert repr(priced) == "<CostEstimate $5.00 for 1 in + 2 out tokens>"
    assert repr(long).startswith("<Completion 'word word")
