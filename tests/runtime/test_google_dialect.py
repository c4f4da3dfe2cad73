"""Google's dialect: requests, in both directions. Fixtures written by hand after its reference."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.dialects.base import HttpCall, Target
from runtime.dialects.encoding import INVENTED
from runtime.dialects.google import Google, parse_request
from runtime.dialects.google.families import UNSIGNED
from runtime.dialects.google.schema import json_schema_of
from runtime.outcome import Completion, Failure, FailureKind
from runtime.request import (
    AudioPart,
    CacheHint,
    EmbedRequest,
    FilePart,
    ImagePart,
    Message,
    NativePart,
    NativeTool,
    Part,
    Reasoning,
    ReasoningPart,
    Request,
    ResponseFormat,
    Role,
    Sampling,
    TextPart,
    Tool,
    ToolCall,
    ToolChoice,
    VideoPart,
    ask,
    user,
)

GOOGLE = Google()
BASE = "https://generativelanguage.googleapis.com/v1beta"
KEY = "AIzaNotARealKey"
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "additionalProperties": False}


def target(model: str = "gemini-2.5-flash", *, version: str = "v1beta", **options: object) -> Target:
    base = BASE.replace("v1beta", version)
    return Target(provider="google", base_url=base, model=model, api_key=KEY, options=options)


def sent(request: Request, where: Target | None = None, *, dropped: tuple[str, ...] = ()) -> Any:
    call = GOOGLE.encode(request, where or target())
    assert isinstance(call, HttpCall), call
    assert call.dropped == dropped
    return orjson.loads(call.body)


def refused(request: Request, where: Target | None = None) -> Failure:
    failure = GOOGLE.encode(request, where or target())
    assert isinstance(failure, Failure)
    return failure


def parsed(body: Any, **address: Any) -> Request:
    request = parse_request(body, **address)
    assert isinstance(request, Request), request
    return request


def wrong(body: Any) -> Failure:
    failure = parse_request(body)
    assert isinstance(failure, Failure)
    return failure


def around(body: Any, model: str = "gemini-2.5-flash") -> Any:
    """A client's body, read and written again, on the way through one more reading."""
    request = parsed(body, model=model)
    again = sent(request, target(model))
    assert parsed(again, model=model) == request
    return again


def contents(*parts: Any, role: str = "user") -> dict[str, Any]:
    return {"contents": [{"role": role, "parts": list(parts)}]}


def asked(**more: Any) -> dict[str, Any]:
    return {**contents({"text": "hi"}), **more}


class TestAddress:
    def test_the_method_stands_in_the_address(self) -> None:
        call = GOOGLE.encode(ask("hi"), target())
        assert isinstance(call, HttpCall)
        assert call.url == f"{BASE}/models/gemini-2.5-flash:generateContent"
        assert call.headers["accept"] == "application/json"

    def test_a_stream_is_asked_for_as_events(self) -> None:
        call = GOOGLE.encode(ask("hi", stream=True), target())
        assert isinstance(call, HttpCall)
        assert call.url == f"{BASE}/models/gemini-2.5-flash:streamGenerateContent?alt=sse"
        assert call.headers["accept"] == "text/event-stream"

    @pytest.mark.parametrize("model", ["models/gemini-2.5-flash", "tunedModels/mine"])
    def test_a_model_may_be_given_with_its_collection(self, model: str) -> None:
        call = GOOGLE.encode(ask("hi"), target(model))
        assert isinstance(call, HttpCall)
        assert call.url == f"{BASE}/{model}:generateContent"

    def test_the_key_is_in_a_header_and_never_in_an_address(self) -> None:
        """The original sent `?key=…`, which ends up in every log on the way."""
        calls = [
            GOOGLE.encode(ask("hi"), target()),
            GOOGLE.encode(ask("hi", stream=True), target()),
            GOOGLE.encode_embed(EmbedRequest(inputs=("a",)), target("gemini-embedding-001")),
            GOOGLE.list_models(target()),
            GOOGLE.health(target()),
        ]
        for call in calls:
            assert isinstance(call, HttpCall)
            assert call.headers["x-goog-api-key"] == KEY
            assert KEY not in call.url
            assert KEY.encode() not in call.body

    def test_without_a_key_no_header_is_sent(self) -> None:
        call = GOOGLE.health(replace(target(), api_key=None))
        assert isinstance(call, HttpCall)
        assert "x-goog-api-key" not in call.headers


