"""What whole families of models take and do not take, by their names. Data, and how a name finds its row.

A row says what is known of the models that it matches; the first that matches decides. What no row says is unknown,
and nothing is refused or dropped for that. A hand-written row of `model_table` knows more of features than this, and
the settings know best; the parameters are here alone.

Features: `vision` has it, `-vision` lacks it. `refuses` are parameters that the model answers with an error, or takes
and ignores; `refuses_thinking` those besides that it refuses while it thinks.

Sources, checked in November 2026:
  [oai-reasoning] platform.openai.com/docs/guides/reasoning and its former beta limitations
  [oai-latest]    developers.openai.com/api/docs/guides/latest-model: parameters by effort
  [oai-api]       API reference of chat completions: `stop` is not for the latest reasoning models
  [oai-matrix]    community.openai.com/t/1110750: parameters tried on every model
  [pyd]           pydantic-ai 2.68, profiles/*: tried on the live APIs from July to October 2026
  [llm]           litellm 1.109, its model map and its rules for GPT-5 and later
  [ant-think]     platform.claude.com: thinking, structured outputs, what is new in 4.5 and 4.7
  [prefill]       platform.claude.com: prefilling an answer, not while thinking; refused from 4.6 on (migration guide;
                  strands-agents/sdk-python#1694, QwenLM/qwen-code#8039)
  [goo]           ai.google.dev: models, thinking; google-gemini/cookbook#1290 on penalties
  [coh]           docs.cohere.com: models, structured outputs, reasoning
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import cast, get_args

from runtime.models import Feature, Parameter


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """What is known of a family. `longest` is its longest answer in tokens, None is unknown."""

    has: frozenset[Feature] = frozenset()
    lacks: frozenset[Feature] = frozenset()
    refuses: frozenset[Parameter] = frozenset()
    refuses_thinking: frozenset[Parameter] = frozenset()
    thinks: bool = False
    one_of: tuple[tuple[Parameter, ...], ...] = ()
    longest: int | None = None


UNKNOWN = Family()

_HEAT = "temperature top_p"
_PENALTIES = "frequency_penalty presence_penalty"
_SAMPLING = f"{_HEAT} {_PENALTIES}"

_TEXT = "streaming tools system_messages json_schema -audio -video -embeddings"
_SEES = f"{_TEXT} vision files"
_THINKS = f"{_SEES} reasoning"
_EMBEDS = "embeddings -streaming -tools -system_messages -vision -audio -video -files -json_schema -reasoning"
_GEMINI = "streaming tools system_messages json_schema vision audio video files -embeddings"


def _parameters(words: str) -> frozenset[Parameter]:
    unknown = set(words.split()) - set(get_args(Parameter))
    if unknown:
        raise ValueError(f"no parameters: {unknown}")
    return frozenset(cast("list[Parameter]", words.split()))


def _row(
    pattern: str,
    features: str = "",
    refuses: str = "",
    *,
    thinking: str = "",
    thinks: bool = False,
    one_of: tuple[Parameter, ...] = (),
    longest: int | None = None,
) -> tuple[re.Pattern[str], Family]:
    lacks = frozenset(Feature(word[1:]) for word in features.split() if word[0] == "-")
    return re.compile(pattern), Family(
        has=frozenset(Feature(word) for word in features.split() if word[0] != "-") - lacks,
        lacks=lacks,
        refuses=_parameters(refuses),
        refuses_thinking=_parameters(thinking),
        thinks=thinks,
        one_of=(one_of,) if one_of else (),
        longest=longest,
    )


Rows = tuple[tuple[re.Pattern[str], Family], ...]

OPENAI: Rows = (
    _row(r"text-embedding-", _EMBEDS),
    # Both are gone from the API, but in the seed document; n was fixed at 1 [oai-reasoning] [oai-matrix].
    _row(
        r"o1-(preview|mini)\b",
        "streaming -tools -system_messages -vision -audio -video -files -json_schema -embeddings",
        f"{_SAMPLING} choices parallel_tool_calls reasoning",
    ),
    # parallel_tool_calls: langchain#29416, langchain#29704, tensorzero#2805; stop [oai-api].
    _row(r"o1\b", _THINKS, f"{_SAMPLING} parallel_tool_calls", thinks=True, longest=100_000),
    _row(
        r"o3-mini\b",
        f"{_TEXT} reasoning -vision -files",
        f"{_SAMPLING} stop parallel_tool_calls",
        thinks=True,
        longest=100_000,
    ),
    _row(r"o[34]\b", _THINKS, f"{_SAMPLING} stop parallel_tool_calls", thinks=True, longest=100_000),
    # They search for every answer: "Model incompatible request arguments" (vercel/ai#5647), and [llm].
    _row(r"gpt-4o.*-search-preview", "streaming system_messages json_schema", f"{_SAMPLING} reasoning"),
    _row(r"gpt-5-search-", "streaming system_messages json_schema", f"{_SAMPLING} stop seed choices reasoning"),
    # Does not reason [pyd]; sources disagree on its tools.
    _row(r"gpt-5-chat\b", "streaming system_messages vision -audio -video", "reasoning", longest=16_384),
    # Always at medium effort, whatever their name says [pyd].
    _row(r"gpt-5\.\d-chat\b", _THINKS, f"{_SAMPLING} stop", thinks=True, longest=16_384),
    # They think whatever is said [pyd]; stop and the penalties are refused by all of GPT-5 and 6 [llm]
    # (smolagents#1671, #1893; crewAI#5144).
    _row(r"gpt-(5(\.\d)?-(pro|codex)|5\.1-codex|5\.5-cyber)\b", _THINKS, f"{_SAMPLING} stop", thinks=True),
    _row(r"gpt-5(?![.\d])", _THINKS, f"{_SAMPLING} stop", thinks=True, longest=128_000),
    _row(r"gpt-6(-astra|\.1-sol)\b", _THINKS, f"{_SAMPLING} stop", thinks=True, longest=128_000),
    # They think when asked to, and take temperature and top_p when they do not [oai-latest] [pyd].
    _row(r"gpt-5\.[1-4]\b", _THINKS, f"{_PENALTIES} stop", thinking=_HEAT, longest=128_000),
    # They think unless told not to [pyd].
    _row(r"gpt-(5\.[5-9]|6)\b", _THINKS, f"{_PENALTIES} stop", thinking=_HEAT, thinks=True, longest=128_000),
    # From here on nothing reasons: "Unrecognized request argument supplied: reasoning_effort".
    _row(
        r"gpt-(4o(-mini)?-audio|audio)\b",
        "streaming tools system_messages audio -vision -video -json_schema -embeddings -reasoning",
        "reasoning",
        longest=16_384,
    ),
    _row(r"gpt-(4o(-mini)?-(realtime|transcribe|tts)|realtime|image|live)\b"),
    _row(r"chatgpt-4o\b", "streaming system_messages vision -tools -audio -video -reasoning", "reasoning"),
    _row(r"gpt-4o-2024-05-13\b", "streaming tools system_messages vision -json_schema -audio -video", "reasoning"),
    _row(r"gpt-4o\b", f"{_SEES} -reasoning", "reasoning", longest=16_384),
    _row(r"gpt-4\.1\b", f"{_SEES} -reasoning", "reasoning", longest=32_768),
    _row(
        r"gpt-4-(turbo(?!-preview|-0125)|vision)",
        "streaming system_messages vision -json_schema -audio -video -embeddings -reasoning",
        "reasoning",
        longest=4_096,
    ),
    _row(
        r"gpt-(4(?![.\do])|3\.5-turbo(?!-instruct))",
        "streaming system_messages -vision -audio -video -files -json_schema -embeddings -reasoning",
        "reasoning",
    ),
    # Open weights: their hosts take all of sampling.
    _row(r"gpt-oss\b", "reasoning tools system_messages -vision -audio -video", thinks=True),
)

# The API has no such fields. (Thinking bounds temperature and top_p too, by their values: the dialect knows.)
_NOT_CLAUDE = f"{_PENALTIES} seed"
_ONE: tuple[Parameter, ...] = ("temperature", "top_p")

ANTHROPIC: Rows = (
    # From Opus 4.7 on there is no sampling (ruflo#2357) [ant-think] [pyd]; nor in all of generation 5, which thinks
    # unasked.
    _row(r"claude-opus-4-[789]", f"{_THINKS} -prefill", f"{_HEAT} top_k {_NOT_CLAUDE}", longest=128_000),
    _row(
        r"claude-((fable|mythos)\b|(opus|sonnet|haiku)-5)",
        f"{_THINKS} -prefill",
        f"{_HEAT} top_k {_NOT_CLAUDE}",
        thinks=True,
        longest=128_000,
    ),
    # temperature and top_p not both, from Opus 4.1 and generation 4.5 on (aws-samples/bedrock-chat#979).
    _row(r"claude-((opus|sonnet)-4-6|4-6-)", f"{_THINKS} -prefill", _NOT_CLAUDE, one_of=_ONE, longest=128_000),
    _row(r"claude-((opus|sonnet|haiku)-4-5|4-5-)", f"{_THINKS} prefill", _NOT_CLAUDE, one_of=_ONE, longest=64_000),
    _row(r"claude-opus-4-1\b", f"{_THINKS} prefill", _NOT_CLAUDE, one_of=_ONE, longest=32_000),
    # Structured outputs came with 4.5 and Opus 4.1 [ant-think].
    _row(r"claude-(opus-4|4-opus)\b", f"{_THINKS} prefill -json_schema", _NOT_CLAUDE, longest=32_000),
    _row(
        r"claude-(sonnet-4|4-sonnet|3-7-sonnet|sonnet-3-7)\b",
        f"{_THINKS} prefill -json_schema",
        _NOT_CLAUDE,
        longest=64_000,
    ),
    _row(
        r"claude-3-5-",
        "streaming tools system_messages vision files prefill -audio -video -json_schema -embeddings -reasoning",
        f"{_NOT_CLAUDE} reasoning",
        longest=8_192,
    ),
    _row(
        r"claude-3-",
        "streaming tools system_messages vision prefill -audio -video -json_schema -embeddings -reasoning",
        f"{_NOT_CLAUDE} reasoning",
        longest=4_096,
    ),
    _row(
        r"claude-(2|v[12]|instant)",
        "streaming system_messages -tools -vision -audio -video -files -json_schema -embeddings -reasoning",
        f"{_NOT_CLAUDE} reasoning",
        longest=4_096,
    ),
    # A newer one: what no Claude ever took.
    _row(r"claude-", "streaming system_messages -embeddings", _NOT_CLAUDE),
)

GEMINI: Rows = (
    _row(r"(gemini-embedding|text-embedding|embedding)-", _EMBEDS),
    _row(r"(gemini-.*-tts\b|lyria|imagen|veo)", "-tools -vision -json_schema"),
    _row(r"gemini-.*(live|native-audio)"),
    # No function calling where pictures come out [pyd]; no schemas either before Gemini 3.
    _row(r"gemini-[12].*-image", "streaming vision -tools -json_schema -reasoning", f"{_PENALTIES} reasoning"),
    _row(r"gemini-.*-image\b|gemini-nano-banana", "streaming vision -tools", _PENALTIES),
    # "Developer instruction is not enabled"; "Penalty is not enabled" (SillyTavern#3015).
    _row(
        r"gemini-(pro$|1\.0|pro-vision)",
        "streaming -system_messages -audio -video -files -json_schema -embeddings -reasoning",
        f"{_PENALTIES} reasoning",
    ),
    _row(r"gemini-1\.5.*-002\b", f"{_GEMINI} -reasoning", "reasoning", longest=8_192),
    _row(r"gemini-1\.5", f"{_GEMINI} -reasoning", f"{_PENALTIES} reasoning", longest=8_192),
    _row(r"gemini-2\.0-flash-thinking", f"{_GEMINI} reasoning", _PENALTIES),
    # The only ones that take penalties besides 1.5's last [goo].
    _row(r"gemini-2\.0", f"{_GEMINI} -reasoning", "reasoning", longest=8_192),
    # Sampling is taken and ignored from 3.5 Flash-Lite and 3.6 Flash on [llm].
    _row(
        r"gemini-(3\.5-flash-lite|3\.[6-9]-flash|flash-(lite-)?latest)",
        f"{_GEMINI} reasoning",
        f"{_HEAT} top_k {_PENALTIES}",
        thinks=True,
        longest=65_536,
    ),
    _row(r"gemini-2\.5|gemini-3|gemini-pro-latest", f"{_GEMINI} reasoning", _PENALTIES, thinks=True, longest=65_536),
    _row(r"gemini-4", f"{_GEMINI} reasoning", _PENALTIES, thinks=True),
)

GEMMA: Rows = (
    # "Developer instruction is not enabled for models/gemma-3-…" [llm].
    _row(r"gemma-[123]", "streaming -system_messages -reasoning", "reasoning"),
)

COHERE: Rows = (
    _row(r"embed-", _EMBEDS),
    _row(r"command-a-vision", "streaming vision system_messages -tools -audio -video -reasoning", "reasoning"),
    _row(r"c4ai-aya-vision", "streaming vision -tools -audio -video -reasoning", "reasoning"),
    _row(r"command-a-reasoning", f"{_TEXT} reasoning -vision", thinks=True, longest=32_000),
    _row(r"command-a-plus", f"{_TEXT} reasoning vision", longest=64_000),
    _row(r"command-(a\b(?!-(?!03))|r)", f"{_TEXT} -vision -reasoning", "reasoning"),
    _row(r"(command\b|c4ai-aya-expanse)", "streaming -vision -audio -video -reasoning", "reasoning"),
)

XAI: Rows = (
    # Reasoning models refuse them (docs.x.ai, reasoning).
    _row(r"grok-(3-mini|4)", "", f"{_PENALTIES} stop"),
)

BY_KIND: Mapping[str, Rows] = {
    "openai": OPENAI,
    "anthropic": ANTHROPIC,
    "google": (*GEMINI, *GEMMA),
    "cohere": COHERE,
    # Other hosts choose their names, but these are used for nothing else. Open weights are as their host runs them.
    "custom": (*OPENAI, *ANTHROPIC, *GEMINI, *XAI),
}

BY_VENDOR: Mapping[str, Rows] = {**BY_KIND, "custom": (), "x-ai": XAI}
"""By the first part of a model's name at OpenRouter."""

