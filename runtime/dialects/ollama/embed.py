"""Embeddings: `/api/embed`, and `/api/embeddings`, its older form for one text at a time."""

from __future__ import annotations

from runtime.dialects.fields import MOST_DIMENSIONS, Wrong, array, obj, opt_int, opt_obj, opt_text, text
from runtime.dialects.ollama.messages import NAME
from runtime.dialects.ollama.render import counts_of, nanoseconds
from runtime.dialects.paths import leftovers
from runtime.outcome import Embeddings, Failure
from runtime.request import EmbedRequest, Json


def parse_embed(body: Json, *, model: str = "") -> EmbedRequest | Failure:
    """The request in a body of `/api/embed`."""
    try:
        fields = obj(body, "body")
        return _request(fields, "input", _inputs(fields), model)
    except Wrong as wrong:
        return wrong.failure()


def parse_older_embed(body: Json, *, model: str = "") -> EmbedRequest | Failure:
    """The request in a body of `/api/embeddings`."""
    try:
        fields = obj(body, "body")
        return _request(fields, "prompt", (_prompt(fields),), model)
    except Wrong as wrong:
        return wrong.failure()


def render_embeddings(embeddings: Embeddings) -> dict[str, Json]:
    """The body of a reply of `/api/embed`."""
    body: dict[str, Json] = {
        "model": embeddings.model,
        "embeddings": [list(vector) for vector in embeddings.vectors],
    }
    if embeddings.latency_s > 0:
        body["total_duration"] = nanoseconds(embeddings.latency_s)
    counts = counts_of(embeddings.usage, embeddings.cost)
    counts.pop("eval_count", None)
    return body | counts


def render_older_embeddings(embeddings: Embeddings) -> dict[str, Json]:
    """The body of a reply of `/api/embeddings`: one vector, and nothing of what it took but its cost."""
    counts = counts_of(embeddings.usage, embeddings.cost)
    body: dict[str, Json] = {"embedding": list(embeddings.vectors[0]) if embeddings.vectors else []}
    return body | {name: value for name, value in counts.items() if name in ("cost", "estimated")}


def _inputs(fields: dict[str, Json]) -> tuple[str, ...]:
    said = fields.get("input")
    if said is None or said == []:
        raise Wrong("input", "input is missing: send a text, or an array of texts.")
    inputs = [said] if isinstance(said, str) else array(said, "input")
    return tuple(text(one, f"input[{at}]") for at, one in enumerate(inputs))


def _prompt(fields: dict[str, Json]) -> str:
    if not fields.get("prompt"):
        raise Wrong("prompt", "prompt is missing: send a text.")
    return text(fields["prompt"], "prompt")


def _request(fields: dict[str, Json], source: str, inputs: tuple[str, ...], model: str) -> EmbedRequest:
    extra: dict[str, Json] = {}
    leftovers(fields, ("model", source, "dimensions", "options"), "", extra)
    leftovers(opt_obj(fields, "options", "options") or {}, (), "options", extra)
    return EmbedRequest(
        inputs=inputs,
        model=opt_text(fields, "model", "model") or model,
        dimensions=opt_int(fields, "dimensions", "dimensions", least=1, most=MOST_DIMENSIONS),
        extra={path: value for path, value in extra.items() if value is not None},
        dialect=NAME,
    )
