"""What whole replies and stream chunks have in common: finish reasons, usage, cost, text in odd shapes.

Lenient where hosts differ in trifles, strict where a wrong guess would lose text or money.
"""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from runtime.dialects.encoding import MARK, split_data_url
from runtime.dialects.reading import NOT_REPORTED, count, extra_of, nanousd, objects, text
from runtime.outcome import Cost, FinishReason, Usage
from runtime.request import AudioPart, ImagePart, Json, ReasoningPart
from runtime.values import maker

new_usage = maker(Usage)

FINISH: Mapping[str, FinishReason] = {
    "stop": FinishReason.STOP,
    # Together's word.
    "eos": FinishReason.STOP,
    "length": FinishReason.LENGTH,
    "tool_calls": FinishReason.TOOL_CALLS,
    "function_call": FinishReason.TOOL_CALLS,
    "content_filter": FinishReason.CONTENT_FILTER,
    "error": FinishReason.ERROR,
}

TOP = frozenset({"id", "object", "created", "model", "choices", "usage", "error", "obfuscation"})
"""Fields of a reply that the types hold. `obfuscation` is noise against traffic analysis: never passed on."""

CHOICE = frozenset({"index", "message", "delta", "finish_reason", "logprobs"})

MESSAGE = frozenset(
    (
        *("role", "content", "refusal", "tool_calls", "function_call"),
        *("reasoning_content", "reasoning", "reasoning_details", "images", "audio"),
    )
)


NAMED = f"{MARK}fields"
"""In the `extra` of an earlier thought of plain text: the names under which its client said it."""


def finish_of(said: Json, extra: dict[str, Json]) -> FinishReason | None:
    """The finish reason; a foreign word is kept in `extra`."""
    if not isinstance(said, str) or not said:
        return None
    found = FINISH.get(said)
    if found is None:
        extra["finish_reason"] = said
        return FinishReason.OTHER
    return found


def text_of(content: Json) -> tuple[str, str]:
    """Text and reasoning in a `content` field: a string, null, or (Mistral) a list of typed parts."""
    if isinstance(content, str):
        return content, ""
    text: list[str] = []
    reasoning: list[str] = []
    for part in content if isinstance(content, list) else ():
        if not isinstance(part, dict):
            continue
        if isinstance(part.get("text"), str):
            text.append(part["text"])
        elif part.get("type") == "thinking":
            reasoning.extend(text_of(part.get("thinking")))
    return "".join(text), "".join(reasoning)


def reasoning_of(fields: Mapping[str, Json]) -> str:
    """DeepSeek, llama.cpp and vLLM say `reasoning_content`, OpenRouter `reasoning`; some hosts say both, alike."""
    for name in ("reasoning_content", "reasoning"):
        said = fields.get(name)
        if isinstance(said, str) and said:
            return said
    return ""


def arguments_of(said: Json) -> str:
    """Arguments as JSON text, also from hosts that send the object itself."""
    if isinstance(said, str):
        return said
    return "" if said is None else orjson.dumps(said).decode()


def usage_of(said: Json) -> Usage:
    """Tokens as reported. Without a report, `NOT_REPORTED`."""
    if not isinstance(said, dict):
        return NOT_REPORTED
    inputs, outputs = said.get("prompt_tokens"), said.get("completion_tokens")
    if not isinstance(inputs, int) and not isinstance(outputs, int):
        return NOT_REPORTED
    of_input = said.get("prompt_tokens_details")
    of_output = said.get("completion_tokens_details")
    of_input = of_input if isinstance(of_input, dict) else {}
    of_output = of_output if isinstance(of_output, dict) else {}
    return new_usage(
        input_tokens=count(inputs),
        output_tokens=count(outputs),
        # DeepSeek's word for it stands beside prompt_tokens.
        cached_input_tokens=count(of_input.get("cached_tokens", said.get("prompt_cache_hit_tokens"))),
        cache_write_tokens=count(of_input.get("cache_write_tokens")),
        reasoning_tokens=count(of_output.get("reasoning_tokens")),
        audio_input_tokens=count(of_input.get("audio_tokens")),
        audio_output_tokens=count(of_output.get("audio_tokens")),
        # Our own surface marks what it had to estimate; a Raygate behind a Raygate must not hide it.
        estimated=said.get("estimated") is True,
    )


def cost_of(usage: Json) -> Cost | None:
    """What the provider itself says it charged (OpenRouter's `usage.cost`, in dollars).

    With a key of the user's own (`is_byok`) that is only OpenRouter's fee, and the upstream's price comes on top.
    Input and output stay 0 where the provider does not split the total.
    """
    if not isinstance(usage, dict):
        return None
    total = nanousd(usage.get("cost"))
    if total is None:
        return None
    details = usage.get("cost_details")
    details = details if isinstance(details, dict) else {}
    if usage.get("is_byok") is True:
        total += nanousd(details.get("upstream_inference_cost")) or 0
    inputs = nanousd(details.get("upstream_inference_prompt_cost"))
    outputs = nanousd(details.get("upstream_inference_completions_cost"))
    if inputs is None or outputs is None or inputs + outputs != total:
        inputs = outputs = 0
    return Cost(input_nanousd=inputs, output_nanousd=outputs, total_nanousd=total, source="provider")


def images_of(said: Json) -> list[ImagePart]:
    """Images that a model drew (OpenRouter's `images`)."""
    found = []
    for one in objects(said):
        image = one.get("image_url")
        url = image.get("url") if isinstance(image, dict) else None
        if isinstance(url, str):
            inline = split_data_url(url)
            found.append(ImagePart(data=inline[1], media_type=inline[0]) if inline else ImagePart(url=url))
    return found


def audio_of(said: Json) -> AudioPart | None:
    """Sound that a model made, or a piece of it; the transcript and the id are in its `extra`."""
    if not isinstance(said, dict) or not said:
        return None
    return AudioPart(data=text(said.get("data")), extra=extra_of(said, frozenset({"data"})))


def signature_of(call: Mapping[str, Json]) -> str:
    """Google's mark on a tool call, where its own OpenAI endpoint puts it."""
    match call.get("extra_content"):
        case {"google": {"thought_signature": str(signature)}}:
            return signature
        case _:
            return ""


def thought_of(detail: Mapping[str, Json]) -> ReasoningPart:
    """One item of OpenRouter's `reasoning_details`; what no field of ours holds is kept beside."""
    known = {"text": "", "summary": "", "data": "", "signature": ""}
    found = {name: value for name, value in detail.items() if name in known and isinstance(value, str)}
    return ReasoningPart(
        text=found.get("text", "") or found.get("summary", ""),
        signature=found.get("signature", ""),
        redacted=found.get("data", ""),
        extra={name: value for name, value in detail.items() if name not in found and value is not None},
    )
