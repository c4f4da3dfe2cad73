"""Laws that hold for every dialect of the registry."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.dialects.base import Dialect, HttpCall, HttpReply, Target
from runtime.dialects.openai_surface import parse_chat
from runtime.dialects.registry import DIALECTS
from runtime.outcome import Choice, Completion, Delta, Embeddings, Failure, FailureKind, Outcome
from runtime.request import (
    AudioPart,
    EmbedRequest,
    ImagePart,
    Message,
    Request,
    ResponseFormat,
    Role,
    Sampling,
    TextPart,
    Tool,
    ToolCall,
    ToolChoice,
    ask,
)
from tests.conformance.samples import SAMPLES

TARGET = Target(provider="p", base_url="https://api.openai.com/v1", model="m")

every_dialect = pytest.mark.parametrize("name", sorted(DIALECTS))


def read(dialect: Dialect, wire: bytes, *cuts: int) -> tuple[list[Delta], Outcome]:
    decoder, edges = dialect.decoder(TARGET), [0, *sorted(cuts), len(wire)]
    deltas = [delta for a, b in pairwise(edges) for delta in decoder.feed(wire[a:b])]
    return deltas, decoder.finish()


def joined(deltas: list[Delta], choice: int) -> str:
    return "".join(delta.text for delta in deltas if delta.choice == choice)


def said(choice: Choice) -> tuple[object, ...]:
    return choice.text, choice.reasoning, choice.refusal, choice.tool_calls, choice.finish_reason


@every_dialect
def test_the_sample_reads_as_written(name: str) -> None:
    deltas, outcome = read(DIALECTS[name], SAMPLES[name].stream)
    assert isinstance(outcome, Completion)
    assert outcome.text == joined(deltas, 0) == SAMPLES[name].text
    assert outcome.provider == "p"
    assert [joined(deltas, at) for at in range(len(outcome.choices))] == [choice.text for choice in outcome.choices]
    assert all(choice.finish_reason for choice in outcome.choices)
    whole = DIALECTS[name].decode(HttpReply(status=200, headers={}, body=SAMPLES[name].reply), TARGET)
    assert isinstance(whole, Completion)
    assert whole.text == SAMPLES[name].text


@every_dialect
@given(data=st.data())
def test_any_split_of_the_stream_reads_the_same(name: str, data: st.DataObject) -> None:
    wire = SAMPLES[name].stream
    cuts = data.draw(st.lists(st.integers(0, len(wire))))
    assert read(DIALECTS[name], wire, *cuts) == read(DIALECTS[name], wire)


@every_dialect
def test_a_stream_cut_anywhere_never_ends_as_another_answer(name: str) -> None:
    wire = SAMPLES[name].stream
    _, whole = read(DIALECTS[name], wire)
    assert isinstance(whole, Completion)
    clean = 0
    for end in range(len(wire)):
        deltas, outcome = read(DIALECTS[name], wire[:end])
        if isinstance(outcome, Completion):
            clean += 1
            assert [said(choice) for choice in outcome.choices] == [said(choice) for choice in whole.choices]
            assert joined(deltas, 0) == whole.text
        else:
            assert outcome.kind is FailureKind.INTERRUPTED, outcome
    # Where the answer's own end mark was read, and there alone.
    assert clean < len(wire) // 4


@every_dialect
@given(noise=st.binary(max_size=200), data=st.data())
def test_no_bytes_make_a_decoder_raise(name: str, noise: bytes, data: st.DataObject) -> None:
    sample = SAMPLES[name]
    at = data.draw(st.integers(0, len(sample.stream)))
    read(DIALECTS[name], noise)
    read(DIALECTS[name], sample.stream[:at] + noise + sample.stream[at:])
    for status in (200, 302, 404, 500):
        for body in (noise, sample.reply[:at] + noise):
            reply = HttpReply(status=status, headers={"retry-after": "soon", "date": "?"}, body=body)
            assert isinstance(DIALECTS[name].decode(reply, TARGET), Completion | Failure)
            assert isinstance(DIALECTS[name].decode_embed(reply, TARGET), Embeddings | Failure)
            assert isinstance(DIALECTS[name].decode_models(reply, TARGET), tuple | Failure)
            assert isinstance(DIALECTS[name].decode_health(reply, TARGET), Failure | None)


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def mutate(value: Any, path: list[int], new: Any) -> Any:
    """The same JSON with one place, found by walking `path`, replaced."""
    if not path or not isinstance(value, dict | list) or not value:
        return new
    key = list(value)[path[0] % len(value)] if isinstance(value, dict) else path[0] % len(value)
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[key] = mutate(value[key], path[1:], new)
    return copy


@every_dialect
@given(path=st.lists(st.integers(0, 9), min_size=1, max_size=6), new=JSON, line=st.integers(0, 99))
def test_json_of_the_wrong_shape_never_raises(name: str, path: list[int], new: object, line: int) -> None:
    sample, dialect = SAMPLES[name], DIALECTS[name]
    body = orjson.dumps(mutate(orjson.loads(sample.reply), path, new))
    for status in (200, 400):
        outcome = dialect.decode(HttpReply(status=status, headers={}, body=body), TARGET)
        assert isinstance(outcome, Completion | Failure)
    lines = sample.stream.split(b"\n")
    at = line % len(lines)
    prefix, brace, rest = lines[at].partition(b"{")
    if brace:
        lines[at] = prefix + orjson.dumps(mutate(orjson.loads(brace + rest), path, new))
        read(dialect, b"\n".join(lines))


@every_dialect
@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 413, 429, 500, 503, 529])
def test_a_status_alone_is_enough(name: str, status: int) -> None:
    outcome = DIALECTS[name].decode(HttpReply(status=status, headers={}, body=b"<html>no</html>"), TARGET)
    assert isinstance(outcome, Failure)
    assert outcome.status == status
    assert outcome.provider == "p"


@every_dialect
def test_extra_of_another_surface_is_named_not_lost(name: str) -> None:
    request = Request(messages=ask("hi").messages, extra={"top_a": 1}, dialect="somebody's")
    call = DIALECTS[name].encode(request, TARGET)
    assert isinstance(call, HttpCall)
    assert "top_a" in call.dropped
    assert b"top_a" not in call.body


@every_dialect
def test_calls_go_below_the_base_url(name: str) -> None:
    dialect = DIALECTS[name]
    calls = [
        dialect.encode(ask("hi"), TARGET),
        dialect.encode_embed(EmbedRequest(inputs=("hi",)), TARGET),
        dialect.list_models(TARGET),
        dialect.health(TARGET),
    ]
    assert isinstance(calls[0], HttpCall)
    for call in calls:
        if isinstance(call, Failure):
            # Not every API has embeddings, or a list of models; whoever asks is told so.
            assert (call.kind, bool(call.detail)) == (FailureKind.UNSUPPORTED, True)
            continue
        assert call.url.startswith("https://api.openai.com/v1/")
        assert all(header == header.lower() for header in call.headers)


words = st.text(min_size=1, max_size=12)
maybe_words = st.none() | words
fields = st.dictionaries(st.text("abcdef_", min_size=1, max_size=6), JSON.filter(lambda v: v is not None), max_size=2)

parts = st.one_of(
    st.builds(TextPart, words),
    st.builds(ImagePart, url=st.just("https://host/a.png"), detail=st.sampled_from([None, "low"])),
    st.builds(ImagePart, data=st.just("aGk="), media_type=st.sampled_from(["image/png", "image/webp"])),
    st.builds(AudioPart, data=st.just("aGk="), format=st.sampled_from(["wav", "mp3"])),
)
calls = st.builds(ToolCall, id=words, name=words, arguments=st.text(max_size=9))
messages = st.one_of(
    st.builds(
        Message,
        role=st.sampled_from([Role.SYSTEM, Role.DEVELOPER, Role.USER]),
        parts=st.lists(parts, max_size=3).map(tuple),
        name=maybe_words,
        extra=fields,
    ),
    st.builds(
        Message,
        role=st.just(Role.ASSISTANT),
        parts=st.tuples(st.lists(st.builds(TextPart, words), max_size=2), st.lists(calls, max_size=2)).map(
            lambda said: (*said[0], *said[1])
        ),
        refusal=maybe_words,
        extra=fields,
    ),
    st.builds(
        Message, role=st.just(Role.TOOL), parts=st.builds(TextPart, words).map(lambda p: (p,)), tool_call_id=words
    ),
)
schemas = st.none() | st.just({"type": "object", "properties": {}})
count = st.none() | st.integers(1, 2**40)
requests = st.builds(
    Request,
    messages=st.lists(messages, min_size=1, max_size=3).map(tuple),
    model=st.just("m"),
    sampling=st.builds(
        Sampling,
        temperature=st.none() | st.floats(0, 2),
        top_p=st.none() | st.floats(0, 1),
        max_tokens=count,
        frequency_penalty=st.none() | st.floats(-2, 2),
        presence_penalty=st.none() | st.floats(-2, 2),
        stop=st.lists(words, max_size=2).map(tuple),
        seed=st.none() | st.integers(-(2**40), 2**40),
    ),
    choices=st.integers(1, 3),
    tools=st.lists(
        st.builds(Tool, name=words, description=maybe_words, parameters=schemas, strict=st.none() | st.booleans()),
        max_size=2,
    ).map(tuple),
    tool_choice=st.none()
    | st.sampled_from(
        [ToolChoice(mode="auto"), ToolChoice(mode="required"), ToolChoice(mode="function", function="f")]
    ),
    parallel_tool_calls=st.none() | st.booleans(),
    response_format=st.none()
    | st.sampled_from([ResponseFormat(kind="text"), ResponseFormat(kind="json_object")])
    | st.builds(ResponseFormat, kind=st.just("json_schema"), name=words, description=maybe_words, schema=schemas),
    # Usage is always asked for upstream, so a stream's `stream_usage` comes back true.
    stream=st.booleans(),
    user=maybe_words,
    metadata=st.dictionaries(words, words, max_size=2),
    extra=fields,
    dialect=st.just("openai"),
).map(
    lambda r: r if not r.stream else Request(**{**{n: getattr(r, n) for n in Request.__slots__}, "stream_usage": True})
)


@given(request=requests)
def test_openai_what_was_encoded_parses_to_itself(request: Request) -> None:
    call = DIALECTS["openai"].encode(request, TARGET)
    assert isinstance(call, HttpCall)
    assert call.dropped == ()
    assert parse_chat(orjson.loads(call.body)) == request


@given(request=requests)
def test_scripted_carries_the_whole_request(request: Request) -> None:
    call = DIALECTS["scripted"].encode(request, TARGET)
    assert isinstance(call, HttpCall)
    assert call.dropped == tuple(request.extra)
    sent = orjson.loads(call.body)["request"]
    assert sent == {**orjson.loads(orjson.dumps(request)), "extra": {}}


@given(path=st.lists(st.integers(0, 9), min_size=1, max_size=6), new=JSON, request=requests)
def test_no_body_makes_the_surface_raise(path: list[int], new: object, request: Request) -> None:
    call = DIALECTS["openai"].encode(request, TARGET)
    assert isinstance(call, HttpCall)
    parsed = parse_chat(mutate(orjson.loads(call.body), path, new))
    assert isinstance(parsed, Request) or (parsed.detail and parsed.handling.status == 400)
