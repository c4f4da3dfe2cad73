"""The vendored vocabulary, and counting with it."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

from runtime import vocabulary
from runtime.outcome import Choice, Completion, Usage
from runtime.request import ImagePart, Message, Request, Role, TextPart, Tool, ask
from runtime.token_ratio import Ratios
from runtime.tokens import estimate_tokens, estimate_usage, expected_tokens, learn, text_tokens
from runtime.vocabulary.convert import SHA256, packed, sha256_of


@pytest.fixture
def _loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process that has read it. The other tests count bytes."""
    monkeypatch.setattr(vocabulary, "_loaded", [vocabulary.load()])


def test_it_is_openais_to_the_byte() -> None:
    tokens = vocabulary.tokens()
    assert len(tokens) == 199_998
    assert sha256_of(tokens) == SHA256


def test_it_is_packed_as_it_is_read() -> None:
    assert packed([b"a", b"bc"])[:2] == b"\x78\xda"


def test_it_needs_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("it asked the network")

    monkeypatch.setattr(socket, "socket", refuse)
    vocabulary.load.cache_clear()
    # From tiktoken's own tests for o200k_base.
    assert vocabulary.load()("hello world") == [24912, 2375]


def test_it_counts_as_tiktoken_does() -> None:
    """Counted once with tiktoken 0.14.0 and OpenAI's own file."""
    encode = vocabulary.load()
    assert encode("<|endoftext|>") != [199_999], "a marker in a prompt is text"
    assert encode("") == []
    assert len(encode("日本語のテキスト")) < 8


@pytest.mark.usefixtures("_loaded")
def test_a_short_text_is_counted_exactly() -> None:
    text = "The gateway keeps a breaker of its own."
    assert text_tokens([text]) == len(vocabulary.load()(text))
    assert text_tokens([]) == 0
    assert text_tokens(["\ud800"]) > 0, "half a surrogate pair is no reason to fail"


@pytest.mark.usefixtures("_loaded")
@pytest.mark.parametrize("letters", [400, 5_000, 100_000, 1_000_000])
def test_a_long_text_is_counted_by_a_few_cuts(letters: int) -> None:
    text = ("Rays are a group of cartilaginous fish; there are 600 species in 26 families. " * 20_000)[:letters]
    assert text_tokens([text]) == pytest.approx(letters / 78 * 18, rel=0.25)


@pytest.mark.usefixtures("_loaded")
def test_no_text_is_free_and_none_is_absurd() -> None:
    for text in ("x" * 10_000, " " * 10_000, "日" * 10_000, "\n" * 10_000, "ab " * 4_000, "🙂" * 9_999):
        assert 0 < text_tokens([text]) <= len(text.encode()), text[:3]


# Learning what a provider counts.


def answer(reported: int, **more: int) -> Completion:
    return Completion(
        id="1", model="m", choices=(Choice.of("x" * 80),), usage=Usage(input_tokens=reported, output_tokens=30, **more)
    )


def test_what_was_reported_corrects_the_next_estimate() -> None:
    ratios, request = Ratios(), ask("x" * 400, model="claude-haiku-4-5")
    for _ in range(40):
        learn(ratios, request, answer(150))
    assert estimate_tokens(request) == 100
    assert expected_tokens(request, "claude-haiku-4-5", ratios) == pytest.approx(150, rel=0.03)
    told = estimate_usage(request, answer(0), ratios)
    assert told.estimated
    assert (told.input_tokens, told.output_tokens) == (pytest.approx(150, rel=0.03), pytest.approx(30, abs=2))


def test_pictures_and_estimates_teach_nothing_about_text() -> None:
    ratios = Ratios()
    picture = Request(messages=(Message(role=Role.USER, parts=(TextPart("x" * 400), ImagePart(url="u"))),), model="m-1")
    learn(ratios, picture, answer(9_999))
    learn(ratios, ask("x" * 400, model="m-1"), answer(9_999, estimated=True))
    assert expected_tokens(ask("x" * 400), "m-1", ratios) == 100


def test_a_preamble_of_tools_is_no_ratio_of_text() -> None:
    ratios, tool = Ratios(), Tool(name="add", parameters={"type": "object"})
    for letters in range(100, 8_000, 200):
        asked = Request(messages=ask("x" * letters).messages, tools=(tool,), model="m-1")
        learn(ratios, asked, answer(letters // 4 + 346))
    plain = expected_tokens(ask("x" * 4_000), "m-1", ratios)
    assert plain == 1_000
    with_tools = Request(messages=ask("x" * 4_000).messages, tools=(tool,))
    assert expected_tokens(with_tools, "m-1", ratios) == pytest.approx(1_346, rel=0.02)


# How it comes into memory.


def test_it_is_read_once_ahead_of_time_and_not_before_it_is_asked_for() -> None:
    code = """
import sys, threading
from runtime import tokens, vocabulary
assert tokens.text_tokens(["x" * 40]) == 10 and vocabulary.encoder() is None and "tiktoken" not in sys.modules
vocabulary.load_soon()
vocabulary.load_soon()
readers = [thread for thread in threading.enumerate() if thread.name == "vocabulary"]
assert len(readers) == 1
readers[0].join()
assert vocabulary.encoder() is not None and tokens.text_tokens(["hello world"]) == 2
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