class TestSettings:
    def test_all_settings_cross_in_both_directions(self) -> None:
        config = {
            "temperature": 0.5,
            "topP": 0.9,
            "topK": 40,
            "maxOutputTokens": 100,
            "candidateCount": 2,
            "stopSequences": ["END"],
            "seed": 7,
            "presencePenalty": 0.1,
            "frequencyPenalty": 0.2,
        }
        body = asked(generationConfig=config)
        request = parsed(body, model="models/gemini-2.5-flash", stream=True)
        assert request.sampling == Sampling(
            temperature=0.5,
            top_p=0.9,
            top_k=40,
            max_tokens=100,
            stop=("END",),
            seed=7,
            presence_penalty=0.1,
            frequency_penalty=0.2,
        )
        assert (request.choices, request.model, request.stream, request.dialect) == (
            2,
            "gemini-2.5-flash",
            True,
            "google",
        )
        assert request.extra == {}
        assert around(body) == body

    def test_snake_case_single_objects_and_nulls_are_read(self) -> None:
        body = {
            "contents": {"parts": {"text": "hi"}},
            "system_instruction": {"role": "user", "parts": {"text": "be kind"}},
            "generation_config": {"max_output_tokens": 9, "top_k": 3.0, "stop_sequences": "END"},
            "safety_settings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}],
            "tools": None,
            "toolConfig": None,
        }
        assert around(body) == {
            "contents": [{"role": "user", "parts": [{"text": "hi"}]}],
            "systemInstruction": {"parts": [{"text": "be kind"}]},
            "generationConfig": {"maxOutputTokens": 9, "topK": 3, "stopSequences": ["END"]},
            "safetySettings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}],
        }

    def test_fields_that_no_type_holds_go_back_to_their_place(self) -> None:
        body = {
            **contents({"text": "hi"}),
            "cachedContent": "cachedContents/abc",
            "labels": {"cost_center": "a_b"},
            "generationConfig": {
                "responseModalities": ["TEXT"],
                "speechConfig": {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": "Kore"}}},
                "thinkingConfig": {"newThing": 1},
            },
            "toolConfig": {"includeServerSideToolInvocations": True},
        }
        request = parsed(body)
        assert set(request.extra) == {
            "cachedContent",
            "labels",
            "generationConfig.responseModalities",
            "generationConfig.speechConfig",
            "generationConfig.thinkingConfig.newThing",
            "toolConfig.includeServerSideToolInvocations",
        }
        assert around(body) == body
        call = GOOGLE.encode(replace(request, dialect="openai"), target())
        assert isinstance(call, HttpCall)
        assert set(call.dropped) == set(request.extra)
        assert orjson.loads(call.body) == {"contents": body["contents"]}

    def test_what_google_has_no_word_for_is_named(self) -> None:
        request = replace(
            ask("hi"),
            parallel_tool_calls=False,
            user="u",
            metadata={"a": "b"},
            cache=CacheHint(),
            messages=(Message(role=Role.USER, name="bob", parts=(TextPart("hi", cache=CacheHint()),)),),
        )
        body = sent(request, dropped=("messages[0].name", "cache", "parallel_tool_calls", "user", "metadata"))
        assert body == contents({"text": "hi"})

    def test_provider_options_are_added_but_for_the_contents(self) -> None:
        request = replace(
            ask("hi"),
            sampling=Sampling(temperature=0.5),
            provider_options={"google": {"contents": [], "serviceTier": "flex", "generationConfig": {"topK": 2}}},
        )
        body = sent(request, dropped=("provider_options.contents",))
        assert body["serviceTier"] == "flex"
        assert body["generationConfig"] == {"temperature": 0.5, "topK": 2}
        assert body["contents"]

    @pytest.mark.parametrize(
        ("body", "param"),
        [
            ({}, "contents"),
            ({"contents": []}, "contents"),
            ([], "body"),
            ({"contents": [5]}, "contents[0]"),
            (contents({"text": 5}), "contents[0].parts[0].text"),
            (contents({"text": "a"}, role="system"), "contents[0].role"),
            (contents({"text": "a", "functionCall": {"name": "f"}}), "contents[0].parts[0]"),
            (contents({"functionCall": {}}), "contents[0].parts[0].functionCall.name"),
            (
                contents({"functionResponse": {"name": "f", "response": 5}}),
                "contents[0].parts[0].functionResponse.response",
            ),
            (contents({"inlineData": {"mimeType": "image/png"}}), "contents[0].parts[0].inlineData.data"),
            (asked(generationConfig={"topK": "x"}), "generationConfig.topK"),
            (
                asked(generationConfig={"thinkingConfig": {"thinkingLevel": "x"}}),
                "generationConfig.thinkingConfig.thinkingLevel",
            ),
            (
                asked(toolConfig={"functionCallingConfig": {"mode": "x"}}),
                "toolConfig.functionCallingConfig.mode",
            ),
            (asked(tools=[{"functionDeclarations": [{}]}]), "tools[0].functionDeclarations[0].name"),
            (asked(generation_config={}, generationConfig={}), "body.generationConfig"),
        ],
    )
    def test_a_wrong_field_is_named(self, body: Any, param: str) -> None:
        failure = wrong(body)
        assert (failure.kind, failure.param) == (FailureKind.BAD_REQUEST, param)
        assert failure.detail


class TestReasoning:
    @pytest.mark.parametrize(
        ("config", "wanted"),
        [
            ({"thinkingBudget": 0}, Reasoning(enabled=False)),
            ({"thinkingBudget": -1, "includeThoughts": True}, Reasoning(enabled=True, show=True)),
            ({"thinkingBudget": 512}, Reasoning(budget_tokens=512)),
        ],
    )
    def test_a_budget_crosses(self, config: Any, wanted: Reasoning) -> None:
        body = asked(generationConfig={"thinkingConfig": config})
        assert parsed(body).reasoning == wanted
        assert around(body, "gemini-2.5-flash") == body
        assert around(body, "gemini-3-flash-preview") == body

    def test_a_level_crosses(self) -> None:
        config = {"thinkingLevel": "LOW", "includeThoughts": True}
        body = asked(generationConfig={"thinkingConfig": config})
        assert parsed(body).reasoning == Reasoning(effort="low", show=True)
        assert around(body, "gemini-3-pro-preview") == body

    @pytest.mark.parametrize(
        ("model", "wanted", "config", "dropped"),
        [
            ("gemini-2.5-flash", Reasoning(effort="low"), {"thinkingBudget": 1024}, ()),
            ("gemini-2.5-flash", Reasoning(effort="none"), {"thinkingBudget": 0}, ()),
            ("gemini-2.5-flash", Reasoning(budget_tokens=99_999), {"thinkingBudget": 24_576}, ("reasoning",)),
            ("gemini-2.5-pro", Reasoning(effort="none"), {"thinkingBudget": 128}, ("reasoning",)),
            ("gemini-2.5-pro", Reasoning(enabled=True), {"thinkingBudget": -1}, ()),
            ("gemini-3-flash-preview", Reasoning(effort="minimal"), {"thinkingLevel": "MINIMAL"}, ()),
            ("gemini-3-flash-preview", Reasoning(enabled=False), {"thinkingLevel": "MINIMAL"}, ("reasoning",)),
            ("gemini-3-pro-preview", Reasoning(effort="medium"), {"thinkingLevel": "HIGH"}, ("reasoning",)),
            ("gemini-3.1-pro-preview", Reasoning(effort="max"), {"thinkingLevel": "HIGH"}, ("reasoning",)),
            ("gemini-3-flash-preview", Reasoning(budget_tokens=24_000), {"thinkingLevel": "HIGH"}, ()),
            ("gemini-3-flash-preview", Reasoning(enabled=True), {"thinkingLevel": "MEDIUM"}, ()),
            ("gemini-2.0-flash", Reasoning(effort="high"), None, ("reasoning",)),
            ("gemini-2.0-flash", Reasoning(effort="none"), None, ()),
            ("tunedModels/mine", Reasoning(effort="xhigh"), {"thinkingLevel": "XHIGH"}, ()),
        ],
    )
    def test_other_dialects_are_translated_for_the_family(
        self, model: str, wanted: Reasoning, config: Any, dropped: tuple[str, ...]
    ) -> None:
        body = sent(replace(ask("hi"), reasoning=wanted), target(model), dropped=dropped)
        assert body.get("generationConfig", {}).get("thinkingConfig") == config

    def test_an_own_thought_goes_back_and_a_foreign_one_is_named(self) -> None:
        thought = ReasoningPart(text="hm", signature="c2ln")
        request = Request(
            messages=(user("a"), Message(role=Role.ASSISTANT, parts=(thought, TextPart("b"))), user("c")),
            dialect="google",
        )
        assert sent(request)["contents"][1]["parts"] == [
            {"thought": True, "text": "hm", "thoughtSignature": "c2ln"},
            {"text": "b"},
        ]
        foreign = sent(replace(request, dialect="anthropic"), dropped=("messages[1].reasoning",))
        assert foreign["contents"][1]["parts"] == [{"text": "b"}]


class TestParts:
    @pytest.mark.parametrize(
        ("wire", "part"),
        [
            ({"text": "hi"}, TextPart("hi")),
            ({"text": "", "thoughtSignature": "c2ln"}, TextPart("", signature="c2ln")),
            ({"thought": True, "text": "hm"}, ReasoningPart(text="hm")),
            ({"thought": True, "thoughtSignature": "c2ln"}, ReasoningPart(signature="c2ln")),
            ({"inlineData": {"mimeType": "image/png", "data": "aGk="}}, ImagePart(data="aGk=", media_type="image/png")),
            ({"inlineData": {"mimeType": "audio/wav", "data": "aGk="}}, AudioPart(data="aGk=", format="wav")),
            (
                {"inlineData": {"mimeType": "audio/L16;rate=24000", "data": "aGk="}},
                AudioPart(data="aGk=", format="pcm", extra={"inlineData.mimeType": "audio/L16;rate=24000"}),
            ),
            ({"inlineData": {"mimeType": "video/mp4", "data": "aGk="}}, VideoPart(data="aGk=", media_type="video/mp4")),
            (
                {"inlineData": {"mimeType": "application/pdf", "data": "aGk=", "displayName": "a"}},
                FilePart(data="aGk=", media_type="application/pdf", extra={"inlineData.displayName": "a"}),
            ),
            (
                {"fileData": {"fileUri": f"{BASE}/files/1", "mimeType": "audio/mpeg"}},
                AudioPart(url=f"{BASE}/files/1", format="mp3", extra={"fileData.mimeType": "audio/mpeg"}),
            ),
            ({"fileData": {"fileUri": "https://youtu.be/x"}}, VideoPart(url="https://youtu.be/x")),
            ({"fileData": {"fileUri": "https://host/a.png"}}, ImagePart(url="https://host/a.png")),
            ({"fileData": {"fileUri": f"{BASE}/files/1"}}, FilePart(url=f"{BASE}/files/1")),
            (
                {"fileData": {"fileUri": "https://youtu.be/x"}, "videoMetadata": {"startOffset": "1s"}},
                VideoPart(url="https://youtu.be/x", extra={"videoMetadata": {"startOffset": "1s"}}),
            ),
            (
                {"inlineData": {"mimeType": "image/png", "data": "aGk="}, "thoughtSignature": "c2ln", "thought": True},
                ImagePart(data="aGk=", media_type="image/png", extra={"thoughtSignature": "c2ln", "thought": True}),
            ),
            (
                {"executableCode": {"language": "PYTHON", "code": "1"}, "thoughtSignature": "c2ln"},
                NativePart(
                    dialect="google",
                    kind="executableCode",
                    value={"executableCode": {"language": "PYTHON", "code": "1"}, "thoughtSignature": "c2ln"},
                ),
            ),
        ],
    )
    def test_every_part_is_typed_and_goes_back(self, wire: Any, part: Part) -> None:
        body = contents(wire, role="model")
        assert parsed(body).messages == (Message(role=Role.ASSISTANT, parts=(part,)),)
        assert around(body) == body

    def test_snake_case_and_a_thought_that_is_none_are_read(self) -> None:
        part = {"inline_data": {"mime_type": "image/png", "data": "aGk="}, "thought": False}
        assert parsed(contents(part)).messages[0].parts == (ImagePart(data="aGk=", media_type="image/png"),)
        native = {"toolCall": {"tool_type": "URL_CONTEXT", "args": {"a_b": {"c_d": 1}}}}
        assert around(contents(native, role="model")) == contents(
            {"toolCall": {"toolType": "URL_CONTEXT", "args": {"a_b": {"c_d": 1}}}}, role="model"
        )

    def test_a_picture_is_sent_as_a_picture(self) -> None:
        """The original wrote image parts as JSON into the text."""
        parts: tuple[Part, ...] = (
            TextPart("what is this?"),
            ImagePart(url="data:image/webp;base64,aGk="),
            ImagePart(data="iVBORw0KGgo="),
            ImagePart(url="https://host/b.jpg", detail="low"),
        )
        request = Request(messages=(Message(role=Role.USER, parts=parts),), dialect="openai")
        assert sent(request, dropped=("messages[0].content[3].detail",)) == contents(
            {"text": "what is this?"},
            {"inlineData": {"mimeType": "image/webp", "data": "aGk="}},
            {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}},
            {"fileData": {"mimeType": "image/jpeg", "fileUri": "https://host/b.jpg"}},
        )

    def test_sound_film_and_documents_of_other_dialects(self) -> None:
        parts: tuple[Part, ...] = (
            AudioPart(data="aGk=", format="mp3"),
            VideoPart(url="https://youtu.be/x"),
            FilePart(data="aGk=", name="a.pdf"),
            FilePart(text="hé"),
        )
        request = Request(messages=(Message(role=Role.USER, parts=parts),), dialect="openai")
        assert sent(request, dropped=("messages[0].content[2].name",)) == contents(
            {"inlineData": {"mimeType": "audio/mp3", "data": "aGk="}},
            {"fileData": {"fileUri": "https://youtu.be/x"}},
            {"inlineData": {"mimeType": "application/pdf", "data": "aGk="}},
            {"inlineData": {"mimeType": "text/plain", "data": "aMOp"}},
        )

    @pytest.mark.parametrize(
        ("part", "kind"),
        [
            (ImagePart(file_id="file-1"), FailureKind.UNSUPPORTED),
            (FilePart(file_id="file-1"), FailureKind.UNSUPPORTED),
            (NativePart(dialect="anthropic", kind="server_tool_use", value={}), FailureKind.UNSUPPORTED),
            (ImagePart(data="????"), FailureKind.BAD_REQUEST),
            (ImagePart(), FailureKind.BAD_REQUEST),
        ],
    )
    def test_what_cannot_be_said_is_refused(self, part: Part, kind: FailureKind) -> None:
        failure = refused(Request(messages=(user("a"), Message(role=Role.USER, parts=(part,)))))
        assert (failure.kind, failure.param, failure.provider) == (kind, "messages[1].content[0]", "google")

    def test_instructions_are_gathered(self) -> None:
        request = Request(
            messages=(
                Message(role=Role.SYSTEM, parts=(TextPart("a"),)),
                user("hi"),
                Message(role=Role.DEVELOPER, parts=(TextPart("b"),)),
            )
        )
        body = sent(request)
        assert body["systemInstruction"] == {"parts": [{"text": "a"}, {"text": "b"}]}
        assert body["contents"] == contents({"text": "hi"})["contents"]
        assert parsed(body).messages[0] == Message(role=Role.SYSTEM, parts=(TextPart("a"), TextPart("b")))

    def test_an_instruction_alone_is_refused(self) -> None:
        failure = refused(Request(messages=(Message(role=Role.SYSTEM, parts=(TextPart("a"),)),)))
        assert (failure.kind, failure.param) == (FailureKind.UNSUPPORTED, "messages")
        failure = refused(Request(messages=(Message(role=Role.SYSTEM, parts=(ImagePart(url="x"),)), user("a"))))
        assert failure.param == "messages[0].content[0]"

    def test_a_turn_without_words_still_has_a_part(self) -> None:
        request = Request(messages=(user("a"), Message(role=Role.ASSISTANT, refusal="no"), Message(role=Role.USER)))
        body = sent(request, dropped=("messages[1].refusal",))
        assert [one["parts"] for one in body["contents"]] == [[{"text": "a"}], [{"text": "no"}], [{"text": ""}]]


