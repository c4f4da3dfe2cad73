"""What we serve, for machines (`/openapi.json`) and for people (`/docs`).

Bodies follow the APIs that they are named after; the schemas here say what is required and how errors look, and leave
the rest open as those APIs do.
"""

from __future__ import annotations

from html import escape
from typing import Any, NamedTuple

from serve import admin_openapi
from serve.admin import WAYS

Json = dict[str, Any]


class Operation(NamedTuple):
    """One row: `body` and `answer` name schemas; `error` is the API whose envelope errors come in."""

    method: str
    path: str
    summary: str
    body: str = ""
    answer: str = "Object"
    error: str = "OpenAIError"
    key: bool = True


_ANTHROPIC, _OLLAMA, _RUVLLM = "AnthropicError", "OllamaError", "Text"

OPERATIONS: tuple[Operation, ...] = (
    Operation("post", "/v1/chat/completions", "Chat, as OpenAI's.", "ChatRequest", "ChatCompletion"),
    Operation("post", "/v1/completions", "Text completion, as OpenAI's older endpoint.", "CompletionRequest"),
    Operation("post", "/v1/responses", "OpenAI's Responses, without stored state.", "ResponsesRequest"),
    Operation("post", "/v1/embeddings", "Vectors for texts, as OpenAI's.", "EmbeddingRequest", "EmbeddingList"),
    Operation(
        "get", "/v1/models", "The models of all providers; in Anthropic's form for its clients.", "", "ModelList"
    ),
    Operation("post", "/v1/route/explain", "Whom a request would go to, and why; nobody is asked.", "ChatRequest"),
    Operation("get", "/v1/models/{model}", "One model: `provider/model`."),
    Operation("post", "/v1/messages", "Chat, as Anthropic's.", "MessagesRequest", "Object", _ANTHROPIC),
    Operation("post", "/v1/messages/count_tokens", "An estimate of the input.", "CountRequest", "Object", _ANTHROPIC),
    Operation("post", "/api/chat", "Chat, as Ollama's; streams unless told not to.", "OllamaChat", "Object", _OLLAMA),
    Operation("post", "/api/generate", "One prompt, as Ollama's.", "OllamaGenerate", "Object", _OLLAMA),
    Operation("post", "/api/embed", "Vectors for texts, as Ollama's.", "OllamaEmbed", "Object", _OLLAMA),
    Operation("get", "/api/tags", "The models, as Ollama lists them.", "", "Object", _OLLAMA),
    Operation("post", "/api/show", "One model, as Ollama shows it.", "OllamaShow", "Object", _OLLAMA),
    Operation("get", "/api/version", "A version that Ollama's clients accept.", "", "Object", _OLLAMA, key=False),
    Operation("post", "/query", "One question, as ruvLLM's.", "Query", "Object", _RUVLLM),
    Operation("post", "/v1/feedback", "What somebody thinks of an answer, by its x-request-id.", "Judgement"),
    Operation("post", "/feedback", "A verdict on an answer, as ruvLLM's.", "Feedback", "Object", _RUVLLM),
    Operation("post", "/session", "A session that is kept, as ruvLLM's.", "", "Object", _RUVLLM),
    Operation("get", "/session/{session}", "What was said in a session.", "", "Object", _RUVLLM),
    Operation("get", "/stats", "What was asked so far, as ruvLLM's.", "", "Object", _RUVLLM),
    Operation("get", "/v1/sona/metrics", "What was learned of each model.", "", "Object", _RUVLLM),
    Operation("post", "/v1/sona/learn", "Saves what was learned, and says how it stands.", "Object", "Object", _RUVLLM),
    Operation("post", "/v1/hnsw/search", "The nearest of what was asked before.", "Search", "Found", _RUVLLM),
    Operation(
        "get",
        "/metrics",
        "Figures of the whole cluster for Prometheus; an admin's key, unless they are public.",
        "",
        "Text",
    ),
    Operation("get", "/health", "Alive.", key=False),
    Operation("get", "/health/readiness", "Ready to answer.", key=False),
    Operation("get", "/version", "Raygate's version.", key=False),
)

