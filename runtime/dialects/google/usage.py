"""Counts of an answer: tokens, searches, log probabilities."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from runtime.dialects.reading import NOT_REPORTED, count, extra_of, obj, objects, text
from runtime.outcome import Usage
from runtime.request import Json

_COUNTS = frozenset(
    (
        *("promptTokenCount", "candidatesTokenCount", "totalTokenCount", "thoughtsTokenCount"),
        *("toolUsePromptTokenCount", "cachedContentTokenCount"),
        *("promptTokensDetails", "candidatesTokensDetails", "cacheTokensDetails", "toolUsePromptTokensDetails"),
        "thoughtsTokensDetails",
    )
)
_SAYING = frozenset(("promptTokenCount", "candidatesTokenCount", "totalTokenCount"))


def usage_of(said: Json, searches: int = 0) -> Usage:
    """What was reported. Google counts thoughts beside the answer, and the results of its own tools beside the prompt.

    >>> usage_of({"promptTokenCount": 3, "candidatesTokenCount": 2, "thoughtsTokenCount": 5}).output_tokens
    7
    """
    fields = obj(said)
    if _SAYING.isdisjoint(fields):
        return NOT_REPORTED
    thoughts = count(fields.get("thoughtsTokenCount"))
    return Usage(
        input_tokens=count(fields.get("promptTokenCount")) + count(fields.get("toolUsePromptTokenCount")),
        output_tokens=count(fields.get("candidatesTokenCount")) + thoughts,
        cached_input_tokens=count(fields.get("cachedContentTokenCount")),
        reasoning_tokens=thoughts,
        audio_input_tokens=_audio(fields.get("promptTokensDetails")) + _audio(fields.get("toolUsePromptTokensDetails")),
        audio_output_tokens=_audio(fields.get("candidatesTokensDetails")),
        server_tool_calls={"googleSearch": searches} if searches else {},
    )


def detail_of(said: Json) -> dict[str, Json]:
    """What stands beside the counts and is none, such as the service tier."""
    return extra_of(obj(said), _COUNTS)


def searches_of(candidates: Iterable[Mapping[str, Json]]) -> int:
    """How often Google searched for these candidates: it charges for each."""
    found = 0
    for extra in candidates:
        grounding = obj(extra.get("groundingMetadata"))
        for name in ("webSearchQueries", "imageSearchQueries"):
            queries = grounding.get(name)
            found += len(queries) if isinstance(queries, list) else 0
    return found


def logprobs_of(result: Mapping[str, Json]) -> Json:
    """Google's log probabilities in OpenAI's words, which are ours; None where there are none."""
    top = objects(result.get("topCandidates"))
    content: list[Json] = []
    for at, chosen in enumerate(objects(result.get("chosenCandidates"))):
        others = objects(top[at].get("candidates")) if at < len(top) else []
        content.append({**_token(chosen), "top_logprobs": [_token(one) for one in others]})
    return {"content": content} if content else None


def _token(said: Mapping[str, Json]) -> dict[str, Json]:
    token: dict[str, Json] = {"token": text(said.get("token")), "logprob": said.get("logProbability") or 0.0}
    if isinstance(said.get("tokenId"), int):
        token["token_id"] = said["tokenId"]
    return token


def _audio(details: Json) -> int:
    return sum(count(one.get("tokenCount")) for one in objects(details) if one.get("modality") == "AUDIO")