_OF_OTHERS = frozenset((Feature.FILES, Feature.SYSTEM_MESSAGES))
"""What OpenRouter sees to itself where a model lacks it: it reads PDFs for all of them, and renders their roles."""


@lru_cache(maxsize=4096)
def family_of(kind: str, model: str) -> Family:
    """What is known of this model by its name; at OpenRouter by its vendor's rows.

    At another host (`custom`) its name says which parameters it takes, but not what the host makes of it.

    >>> sorted(family_of("openrouter", "openai/o3-mini").refuses & {"temperature", "seed"})
    ['temperature']
    """
    name = model.lower()
    if kind == "openrouter":
        vendor, _, rest = name.removeprefix("~").partition("/")
        found = _first(BY_VENDOR.get(vendor, ()), rest)
        # Which host it will be is not known, and not every host goes on with what another one began.
        return replace(found, has=found.has - {Feature.PREFILL}, lacks=found.lacks - _OF_OTHERS)
    if kind == "custom":
        found = _first(BY_KIND[kind], name.rpartition("/")[2])
        return replace(found, has=frozenset(), lacks=frozenset(), longest=None)
    return _first(BY_KIND.get(kind, ()), name)


def _first(rows: Rows, name: str) -> Family:
    name = name.removeprefix("models/")
    if name.startswith("ft:"):
        name = name.split(":")[1]
    # OpenRouter and others write versions of Claude with a dot.
    name = name.replace(".", "-") if name.startswith("claude") else name
    return next((family for pattern, family in rows if pattern.match(name)), UNKNOWN)