_EVENTS, _LINES = "text/event-stream", "application/x-ndjson"

STREAMS = {
    **dict.fromkeys(("/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages"), _EVENTS),
    **dict.fromkeys(("/api/chat", "/api/generate"), _LINES),
}
"""What an answer is where `stream` asks for pieces."""

_TEXT: Json = {"type": "string"}
_MODEL: Json = {"type": "string", "description": "provider/model, a model, a route, or empty for the default"}
_ROLES = ["system", "developer", "user", "assistant", "tool"]
_STREAM: Json = {"type": "boolean"}


def _object(required: str = "", **properties: Json) -> Json:
    return {"type": "object", "properties": properties, **({"required": required.split()} if required else {})}


def _list(items: Json, least: int = 0) -> Json:
    return {"type": "array", "items": items, **({"minItems": least} if least else {})}


def _said(roles: list[str]) -> Json:
    content: Json = {"oneOf": [_TEXT, _list({"type": "object"})]}
    return _object("role content", role={"type": "string", "enum": roles}, content=content)


SCHEMAS: dict[str, Json] = {
    "Object": {"type": "object"},
    "Text": _TEXT,
    "OpenAIError": _object("error", error=_object("message type code", message=_TEXT, type=_TEXT)),
    "AnthropicError": _object("type error", type={"const": "error"}, error=_object("type message", type=_TEXT)),
    "OllamaError": _object("error", error=_TEXT),
    "ChatRequest": _object(
        "messages",
        model=_MODEL,
        messages=_list(_said(["system", "developer", "user"]), 1),
        stream=_STREAM,
        temperature={"type": "number", "minimum": 0, "maximum": 2},
        max_tokens={"type": "integer", "minimum": 1},
        tools=_list(_object("type function", type={"const": "function"}, function=_object("name", name=_TEXT))),
        raygate=_object(
            max_cost_usd={"type": "number", "minimum": 0},
            preferred_models=_list(_TEXT),
            preferred_providers=_list(_TEXT),
            deadline_s={"type": "number", "exclusiveMinimum": 0},
            max_latency_s={"type": "number", "exclusiveMinimum": 0},
            min_quality={"type": "number", "minimum": 0, "maximum": 1},
            residency=_list(_TEXT),
            session=_TEXT,
            provider_options={"type": "object"},
        ),
    ),
    "ChatCompletion": _object(
        "id object created model choices usage",
        id=_TEXT,
        object={"const": "chat.completion"},
        choices=_list(_object("index message finish_reason")),
        usage=_object("prompt_tokens completion_tokens total_tokens"),
    ),
    "CompletionRequest": _object("prompt", model=_MODEL, prompt=_TEXT, stream=_STREAM),
    "ResponsesRequest": _object("input", model=_MODEL, input=_TEXT, instructions=_TEXT, stream=_STREAM),
    "EmbeddingRequest": _object("input", model=_MODEL, input={"oneOf": [_TEXT, _list(_TEXT, 1)]}),
    "EmbeddingList": _object("object data model usage", data=_list(_object("index embedding"))),
    "ModelList": _object("data", data=_list(_object("id"))),
    "MessagesRequest": _object(
        "model max_tokens messages",
        model=_MODEL,
        max_tokens={"type": "integer", "minimum": 1},
        messages=_list(_said(["user", "assistant"]), 1),
        system=_TEXT,
        stream=_STREAM,
    ),
    "CountRequest": _object("model messages", model=_MODEL, messages=_list(_said(["user"]), 1), system=_TEXT),
    "OllamaChat": _object("model messages", model=_MODEL, messages=_list(_said(["system", "user"]), 1), stream=_STREAM),
    "OllamaGenerate": _object("model prompt", model=_MODEL, prompt=_TEXT, stream=_STREAM),
    "OllamaEmbed": _object("model input", model=_MODEL, input={"oneOf": [_TEXT, _list(_TEXT, 1)]}),
    "OllamaShow": _object("model", model=_MODEL),
    "Query": _object("query", query=_TEXT, session_id=_TEXT),
    "Feedback": _object(
        "query response quality",
        query=_TEXT,
        response=_TEXT,
        quality={"type": "number", "minimum": 0, "maximum": 1},
        request_id=_TEXT,
    ),
    "Judgement": _object(
        "request_id",
        request_id=_TEXT,
        score={"type": "number", "minimum": 0, "maximum": 1},
        label=_TEXT,
        better_than=_TEXT,
        correction=_TEXT,
    ),
    "Search": _object(
        query=_TEXT, vector=_list({"type": "number"}), limit={"type": "integer", "minimum": 1, "maximum": 100}
    ),
    "Found": _list(_object("id similarity")),
}


