"""Every dialect against llmock, which breaks on demand; at the end it says how its client coped.

The verdict is over all requests of this module. It groups requests with equal bodies into calls, so each test asks
something that no other one asks; `_text` sees to that.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import count
from typing import Any

import orjson
import pytest

from runtime.outcome import Completion, Embeddings, FailureKind, FinishReason
from runtime.request import EmbedRequest, Sampling
from tests.fakes.providers import streamed
from tests.upstreams.conftest import LLMOCK
from tests.upstreams.stack import PROVIDER, WEATHER, How, Row, answered, asked, completion, control, failure, stack

K = FailureKind

OPENAI = Row("openai", "openai", "openai", "/v1", "gpt-4o")
ANTHROPIC = Row("anthropic", "anthropic", "anthropic", "/anthropic/v1", "claude-sonnet-4-5")
GOOGLE = Row("google", "google", "google", "/gemini/v1beta", "gemini-2.5-flash")
COHERE = Row("cohere", "cohere", "cohere", "/cohere", "command-a-03-2025")
ROWS = (
    OPENAI,
    ANTHROPIC,
    GOOGLE,
    COHERE,
    # Others who speak OpenAI, each with turns of its own.
    Row("mistral", "openai", "custom", "/mistral/v1", "mistral-large-latest"),
    Row("groq", "openai", "custom", "/groq/openai/v1", "llama-3.3-70b-versatile"),
    Row("together", "openai", "custom", "/together/v1", "meta-llama/Llama-3.3-70B-Instruct-Turbo"),
    Row("perplexity", "openai", "custom", "/perplexity/v1", "sonar"),
    Row("ai21", "openai", "custom", "/ai21/v1", "jamba-large"),
    Row("xai", "openai", "custom", "/xai/v1", "grok-4"),
)

KNOWN: Mapping[tuple[str, str], str] = {
    ("together", "finish"): "says eos where OpenAI says stop, as the real one does",
    ("google", "502"): "under the word UNAVAILABLE, which Gemini says with 503",
    ("google", "413"): "under the word RESOURCE_EXHAUSTED, which Gemini says with 429",
    ("google", "422"): "under the word FAILED_PRECONDITION, which Gemini says where it will not serve at all",
}
"""Where llmock's answers are not OpenAI's, or not the real provider's. (Its Cohere lists models under /v2, too.)"""

UNSEEN: Mapping[str, str] = {
    "malformed_chunk_ignored": "llmock had sent all the rest before we hung up; our asking again is a new call to it"
}
"""Warnings of the verdict that are llmock's limits, and not our client's."""

every_row = pytest.mark.parametrize("row", ROWS, ids=str)
both_ways = pytest.mark.parametrize("how", ["whole", "stream"])

_numbers = count(1)


def _text() -> str:
    return f"question {next(_numbers)}: what is the use of all this?"


@pytest.fixture(autouse=True)
def _nothing_is_left_over(llmock: str) -> Iterator[None]:
    """What a test has scripted, it has used up."""
    yield
    assert control(f"{llmock}/_llmock/scenario")["pending"] == []


def _script(llmock: str, behavior: str, **said: Any) -> None:
    """What becomes of the next request."""
    control(f"{llmock}/_llmock/scenario", {"behaviors": [{"type": behavior, **said}]})


def _stopped(row: Row, said: Completion) -> bool:
    if said.finish_reason is FinishReason.OTHER and (row.name, "finish") in KNOWN:
        return bool(said.choices[0].extra["finish_reason"] == "eos")
    return said.finish_reason is FinishReason.STOP


@both_ways
@every_row
async def test_an_answer(row: Row, how: How, llmock: str) -> None:
    async with stack(row, llmock) as made:
        said = completion(await made.patiently(asked(_text(), sampling=Sampling(max_tokens=50)), how))
    assert said.text
    assert _stopped(row, said)
    assert said.usage.input_tokens > 0
    assert said.usage.output_tokens > 0
    assert not said.usage.estimated


@both_ways
@every_row
async def test_tools_are_called_and_answered(row: Row, how: How, llmock: str) -> None:
    request = asked(_text() + " And the weather?", tools=(WEATHER,))
    async with stack(row, llmock) as made:
        first = completion(await made.patiently(request, how))
        assert first.finish_reason is FinishReason.TOOL_CALLS
        (call,) = first.tool_calls
        assert call.name == "get_weather"
        assert list(orjson.loads(call.arguments)) == ["city"]
        last = completion(await made.patiently(answered(request, first.tool_calls, "21 degrees"), how))
        assert _stopped(row, last)
        assert last.text


@both_ways
@every_row
async def test_a_call_in_a_stream_comes_back_letter_by_letter(row: Row, how: How, llmock: str) -> None:
    arguments = {"city": "Zürich", "days": [1, 2], "exact": True, "note": 'a "quoted" \\ one'}
    calls = [{"name": "get_weather", "arguments": {"city": "Bern"}}, {"name": "get_weather", "arguments": arguments}]
    _script(llmock, "reply", tool_calls=calls)
    async with stack(row, llmock) as made:
        said = completion(await made.patiently(asked(_text(), tools=(WEATHER,)), how))
    assert [orjson.loads(call.arguments) for call in said.tool_calls] == [{"city": "Bern"}, arguments]
    assert len({call.id for call in said.tool_calls}) == 2


