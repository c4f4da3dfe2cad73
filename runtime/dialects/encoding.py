"""What all dialects need to make a call: addresses, bodies, fields that no type holds, ids, thinking budgets."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from runtime.dialects.base import HttpCall, Target
from runtime.dialects.fields import Wrong
from runtime.dialects.paths import place
from runtime.dialects.status import refused
from runtime.outcome import Failure, FailureKind
from runtime.request import Effort, EmbedRequest, Json, Message, Request
from runtime.values import maker

new_http_call = maker(HttpCall)

INVENTED = "raygate_call_"
"""Begins the id of a tool call whose provider gave none. Only such ids are left out on the way back."""

MARK = "raygate:"
"""Begins a key of an `extra` that is no field but ours: how its client said something. It is neither sent nor named."""

MAGIC = (
    ("iVBORw0", "image/png"),
    ("/9j/", "image/jpeg"),
    ("R0lGOD", "image/gif"),
    ("UklGR", "image/webp"),
    ("JVBERi", "application/pdf"),
)
"""How base64 of well-known formats begins."""

DATA_URL = re.compile(r"data:([^,;]*)(?:;[^,;]*)*?;base64,", re.IGNORECASE)

EFFORT_SHARE: Mapping[Effort, float] = {
    "minimal": 0.1,
    "low": 0.2,
    "medium": 0.5,
    "high": 0.8,
    "xhigh": 0.95,
    "max": 0.95,
}
"""An effort as a share of the longest answer: OpenRouter's published ratios (its guide on reasoning tokens)."""

LEAST_BUDGET = 1_024
MOST_BUDGET = 128_000


def texts_of(request: EmbedRequest, target: Target) -> list[Json] | Failure:
    """The inputs, for an API that takes text alone."""
    if request.tokens:
        return refused(target, FailureKind.UNSUPPORTED, "takes no token numbers: send text", param="input")
    return list(request.inputs)


def url_of(target: Target, path: str) -> str:
    return f"{target.base_url.rstrip('/')}/{path}"


def get(target: Target, path: str, headers: Mapping[str, str]) -> HttpCall:
    """A call without a body. `headers` are the dialect's own; the user's additions go over them."""
    return new_http_call(
        method="GET", url=url_of(target, path), headers=_headers(target, {"accept": "application/json", **headers})
    )


def post(
    target: Target,
    path: str,
    body: Mapping[str, Json],
    headers: Mapping[str, str],
    dropped: Iterable[str] = (),
    *,
    accept: str = "application/json",
) -> HttpCall | Failure:
    """A call with a JSON body. `headers` are the dialect's own; the user's additions go over them."""
    try:
        data = orjson.dumps(body, default=_plain)
    except TypeError as error:
        return refused(target, FailureKind.BAD_REQUEST, f"the request holds a value that JSON cannot carry: {error}")
    ours = {"accept": accept, "content-type": "application/json", **headers}
    return new_http_call(
        method="POST",
        url=url_of(target, path),
        headers=_headers(target, ours),
        body=data,
        dropped=tuple(dict.fromkeys(dropped)),
    )


def put_extra(
    body: dict[str, Json], extra: Mapping[str, Json], *, ours: bool, dropped: list[str], prefix: str = ""
) -> None:
    """Put fields that no type holds back where they were, if they are this dialect's own; else name them."""
    for path, value in extra.items():
        if not path.startswith(MARK) and not (ours and place(body, path, value)):
            dropped.append(f"{prefix}{path}")


def put_options(
    body: dict[str, Json], options: Mapping[str, Json] | None, *, protected: frozenset[str], dropped: list[str]
) -> None:
    """`provider_options` as given, but for fields on which decoding and billing rest."""
    for name, value in (options or {}).items():
        if name in protected:
            dropped.append(f"provider_options.{name}")
        else:
            body[name] = value


def beyond_text(request: Request) -> list[str]:
    """The fields of this request, by name, that ask for more than an answer to its messages; tools left out."""
    sampling, wanted, choice = request.sampling, request.response_format, request.tool_choice
    named = {
        "temperature": sampling.temperature is not None,
        "top_p": sampling.top_p is not None,
        "top_k": sampling.top_k is not None,
        "max_tokens": sampling.max_tokens is not None,
        "frequency_penalty": sampling.frequency_penalty is not None,
        "presence_penalty": sampling.presence_penalty is not None,
        "stop": bool(sampling.stop),
        "seed": sampling.seed is not None,
        "choices": request.choices != 1,
        "tool_choice": choice is not None and choice.mode in ("required", "function"),
        "parallel_tool_calls": request.parallel_tool_calls is not None,
        "response_format": wanted is not None and wanted.kind == "json_object",
        "reasoning": request.reasoning is not None,
        "user": request.user is not None,
        "metadata": bool(request.metadata),
        "cache": request.cache is not None,
    }
    extra = wanted.extra if wanted is not None else {}
    return [name for name, meant in named.items() if meant] + [f"response_format.{path}" for path in extra]


def invented_id(answer: str, position: int) -> str:
    """An id for a tool call whose provider gave none: results must find their call.

    `answer` tells the answers of one conversation apart: the id of the completion, or the position of the message.
    """
    return f"{INVENTED}{answer}_{position}"


def tool_names(messages: Iterable[Message]) -> dict[str, str]:
    """The name of each tool by the id of its call, for APIs whose results are named."""
    return {call.id: call.name for message in messages for call in message.tool_calls}


def object_of_text(text: str) -> dict[str, Json] | None:
    """The JSON object that this text is; empty text is an empty object; None where it is anything else."""
    if not text.strip():
        return {}
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None


def text_of_object(value: Json, param: str = "") -> str:
    """A JSON value as text, as tool arguments and results cross between dialects.

    Raises `Wrong` for what orjson reads but does not write: more than 254 levels of nesting.
    """
    try:
        return orjson.dumps(value, default=_plain).decode()
    except orjson.JSONEncodeError as error:
        where = param or "what a tool is given or gives"
        raise Wrong(param, f"{where} cannot be carried as JSON text: {error}.") from None


def split_data_url(url: str) -> tuple[str | None, str] | None:
    """Media type and base64 of an inline address; None where it is an address of something elsewhere.

    >>> split_data_url("data:image/png;base64,aGk=")
    ('image/png', 'aGk=')
    """
    found = DATA_URL.match(url)
    return (found.group(1) or None, url[found.end() :]) if found else None


def media_type_of(data: str, said: str | None) -> str | None:
    """What was said, else what the first bytes show; None where neither tells."""
    return said or next((kind for magic, kind in MAGIC if data.startswith(magic)), None)


def budget_of(effort: Effort, longest: int) -> int:
    """An effort in tokens, for a model or request whose answer may have `longest` tokens."""
    share = EFFORT_SHARE.get(effort, 0.0)
    return max(LEAST_BUDGET, min(MOST_BUDGET, int(longest * share)))


def effort_of(budget_tokens: int, longest: int | None) -> Effort:
    """The effort whose share of the longest answer is nearest to this budget; without a limit, of 32,000 tokens."""
    share = budget_tokens / (longest or 32_000)
    levels: tuple[Effort, ...] = ("minimal", "low", "medium", "high")
    return min(levels, key=lambda level: abs(EFFORT_SHARE[level] - share))


def _headers(target: Target, ours: Mapping[str, str]) -> dict[str, str]:
    return {**ours, **{name.lower(): value for name, value in target.headers.items()}}


def _plain(value: Any) -> Json:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, set | frozenset):
        return sorted(value)
    raise TypeError(f"{type(value).__name__} is no JSON value")
