"""The recorded exchanges with the real APIs, read from where they lie; none is ever copied into this repository.

    ../shared/wire/dev/*.jsonl    one exchange a line (RAYGATE_SHARED names another ../shared)

An exchange is a chat of one dialect, or listed apart with the reason: token counts, lists of models, other endpoints,
and hosts that no dialect of ours is for, of which errors alone were recorded.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import orjson

from runtime.dialects.base import HttpReply, Target

Json = Any

SHARED = Path(os.environ.get("RAYGATE_SHARED", "../shared"))
DEV = SHARED / "wire" / "dev"
QUOTED = SHARED / "wire" / "quoted_errors.jsonl"
CONTRACTS = SHARED / "wire" / "specs" / "trimmed"
ABSENT = f"no recordings at {DEV}: set RAYGATE_SHARED to the folder that holds wire/dev"

CHAT = "chat"
_GEMINI = re.compile(r"/models/(?P<model>[^/:?]+):(?P<method>\w+)(?:\?(?P<query>.*))?$")


@dataclass(frozen=True, slots=True)
class Row:
    """How the traffic of one API is spoken: our dialect, the judge's word for the API, and where it is."""

    dialect: str
    api: str
    base_url: str


ROWS: Mapping[str, Row] = {
    "anthropic": Row("anthropic", "anthropic", "https://api.anthropic.com/v1"),
    "openai": Row("openai", "openai", "https://api.openai.com/v1"),
    "openrouter": Row("openrouter", "openrouter", "https://openrouter.ai/api/v1"),
    "gemini": Row("google", "google", "https://generativelanguage.googleapis.com/v1beta"),
    "cohere": Row("cohere", "cohere", "https://api.cohere.com"),
    "ollama": Row("ollama", "ollama", "http://127.0.0.1:11434"),
    "ollama /v1": Row("openai", "compatible", "http://127.0.0.1:11434/v1"),
    "llamacpp": Row("openai", "compatible", "http://127.0.0.1:8080/v1"),
    "compat_errors": Row("openai", "compatible", "https://api.example.com/v1"),
}


@dataclass(frozen=True, slots=True)
class Record:
    """One exchange. `kind` is "chat", or why it is listed apart; `wire` is the reply's body as bytes."""

    id: str
    provider: str
    row: Row
    kind: str
    endpoint: str
    model: str
    stream: Literal["sse", "ndjson", "array"] | None
    status: int
    fidelity: str
    tags: tuple[str, ...]
    url: str
    sent: Json
    headers: Mapping[str, str]
    wire: bytes = field(repr=False)

    @property
    def api(self) -> str:
        return self.row.api

    @property
    def dialect(self) -> str:
        return self.row.dialect

    @property
    def target(self) -> Target:
        return Target(provider="p", base_url=self.row.base_url, model=self.model, api_key="k")

    @property
    def reply(self) -> HttpReply:
        return HttpReply(status=self.status, headers=self.headers, body=self.wire)

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    @property
    def streamed_request(self) -> bool:
        """Whether the request asked for a stream, by the body or by the address."""
        if self.api == "google":
            return ":stream" in self.url
        said = self.sent.get("stream") if isinstance(self.sent, dict) else None
        return bool(said) if said is not None else self.api == "ollama"


@lru_cache(maxsize=4)
def load(folder: Path = DEV) -> tuple[Record, ...]:
    """Every recorded exchange, in the order of the files."""
    return tuple(record for path in sorted(folder.glob("*.jsonl")) for record in _read(path))


def chats(folder: Path = DEV) -> tuple[Record, ...]:
    return tuple(record for record in load(folder) if record.kind == CHAT)


def _read(path: Path) -> Iterator[Record]:
    with path.open("rb") as lines:
        for line in lines:
            if line.strip():
                yield record_of(orjson.loads(line))


def record_of(raw: dict[str, Json]) -> Record:
    request, response = raw["request"], raw["response"]
    provider, endpoint, url = raw["provider"], raw["endpoint"], request["url"]
    if provider == "ollama" and endpoint.startswith("/v1"):
        provider = "ollama /v1"
    row = ROWS.get(provider, ROWS["compat_errors"])
    model, stream = raw["model"] or "", raw["stream"]
    if row.api == "google":
        found = _GEMINI.search(url)
        model = found["model"] if found else model
        if found and found["method"] == "streamGenerateContent" and stream is None:
            stream = "array"
    wire = response["text"].encode() if "text" in response else orjson.dumps(response.get("body"))
    return Record(
        id=raw["id"],
        provider=provider,
        row=row,
        kind=_kind(provider, endpoint),
        endpoint=endpoint,
        model=model,
        stream=stream,
        status=raw["status"],
        fidelity=raw["fidelity"],
        tags=tuple(raw["tags"]),
        url=url,
        sent=request["body"],
        headers={name.lower(): str(value) for name, value in response["headers"].items()},
        wire=wire,
    )


def _kind(provider: str, endpoint: str) -> str:
    if provider == "compat_errors" or provider not in ROWS:
        return "errors of foreign hosts"
    if "count" in endpoint.lower():
        return "token counts"
    if endpoint.endswith("/models"):
        return "lists of models"
    if endpoint.endswith(("/chat/completions", "/messages", "/v2/chat", "/api/chat", "enerateContent")):
        return CHAT
    return f"other endpoints ({endpoint})"