@both_ways
@every_row
async def test_a_throttle_is_waited_out(row: Row, how: How, llmock: str) -> None:
    _script(llmock, "fail", status=429, retry_after=0.3, times=2)
    begun = time.monotonic()
    async with stack(row, llmock) as made:
        said = completion(await made.patiently(asked(_text()), how))
    assert time.monotonic() - begun >= 0.6
    assert [attempt.outcome for attempt in said.attempts] == ["rate_limited", "rate_limited", "ok"]


@both_ways
@pytest.mark.parametrize("status", [500, 502, 503, 529])
@every_row
async def test_an_outage_that_passes(row: Row, status: int, how: How, llmock: str) -> None:
    _script(llmock, "fail", status=status, retry_after=0.1)
    async with stack(row, llmock) as made:
        said = completion(await made.patiently(asked(_text()), how))
    kind = K.OVERLOADED if status in (503, 529) or (row.name, str(status)) in KNOWN else K.UNAVAILABLE
    assert [attempt.outcome for attempt in said.attempts] == [kind, "ok"]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, K.BAD_REQUEST),
        (401, K.UNAUTHENTICATED),
        (403, K.FORBIDDEN),
        (404, K.MODEL_NOT_FOUND),
        (413, K.TOO_LARGE),
        (422, K.BAD_REQUEST),
    ],
)
@every_row
async def test_what_cannot_help_is_not_tried_again(row: Row, status: int, kind: FailureKind, llmock: str) -> None:
    if (row.name, str(status)) in KNOWN:
        pytest.skip(f"llmock sends this {KNOWN[row.name, str(status)]}")
    _script(llmock, "fail", status=status)
    async with stack(row, llmock) as made:
        failed = failure(await made.patiently(asked(_text())))
    assert (failed.kind, failed.status) == (kind, status)
    assert len(failed.attempts) == 1


BREAKS = [
    ("disconnect", K.INTERRUPTED),
    ("truncate", K.INTERRUPTED),
    ("malformed", K.MALFORMED),
    ("stall", K.INTERRUPTED),
]
LONG = "One word follows another until there are enough of them to break off in their midst."


@pytest.mark.parametrize(("fault", "kind"), BREAKS)
@every_row
async def test_a_stream_that_breaks_in_the_middle_is_no_answer(
    row: Row, fault: str, kind: FailureKind, llmock: str
) -> None:
    """What was shown cannot be taken back: the caller is told, and asks again.

    On a busy machine all that comes before the fault may come in one piece with it: nothing was shown then, and the
    gateway asks again by itself.
    """
    _script(llmock, "reply", text=LONG, times=2)
    _script(llmock, "stream_fault", kind=fault, after_chunks=4, stall_seconds=0.9)
    request = replace(asked(_text()), model=f"{PROVIDER}/{row.model}")
    async with stack(row, llmock) as made:
        broken = await streamed(made.gateway, request)
        assert broken.outcome.attempts[0].outcome == kind.value
        if len(broken.outcome.attempts) > 1:
            assert completion(broken.outcome).text == broken.text == LONG
            return
        assert failure(broken.outcome).kind is kind
        again = completion(await made.patiently(request, "stream"))
    assert again.text == LONG
    assert broken.text
    assert LONG.startswith(broken.text)
    assert broken.text != LONG


@pytest.mark.parametrize("fault", ["disconnect", "truncate", "malformed"])
@every_row
async def test_a_stream_that_breaks_before_its_first_word_is_asked_again(row: Row, fault: str, llmock: str) -> None:
    _script(llmock, "stream_fault", kind=fault, after_chunks=0)
    async with stack(row, llmock) as made:
        stream = await streamed(made.gateway, replace(asked(_text()), model=f"{PROVIDER}/{row.model}"))
    assert isinstance(stream.outcome, Completion)
    assert len(stream.outcome.attempts) == 2


@every_row
async def test_the_time_to_the_first_token(row: Row, llmock: str) -> None:
    _script(llmock, "slow_first_token", seconds=0.3)
    async with stack(row, llmock) as made:
        said = completion(await made.once(asked(_text()), "stream"))
    assert said.ttft_s is not None
    assert said.ttft_s >= 0.3


@pytest.mark.parametrize("row", [OPENAI, ANTHROPIC, GOOGLE], ids=str)
async def test_models_and_health_are_free(row: Row, llmock: str) -> None:
    async with stack(row, llmock) as made:
        healthy = await made.provider.health_check()
        listed = await made.provider.list_models()
    assert healthy.healthy, healthy.detail
    assert len(listed) > 1


async def test_embeddings(llmock: str) -> None:
    async with stack(OPENAI, llmock) as made:
        found = await made.provider.embed(
            EmbedRequest(inputs=("some words", "some others"), model="text-embedding-3-small")
        )
    assert isinstance(found, Embeddings)
    assert len(found.vectors) == 2
    assert found.usage.input_tokens > 0


def test_the_verdict_on_our_client(llmock: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Over everything above: waited as long as asked, gave up on what cannot help, believed no broken stream."""
    found = control(f"{llmock}/_llmock/verdict")
    report = subprocess.run([LLMOCK, "report", "--url", llmock], capture_output=True, text=True, check=False)
    with capsys.disabled():
        print(f"\n{control(f'{llmock}/_llmock/verdict?format=text')}")
    assert found["errors"] == 0
    assert report.returncode == 0, report.stdout + report.stderr
    assert {finding["code"] for finding in found["findings"]} <= UNSEEN.keys()
