"""When do two request bodies of one API mean the same? The one answer on which the whole proof rests.

    equivalent(api, sent, ours) == ()       they mean the same
    equivalent(api, sent, ours)             else every place at which they differ

Both bodies are brought into a normal form (`tests.wire.normal`), and then compared value by value. A normal form may
only undo a choice of spelling that the API itself documents as free; each is listed here with its reason. Everything
else must be equal, unknown fields included. Nothing of Raygate is imported here: this is the judge, not the accused.

Every API
    an absent field = null             all of them document optional fields as nullable or ignore null. Only in objects
                                       that the API defines: never in JSON schemas, tool arguments, tool results,
                                       metadata, nor in fields that are not listed here
    1 = 1.0                            one JSON number
    tool arguments as text             the same JSON value: the text is documented as JSON
    stream absent = false              the documented default (Ollama's own API: absent = true)
    text content = one text block      documented by every API that has blocks
    "" = no content = no blocks        an empty text says nothing: Anthropic refuses it, the others take all three
    a data URL                         its media type in lower case, parameters other than base64 left out (RFC 2397)

OpenAI, OpenRouter, llama.cpp and others that speak it
    n absent = 1, type of tools and calls absent = function, image detail absent = auto: documented defaults;
    empty lists of tools, tool calls and stop words = absent (none is none)
    stop "x" = ["x"]                   documented: a text or an array
    max_tokens = max_completion_tokens where the API documents the second as the new name of the first: OpenAI and
                                       OpenRouter; not elsewhere, hosts exist that know only one
    functions = tools + parallel_tool_calls false, function_call = tool_choice, a function_call and the message of role
                                       function that answers it = a tool call and its result with an id of our own:
                                       "deprecated in favor of"; the old words have room for one call
    null inside reasoning_details = absent (OpenRouter: nullable)
    stream_options.include_usage       left out: Raygate always asks for the usage, else nobody knows what a stream cost
    OpenRouter: include_reasoning true = reasoning {}, false = reasoning {exclude: true}; usage {include: true} = absent
                                       (its reference: "deprecated, equivalent to", "always on")

Anthropic
    turns of one role in a row = one turn with all blocks ("consecutive turns will be combined into a single turn")
    tool type absent = custom, cache ttl absent = 5m, tool_result.is_error absent = false,
    tool_choice.disable_parallel_tool_use absent = false; no system, empty lists of citations, stop sequences, tools and
    servers, an empty metadata or output_config = absent
    output_format = output_config.format (its release notes: the field has moved)

Google Gemini (protocol buffers as JSON: developers.google.com/protocol-buffers/docs/proto3#json)
    snake_case = camelCase; an empty list = an absent one; one object = a list of one (parts, contents, tools);
    thought and includeThoughts false = absent (plain booleans); an empty generationConfig, thinkingConfig, toolConfig,
    tool, or `required` and `properties` of a schema = absent; calls without args = args {};
    functionCallingConfig.mode absent = AUTO ("default model behavior")
    role absent = user, role function = user (documented: must be user or model; results come from the user);
    systemInstruction's role is not read ("currently, text only"); turns of one role in a row = one turn
    thinkingLevel and mode in any case (its guides write "low" where its reference says LOW, and both are taken)
    candidateCount absent = 1, responseMimeType absent = text/plain: documented defaults
    tools are one set: [{a, b}] = [{a}, {b}], all function declarations together in their order
    parameters = parametersJsonSchema, responseSchema = responseJsonSchema ("mutually exclusive" spellings of a schema):
    type names in lower case, nullable true = type [t, "null"], counts as text ("1") = numbers (int64 in JSON)

Cohere
    empty lists of documents, tools, citations, tool calls and stop sequences and an empty plan = absent (none is none)
    type of tools and calls absent = function, image detail absent = auto: documented defaults
    a document given as text = {"data": {"text": …}} ("either a string or document object")

Ollama
    stream absent = true; format "" and options {} = absent, empty texts and lists in messages = absent (omitempty);
    type of tools and calls absent = function
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from tests.wire.normal import normal

Json = Any

_POSITION = re.compile(r"\[\d+\]")


class _Missing:
    def __repr__(self) -> str:
        return "(nothing)"


MISSING = _Missing()


@dataclass(frozen=True, slots=True)
class Difference:
    """At `path`, in the normal form, `sent` stood and `ours` stands; `MISSING` where nothing does."""

    path: str
    sent: Json
    ours: Json

    @property
    def kind(self) -> str:
        """The path without positions: `messages[].content[].text`.

        >>> Difference("messages[3].content[0].text", "a", "b").kind
        'messages[].content[].text'
        """
        return kind_of(self.path)

    def __str__(self) -> str:
        return f"{self.path}: {_short(self.sent)} -> {_short(self.ours)}"


def equivalent(api: str, sent: Json, ours: Json) -> tuple[Difference, ...]:
    """Where two bodies of `api` differ in meaning; nothing where they mean the same.

    `api` is openai, compatible (another host that speaks OpenAI), openrouter, anthropic, google, cohere or ollama.

    >>> equivalent("openai", {"messages": [{"role": "user", "content": "hi"}], "n": 1},
    ...            {"messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]})
    ()
    >>> [str(one) for one in equivalent("openai", {"temperature": 1}, {"temperature": 0.5})]
    ['temperature: 1 -> 0.5']
    """
    found: list[Difference] = []
    _compare("", normal(api, sent), normal(api, ours), found)
    return tuple(found)


def kind_of(path: str) -> str:
    return _POSITION.sub("[]", path)


def _compare(path: str, sent: Json, ours: Json, found: list[Difference]) -> None:
    if isinstance(sent, dict) and isinstance(ours, dict):
        for name in (*sent, *(name for name in ours if name not in sent)):
            _compare(f"{path}.{name}" if path else name, sent.get(name, MISSING), ours.get(name, MISSING), found)
    elif isinstance(sent, list) and isinstance(ours, list):
        for at in range(max(len(sent), len(ours))):
            _compare(
                f"{path}[{at}]",
                sent[at] if at < len(sent) else MISSING,
                ours[at] if at < len(ours) else MISSING,
                found,
            )
    elif isinstance(sent, bool) or isinstance(ours, bool) or not (_number(sent) and _number(ours)):
        if type(sent) is not type(ours) or sent != ours:
            found.append(Difference(path, sent, ours))
    elif sent != ours:
        found.append(Difference(path, sent, ours))


def _number(value: Json) -> bool:
    return isinstance(value, int | float)


def _short(value: Json) -> str:
    shown = repr(value)
    return shown if len(shown) <= 80 else f"{shown[:77]}..."
