"""Personal data and secrets: found by form and checksum, gone before anybody sees them, back in the answer."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.dialects.scripted import Step
from runtime.hooks.patterns import KINDS, found_in, iban, luhn
from runtime.hooks.redact import Redact
from runtime.outcome import Completion, Delta
from runtime.request import EmbedRequest, Message, Request, Role, TextPart, ToolCall, ask, user
from tests.fakes.gateway import text
from tests.hooks.rigged import end_of, events_of, hooked, said_in

ALL = tuple(KINDS.values())

FOUND = [
    ("email", "ann.o'hara+tag@mail.example.org"),
    ("phone", "+49 30 1234567"),
    ("phone", "+1 (555) 234-5678"),
    ("phone", "(555) 234-5678"),
    ("card", "4111 1111 1111 1111"),
    ("card", "5500-0000-0000-0004"),
    ("card", "378282246310005"),
    ("iban", "DE89 3704 0044 0532 0130 00"),
    ("iban", "GB29NWBK60161331926819"),
    ("ssn", "078-05-1120"),
    ("ip", "192.168.1.254"),
    ("ip", "2001:db8::ff00:42:8329"),
    ("key", "sk-proj-abcdefghijklmnopqrstuvwx0123456789"),
    ("key", "sk-ant-api03-abcdefghijklmnopqrstuvwx"),
    ("key", "sk-or-v1-0123456789abcdef0123456789abcdef"),
    ("key", "AIzaSyA1234567890abcdefghijklmnopqrstuv"),
    ("key", "gsk_abcdefghijklmnopqrstuvwxyz"),
    ("key", "rg-abcdefghijklmnopqrstuvwxyz"),
    ("aws", "AKIAIOSFODNN7EXAMPLE"),
    ("github", "ghp_abcdefghijklmnopqrstuvwxyz0123456789"),
    ("github", "github_pat_11ABCDEFG0abcdefghijklmnop"),
    ("jwt", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P"),
    ("private", "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nabc\n-----END RSA PRIVATE KEY-----"),
]

LEFT = [
    "4111 1111 1111 1112",  # fails Luhn
    "GB28NWBK60161331926819",  # fails modulo 97
    "000-12-3456",  # no such area
    "666-12-3456",
    "999.1.1.1",
    "12:30:45 is a time",
    "version 1.2.3",
    "3.14159265358979",
    "order 2026-11-23-0001",
    "sk-short",
    "call a::b in C++",
    "the year 1984 and 2,048 tokens",
    "def f(x): return x[1:2]",
    "user@host",
]


@pytest.mark.parametrize(("kind", "said"), FOUND, ids=[f"{kind}-{said[:12]}" for kind, said in FOUND])
def test_it_is_found_in_the_middle_of_a_sentence(kind: str, said: str) -> None:
    whole = f"Please look at {said}, and answer."
    assert [(whole[a:b], name) for a, b, name in found_in(whole, ALL)] == [(said, kind)]


@pytest.mark.parametrize("said", LEFT)
def test_what_only_looks_like_it_is_left(said: str) -> None:
    assert list(found_in(said, ALL)) == []


def test_an_aws_secret_is_known_by_its_name() -> None:
    whole = 'aws_secret_access_key = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"'
    ((start, end, kind),) = found_in(whole, ALL)
    assert kind == "aws"
    assert "wJalr" in whole[start:end]


@given(st.text("0123456789", min_size=12, max_size=18))
def test_exactly_one_last_digit_passes_luhn(digits: str) -> None:
    if len(set(digits)) > 1:
        passed = [one for one in "0123456789" if luhn(digits + one)]
        assert len(passed) == 1 or set(digits + passed[0]) == {digits[0]}


@given(st.text("0123456789", min_size=18, max_size=18), st.integers(0, 17), st.integers(1, 9))
def test_an_iban_with_one_digit_changed_is_none(bban: str, at: int, by: int) -> None:
    check = 98 - int(f"{bban}131400") % 97
    whole = f"DE{check:02d}{bban}"
    assert iban(whole)
    other = bban[:at] + str((int(bban[at]) + by) % 10) + bban[at + 1 :]
    assert not iban(f"DE{check:02d}{other}")


# In a request.


def sent(made: Any, at: int = 0) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(made["a"].transport.sent[at])
    return body


async def test_the_provider_sees_placeholders_and_the_caller_his_own_words() -> None:
    made = hooked(Redact(), a=text("Wrote to [EMAIL_1], not to [EMAIL_2] or [EMAIL_3]."))
    answer = await made.answer(ask("ann@example.org and bob@example.org and ann@example.org"))
    assert b"example.org" not in made["a"].transport.sent[0]
    assert answer.text == "Wrote to ann@example.org, not to bob@example.org or [EMAIL_3]."


async def test_placeholders_may_stay() -> None:
    answer = await hooked(Redact(restore=False), a=text("to [EMAIL_1]")).answer(ask("ann@example.org"))
    assert answer.text == "to [EMAIL_1]"


async def test_a_placeholder_that_was_written_by_the_caller_is_not_taken() -> None:
    made = hooked(Redact(), a=text("[EMAIL_1] and [EMAIL_2]"))
    answer = await made.answer(ask("[EMAIL_1] is ann@example.org"))
    assert answer.text == "[EMAIL_1] and ann@example.org"


async def test_wherever_it_stands_it_is_gone() -> None:
    request = Request(
        messages=(
            Message(role=Role.SYSTEM, parts=(TextPart("ann@example.org"),)),
            Message(
                role=Role.ASSISTANT,
                parts=(
                    ToolCall(id="c1", name="mail", arguments='{"to": "ann@example.org", "card": 4111111111111111}'),
                ),
            ),
            Message(role=Role.TOOL, tool_call_id="c1", parts=(TextPart("sent to ann@example.org"),)),
        ),
        user="ann@example.org",
        metadata={"id": "ann@example.org", "who": ["ann@example.org"]},
        extra={"note": {"deep": "ann@example.org"}},
        dialect="scripted",
    )
    seen: list[Request] = []

    class Sees:
        def pre(self, asked: Any) -> None:
            seen.append(asked.request)

    made = hooked(Redact(), Sees(), a=text("x"))
    await made.answer(request)
    assert "ann@" not in repr(seen[0])
    assert "4111111111111111" not in repr(seen[0])
    (call,) = seen[0].messages[1].tool_calls
    assert json.loads(call.arguments) == {"to": "[EMAIL_1]", "card": "[CARD_1]"}
    assert request.user == "ann@example.org", "what was given is as it was"


async def test_vectors_are_of_redacted_texts() -> None:
    made = hooked(Redact(), a=Step())
    await made.gateway.embed(EmbedRequest(inputs=("ann@example.org",), model="a/m"))
    assert b"ann@" not in made["a"].transport.sent[0]


async def test_two_callers_share_a_remembered_answer_and_each_reads_his_own_words_in_it() -> None:
    made = hooked(Redact(), settings={"cache": {"enabled": True}}, a=text("to [EMAIL_1]"))
    one, two = await made.answer(ask("ann@example.org")), await made.answer(ask("bob@example.org"))
    assert (one.text, two.text) == ("to ann@example.org", "to bob@example.org")
    assert made["a"].transport.calls == 1


def test_arguments_of_a_call_are_whole_json_again() -> None:
    hook = Redact(patterns={"quoted": r"«[^»]*»"}).for_request()
    hook._scrubber.scrub('say «he said "no"»')
    assert json.loads(hook._scrubber.restore_json('{"say": "[QUOTED_1]"}')) == {"say": '«he said "no"»'}


# In a stream.


@settings(max_examples=60)
@given(st.lists(st.integers(0, 60), max_size=12))
def test_however_a_stream_is_cut_it_reads_as_the_whole(cuts: list[int]) -> None:
    whole = "See [EMAIL_1]: [not one], [EMAIL_12] [EMAIL_1][EMAIL_2] ["
    redact = Redact().for_request()
    redact._scrubber.scrub("ann@example.org bob@example.org")
    edges = [0, *sorted(min(one, len(whole)) for one in cuts), len(whole)]
    pieces = [whole[a:b] for a, b in itertools.pairwise(edges) if a < b]
    going: list[Any] = []
    for piece in pieces:
        going += redact._windows.passed(Delta(text=piece))
    going += redact._windows.rest()
    assert "".join(one.text for one in going) == redact._scrubber.restore(whole)


async def test_a_stream_is_restored_and_its_end_agrees() -> None:
    made = hooked(Redact(), a=text("Wrote to [EMAIL_1] and [EMAIL_1], [done"))
    events = await events_of(made, ask("ann@example.org"))
    outcome = end_of(events)
    assert isinstance(outcome, Completion)
    assert said_in(events) == outcome.text == "Wrote to ann@example.org and ann@example.org, [done"


async def test_what_was_held_back_comes_before_a_finish() -> None:
    redact = Redact().for_request()
    redact._scrubber.scrub("ann@example.org")
    going = [
        *redact._windows.passed(Delta(text="to [EMA", new_part=True)),
        *redact._windows.passed(Delta(text="IL_1] [EM")),
        *redact._windows.passed(Delta(finish_reason=None, tool_calls=())),
        *redact._windows.rest(),
    ]
    assert "".join(one.text for one in going) == "to ann@example.org [EM"
    assert going[0].new_part


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"kinds": ["emial"]}, "emial"),
        ({"patterns": {"x": "("}}, "no regular expression"),
        ({"patterns": {"x": "a*"}}, "everywhere"),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Redact(**options)


def test_what_was_found_is_counted_by_kind() -> None:
    hook = Redact()
    hook.scrubber().scrub("ann@example.org bob@example.org 078-05-1120")
    assert hook.metrics() == {"found.email": 2.0, "found.ssn": 1.0}


def test_a_prompt_without_any_is_the_same_value() -> None:
    from runtime.hooks import Before

    assert Redact().for_request().pre(Before(request=replace(ask("hello"), messages=(user("hello"),)))) is None