def document(version: str) -> Json:
    """The OpenAPI 3.1 document."""
    paths: dict[str, Json] = {}
    for one in OPERATIONS:
        paths.setdefault(one.path, {})[one.method] = _operation(one)
    for way in WAYS:
        paths.setdefault(admin_openapi.path_of(way), {})[way.method.lower()] = admin_openapi.operation(way)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Raygate", "version": version, "description": "One endpoint for many LLM providers, on Ray."},
        "paths": paths,
        "components": {
            "schemas": {**SCHEMAS, **admin_openapi.schemas()},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "x-api-key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
            },
        },
    }


def _operation(one: Operation) -> Json:
    error_type = "text/plain" if one.error == "Text" else "application/json"
    said: Json = {
        "summary": one.summary,
        "operationId": f"{one.method}{one.path.replace('/', '_').replace('{', '').replace('}', '')}",
        "responses": {
            "200": {"description": "The answer; an event stream or JSON lines where `stream` asks for it."}
            | _content(one.answer),
            "default": {"description": "Why there is none, and what to do."} | _content(one.error, error_type),
        },
        "security": [{"bearer": []}, {"x-api-key": []}] if one.key else [],
    }
    if one.path in STREAMS:
        said["responses"]["200"]["content"][STREAMS[one.path]] = {"schema": _TEXT}
    if one.body:
        said["requestBody"] = {"required": True} | _content(one.body)
    for name in ("model", "session"):
        if f"{{{name}}}" in one.path:
            said["parameters"] = [{"name": name, "in": "path", "required": True, "schema": _TEXT}]
    return said


def _content(schema: str, media_type: str = "application/json") -> Json:
    return {"content": {media_type: {"schema": {"$ref": f"#/components/schemas/{schema}"}}}}


def told() -> list[tuple[str, str, str, str]]:
    """All of them, each as method, path, what it does and what it needs."""
    return [
        *((one.method.upper(), one.path, one.summary, "key" if one.key else "") for one in OPERATIONS),
        *((way.method, admin_openapi.path_of(way), way.summary, "admin's key") for way in WAYS),
    ]


def page(version: str) -> str:
    """The same for people, as one page without scripts."""
    rows = "".join(
        f"<tr><td><code>{method}</code></td><td><code>{escape(path)}</code></td>"
        f"<td>{escape(summary)}</td><td>{needs}</td></tr>"
        for method, path, summary, needs in told()
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Raygate</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><style>'
        ":root{color-scheme:light dark}"
        "body{font:1rem/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
        "table{border-collapse:collapse;width:100%}"
        "td,th{padding:.3rem .6rem;text-align:left;border-bottom:1px solid #8884}"
        "</style></head><body>"
        f"<h1>Raygate {escape(version)}</h1><p>One endpoint for many LLM providers. Point an SDK's base address here: "
        "OpenAI's at <code>/v1</code>, Anthropic's and Ollama's at <code>/</code>. Send a key as "
        "<code>Authorization: Bearer</code> or <code>x-api-key</code>. "
        "Paths under <code>/v1</code> also work without it. "
        'For machines: <a href="openapi.json">openapi.json</a>.</p>'
        "<table><thead><tr><th>method</th><th>path</th><th>what</th><th>needs</th></tr></thead>"
        f"<tbody>{rows}</tbody></table>"
        "</body></html>"
    )