CALLS = Request(
    messages=(
        user("weather in Rome and Oslo?"),
        Message(
            role=Role.ASSISTANT,
            parts=(
                TextPart("let me see"),
                ToolCall(id="a", name="weather", arguments='{"city":"Rome"}'),
                ToolCall(id="b", name="weather", arguments='{"city":"Oslo"}'),
            ),
        ),
        Message(role=Role.TOOL, tool_call_id="b", parts=(TextPart("cold"),)),
        Message(role=Role.TOOL, tool_call_id="a", parts=(TextPart('{"sky":"blue"}'),)),
        user("and now?"),
    ),
    dialect="openai",
)


class TestTools:
    def test_results_are_objects_in_one_turn_with_the_words_after_them(self) -> None:
        """The original sent a tool's result as a user's text."""
        assert sent(CALLS)["contents"][1:] == [
            {
                "role": "model",
                "parts": [
                    {"text": "let me see"},
                    {"functionCall": {"id": "a", "name": "weather", "args": {"city": "Rome"}}},
                    {"functionCall": {"id": "b", "name": "weather", "args": {"city": "Oslo"}}},
                ],
            },
            {
                "role": "user",
                "parts": [
                    {"functionResponse": {"id": "b", "name": "weather", "response": {"result": "cold"}}},
                    {"functionResponse": {"id": "a", "name": "weather", "response": {"sky": "blue"}}},
                    {"text": "and now?"},
                ],
            },
        ]

    def test_the_round_trip_keeps_every_call_and_result(self) -> None:
        again = parsed(sent(CALLS))
        names = [replace(one, name="weather") if one.role is Role.TOOL else one for one in CALLS.messages]
        assert again.messages == tuple(names)

    def test_calls_without_ids_get_one_each_and_results_find_theirs(self) -> None:
        """The original gave calls of one moment the same id."""

        def call(name: str, n: int) -> Any:
            return {"functionCall": {"name": name, "args": {"n": n}}}

        def answer(name: str, response: Any) -> Any:
            return {"functionResponse": {"name": name, "response": response}}

        body = {
            "contents": [
                {"role": "user", "parts": [{"text": "go"}]},
                {"role": "model", "parts": [call(name, n) for n, name in enumerate("fgf")]},
                {"role": "function", "parts": [answer(name, {"n": n}) for n, name in enumerate("gff")]},
                {"role": "model", "parts": [{"functionCall": {"name": "f"}}]},
                {"role": "user", "parts": [answer("f", {"result": "x"})]},
            ]
        }
        request = parsed(body)
        calls = [call for message in request.messages for call in message.tool_calls]
        assert len({call.id for call in calls}) == 4
        assert all(call.id.startswith(INVENTED) for call in calls)
        results = [one for one in request.messages if one.role is Role.TOOL]
        assert [one.tool_call_id for one in results] == [calls[at].id for at in (1, 0, 2, 3)]
        again = sent(request)
        assert b'"id"' not in orjson.dumps(again)
        # In the order of their calls: without ids Google has nothing else to go by.
        assert [one["functionResponse"]["name"] for one in again["contents"][2]["parts"]] == ["f", "g", "f"]
        assert [one["functionResponse"]["response"] for one in again["contents"][2]["parts"]] == [
            {"n": 1},
            {"n": 0},
            {"n": 2},
        ]

    @pytest.mark.parametrize(
        ("response", "text", "failed"),
        [
            ({"result": "sunny"}, "sunny", None),
            ({"result": '{"a":1}'}, '{"result":"{\\"a\\":1}"}', None),
            ({"result": 42}, '{"result":42}', None),
            ({"output": "x"}, '{"output":"x"}', None),
            ({}, "{}", None),
            ({"error": "no"}, "no", True),
            ({"error": {"code": 1}}, '{"code":1}', True),
            ({"error": 5}, '{"error":5}', True),
            ({"error": {}}, "{}", True),
            ({"error": ""}, "", True),
            ({"error": {"error": False}}, '{"error":false}', True),
            ({"error": False}, '{"error":false}', None),
            ({"error": "", "value": 1}, '{"error":"","value":1}', None),
            ({"error": {"error": "x"}}, '{"error":{"error":"x"}}', True),
            ({"error": "no", "tries": 2}, '{"error":"no","tries":2}', True),
            ({"error": None, "value": 1}, '{"error":null,"value":1}', None),
        ],
    )
    def test_every_answer_of_a_function_comes_back_the_same(
        self, response: Any, text: str, failed: bool | None
    ) -> None:
        body = contents({"functionResponse": {"id": "a", "name": "f", "response": response}})
        message = parsed(body).messages[0]
        assert (message.text, message.is_error, message.tool_call_id, message.name) == (text, failed, "a", "f")
        assert around(body) == body

    def test_an_error_of_another_dialect_is_said_as_one(self) -> None:
        failed_tool = replace(CALLS.messages[2], is_error=True)
        body = sent(replace(CALLS, messages=(*CALLS.messages[:2], failed_tool)))
        assert body["contents"][2]["parts"][0]["functionResponse"]["response"] == {"error": "cold"}

    def test_pictures_in_results_go_to_models_that_take_them(self) -> None:
        wire = {
            "functionResponse": {
                "id": "a",
                "name": "draw",
                "response": {"result": "see"},
                "parts": [{"inlineData": {"mimeType": "image/png", "data": "aGk="}}],
                "scheduling": "SILENT",
            }
        }
        request = parsed(contents(wire))
        assert request.messages[0].parts == (TextPart("see"), ImagePart(data="aGk=", media_type="image/png"))
        assert around(contents(wire), "gemini-3-flash-preview") == contents(wire)
        failure = refused(request, target("gemini-2.5-flash"))
        assert (failure.kind, failure.param) == (FailureKind.UNSUPPORTED, "messages[0].content[1]")

    def test_a_result_needs_a_name(self) -> None:
        failure = refused(Request(messages=(user("a"), Message(role=Role.TOOL, tool_call_id="x"))))
        assert (failure.kind, failure.param) == (FailureKind.BAD_REQUEST, "messages[1].name")

    def test_arguments_must_be_an_object(self) -> None:
        call = ToolCall(id="a", name="f", arguments="[1")
        failure = refused(Request(messages=(user("a"), Message(role=Role.ASSISTANT, parts=(call,)))))
        assert (failure.kind, failure.param) == (FailureKind.UNSUPPORTED, "messages[1].content[0]")

    def test_foreign_calls_of_the_current_turn_are_signed_for_gemini_3(self) -> None:
        turn = CALLS.messages[:4]
        body = sent(replace(CALLS, messages=(*turn, user("and?"), *turn[1:])), target("gemini-3-pro-preview"))
        signed = [[part.get("thoughtSignature") for part in one["parts"]] for one in body["contents"]]
        assert signed[1] == [None, None, None]
        assert signed[3] == [None, UNSIGNED, None]
        assert "thoughtSignature" not in str(sent(CALLS, target("gemini-2.5-flash")))

    def test_an_own_signature_is_kept(self) -> None:
        call = {"functionCall": {"name": "f", "args": {}}, "thoughtSignature": "c2ln"}
        body = {"contents": [{"role": "user", "parts": [{"text": "a"}]}, {"role": "model", "parts": [call]}]}
        assert parsed(body).messages[1].tool_calls[0].signature == "c2ln"
        assert around(body, "gemini-3-pro-preview") == body

    def test_declarations_native_tools_and_nulls(self) -> None:
        body = {
            **contents({"text": "hi"}),
            "tools": [
                {
                    "functionDeclarations": [
                        {
                            "name": "f",
                            "description": "d",
                            "parameters": {"type": "OBJECT", "properties": {"snake_name": {"type": "STRING"}}},
                            "behavior": "BLOCKING",
                        },
                        {"name": "g", "parameters_json_schema": SCHEMA, "description": None},
                    ],
                    "codeExecution": None,
                    "google_search": {},
                },
                {"fileSearch": {"file_search_store_names": ["fileSearchStores/a"]}},
            ],
        }
        request = parsed(body)
        snake = {"type": "object", "properties": {"snake_name": {"type": "string"}}}
        assert request.tools == (
            Tool(name="f", description="d", parameters=snake, extra={"behavior": "BLOCKING"}),
            Tool(name="g", parameters=SCHEMA),
            NativeTool(dialect="google", kind="googleSearch", value={"googleSearch": {}}),
            NativeTool(
                dialect="google",
                kind="fileSearch",
                value={"fileSearch": {"fileSearchStoreNames": ["fileSearchStores/a"]}},
            ),
        )
        assert around(body)["tools"] == [
            {
                "functionDeclarations": [
                    {"name": "f", "description": "d", "parametersJsonSchema": snake, "behavior": "BLOCKING"},
                    {"name": "g", "parametersJsonSchema": SCHEMA},
                ]
            },
            {"googleSearch": {}},
            {"fileSearch": {"fileSearchStoreNames": ["fileSearchStores/a"]}},
        ]

    def test_tools_of_other_dialects(self) -> None:
        tool = Tool(name="f", parameters=SCHEMA, strict=True, cache=CacheHint())
        body = sent(replace(ask("hi"), tools=(tool,)), dropped=("tools[0].strict", "cache"))
        assert body["tools"] == [{"functionDeclarations": [{"name": "f", "parametersJsonSchema": SCHEMA}]}]
        native = NativeTool(dialect="anthropic", kind="web_search", value={})
        failure = refused(replace(ask("hi"), tools=(tool, native)))
        assert (failure.kind, failure.param) == (FailureKind.UNSUPPORTED, "tools[1]")

    @pytest.mark.parametrize(
        ("wire", "choice"),
        [
            ({"mode": "AUTO"}, ToolChoice(mode="auto")),
            ({"mode": "NONE"}, ToolChoice(mode="none")),
            ({"mode": "ANY"}, ToolChoice(mode="required")),
            ({"mode": "ANY", "allowedFunctionNames": ["f"]}, ToolChoice(mode="function", function="f")),
            (
                {"mode": "ANY", "allowedFunctionNames": ["f", "g"]},
                ToolChoice(mode="required", allowed=("f", "g")),
            ),
            ({"mode": "VALIDATED", "allowedFunctionNames": ["f"]}, ToolChoice(mode="auto", allowed=("f",))),
        ],
    )
    def test_the_choice_of_tools_crosses(self, wire: Any, choice: ToolChoice) -> None:
        """The original honoured it at OpenAI alone."""
        body = asked(toolConfig={"functionCallingConfig": wire})
        assert parsed(body).tool_choice == choice
        assert around(body) == body

    def test_some_tools_of_auto_are_validated(self) -> None:
        body = sent(replace(ask("hi"), tool_choice=ToolChoice(mode="auto", allowed=("f",))))
        assert body["toolConfig"]["functionCallingConfig"] == {"mode": "VALIDATED", "allowedFunctionNames": ["f"]}


