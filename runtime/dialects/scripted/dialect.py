"""The scripted wire, client's side: the dialect of `scripted` providers. See `scripted.wire` for the format."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import orjson

from runtime.dialects.base import HttpCall, HttpReply, Target
from runtime.dialects.encoding import MARK, texts_of
from runtime.dialects.ndjson import LineParser, LineTooLong
from runtime.dialects.status import failure_of_error, interrupted, malformed, object_of, refused
from runtime.fold import Fold
from runtime.outcome import (
    Choice,
    Completion,
    Delta,
    Embeddings,
    Failure,
    FailureKind,
    FinishReason,
    Outcome,
    ToolCallDelta,
    Usage,
)
from runtime.request import EmbedRequest, Json, Request, ToolCall

NAME = "scripted"

_COUNTS = tuple(field.name for field in dataclasses.fields(Usage) if field.name.endswith("_tokens"))
_FINISH = {reason.value: reason for reason in FinishReason}


class Scripted:
    """The dialect. `Request.extra` does not travel on it and is named as dropped."""

    name = NAME
    json_streams = False

    def encode(self, request: Request, target: Target) -> HttpCall | Failure:
        dropped = tuple(name for name in request.extra if not name.startswith(MARK))
        sent = request
        if request.extra or request.limits or request.billing:
            # What an attempt may take, and who pays, no provider sees.
            sent = dataclasses.replace(request, extra={}, limits=None, billing=None)
        return _post(target, "chat", {"model": target.model, "request": sent}, dropped)

    def decode(self, reply: HttpReply, target: Target) -> Outcome:
        body = object_of(reply, target)
        if isinstance(body, Failure):
            return body
        choices = body.get("choices")
        if not isinstance(choices, list) or not choices or not all(isinstance(one, dict) for one in choices):
            return malformed(target, "the scripted reply has no choices", status=reply.status)
        return Completion(
            id=_str(body.get("id")),
            model=_str(body.get("model")) or target.model,
            provider=target.provider,
            choices=tuple(map(_choice, choices)),
            usage=_usage(body.get("usage")),
        )

    def decoder(self, target: Target) -> ScriptedStream:
        return ScriptedStream(target)

    def encode_embed(self, request: EmbedRequest, target: Target) -> HttpCall | Failure:
        texts = texts_of(request, target)
        if isinstance(texts, Failure):
            return texts
        body: dict[str, Json] = {"model": target.model, "inputs": texts}
        if request.dimensions is not None:
            body["dimensions"] = request.dimensions
        return _post(target, "embed", body, tuple(request.extra))

    def decode_embed(self, reply: HttpReply, target: Target) -> Embeddings | Failure:
        body = object_of(reply, target)
        if isinstance(body, Failure):
            return body
        try:
            vectors = tuple(tuple(map(float, vector)) for vector in body["vectors"])
        except (KeyError, TypeError, ValueError, OverflowError):
            return malformed(target, "the scripted reply has no vectors", status=reply.status)
        return Embeddings(
            model=_str(body.get("model")) or target.model,
            provider=target.provider,
            vectors=vectors,
            usage=_usage(body.get("usage")),
        )

    def list_models(self, target: Target) -> HttpCall | Failure:
        return HttpCall(method="GET", url=_url(target, "models"), headers=target.headers)

    def decode_models(self, reply: HttpReply, target: Target) -> tuple[str, ...] | Failure:
        body = object_of(reply, target)
        if isinstance(body, Failure):
            return body
        models = body.get("models")
        if not isinstance(models, list):
            return malformed(target, "the scripted reply has no models", status=reply.status)
        return tuple(name for name in models if isinstance(name, str))

    def health(self, target: Target) -> HttpCall | Failure:
        return self.list_models(target)

    def decode_health(self, reply: HttpReply, target: Target) -> Failure | None:
        listed = self.decode_models(reply, target)
        return listed if isinstance(listed, Failure) else None


class ScriptedStream:
    """A `ChunkDecoder`. Only the end mark makes an answer whole."""

    __slots__ = ("_done", "_failure", "_fold", "_lines", "_target", "_usage", "id", "model")

    def __init__(self, target: Target) -> None:
        self.id = ""
        self.model = ""
        self._target = target
        self._lines = LineParser()
        self._fold = Fold()
        self._usage: Json = None
        self._done = False
        self._failure: Failure | None = None

    @property
    def ended(self) -> bool:
        return self._done or self._failure is not None

    def feed(self, data: bytes) -> list[Delta]:
        found: list[Delta] = []
        if self.ended:
            return found
        for line in self._lines.feed(data):
            self._line(line, found)
            if self.ended:
                break
        return found

    def finish(self) -> Outcome:
        if self._failure is not None:
            return self._failure
        if not self._done or self._fold.empty:
            return interrupted(self._target, "the scripted stream ended before its end mark")
        return self.so_far()

    def so_far(self) -> Completion:
        return Completion(
            id=self.id,
            model=self.model or self._target.model,
            provider=self._target.provider,
            choices=self._fold.choices(),
            usage=_usage(self._usage),
        )

    def _line(self, line: bytes | LineTooLong, found: list[Delta]) -> None:
        if isinstance(line, LineTooLong):
            self._failure = malformed(self._target, f"a line of the stream is longer than {line.limit_bytes} bytes")
            return
        try:
            said = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            self._failure = malformed(self._target, f"a line of the stream is not JSON: {error}")
            return
        match said:
            case {"delta": dict(delta)}:
                self._delta(delta, found)
            case {"error": error}:
                self._failure = failure_of_error(error, self._target)
            case {"usage": usage}:
                self._usage = usage
            case {"end": True}:
                self._done = True
            case {"id": str(call_id), "model": str(model)}:
                self.id, self.model = call_id, model
            case _:
                self._failure = malformed(self._target, "a line of the stream is not in the scripted format")

    def _delta(self, said: dict[str, Json], found: list[Delta]) -> None:
        index = said.get("choice", 0)
        delta = Delta(
            choice=index if isinstance(index, int) else 0,
            text=_str(said.get("text")),
            reasoning=_str(said.get("reasoning")),
            tool_calls=tuple(
                ToolCallDelta(
                    position=one["position"] if isinstance(one.get("position"), int) else 0,
                    id=_str(one.get("id")),
                    name=_str(one.get("name")),
                    arguments=_str(one.get("arguments")),
                )
                for one in _objects(said.get("tool_calls"))
            ),
            finish_reason=_FINISH.get(_str(said.get("finish_reason"))),
        )
        self._fold.add(delta)
        found.append(delta)


def _choice(said: Mapping[str, Json]) -> Choice:
    return Choice.of(
        _str(said.get("text")),
        reasoning=_str(said.get("reasoning")),
        tool_calls=tuple(
            ToolCall(id=_str(one.get("id")), name=_str(one.get("name")), arguments=_str(one.get("arguments")))
            for one in _objects(said.get("tool_calls"))
        ),
        finish_reason=_FINISH.get(_str(said.get("finish_reason"))),
    )


def _usage(said: Json) -> Usage:
    if not isinstance(said, dict):
        return Usage(estimated=True)
    counts = {name: said[name] for name in _COUNTS if isinstance(said.get(name), int)}
    return Usage(**counts, estimated=said.get("estimated") is True)


def _post(target: Target, path: str, body: dict[str, Json], dropped: tuple[str, ...]) -> HttpCall | Failure:
    try:
        data = orjson.dumps(body, default=_plain)
    except TypeError as error:
        return refused(target, FailureKind.BAD_REQUEST, f"the request holds a value that JSON cannot carry: {error}")
    headers = {"content-type": "application/json", **target.headers}
    return HttpCall(method="POST", url=_url(target, path), headers=headers, body=data, dropped=dropped)


def _plain(value: object) -> Json:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is no JSON value")


def _url(target: Target, path: str) -> str:
    return f"{target.base_url.rstrip('/')}/{path}"


def _objects(said: Json) -> list[dict[str, Json]]:
    return [one for one in said if isinstance(one, dict)] if isinstance(said, list) else []


def _str(value: Json) -> str:
    return value if isinstance(value, str) else ""
