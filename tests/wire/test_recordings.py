"""The targets of the proof, on every recorded exchange. `make prove-wire` shows the same as tables."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from random import Random

import pytest

from runtime.dialects.registry import DIALECTS
from tests.wire import seed
from tests.wire.mutate import at, kind_of, leaves, objects, replaced
from tests.wire.proof import carried, hidden
from tests.wire.records import ABSENT, DEV, chats, load
from tests.wire.report import LEAST, Proof, Tally, prove

pytestmark = pytest.mark.skipif(not DEV.is_dir(), reason=ABSENT)

PROVIDERS = ("anthropic", "cohere", "gemini", "llamacpp", "ollama", "ollama /v1", "openai", "openrouter")
every_provider = pytest.mark.parametrize("provider", PROVIDERS)

EXCEPTIONS: dict[str, dict[str, int]] = {
    # What the API itself answered with 400: we refuse it before it is sent, with the name of the field.
    "openai": {"parse: bad_request temperature": 1},
    "llamacpp": {"parse: bad_request temperature": 1},
    "anthropic": {"parse: bad_request messages[]": 1},
}
"""Every request that does not pass, by its reason. Each counts as a failure."""


@pytest.fixture(scope="module")
def proof() -> Proof:
    return prove(load(), Random(seed()))


def all_passed(tally: Tally) -> None:
    assert tally.all
    assert tally.passed == tally.all, "\n".join(tally.details[:10])


@every_provider
def test_requests_mean_the_same_after_a_journey_through_our_types(proof: Proof, provider: str) -> None:
    requests = proof.providers[provider].requests
    assert requests.share >= LEAST, "\n".join(requests.details[:10])
    found = {name: len(ids) for name, ids in requests.failures.items()}
    assert found == EXCEPTIONS.get(provider, {}), "\n".join(requests.details[:10])


@every_provider
def test_requests_mean_the_same_in_another_dialect(proof: Proof, provider: str) -> None:
    """Or the dialect names what it drops, or refuses a part that its API lacks."""
    all_passed(proof.providers[provider].abroad)


@every_provider
def test_whole_replies_say_what_the_raw_answer_says(proof: Proof, provider: str) -> None:
    all_passed(proof.providers[provider].replies)


@every_provider
def test_streams_read_the_same_at_any_cuts_and_as_the_raw_answer(proof: Proof, provider: str) -> None:
    all_passed(proof.providers[provider].streams)


@every_provider
def test_a_stream_without_its_end_is_not_whole(proof: Proof, provider: str) -> None:
    all_passed(proof.providers[provider].truncations)


@pytest.mark.parametrize("provider", [*PROVIDERS, "compat_errors"])
def test_errors_have_the_right_kind_and_advice(proof: Proof, provider: str) -> None:
    all_passed(proof.providers[provider].errors)


@every_provider
def test_unknown_fields_are_never_messages_tools_or_usage(proof: Proof, provider: str) -> None:
    assert not hidden(proof.providers[provider].extras)


NEW: tuple[object, ...] = (1, "t", {"a": None}, [1], True)


@every_provider
def test_a_field_that_nobody_knows_is_carried_wherever_it_stands(provider: str) -> None:
    """An API grows: one new field, in any object of any recorded request, goes on to the provider."""
    rng = Random(seed())
    for record in chats():
        if record.provider != provider or record.sent is None or carried(record).exception:
            continue
        places = list(objects(record.sent))
        for path in rng.sample(places, min(4, len(places))):
            if kind_of(path) in ("messages[]", "contents[]") and record.api in ("anthropic", "google"):
                # A field of one of several turns of one role, which are one turn there, has no place of its own.
                continue
            grown = replaced(record.sent, path, {**at(record.sent, path), "not_known_yet": rng.choice(NEW)})
            verdict = carried(replace(record, sent=grown))
            assert not verdict.exception, (record.id, kind_of(path), verdict.exception, verdict.detail)


STRUCTURE = frozenset(
    (
        *("object", "role", "type", "modality", "created_at"),
        *("finish_reason", "finishReason", "stop_reason", "done_reason"),
    )
)
"""Words of a reply that we say in our own: what it is, and why it ended."""


@every_provider
def test_no_text_of_a_reply_is_lost(provider: str) -> None:
    """Every text in a whole reply is somewhere in the completion, known or not."""
    for record in chats():
        if record.provider != provider or not record.ok or record.stream:
            continue
        read = "\n".join(texts(asdict(DIALECTS[record.dialect].decode(record.reply, record.target))))
        body = json.loads(record.wire)
        for path in leaves(body):
            said = at(body, path)
            if isinstance(said, str) and len(said) >= 4 and path[-1] not in STRUCTURE:
                quoted = (json.dumps(said)[1:-1], json.dumps(said, ensure_ascii=False)[1:-1])
                assert said in read or any(one in read for one in quoted), (record.id, kind_of(path))


def texts(value: object) -> Iterator[str]:
    match value:
        case str():
            yield value
        case Mapping():
            for name, one in value.items():
                yield str(name)
                yield from texts(one)
        case list() | tuple():
            for one in value:
                yield from texts(one)


def test_successes_that_name_a_wait_are_no_throttles(proof: Proof) -> None:
    seen = sum(one.not_throttled for one in proof.providers.values())
    assert seen == sum(record.ok and "retry-after" in record.headers for record in chats())
    assert seen


def test_nothing_is_left_out(proof: Proof) -> None:
    """Every record is a chat of one provider, or listed apart with its reason."""
    counted = sum(one.chats for one in proof.providers.values()) + proof.apart.total()
    assert counted == len(load())
    reasons = Counter(name.split(": ")[1] for name in proof.apart)
    assert set(reasons) == {
        "token counts",
        "lists of models",
        "errors of foreign hosts",
        "other endpoints (/api/generate)",
    }