class TestSchemas:
    def test_schema_of_google_becomes_json_schema(self) -> None:
        google = {
            "type": "OBJECT",
            "properties": {
                "type": {"type": "STRING", "enum": ["a"], "nullable": True},
                "n": {"type": "INTEGER", "format": "int32", "minimum": 1},
                "list": {"type": "ARRAY", "items": {"type": "NUMBER"}, "min_items": "2"},
                "either": {"any_of": [{"type": "STRING"}, {"type": "BOOLEAN"}], "nullable": True},
                "any": {"type": "TYPE_UNSPECIFIED", "nullable": True, "example": None},
            },
            "required": ["type"],
            "propertyOrdering": ["n", "type"],
            "description": None,
            "nullable": False,
        }
        assert json_schema_of(google) == {
            "type": "object",
            "properties": {
                "type": {"type": ["string", "null"], "enum": ["a", None]},
                "n": {"type": "integer", "format": "int32", "minimum": 1},
                "list": {"type": "array", "items": {"type": "number"}, "minItems": 2},
                "either": {"anyOf": [{"type": "string"}, {"type": "boolean"}, {"type": "null"}]},
                "any": {"nullable": True, "example": None},
            },
            "required": ["type"],
            "propertyOrdering": ["n", "type"],
        }

    @pytest.mark.parametrize(
        ("config", "wanted"),
        [
            ({"responseMimeType": "text/plain"}, ResponseFormat(kind="text")),
            ({"responseMimeType": "application/json"}, ResponseFormat(kind="json_object")),
            (
                {"responseMimeType": "application/json", "responseJsonSchema": SCHEMA},
                ResponseFormat(kind="json_schema", schema=SCHEMA),
            ),
        ],
    )
    def test_the_form_of_the_answer_crosses(self, config: Any, wanted: ResponseFormat) -> None:
        body = asked(generationConfig=config)
        assert parsed(body).response_format == wanted
        assert around(body) == body

    def test_a_schema_of_google_is_sent_on_as_json_schema(self) -> None:
        config = {"response_mime_type": "application/json", "response_schema": {"type": "STRING"}}
        body = around(asked(generationConfig=config))
        assert body["generationConfig"] == {
            "responseMimeType": "application/json",
            "responseJsonSchema": {"type": "string"},
        }

    def test_a_form_that_only_google_has_goes_back(self) -> None:
        config = {"responseMimeType": "text/x.enum", "responseSchema": {"type": "STRING", "enum": ["a"]}}
        body = asked(generationConfig=config)
        assert parsed(body).response_format is None
        assert around(body) == body

    def test_a_schema_of_openai_works(self) -> None:
        schema = {"$defs": {"a": {"type": "string"}}, "properties": {"x": {"$ref": "#/$defs/a"}}, "type": "object"}
        wanted = ResponseFormat(kind="json_schema", name="n", schema=schema, strict=True)
        body = sent(
            replace(ask("hi"), response_format=wanted), dropped=("response_format.name", "response_format.strict")
        )
        assert body["generationConfig"] == {"responseMimeType": "application/json", "responseJsonSchema": schema}

    def test_two_schemas_at_once_are_refused(self) -> None:
        config: dict[str, Any] = {"responseSchema": {}, "responseJsonSchema": {}}
        assert wrong(asked(generationConfig=config)).param == "generationConfig.responseSchema"
        tool = {"name": "f", "parameters": {}, "parametersJsonSchema": {}}
        assert wrong(asked(tools={"functionDeclarations": tool})).param is not None


