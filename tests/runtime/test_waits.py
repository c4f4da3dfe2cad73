"""How long a provider asks us to wait, in every form."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.dialects.base import Target
from runtime.dialects.status import failure_of_error
from runtime.dialects.waits import reset_after_s, retry_after_s

DATE = "Mon, 23 Nov 2026 10:00:00 GMT"
TARGET = Target(provider="p", base_url="")


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({"x-ratelimit-reset-requests": "120ms"}, 0.12),
        ({"x-ratelimit-reset-requests": "1s"}, 1.0),
        ({"x-ratelimit-reset-requests": "6m0s"}, 360.0),
        ({"x-ratelimit-reset-requests": "2m59.56s"}, 179.56),
        ({"x-ratelimit-reset-requests": "1s", "x-ratelimit-reset-tokens": "7s"}, 7.0),
        # The one that struck is the one of which nothing is left.
        (
            {
                "x-ratelimit-remaining-requests": "0",
                "x-ratelimit-reset-requests": "2s",
                "x-ratelimit-remaining-tokens": "29996",
                "x-ratelimit-reset-tokens": "50s",
            },
            2.0,
        ),
        ({"x-ratelimit-remaining-requests": "3", "x-ratelimit-reset-requests": "2s"}, None),
        ({"anthropic-ratelimit-requests-reset": "2026-11-23T10:00:05Z", "date": DATE}, 5.0),
        ({"anthropic-ratelimit-requests-reset": "2026-11-23T10:00:05Z"}, None),
        ({"anthropic-ratelimit-requests-reset": "2026-11-23T10:00:05", "date": DATE}, None),
        ({"x-ratelimit-reset": "1795428007000", "date": DATE}, 7.0),
        ({"x-ratelimit-reset": "1795428007", "date": DATE}, 7.0),
        ({"x-ratelimit-reset": "3"}, 3.0),
        ({"x-ratelimit-reset": "1795428007000"}, None),
        # By the day, and often of some models alone.
        ({"x-ratelimit-reset": "1795500000000", "date": DATE}, None),
        ({"x-ratelimit-reset": "soon"}, None),
        ({"x-ratelimit-reset": ""}, None),
        ({"x-reset": "3"}, None),
        ({}, None),
    ],
)
def test_resets_are_read(headers: dict[str, str], wait_s: float | None) -> None:
    assert reset_after_s(headers) == (None if wait_s is None else pytest.approx(wait_s))


def test_what_is_said_outright_comes_before_a_reset() -> None:
    headers = {"retry-after": "2", "x-ratelimit-reset-requests": "9s"}
    assert failure_of_error("slow", TARGET, status=429, headers=headers).retry_after_s == 2.0


def test_a_reset_is_a_wait_on_a_429_alone() -> None:
    headers = {"x-ratelimit-reset-requests": "9s"}
    assert failure_of_error("slow", TARGET, status=429, headers=headers).retry_after_s == 9.0
    assert failure_of_error("broken", TARGET, status=500, headers=headers).retry_after_s is None


def test_openrouter_repeats_its_headers_in_the_body() -> None:
    error = {"message": "slow", "code": 429, "metadata": {"headers": {"X-RateLimit-Reset": "4", "Odd": 1}}}
    assert failure_of_error(error, TARGET, status=429, headers={}).retry_after_s == 4.0


@given(st.text(), st.text(), st.sampled_from(["x-ratelimit-reset", "anthropic-ratelimit-tokens-reset", "retry-after"]))
def test_nothing_that_a_header_says_breaks_the_reading(said: str, date: str, name: str) -> None:
    for wait_s in (reset_after_s({name: said, "date": date}), retry_after_s({name: said, "date": date})):
        assert wait_s is None or wait_s >= 0.0
