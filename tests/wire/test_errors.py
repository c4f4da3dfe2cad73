"""Errors: the rules by which recorded ones are judged, and real ones quoted in public issues, each judged by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import orjson
import pytest

from runtime.dialects.base import HttpReply, Target
from runtime.dialects.registry import DIALECTS
from runtime.outcome import Completion, Failure, FailureKind
from tests.conformance.samples import SAMPLES
from tests.wire.errors import Expected, expected
from tests.wire.records import ABSENT, QUOTED, ROWS, Row

Json = Any
K = FailureKind

with_quotes = pytest.mark.skipif(not QUOTED.is_file(), reason=ABSENT)

JUDGED: dict[str, FailureKind | None] = {
    "anthropics/anthropic-sdk-typescript/issues/616": K.OVERLOADED,
    "anthropics/claude-code/issues/35792": K.OVERLOADED,
    "anthropics/claude-code/issues/71279": K.RATE_LIMITED,
    "cline/cline/issues/252": K.RATE_LIMITED,
    "anthropics/anthropic-sdk-go/issues/200": K.OVERLOADED,
    "openai/openai-node/issues/1477": K.RATE_LIMITED,
    "alexrudall/ruby-openai/issues/501": K.QUOTA_EXHAUSTED,
    "openai/codex/issues/88": K.RATE_LIMITED,
    "ai-genie/chatgpt-vscode/issues/100": K.UNAVAILABLE,
    # The headers of a success: no error, whatever they say of limits.
    "open-webui/open-webui/issues/3743": None,
    "continuedev/continue/issues/10560": K.RATE_LIMITED,
    "google-gemini/gemini-cli/issues/14831": K.RATE_LIMITED,
    "google-gemini/gemini-cli/issues/5191": K.OVERLOADED,
    "use-agent-os/agent-os/issues/2214": K.UNAVAILABLE,
    "ollama/ollama/issues/14093": K.UNAVAILABLE,
    "coasys/ad4m/pull/1001": K.UNAVAILABLE,
}
"""What each quoted error means, by the thread that quotes it."""


def quoted() -> list[Json]:
    if not QUOTED.is_file():
        return []
    return [json.loads(line) for line in QUOTED.read_text().splitlines() if line.strip()]


def thread(quote: Json) -> str:
    return str(quote["source"]).split(" ")[0].removeprefix("https://github.com/")


def read(quote: Json) -> Completion | Failure:
    """What we read from a quoted error: a reply, or a stream that breaks off with it."""
    row = ROWS[quote["provider"]]
    dialect, target = DIALECTS[row.dialect], _target(row)
    headers = {name.lower(): value for name, value in (quote.get("headers") or {}).items()}
    if quote.get("mid_stream"):
        decoder = dialect.decoder(target)
        decoder.feed(b"".join(_begun(row.dialect)) + _event(quote))
        return decoder.finish()
    body = orjson.dumps(quote["body"]) if quote["body"] is not None else b""
    if quote["status"] == 200:
        body = SAMPLES[row.dialect].reply
    return dialect.decode(HttpReply(status=quote["status"], headers=headers, body=body), target)


def _target(row: Row) -> Target:
    return Target(provider="p", base_url=row.base_url, model="m")


def _begun(dialect: str) -> list[bytes]:
    """The first event of the dialect's own sample stream."""
    separator = b"\n" if dialect == "ollama" else b"\n\n"
    first, _, _ = SAMPLES[dialect].stream.partition(separator)
    return [first, separator]


def _event(quote: Json) -> bytes:
    data = orjson.dumps(quote["data"])
    if quote["provider"] == "ollama":
        return data + b"\n"
    name = f"event: {quote['sse_event']}\n".encode() if quote.get("sse_event") else b""
    return name + b"data: " + data + b"\n\n"


@with_quotes
def test_every_quoted_error_is_judged() -> None:
    assert sorted(thread(quote) for quote in quoted()) == sorted(JUDGED)


@pytest.mark.parametrize("quote", [pytest.param(one, id=thread(one)) for one in quoted()] or [None])
@with_quotes
def test_a_quoted_error_has_the_right_kind_and_advice(quote: Json) -> None:
    got, kind = read(quote), JUDGED[thread(quote)]
    if kind is None:
        assert isinstance(got, Completion)
        return
    assert isinstance(got, Failure)
    assert got.kind is kind
    assert got.detail
    retry = kind in (K.RATE_LIMITED, K.OVERLOADED, K.UNAVAILABLE)
    assert got.retryable is retry
    # None of them names a wait in a field; one says it in its message, which is never searched.
    assert got.retry_after_s is None


@pytest.mark.parametrize(
    ("status", "headers", "body", "wanted"),
    [
        (429, {"retry-after": "2"}, {"error": {"code": "x"}}, Expected(K.RATE_LIMITED, 2.0)),
        (429, {"retry-after": "2", "retry-after-ms": "150"}, None, Expected(K.RATE_LIMITED, 0.15)),
        (429, {}, {"error": {"type": "insufficient_quota"}}, Expected(K.QUOTA_EXHAUSTED, None)),
        (400, {}, {"error": {"code": "context_length_exceeded"}}, Expected(K.CONTEXT_OVERFLOW, None)),
        (500, {}, {"error": {"type": "server_error"}}, Expected(K.UNAVAILABLE, None)),
        (503, {}, {"error": {"type": "server_error"}}, Expected(K.OVERLOADED, None)),
        (404, {}, {"error": "no such model"}, Expected(K.MODEL_NOT_FOUND, None)),
        (422, {}, None, Expected(K.BAD_REQUEST, None)),
        (None, {}, {"error": {"code": 529}}, Expected(K.OVERLOADED, None)),
        (
            429,
            {},
            [{"error": {"details": [{"@type": "google.rpc.RetryInfo", "retryDelay": "17.5s"}]}}],
            Expected(K.RATE_LIMITED, 17.5),
        ),
        (400, {}, {"error": {"details": [{"reason": "API_KEY_INVALID"}]}}, Expected(K.UNAUTHENTICATED, None)),
    ],
)
def test_the_rules(status: int | None, headers: Mapping[str, str], body: Json, wanted: Expected) -> None:
    assert expected(status, headers, body) == wanted


def test_a_spent_quota_is_not_retried_and_a_throttle_is() -> None:
    assert not Expected(K.QUOTA_EXHAUSTED, None).retry
    assert Expected(K.RATE_LIMITED, None).retry


@pytest.mark.parametrize("dialect", [name for name in SAMPLES if name != "scripted"])
def test_a_success_that_names_a_wait_is_no_throttle(dialect: str) -> None:
    row = next((one for one in ROWS.values() if one.dialect == dialect), ROWS["openai"])
    headers = {"retry-after": "30", "x-ratelimit-remaining-requests": "0"}
    got = DIALECTS[dialect].decode(HttpReply(status=200, headers=headers, body=SAMPLES[dialect].reply), _target(row))
    assert isinstance(got, Completion)