class TestV1:
    def test_what_it_knows_is_sent(self) -> None:
        body = {
            **contents({"text": "hi"}, {"inlineData": {"mimeType": "image/png", "data": "aGk="}}),
            "safetySettings": [],
            "generationConfig": {"temperature": 1, "responseLogprobs": True},
        }
        assert sent(parsed(body), target(version="v1")) == body

    def test_settings_that_it_lacks_are_named(self) -> None:
        body = {
            **contents({"text": "hi", "thoughtSignature": "c2ln"}),
            "cachedContent": "x",
            "generationConfig": {
                "responseModalities": ["TEXT"],
                "thinkingConfig": {"thinkingBudget": 0},
                "responseMimeType": "application/json",
            },
            "toolConfig": {"functionCallingConfig": {"mode": "AUTO"}},
        }
        dropped = (
            "messages[0].content[0].signature",
            "response_format",
            "reasoning",
            "tool_choice",
            "cachedContent",
            "generationConfig.responseModalities",
        )
        call = GOOGLE.encode(parsed(body), target(version="v1"))
        assert isinstance(call, HttpCall)
        assert sorted(call.dropped) == sorted(dropped)
        assert orjson.loads(call.body) == contents({"text": "hi"})

    @pytest.mark.parametrize(
        ("request_", "param"),
        [
            (Request(messages=(Message(role=Role.SYSTEM, parts=(TextPart("a"),)), user("b"))), "messages[0]"),
            (replace(ask("a"), tools=(Tool(name="f"),)), "tools[0]"),
            (CALLS, "messages[1].content[1]"),
            (replace(ask("a"), response_format=ResponseFormat(kind="json_schema", schema=SCHEMA)), "response_format"),
            (Request(messages=(Message(role=Role.USER, parts=(ImagePart(url="x"),)),)), "messages[0].content[0]"),
        ],
    )
    def test_words_tools_and_files_that_it_lacks_are_refused(self, request_: Request, param: str) -> None:
        failure = refused(request_, target(version="v1"))
        assert (failure.kind, failure.param) == (FailureKind.UNSUPPORTED, param)

    def test_a_proxy_may_have_its_own_path(self) -> None:
        body = sent(replace(ask("a"), tools=(Tool(name="f"),)), target(version="v1", api_version="v1beta"))
        assert body["tools"]


