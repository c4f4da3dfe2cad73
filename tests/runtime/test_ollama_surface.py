"""Our own Ollama endpoints: what the official client reads of them, and that nothing is lost that they can say."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import ollama
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.dialects.base import HttpCall, HttpReply, Target
from runtime.dialects.ollama import Ollama
from runtime.dialects.ollama.surface import (
    GENERATE,
    OllamaGenerateSurface,
    OllamaSurface,
    asks_to_load,
    parse_embed,
    parse_generate,
    parse_older_embed,
    parse_request,
    parse_show,
    render_embeddings,
    render_loaded,
    render_older_embeddings,
    render_running,
    render_show,
    render_tags,
    render_version,
)
from runtime.dialects.surface import Surface
from runtime.fold import deltas_of, fold
from runtime.models import Feature, ModelInfo
from runtime.outcome import (
    HANDLING,
    Choice,
    Completion,
    Cost,
    Delta,
    Embeddings,
    Failure,
    FailureKind,
    FinishReason,
    Outcome,
    StreamEnd,
    StreamStart,
    ToolCallDelta,
    Usage,
)
from runtime.request import (
    AudioPart,
    EmbedRequest,
    FilePart,
    ImagePart,
    NativePart,
    Part,
    Reasoning,
    ReasoningPart,
    Request,
    ResponseFormat,
    Role,
    Sampling,
    TextPart,
    ToolCall,
    ask,
)

CHATS: Surface = OllamaSurface()
GENERATES: Surface = OllamaGenerateSurface()
OLLAMA = Ollama()
TARGET = Target(provider="p", base_url="http://127.0.0.1:11434", model="m")
ASKED = ask("hi", model="m", stream=True)
START = StreamStart(id="c1", provider="p", model="m", created_s=1_785_421_036)
PNG = "iVBORw0KGgo="
CALL = ToolCall(id="call_1", name="f", arguments='{"x": 1}')
AGAIN = ToolCall(id="call_2", name="f", arguments="")


def completion(*choices: Choice, **fields: Any) -> Completion:
    named: dict[str, Any] = {
        "id": "c1",
        "model": "m",
        "created_s": START.created_s,
        "usage": Usage(input_tokens=3, output_tokens=5),
    }
    return Completion(choices=choices, **(named | fields))


def streamed(outcome: Outcome, surface: Surface = CHATS, deltas: list[Delta] | None = None) -> bytes:
    renderer = surface.renderer(ASKED)
    if deltas is None and isinstance(outcome, Completion):
        deltas = [delta for index, choice in enumerate(outcome.choices) for delta in deltas_of(index, choice)]
    found = renderer.render(START)
    for delta in deltas or ():
        found += renderer.render(delta)
    return b"".join(found + renderer.render(StreamEnd(outcome=outcome)))


def lines(data: bytes) -> list[dict[str, Any]]:
    assert data.endswith(b"\n")
    return [orjson.loads(line) for line in data.splitlines()]


def read(data: bytes) -> Completion:
    decoder = OLLAMA.decoder(TARGET)
    decoder.feed(data)
    found = decoder.finish()
    assert isinstance(found, Completion), found
    return found


def read_whole(body: Any) -> Completion:
    found = OLLAMA.decode(HttpReply(status=200, headers={}, body=orjson.dumps(body)), TARGET)
    assert isinstance(found, Completion), found
    return found


# What this wire can say of a choice.

_EXTRA = "finish_reason"


def sayable(choice: Choice) -> tuple[object, ...]:
    """Text, thoughts, images, calls and the reason for the end, as they must come back."""
    text = [part.text if isinstance(part, TextPart) else "" for part in choice.parts]
    calls = [(call.id or None, call.name, orjson.loads(call.arguments or "{}")) for call in choice.tool_calls]
    images = [part.data for part in choice.parts if isinstance(part, ImagePart)]
    finish = choice.finish_reason
    if finish in (None, FinishReason.STOP, FinishReason.TOOL_CALLS):
        finish = FinishReason.TOOL_CALLS if calls else FinishReason.STOP
    return "".join(text) + (choice.refusal or ""), choice.reasoning, images, calls, finish


def read_back(choice: Choice) -> tuple[object, ...]:
    text, reasoning, images, calls, finish = sayable(choice)
    if finish is FinishReason.OTHER:
        # Words that are no others of this wire's come back as they were said.
        word = choice.extra[_EXTRA]
        finish = {
            "content_filter": FinishReason.CONTENT_FILTER,
            "error": FinishReason.ERROR,
        }.get(word, finish)
    known = [(None if str(id_).startswith("raygate_call_") else id_, *rest) for id_, *rest in calls]  # type: ignore[attr-defined]  # a list of tuples
    return text, reasoning, images, known, finish


words = st.text(max_size=6)
objects = st.dictionaries(words, st.integers(-9, 9) | words, max_size=3)
arguments = objects.map(lambda value: orjson.dumps(value).decode()) | st.just("")
extras = st.dictionaries(st.sampled_from(["annotations", "safety", "native"]), st.integers(0, 9), max_size=2)
said: st.SearchStrategy[Part] = st.one_of(
    st.builds(TextPart, words, citations=st.lists(st.integers(), max_size=1).map(tuple), signature=words),
    st.builds(ReasoningPart, text=words, signature=words, redacted=words),
    st.builds(ToolCall, id=words, name=st.text(min_size=1, max_size=3), arguments=arguments, signature=words),
    st.binary(min_size=1, max_size=4).map(lambda _: ImagePart(data=PNG, media_type="image/png")),
)
silent: st.SearchStrategy[Part] = st.one_of(
    st.builds(AudioPart, url=words),
    st.builds(FilePart, url=words),
    st.builds(NativePart, dialect=words, kind=words, value=objects),
)
choices = st.builds(
    Choice,
    parts=st.lists(said | silent, max_size=5).map(tuple),
    finish_reason=st.sampled_from([None, *(set(FinishReason) - {FinishReason.OTHER})]),
    refusal=st.none() | st.text(min_size=1, max_size=3),
    extra=extras,
)
usages = st.builds(Usage, input_tokens=st.integers(0, 9), output_tokens=st.integers(0, 9))
completions = st.builds(
    completion,
    choices,
    usage=usages,
    cost=st.none() | st.builds(Cost, total_nanousd=st.integers(0, 10**12)),
    latency_s=st.floats(0, 9),
    ttft_s=st.none() | st.floats(0, 1),
)


@given(whole=completions)
def test_a_reply_that_we_render_reads_the_same(whole: Completion) -> None:
    again = read_whole(CHATS.render(whole, ASKED))
    assert read_back(again.choices[0]) == sayable(whole.choices[0])
    assert again.usage == whole.usage
    assert (again.model, again.created_s) == (whole.model, whole.created_s)


@given(whole=completions)
def test_a_stream_that_we_render_reads_the_same(whole: Completion) -> None:
    again = read(streamed(whole))
    assert read_back(again.choices[0]) == sayable(whole.choices[0])
    assert again.usage == whole.usage
    assert {name: value for name, value in again.choices[0].extra.items() if name != _EXTRA} == whole.choices[0].extra


@given(whole=completions)
def test_a_stream_and_a_reply_say_the_same(whole: Completion) -> None:
    at_once = streamed(whole, deltas=[])
    assert read_back(read(at_once).choices[0]) == read_back(read(streamed(whole)).choices[0])


@given(whole=completions)
def test_the_official_types_take_every_reply(whole: Completion) -> None:
    # The SDK's own type for images reads what it sends, not what a server answers: see below.
    parts = tuple(part for part in whole.choices[0].parts if not isinstance(part, ImagePart))
    plain = completion(Choice(parts=parts, finish_reason=whole.choices[0].finish_reason))
    reply = ollama.ChatResponse(**CHATS.render(plain, ASKED))
    assert reply.done
    assert reply.message.content == plain.text
    assert [call.function.name for call in reply.message.tool_calls or ()] == [call.name for call in plain.tool_calls]
    generated = ollama.GenerateResponse(**GENERATES.render(whole, ASKED))
    assert (generated.response or "").startswith(whole.text)
    assert (generated.thinking or "") == whole.choices[0].reasoning


@given(whole=completions)
def test_generate_says_what_chat_says(whole: Completion) -> None:
    chat, flat = CHATS.render(whole, ASKED), GENERATES.render(whole, ASKED)
    assert flat["response"] == chat["message"]["content"]
    assert flat.get("thinking") == chat["message"].get("thinking")
    assert flat.get("image") == next(iter(chat["message"].get("images", ())), None)
    pieces = lines(streamed(whole, GENERATES))
    assert "".join(piece["response"] for piece in pieces) == flat["response"]
    assert "".join(piece.get("thinking", "") for piece in pieces) == flat.get("thinking", "")
    assert [piece["done"] for piece in pieces] == [False] * (len(pieces) - 1) + [True]


# Answers


def test_a_whole_reply() -> None:
    whole = completion(
        Choice.of("hello", reasoning="hm", tool_calls=(CALL, AGAIN), finish_reason=FinishReason.TOOL_CALLS),
        cost=Cost(total_nanousd=1_500_000),
        latency_s=2.0,
        ttft_s=0.5,
    )
    assert CHATS.render(whole, ASKED) == {
        "model": "m",
        "created_at": "2026-07-30T14:17:16Z",
        "message": {
            "role": "assistant",
            "content": "hello",
            "thinking": "hm",
            "tool_calls": [
                {"id": "call_1", "function": {"index": 0, "name": "f", "arguments": {"x": 1}}},
                {"id": "call_2", "function": {"index": 1, "name": "f", "arguments": {}}},
            ],
        },
        "done": True,
        "done_reason": "stop",
        "total_duration": 2_000_000_000,
        "prompt_eval_duration": 500_000_000,
        "eval_duration": 1_500_000_000,
        "prompt_eval_count": 3,
        "eval_count": 5,
        "cost": 0.0015,
    }


def test_lines_of_a_stream() -> None:
    whole = completion(Choice.of("hello", tool_calls=(CALL,), finish_reason=FinishReason.TOOL_CALLS))
    deltas = [
        Delta(text="hel"),
        Delta(text="lo"),
        Delta(tool_calls=(ToolCallDelta(position=0, id="call_1", name="f"),)),
        Delta(tool_calls=(ToolCallDelta(position=0, arguments='{"x":'),)),
        Delta(tool_calls=(ToolCallDelta(position=0, arguments=" 1}"),)),
        Delta(finish_reason=FinishReason.TOOL_CALLS),
    ]
    head = {"model": "m", "created_at": "2026-07-30T14:17:16Z"}
    call = {"id": "call_1", "function": {"index": 0, "name": "f", "arguments": {"x": 1}}}
    assert lines(streamed(whole, deltas=deltas)) == [
        {**head, "message": {"role": "assistant", "content": "hel"}, "done": False},
        {**head, "message": {"role": "assistant", "content": "lo"}, "done": False},
        {**head, "message": {"role": "assistant", "content": "", "tool_calls": [call]}, "done": False},
        {
            **head,
            "message": {"role": "assistant", "content": ""},
            "done": True,
            "done_reason": "stop",
            "prompt_eval_count": 3,
            "eval_count": 5,
        },
    ]


def test_a_cached_answer_is_streamed_whole() -> None:
    renderer = CHATS.renderer(ASKED)
    said = lines(b"".join(renderer.render(StreamEnd(outcome=completion(Choice.of("hello", tool_calls=(CALL,)))))))
    assert [line["done"] for line in said] == [False, True]
    assert said[0]["message"]["content"] == "hello"
    assert said[0]["created_at"] == "2026-07-30T14:17:16Z"


def test_an_empty_answer_has_its_last_line() -> None:
    (last,) = lines(streamed(completion()))
    assert last["done"] is True
    assert last["message"] == {"role": "assistant", "content": ""}


def test_a_broken_stream_ends_in_an_error_and_says_no_done() -> None:
    data = streamed(Failure(kind=FailureKind.INTERRUPTED, provider="p", detail="gone"), deltas=[Delta(text="a")])
    assert lines(data)[1:] == [{"error": "p: gone"}]
    assert b'"done":true' not in data
    decoder = OLLAMA.decoder(TARGET)
    decoder.feed(data)
    assert isinstance(decoder.finish(), Failure)


def test_waiting_says_nothing() -> None:
    renderer = CHATS.renderer(ASKED)
    data = renderer.keep_alive() * 3 + b"".join(renderer.render(StreamEnd(outcome=completion(Choice.of("a")))))
    assert read(data).text == "a"
    assert len(lines(data)) == 2


def test_only_the_first_choice_has_a_place() -> None:
    whole = completion(Choice.of("a"), Choice.of("b"))
    assert CHATS.render(whole, ASKED)["message"]["content"] == "a"
    assert read(streamed(whole)).text == "a"


def test_why_an_answer_ended() -> None:
    def reason(finish: FinishReason | None, **extra: object) -> str:
        return str(CHATS.render(completion(Choice(finish_reason=finish, extra=extra)), ASKED)["done_reason"])

    assert reason(None) == reason(FinishReason.STOP) == reason(FinishReason.TOOL_CALLS) == "stop"
    assert reason(FinishReason.LENGTH) == "length"
    assert reason(FinishReason.CONTENT_FILTER) == "content_filter"
    assert reason(FinishReason.OTHER, finish_reason="load") == "load"
    assert reason(FinishReason.OTHER, finish_reason=["?"]) == reason(FinishReason.OTHER) == "stop"


def test_usage_that_nobody_reported_is_no_zero() -> None:
    body = CHATS.render(completion(Choice.of("a"), usage=Usage(estimated=True)), ASKED)
    assert body["estimated"] is True
    assert not {"prompt_eval_count", "eval_count", "cost"} & body.keys()
    body = CHATS.render(completion(Choice.of("a"), usage=Usage(output_tokens=4, estimated=True)), ASKED)
    assert (body.get("prompt_eval_count"), body["eval_count"], body["estimated"]) == (None, 4, True)
    assert read_whole(body).usage == Usage(output_tokens=4, estimated=True)
    body = CHATS.render(completion(Choice.of("a"), usage=Usage(input_tokens=2, estimated=True)), ASKED)
    assert (body["prompt_eval_count"], body["eval_count"], body["estimated"]) == (2, 0, True)


def test_what_has_no_word_is_left_out_and_the_text_around_it_stays() -> None:
    parts = (
        TextPart("a", citations=({"url": "u"},), signature="s"),
        NativePart(dialect="anthropic", kind="server_tool_use", value={"type": "server_tool_use"}),
        ReasoningPart(redacted="xyz"),
        AudioPart(data="AAAA", format="wav", extra={"transcript": "b"}),
        ImagePart(url="https://example.com/a.png"),
        ImagePart(url=f"data:image/png;base64,{PNG}"),
        TextPart("c"),
    )
    body = CHATS.render(completion(Choice(parts=parts, refusal="no")), ASKED)
    assert body["message"] == {"role": "assistant", "content": "abcno", "images": [PNG]}
    again = read(streamed(completion(Choice(parts=parts, refusal="no"))))
    assert (again.text, len(again.choices[0].parts)) == ("abcno", 3)


@pytest.mark.parametrize(
    ("piece", "message"),
    [
        (Delta(text="a", refusal="b"), {"content": "ab"}),
        (Delta(text="a", reasoning="b"), {"content": "a", "thinking": "b"}),
        (Delta(text="a", extra={"annotations": [1]}), {"content": "a", "annotations": [1]}),
        (Delta(text="a", parts=(ImagePart(data=PNG),)), {"content": "a", "images": [PNG]}),
        (Delta(text="a", signature="s", citations=({},), part_extra={"x": 1}), {"content": "a"}),
        (Delta(parts=(ReasoningPart(text="a"), TextPart("b"))), {"content": "b", "thinking": "a"}),
        (Delta(extra={"annotations": [1]}), {"content": "", "annotations": [1]}),
    ],
)
def test_a_piece_may_say_several_things(piece: Delta, message: dict[str, Any]) -> None:
    (line,) = CHATS.renderer(ASKED).render(piece)
    assert orjson.loads(line)["message"] == {"role": "assistant", **message}


def test_a_piece_that_has_no_word_is_no_line() -> None:
    for piece in (Delta(signature="s"), Delta(finish_reason=FinishReason.STOP), Delta(extra={"finish_reason": "x"})):
        assert CHATS.renderer(ASKED).render(piece) == []


def test_sound_in_pieces_is_heard_as_text() -> None:
    pieces = [Delta(audio=AudioPart(data="AAAA", extra={"transcript": word})) for word in ("hel", "lo")]
    assert read(streamed(completion(*fold(pieces)), deltas=pieces)).text == "hello"


def test_arguments_that_are_no_object_are_kept_as_text() -> None:
    cut = ToolCall(id="1", name="f", arguments='{"city": "Par')
    body = CHATS.render(completion(Choice.of(tool_calls=(cut,), finish_reason=FinishReason.LENGTH)), ASKED)
    assert body["message"]["tool_calls"][0]["function"]["arguments"] == {"unparsed": '{"city": "Par'}
    assert body["done_reason"] == "length"


def test_arguments_that_cannot_be_written_again_are_kept_as_text() -> None:
    def arguments(text: str) -> Any:
        (line, _) = lines(streamed(completion(Choice.of(tool_calls=(ToolCall(id="1", name="f", arguments=text),)))))
        return line["message"]["tool_calls"][0]["function"]["arguments"]

    deep = '{"a":' + "[" * 253 + "]" * 253 + "}"
    assert arguments(deep) == {"unparsed": deep}
    many = orjson.dumps({"a": [{"b": "{[" * 9}] * 300}).decode()
    assert arguments(many) == orjson.loads(many)


def test_a_providers_own_fields_travel_but_never_take_the_place_of_ours() -> None:
    own = {"load_duration": 7, "total_duration": "soon", "error": "x", "message": "y", "system_fingerprint": "fp"}
    whole = completion(Choice.of("a", extra={"role": "x", "annotations": [1]}), extra=own, latency_s=1.0)
    body = CHATS.render(whole, ASKED)
    assert (body["load_duration"], body["total_duration"], body["system_fingerprint"]) == (7, 1_000_000_000, "fp")
    assert body["message"] == {"role": "assistant", "content": "a", "annotations": [1]}
    assert "error" not in body


def test_logprobs_are_a_list_here() -> None:
    tokens = [{"token": "a", "logprob": -0.1, "top_logprobs": []}]
    whole = completion(Choice.of("a", logprobs={"content": tokens}))
    assert CHATS.render(whole, ASKED)["logprobs"] == tokens
    assert read(streamed(whole)).choices[0].logprobs == {"content": tokens}
    assert ollama.ChatResponse(**CHATS.render(whole, ASKED)).logprobs is not None


def test_a_moment_that_nobody_named_is_the_first() -> None:
    for created_s in (0, 10**18):
        body = CHATS.render(completion(Choice.of("a"), created_s=created_s), ASKED)
        assert body["created_at"] == "1970-01-01T00:00:00Z"


@pytest.mark.parametrize("kind", FailureKind)
def test_errors(kind: FailureKind) -> None:
    status, headers, body = CHATS.error(Failure(kind=kind, provider="p", detail="why", retry_after_s=1.5))
    assert status == HANDLING[kind].status
    assert body == {"error": "p: why"}
    assert headers == {
        "x-should-retry": "true" if HANDLING[kind].client_retry else "false",
        "retry-after": "2",
        "retry-after-ms": "1500",
    }


def test_an_error_without_detail_still_says_something() -> None:
    assert CHATS.error(Failure(kind=FailureKind.OVERLOADED)).body == {"error": "the request failed (overloaded)"}


# Requests of /api/generate


def generate(**body: Any) -> Request:
    found = parse_generate({"model": "m", "prompt": "hi", **body})
    assert isinstance(found, Request), found
    return found


def test_a_prompt_is_a_turn_of_the_user() -> None:
    found = generate(
        system="be brief",
        images=[PNG],
        options={"temperature": 0.5, "num_ctx": 512},
        format="json",
        think="low",
        keep_alive="5m",
        raw=False,
        template="",
        context=[],
        suffix="",
    )
    assert [message.role for message in found.messages] == [Role.SYSTEM, Role.USER]
    assert found.messages[0].text == "be brief"
    assert found.messages[1].parts == (ImagePart(data=PNG, media_type="image/png"), TextPart("hi"))
    assert found.sampling == Sampling(temperature=0.5)
    assert found.response_format == ResponseFormat(kind="json_object")
    assert found.reasoning == Reasoning(effort="low")
    assert found.extra == {"options.num_ctx": 512, "keep_alive": "5m"}
    assert (found.model, found.stream, found.dialect) == ("m", True, "ollama")
    assert generate(stream=False).stream is False
    call = OLLAMA.encode(found, TARGET)
    assert isinstance(call, HttpCall)
    assert call.dropped == ()
    assert orjson.loads(call.body)["options"] == {"temperature": 0.5, "num_ctx": 512}


@pytest.mark.parametrize(
    ("body", "param", "kind"),
    [
        ({"raw": True}, "raw", FailureKind.UNSUPPORTED),
        ({"template": "{{ .Prompt }}!"}, "template", FailureKind.UNSUPPORTED),
        ({"suffix": "}"}, "suffix", FailureKind.UNSUPPORTED),
        ({"context": [1, 2]}, "context", FailureKind.UNSUPPORTED),
        ({"messages": [{"role": "user", "content": "x"}]}, "messages", FailureKind.UNSUPPORTED),
        ({"tools": [{}]}, "tools", FailureKind.UNSUPPORTED),
        ({"width": 512}, "width", FailureKind.UNSUPPORTED),
        ({"prompt": ""}, "prompt", FailureKind.BAD_REQUEST),
        ({"prompt": 7}, "prompt", FailureKind.BAD_REQUEST),
        ({"system": []}, "system", FailureKind.BAD_REQUEST),
        ({"images": [7]}, "images[0]", FailureKind.BAD_REQUEST),
        ({"raw": "yes"}, "raw", FailureKind.BAD_REQUEST),
        ({"options": {"top_k": "x"}}, "options.top_k", FailureKind.BAD_REQUEST),
        ({"format": 7}, "format", FailureKind.BAD_REQUEST),
    ],
)
def test_what_generate_refuses(body: dict[str, Any], param: str, kind: FailureKind) -> None:
    found = parse_generate({"model": "m", "prompt": "hi", **body})
    assert isinstance(found, Failure)
    assert (found.kind, found.param) == (kind, param)
    assert param.partition("[")[0].rpartition(".")[2] in found.detail


def test_no_body_but_an_object() -> None:
    for parse in (parse_generate, parse_embed, parse_older_embed, parse_show):
        found = parse([])
        assert isinstance(found, Failure)
        assert found.param == "body"


def test_a_model_may_be_asked_for_without_a_question() -> None:
    assert asks_to_load({"model": "m"}) == asks_to_load({"model": "m", "prompt": ""}) == "m"
    assert asks_to_load({"model": "m", "messages": []}) == "m"
    assert asks_to_load({"model": "m", "prompt": "hi"}) is None
    assert asks_to_load({"model": "m", "messages": [{"role": "user", "content": ""}]}) is None
    assert asks_to_load({}) is asks_to_load([]) is None
    assert render_loaded({"model": "m"}, "m")["done_reason"] == "load"
    body = render_loaded({"model": "m", "keep_alive": 0}, "m", GENERATE)
    assert (body["response"], body["done"], body["done_reason"]) == ("", True, "unload")


# Embeddings and what there is to ask


def test_embeddings() -> None:
    found = parse_embed({"model": "e", "input": ["a", "b"], "dimensions": 2, "truncate": True, "options": {"n": 1}})
    assert found == EmbedRequest(
        inputs=("a", "b"), model="e", dimensions=2, extra={"truncate": True, "options.n": 1}, dialect="ollama"
    )
    assert isinstance(found, EmbedRequest)
    call = OLLAMA.encode_embed(found, TARGET)
    assert isinstance(call, HttpCall)
    assert call.dropped == ()
    one = parse_embed({"model": "e", "input": "a"})
    assert isinstance(one, EmbedRequest)
    assert one.inputs == ("a",)
    older = parse_older_embed({"model": "e", "prompt": "a"})
    assert isinstance(older, EmbedRequest)
    assert older.inputs == ("a",)
    vectors = Embeddings(
        model="e",
        vectors=((0.5, 1.0), (2.0, 3.0)),
        usage=Usage(input_tokens=2),
        cost=Cost(total_nanousd=1_000),
        latency_s=0.5,
    )
    body = render_embeddings(vectors)
    assert body == {
        "model": "e",
        "embeddings": [[0.5, 1.0], [2.0, 3.0]],
        "total_duration": 500_000_000,
        "prompt_eval_count": 2,
        "cost": 1e-06,
    }
    again = OLLAMA.decode_embed(HttpReply(status=200, headers={}, body=orjson.dumps(body)), TARGET)
    assert isinstance(again, Embeddings)
    assert (again.vectors, again.usage) == (vectors.vectors, vectors.usage)
    assert render_older_embeddings(vectors) == {"embedding": [0.5, 1.0], "cost": 1e-06}


@pytest.mark.parametrize(
    ("body", "param"),
    [({}, "input"), ({"input": []}, "input"), ({"input": ["a", 7]}, "input[1]"), ({"input": 7}, "input")],
)
def test_inputs_that_are_wrong(body: dict[str, Any], param: str) -> None:
    found = parse_embed({"model": "e", **body})
    assert isinstance(found, Failure)
    assert found.param == param


SEES = ModelInfo(
    provider="openai",
    model="gpt-x",
    context_length=128_000,
    max_output_tokens=4_096,
    features=frozenset({Feature.TOOLS, Feature.VISION, Feature.REASONING, Feature.STREAMING}),
)
EMBEDS = ModelInfo(
    provider="",
    model="embedder",
    features=frozenset({Feature.EMBEDDINGS}),
    lacks=frozenset({Feature.STREAMING}),
)


def test_what_is_installed() -> None:
    body = render_tags([SEES, EMBEDS], modified_s=7)
    assert [model["name"] for model in body["models"]] == ["openai/gpt-x", "embedder"]
    assert body["models"][0]["modified_at"] == "1970-01-01T00:00:07Z"
    assert len({model["digest"] for model in body["models"]}) == 2
    names = OLLAMA.decode_models(HttpReply(status=200, headers={}, body=orjson.dumps(body)), TARGET)
    assert names == ("openai/gpt-x", "embedder")
    running = ollama.ProcessResponse(**render_running([SEES]))
    assert running.models[0].context_length == 128_000


def test_what_a_model_can_do() -> None:
    shown = render_show(SEES)
    assert shown["capabilities"] == ["completion", "tools", "vision", "thinking"]
    architecture = shown["model_info"]["general.architecture"]
    assert shown["model_info"][f"{architecture}.context_length"] == 128_000
    assert render_show(EMBEDS)["capabilities"] == ["embedding"]
    assert parse_show({"model": "m"}) == parse_show({"name": "m"}) == "m"
    assert isinstance(parse_show({}), Failure)
    version = render_version()["version"]
    assert all(part.isdigit() for part in version.split("."))


# The official client


class Served:
    """A server of our bytes: what it was asked, and what it answers."""

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome
        self.asked: list[Request] = []

    def __call__(self, call: httpx.Request) -> httpx.Response:
        path, body = call.url.path, orjson.loads(call.content or b"null")
        match path:
            case "/api/chat":
                return self._answer(CHATS, parse_request(body))
            case "/api/generate":
                return self._answer(GENERATES, parse_generate(body))
            case "/api/tags":
                return httpx.Response(200, json=render_tags([SEES, EMBEDS]))
            case "/api/show":
                assert parse_show(body) == "openai/gpt-x"
                return httpx.Response(200, json=render_show(SEES))
            case "/api/ps":
                return httpx.Response(200, json=render_running([SEES]))
            case _:
                return self._embedded(path, body)

    def _embedded(self, path: str, body: Any) -> httpx.Response:
        vectors = Embeddings(model="e", vectors=((0.5,),), usage=Usage(input_tokens=1))
        if path == "/api/embed":
            assert isinstance(parse_embed(body), EmbedRequest)
            return httpx.Response(200, json=render_embeddings(vectors))
        assert path == "/api/embeddings"
        assert isinstance(parse_older_embed(body), EmbedRequest)
        return httpx.Response(200, json=render_older_embeddings(vectors))

    def _answer(self, surface: Surface, request: Request | Failure) -> httpx.Response:
        assert isinstance(request, Request), request
        self.asked.append(request)
        if isinstance(self.outcome, Failure) and not request.stream:
            status, headers, body = surface.error(self.outcome)
            return httpx.Response(status, headers=dict(headers), json=body)
        if request.stream:
            deltas = [Delta(text="a")] if isinstance(self.outcome, Failure) else None
            data = surface.renderer(request).keep_alive() + streamed(self.outcome, surface, deltas)
            return httpx.Response(200, headers={"content-type": surface.stream_type}, content=data)
        assert isinstance(self.outcome, Completion)
        return httpx.Response(200, json=surface.render(self.outcome, request))


Connect = Callable[[Outcome], tuple[ollama.Client, Served]]


@pytest.fixture
def connect() -> Iterator[Connect]:
    with ExitStack() as opened:

        def client(outcome: Outcome) -> tuple[ollama.Client, Served]:
            served = Served(outcome)
            made = ollama.Client(host="http://raygate.test", transport=httpx.MockTransport(served))
            return opened.enter_context(made), served

        yield client


def weather(city: str) -> str:
    """The weather.

    Args:
        city: where
    """
    return f"sun in {city}"


ANSWER = completion(
    Choice.of("hello", reasoning="hm", tool_calls=(CALL, AGAIN), finish_reason=FinishReason.TOOL_CALLS), latency_s=1.0
)


def test_the_official_client_chats(connect: Connect) -> None:
    client, served = connect(ANSWER)
    reply = client.chat(
        "m",
        messages=[{"role": "user", "content": "hi", "images": [PNG]}],
        tools=[weather],
        think=True,
        format={"type": "object"},
        options={"num_predict": 9},
    )
    assert (reply.message.content, reply.message.thinking, reply.done_reason) == ("hello", "hm", "stop")
    assert [dict(call.function.arguments) for call in reply.message.tool_calls or ()] == [{"x": 1}, {}]
    assert (reply.prompt_eval_count, reply.eval_count, reply.total_duration) == (3, 5, 1_000_000_000)
    (asked,) = served.asked
    assert [getattr(tool, "name", "") for tool in asked.tools] == ["weather"]
    assert asked.sampling.max_tokens == 9
    # What it sends back of an answer is read again.
    client.chat("m", messages=[reply.message, {"role": "tool", "tool_name": "f", "content": "sun"}])
    assert [call.name for call in served.asked[1].messages[0].tool_calls] == ["f", "f"]
    assert served.asked[1].messages[0].tool_calls[0].id == served.asked[1].messages[1].tool_call_id


def test_the_official_client_streams(connect: Connect) -> None:
    client, _ = connect(ANSWER)
    pieces = list(client.chat("m", messages=[{"role": "user", "content": "hi"}], stream=True))
    assert "".join(piece.message.content or "" for piece in pieces) == "hello"
    assert "".join(piece.message.thinking or "" for piece in pieces) == "hm"
    calls = [call.function for piece in pieces for call in piece.message.tool_calls or ()]
    assert [(call.name, dict(call.arguments)) for call in calls] == [("f", {"x": 1}), ("f", {})]
    assert [piece.done for piece in pieces][-1:] == [True]
    assert pieces[-1].eval_count == 5
    generated = list(client.generate("m", "hi", stream=True))
    assert "".join(piece.response or "" for piece in generated) == "hello"
    assert generated[-1].done_reason == "stop"


def test_the_official_client_generates_embeds_and_lists(connect: Connect) -> None:
    client, served = connect(ANSWER)
    reply = client.generate("m", "hi", system="brief", images=[PNG], options={"seed": 7})
    assert (reply.response, reply.thinking, reply.eval_count) == ("hello", "hm", 5)
    assert served.asked[0].sampling.seed == 7
    assert [model.model for model in client.list().models] == ["openai/gpt-x", "embedder"]
    shown = client.show("openai/gpt-x")
    assert shown.capabilities == ["completion", "tools", "vision", "thinking"]
    assert (shown.modelinfo or {})["raygate.context_length"] == 128_000
    assert client.ps().models[0].model == "openai/gpt-x"
    assert client.embed("e", ["a"]).embeddings == [[0.5]]
    assert client.embeddings("e", "a").embedding == [0.5]


def test_the_official_client_raises_what_went_wrong(connect: Connect) -> None:
    client, _ = connect(Failure(kind=FailureKind.MODEL_NOT_FOUND, detail="no such model"))
    with pytest.raises(ollama.ResponseError) as raised:
        client.chat("m", messages=[{"role": "user", "content": "hi"}])
    assert (raised.value.status_code, raised.value.error) == (404, "no such model")
    pieces = client.chat("m", messages=[{"role": "user", "content": "hi"}], stream=True)
    assert next(pieces).message.content == "a"
    with pytest.raises(ollama.ResponseError, match="no such model"):
        next(pieces)


def test_the_official_types_cannot_read_images_in_an_answer() -> None:
    """Ollama 0.6.3 takes only objects there, where every server sends texts. Once this fails, nothing is to be done."""
    body = CHATS.render(completion(Choice(parts=(ImagePart(data=PNG),))), ASKED)
    assert body["message"]["images"] == [PNG]
    with pytest.raises(ValueError, match="images"):
        ollama.ChatResponse(**body)
