"""Embeddings and the model list of our own OpenAI endpoint."""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterable
from typing import Literal

from runtime.dialects.fields import MOST_DIMENSIONS, Wrong, array, obj, opt_int, opt_text, text
from runtime.dialects.paths import leftovers
from runtime.outcome import Embeddings, Failure
from runtime.request import EmbedRequest, Json

Encoding = Literal["float", "base64"]

_KNOWN = frozenset(("model", "input", "dimensions", "user", "encoding_format"))


def parse_embed(body: Json) -> tuple[EmbedRequest, Encoding] | Failure:
    """The request and the encoding that the client wants; OpenAI's SDKs ask for base64 by default."""
    try:
        return _embed(obj(body, "body"))
    except Wrong as wrong:
        return wrong.failure()


def _embed(body: dict[str, Json]) -> tuple[EmbedRequest, Encoding]:
    said = body.get("input")
    inputs = [said] if isinstance(said, str) else array(said, "input")
    if not inputs:
        raise Wrong("input", "input must hold at least one text.")
    tokens: tuple[tuple[int, ...], ...] = ()
    if isinstance(inputs[0], int):
        inputs, tokens = [], (_tokens(inputs, "input"),)
    elif isinstance(inputs[0], list):
        inputs, tokens = [], tuple(_tokens(one, f"input[{at}]") for at, one in enumerate(inputs))
    encoding: Encoding
    match opt_text(body, "encoding_format", "encoding_format"):
        case None | "float":
            encoding = "float"
        case "base64":
            encoding = "base64"
        case _:
            raise Wrong("encoding_format", "encoding_format must be float or base64.")
    extra: dict[str, Json] = {}
    leftovers(body, _KNOWN, "", extra)
    return EmbedRequest(
        inputs=tuple(text(one, f"input[{at}]") for at, one in enumerate(inputs)),
        tokens=tokens,
        model=opt_text(body, "model", "model") or "",
        dimensions=opt_int(body, "dimensions", "dimensions", least=1, most=MOST_DIMENSIONS),
        user=opt_text(body, "user", "user"),
        extra=extra,
        dialect="openai",
    ), encoding


def _tokens(said: Json, where: str) -> tuple[int, ...]:
    """A text as numbers of the model's vocabulary."""
    numbers = array(said, where)
    if not numbers:
        raise Wrong(where, f"{where} must hold at least one token number.")
    for at, one in enumerate(numbers):
        if not isinstance(one, int) or isinstance(one, bool) or one < 0:
            raise Wrong(f"{where}[{at}]", f"{where}[{at}] must be a token number, as the first one is.")
    return tuple(numbers)


def render_embeddings(embeddings: Embeddings, *, encoding: Encoding = "float") -> dict[str, Json]:
    """The body of an embeddings reply."""
    usage: dict[str, Json] = {
        "prompt_tokens": embeddings.usage.input_tokens,
        "total_tokens": embeddings.usage.total_tokens,
    }
    if embeddings.usage.estimated:
        usage["estimated"] = True
    if embeddings.cost is not None:
        usage["cost"] = embeddings.cost.total_nanousd / 1_000_000_000
    return {
        "object": "list",
        "data": [
            {
                "object": "embedding",
                "index": index,
                "embedding": _base64(vector) if encoding == "base64" else list(vector),
            }
            for index, vector in enumerate(embeddings.vectors)
        ],
        "model": embeddings.model,
        "usage": usage,
    }


def render_models(models: Iterable[str], *, created_s: int = 0) -> dict[str, Json]:
    """The body of GET /v1/models. `provider/model` is owned by its provider."""
    return {
        "object": "list",
        "data": [
            {
                "id": name,
                "object": "model",
                "created": created_s,
                "owned_by": name.split("/", 1)[0] if "/" in name else "raygate",
            }
            for name in models
        ],
    }


def _base64(vector: tuple[float, ...]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