words = st.text(min_size=1, max_size=9)
objects = st.dictionaries(words, st.integers(-9, 9) | words | st.none(), max_size=2)
signatures = st.sampled_from(["", "c2ln"])
shown: st.SearchStrategy[Part] = st.one_of(
    st.builds(TextPart, words, signature=signatures),
    st.builds(ImagePart, data=st.just("aGk="), media_type=st.sampled_from(["image/png", "image/webp"])),
    st.builds(ImagePart, url=st.just("https://host/a"), media_type=st.just("image/png")),
    st.builds(AudioPart, data=st.just("aGk="), format=st.sampled_from(["wav", "mp3"])),
    st.builds(VideoPart, url=st.just("https://youtu.be/x"), media_type=st.sampled_from([None, "video/mp4"])),
    st.builds(FilePart, url=st.just("https://host/a"), media_type=st.just("application/pdf")),
)
thoughts = st.builds(ReasoningPart, text=words, signature=signatures) | st.just(ReasoningPart(signature="c2ln"))
schemas = st.sampled_from([SCHEMA, {}, {"anyOf": [{"type": "string"}, {"type": "null"}]}])


@st.composite
def conversations(draw: st.DrawFn) -> tuple[Message, ...]:
    """Rounds of a user's turn, an answer with parallel calls of repeated names, and the results in any order."""
    messages: list[Message] = []
    if draw(st.booleans()):
        messages.append(Message(role=Role.SYSTEM, parts=tuple(map(TextPart, draw(st.lists(words, min_size=1))))))
    for number in range(draw(st.integers(1, 3))):
        parts = draw(st.lists(shown, min_size=1, max_size=3))
        messages.append(Message(role=Role.USER, parts=tuple(parts)))
        asked_for = draw(st.lists(st.tuples(st.sampled_from("fg"), objects), max_size=3))
        calls = [
            ToolCall(
                id=f"{number}_{at}", name=name, arguments=orjson.dumps(arguments).decode(), signature=draw(signatures)
            )
            for at, (name, arguments) in enumerate(asked_for)
        ]
        said = (*draw(st.lists(thoughts | shown, max_size=2)), *calls)
        if said:
            messages.append(Message(role=Role.ASSISTANT, parts=said))
        for call in draw(st.permutations(calls)):
            result = TextPart(draw(words.map(lambda text: f"= {text}")))
            failed = draw(st.sampled_from([None, True]))
            messages.append(
                Message(role=Role.TOOL, parts=(result,), name=call.name, tool_call_id=call.id, is_error=failed)
            )
    return tuple(messages)


