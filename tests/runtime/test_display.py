"""What people see. Nothing that came from outside is markup, and an unknown cost never looks like a small one."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from html.parser import HTMLParser

import pytest
from pydantic import SecretStr

from runtime.display import as_dict, completion_html, failure_html, summary, usd
from runtime.models import Capabilities, Feature
from runtime.outcome import Attempt, Choice, Completion, Cost, Failure, FailureKind, FinishReason, Usage
from runtime.reports import ModelUsage, UsageReport
from runtime.request import ToolCall
from runtime.settings import Settings

EVIL = "<script>alert('x')</script>\"'<img src=x onerror=y>&amp;"

ATTEMPTS = (
    Attempt(provider=EVIL, model=EVIL, outcome="timed_out", elapsed_s=1.5, detail=EVIL),
    Attempt(provider="b", model="m", outcome="ok", elapsed_s=0.25),
)

FULL = Completion(
    id="1",
    model="gpt-4o-mini",
    provider="openai",
    choices=(Choice.of("Hello.", finish_reason=FinishReason.STOP),),
    usage=Usage(input_tokens=12, output_tokens=34),
    cost=Cost(total_nanousd=22_200),
    latency_s=0.4567,
)


class Reader(HTMLParser):
    """The tags, the attributes' names and the text of a piece of HTML; fails where a tag stays open."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.names: set[str] = set()
        self.text = ""
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.names |= {name for name, _ in attrs}
        self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_summary_is_one_line() -> None:
    assert summary(FULL) == "openai/gpt-4o-mini · 12 in + 34 out tokens · $0.0000222 · 457 ms"
    assert str(FULL) == f"Hello.\n{summary(FULL)}"


def test_what_is_unknown_or_estimated_says_so() -> None:
    guess = Completion(id="1", model="m", usage=Usage(input_tokens=1, output_tokens=2, estimated=True))
    assert summary(guess) == "m · ~1 in + ~2 out tokens · cost unknown · 0 ms"
    assert "$" not in completion_html(guess)


@pytest.mark.parametrize(
    ("nano", "text"),
    [(0, "$0.00"), (1, "$0.000000001"), (10_000_000, "$0.01"), (1_230_000_000, "$1.23"), (-5_000_000_000, "-$5.00")],
)
def test_dollars_are_exact(nano: int, text: str) -> None:
    assert usd(nano) == text


@pytest.mark.parametrize(
    "html",
    [
        completion_html(
            Completion(
                id=EVIL,
                model=EVIL,
                provider=EVIL,
                choices=(
                    Choice.of(
                        EVIL,
                        refusal=EVIL,
                        finish_reason=FinishReason.LENGTH,
                        tool_calls=(ToolCall(id=EVIL, name=EVIL, arguments=EVIL),),
                    ),
                    Choice(),
                ),
                attempts=ATTEMPTS,
                dropped=(EVIL,),
            )
        ),
        failure_html(
            Failure(
                kind=FailureKind.TIMED_OUT,
                provider=EVIL,
                model=EVIL,
                detail=EVIL,
                retry_after_s=2.0,
                attempts=ATTEMPTS,
            )
        ),
        completion_html(Completion(id="", model="")),
        failure_html(Failure(kind=FailureKind.INTERNAL)),
    ],
)
def test_nothing_from_outside_is_markup(html: str) -> None:
    page = Reader(html)
    assert set(page.tags) <= {"div", "em", "strong", "code", "table", "tbody", "tr", "td"}
    assert page.names <= {"style", "class"}
    assert ("script" in html) == (EVIL in page.text)
    assert "http" not in html


def test_notebooks_show_what_happened() -> None:
    shown = Reader(FULL._repr_html_()).text
    assert "Hello." in shown
    assert summary(FULL) in shown
    failed = Reader(
        Failure(kind=FailureKind.RATE_LIMITED, provider="p", detail="slow down", retry_after_s=3)._repr_html_()
    )
    assert failed.text == "rate_limited · pslow down Try again in 3.0 s."


def test_an_early_end_is_shown() -> None:
    cut = Completion(id="1", model="m", choices=(Choice.of("a", finish_reason=FinishReason.LENGTH),))
    assert "ended early: length" in Reader(completion_html(cut)).text


def test_colours_come_from_the_page() -> None:
    assert "color:" not in completion_html(FULL).replace("currentColor", "")


def test_plain_data_goes_through_json() -> None:
    plain = as_dict(FULL)
    assert json.loads(json.dumps(plain)) == plain
    assert plain["text"] == "Hello."
    assert plain["finish_reason"] == "stop"
    assert plain["choices"][0]["text"] == "Hello."
    assert plain["usage"]["total_tokens"] == 46
    assert plain["cost"]["total_nanousd"] == 22_200
    assert as_dict(Completion(id="1", model="m"))["cost"] is None


def test_plain_data_of_other_values() -> None:
    report = UsageReport(period="day", start_s=0.0, end_s=60.0, models={"p/m": ModelUsage(requests=1)})
    assert as_dict(report)["start"] == "1970-01-01T00:00:00+00:00"
    assert as_dict(report)["models"]["p/m"]["requests"] == 1
    assert as_dict(Capabilities(provider="p", features=frozenset({Feature.TOOLS, Feature.AUDIO})))["features"] == [
        "audio",
        "tools",
    ]
    assert as_dict([Decimal("0.1"), datetime(2026, 1, 1, tzinfo=UTC), SecretStr("s"), (1, None)]) == [
        "0.1",
        "2026-01-01T00:00:00+00:00",
        "**********",
        [1, None],
    ]
    assert as_dict(Failure(kind=FailureKind.TIMED_OUT))["retryable"] is False
    assert as_dict(Settings())["port"] == 8000