requests = st.builds(
    Request,
    messages=conversations(),
    model=st.just("tunedModels/mine"),
    sampling=st.builds(
        Sampling,
        temperature=st.none() | st.floats(0, 2),
        top_p=st.none() | st.floats(0, 1),
        top_k=st.none() | st.integers(1, 99),
        max_tokens=st.none() | st.integers(1, 2**31),
        frequency_penalty=st.none() | st.floats(-2, 2),
        presence_penalty=st.none() | st.floats(-2, 2),
        stop=st.lists(words, max_size=2).map(tuple),
        seed=st.none() | st.integers(-99, 99),
    ),
    choices=st.integers(1, 3),
    tools=st.lists(
        st.builds(Tool, name=words, description=st.none() | words, parameters=st.none() | schemas)
        | st.just(NativeTool(dialect="google", kind="googleSearch", value={"googleSearch": {}})),
        max_size=2,
    ).map(lambda tools: tuple(sorted(tools, key=lambda tool: isinstance(tool, NativeTool)))),
    tool_choice=st.sampled_from(
        [
            None,
            ToolChoice(mode="auto"),
            ToolChoice(mode="none"),
            ToolChoice(mode="required", allowed=("f", "g")),
            ToolChoice(mode="function", function="f"),
        ]
    ),
    response_format=st.none()
    | st.sampled_from([ResponseFormat(kind="text"), ResponseFormat(kind="json_object")])
    | st.builds(ResponseFormat, kind=st.just("json_schema"), schema=schemas),
    reasoning=st.sampled_from(
        [None, Reasoning(enabled=False), Reasoning(enabled=True, show=True), Reasoning(budget_tokens=9)]
    )
    | st.builds(
        Reasoning, effort=st.sampled_from(["minimal", "low", "medium", "high"]), show=st.none() | st.booleans()
    ),
    extra=st.sampled_from([{}, {"cachedContent": "c"}, {"generationConfig.responseModalities": ["TEXT"]}]),
    dialect=st.just("google"),
)


@given(requests)
def test_what_was_encoded_parses_to_itself(request: Request) -> None:
    body = sent(request, target("tunedModels/mine"))
    assert parse_request(body, model="tunedModels/mine") == request


deep_values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
FIELDS = ("contents", "parts", "text", "role", "functionCall", "functionResponse", "name", "response", "inlineData")


@given(
    st.recursive(
        deep_values,
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=3),
        max_leaves=10,
    )
)
def test_no_body_makes_the_parser_raise(value: Any) -> None:
    for body in (value, {"contents": value}, contents(value), {**contents({"text": "a"}), "tools": value}):
        request = parse_request(body)
        if isinstance(request, Request):
            assert isinstance(GOOGLE.encode(request, target()), HttpCall | Failure)
        else:
            assert request.detail
            assert request.handling.status == 400


@pytest.mark.parametrize("levels", [150, 300, 1000])
def test_no_depth_of_nesting_raises(levels: int) -> None:
    deep = orjson.loads(b'{"a":' * levels + b"1" + b"}" * levels)
    bodies = [
        contents({"functionCall": {"name": "f", "args": deep}}),
        contents({"functionResponse": {"name": "f", "response": deep}}),
        {**contents({"text": "a"}), "safetySettings": deep, "tools": [{"x": deep}]},
    ]
    for body in bodies:
        request = parse_request(body)
        if isinstance(request, Request):
            assert isinstance(GOOGLE.encode(request, target()), HttpCall | Failure)
    decoder = GOOGLE.decoder(target())
    head, tail = b'{"candidates":[{"finishReason":"STOP","content":{"parts":[', b"]}}]}\r\n\r\n"
    nested = b'{"a":' * levels + b"1" + b"}" * levels
    for part in (b'{"functionCall":{"name":"f","args":' + nested + b"}}", b'{"new":' + nested + b"}"):
        decoder.feed(b"data: " + head + part + tail)
        decoder.feed(b"data: " + head + part + tail)
    assert isinstance(decoder.finish(), Completion | Failure)
