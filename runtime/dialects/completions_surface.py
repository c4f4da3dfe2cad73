"""OpenAI's older text completions, for clients and tools that still speak them.

body ── parse_request ──► Request | Failure      the prompt is what a user says: today's models answer, none continues
Completion ── render_text ──► body               the text alone
StreamEvent ── TextRenderer ──► SSE bytes        [DONE] after a completion only

One prompt a request: several would be several requests. Without `max_tokens` an answer has at most 16 tokens, as the
API says it; clients that want more have always had to say so.
"""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from runtime.dialects.extension import extension_of
from runtime.dialects.fields import (
    Wrong,
    array,
    kind_name,
    obj,
    opt_bool,
    opt_int,
    opt_number,
    opt_obj,
    opt_text,
    texts,
)
from runtime.dialects.openai_surface.render import DONE, KEEP_ALIVE, render_error, render_usage
from runtime.dialects.paths import leftovers
from runtime.dialects.reading import obj as lenient
from runtime.dialects.reading import objects, text
from runtime.dialects.surface import ErrorReply
from runtime.outcome import Choice, Completion, Delta, Failure, FailureKind, FinishReason, StreamEvent, StreamStart
from runtime.request import Json, Request, Sampling, user

LENGTH = 16
"""The most tokens of an answer where the client names no limit: the API's own default."""

MOST_CHOICES = 128
MOST_LOGPROBS = 5

ECHO = "raygate:echo"
"""In the `extra` of a request: the client wants its prompt before the answer."""

UNSAID = "completions."
"""Begins the path, in a request's `extra`, of what chat completions have no word for: it is named, never sent."""

_KNOWN = frozenset(
    (
        *("model", "prompt", "suffix", "max_tokens", "temperature", "top_p", "n", "stream", "stream_options"),
        *("logprobs", "echo", "stop", "presence_penalty", "frequency_penalty", "best_of", "logit_bias", "user", "seed"),
        *("top_k", "metadata", "raygate"),
    )
)
_FINISH: Mapping[FinishReason | None, str] = {
    FinishReason.LENGTH: "length",
    FinishReason.CONTENT_FILTER: "content_filter",
    # No word of the API's, but an answer that broke off must not pass for a whole one.
    FinishReason.ERROR: "error",
}
"""Everything else is `stop`."""


def parse_request(body: Json, *, model: str = "", stream: bool = False) -> Request | Failure:
    """The request in a parsed JSON body, or a `Failure` whose `param` names the field at fault."""
    try:
        return _request(obj(body, "body"))
    except Wrong as wrong:
        return wrong.failure()


def _request(body: dict[str, Json]) -> Request:
    extra: dict[str, Json] = {}
    leftovers(body, _KNOWN, UNSAID.rstrip("."), extra)
    if body.get("logit_bias") is not None:
        extra["logit_bias"] = obj(body["logit_bias"], "logit_bias")
    if opt_text(body, "suffix", "suffix"):
        raise _cannot("suffix", "suffix cannot be used: a chat model answers a prompt, it fills no gap in a text.")
    if opt_bool(body, "echo", "echo"):
        extra[ECHO] = True
    logprobs = opt_int(body, "logprobs", "logprobs", least=0)
    if logprobs is not None:
        if logprobs > MOST_LOGPROBS:
            raise Wrong("logprobs", f"logprobs must be at most {MOST_LOGPROBS}, but is {logprobs}.")
        if extra.get(ECHO):
            raise _cannot("logprobs", "logprobs of an echoed prompt are not known: leave out logprobs or echo.")
        extra |= {"logprobs": True, "top_logprobs": logprobs}
    stream = opt_bool(body, "stream", "stream") or False
    options = opt_obj(body, "stream_options", "stream_options") or {}
    leftovers(options, ("include_usage",), f"{UNSAID}stream_options", extra)
    usage = opt_bool(options, "include_usage", "stream_options.include_usage")
    extension = extension_of(body)
    return Request(
        messages=(user(_prompt(body.get("prompt"))),),
        model=opt_text(body, "model", "model") or "",
        sampling=_sampling(body),
        choices=_choices(body),
        stream=stream,
        stream_usage=stream and (usage or False),
        user=opt_text(body, "user", "user"),
        metadata=opt_obj(body, "metadata", "metadata") or {},
        extra=extra,
        dialect="openai",
        **extension,
    )


def _prompt(said: Json) -> str:
    if isinstance(said, str):
        return said
    if said is None:
        raise Wrong("prompt", "prompt is missing: send a string.")
    prompts = array(said, "prompt")
    if any(isinstance(one, int | list) for one in prompts):
        raise _cannot("prompt", "prompt as token numbers is not supported: send text.")
    if len(prompts) != 1:
        raise _cannot("prompt", f"prompt must be one text, but there are {len(prompts)}: send one request for each.")
    if not isinstance(prompts[0], str):
        raise Wrong("prompt[0]", f"prompt[0] must be a string, but is {kind_name(prompts[0])}.")
    return prompts[0]


def _choices(body: dict[str, Json]) -> int:
    choices = opt_int(body, "n", "n", least=1) or 1
    if choices > MOST_CHOICES:
        raise Wrong("n", f"n must be at most {MOST_CHOICES}, but is {choices}.")
    best_of = opt_int(body, "best_of", "best_of", least=1)
    if best_of is not None and best_of < choices:
        raise Wrong("best_of", f"best_of must be at least n, which is {choices}, but is {best_of}.")
    if best_of is not None and best_of > choices:
        raise _cannot("best_of", "best_of cannot be used: send n, and choose among the answers.")
    return choices


def _sampling(body: dict[str, Json]) -> Sampling:
    most = opt_int(body, "max_tokens", "max_tokens", least=1)
    stop = body.get("stop")
    return Sampling(
        temperature=opt_number(body, "temperature", "temperature", least=0, most=2),
        top_p=opt_number(body, "top_p", "top_p", least=0, most=1),
        top_k=opt_int(body, "top_k", "top_k"),
        max_tokens=LENGTH if most is None else most,
        frequency_penalty=opt_number(body, "frequency_penalty", "frequency_penalty"),
        presence_penalty=opt_number(body, "presence_penalty", "presence_penalty"),
        stop=(stop,) if isinstance(stop, str) else texts(body, "stop", "stop"),
        seed=opt_int(body, "seed", "seed"),
    )


def _cannot(param: str, detail: str) -> Wrong:
    return Wrong(param, detail, FailureKind.UNSUPPORTED)


class CompletionsSurface:
    """Text completions, as a `Surface`."""

    name = "completions"
    stream_type = "text/event-stream; charset=utf-8"

    def render(self, completion: Completion, request: Request) -> Json:
        return render_text(completion, request)

    def renderer(self, request: Request) -> TextRenderer:
        return TextRenderer(request)

    def error(self, failure: Failure) -> ErrorReply:
        return ErrorReply(*render_error(failure))


def render_text(completion: Completion, request: Request) -> dict[str, Json]:
    """The body of a whole reply."""
    echo = _echo(request)
    body: dict[str, Json] = {
        "id": _id(completion.id, completion.request_id),
        "object": "text_completion",
        "created": completion.created_s,
        "model": completion.model,
        "choices": [
            _choice(index, echo + _said(choice), _logprobs(choice.logprobs, 0), choice.finish_reason)
            for index, choice in enumerate(completion.choices)
        ],
        "usage": render_usage(completion.usage, completion.cost),
    }
    for name, value in completion.extra.items():
        body.setdefault(name, value)
    return body


class TextRenderer:
    """One stream's events as SSE bytes, in order. Use one for each stream."""

    __slots__ = ("_echo", "_finished", "_length", "_meta", "_request", "_usage")

    def __init__(self, request: Request) -> None:
        self._request = request
        self._usage = request.stream_usage
        self._echo = _echo(request)
        # How much each choice has said, in characters.
        self._length: dict[int, int] = {}
        self._finished: set[int] = set()
        self._meta: dict[str, Json] = {}

    def render(self, event: StreamEvent) -> list[bytes]:
        """The bytes of this event; each item is one whole SSE event."""
        if isinstance(event, Delta):
            return self._delta(event)
        if isinstance(event, StreamStart):
            self._begin(event.id, event.request_id, event.created_s, event.model)
            return []
        if isinstance(event.outcome, Failure):
            return [_wire({"error": render_error(event.outcome)[2]["error"]})]
        return self._completion(event.outcome)

    def keep_alive(self) -> bytes:
        return KEEP_ALIVE

    def _begin(self, answer_id: str, request_id: str, created_s: int, model: str) -> None:
        self._meta = {
            "id": _id(answer_id, request_id or self._request.request_id),
            "object": "text_completion",
            "created": created_s,
            "model": model,
        }

    def _delta(self, delta: Delta) -> list[bytes]:
        said = delta.text + delta.refusal
        if not said and delta.logprobs is None and delta.finish_reason is None:
            return []
        before = self._length.setdefault(delta.choice, -1)
        if before < 0:
            before, said = 0, self._echo + said
        self._length[delta.choice] = before + len(said)
        if delta.finish_reason is not None:
            self._finished.add(delta.choice)
        choice = _choice(delta.choice, said, _logprobs(delta.logprobs, before), delta.finish_reason)
        if delta.finish_reason is None:
            choice["finish_reason"] = None
        return [self._chunk([choice])]

    def _completion(self, completion: Completion) -> list[bytes]:
        if not self._meta:
            self._begin(completion.id, completion.request_id, completion.created_s, completion.model)
        chunks: list[bytes] = []
        for index, choice in enumerate(completion.choices):
            if index in self._finished:
                continue
            # Nothing of it was streamed, as when a cache answers; or its finish reason is still to come.
            whole = index not in self._length
            last = Delta(
                choice=index,
                text=_said(choice) if whole else "",
                logprobs=choice.logprobs if whole else None,
                finish_reason=choice.finish_reason or FinishReason.STOP,
            )
            chunks += self._delta(last)
        if self._usage:
            counts = render_usage(completion.usage, completion.cost, completion.continued)
            usage = {**self._meta, "choices": [], "usage": counts}
            for name, value in completion.extra.items():
                usage.setdefault(name, value)
            chunks.append(_wire(usage))
        return [*chunks, DONE]

    def _chunk(self, choices: list[Json]) -> bytes:
        return _wire(
            {**self._meta, "choices": choices, "usage": None} if self._usage else {**self._meta, "choices": choices}
        )


def _choice(index: int, said: str, logprobs: Json, finish: FinishReason | None) -> dict[str, Json]:
    return {"text": said, "index": index, "logprobs": logprobs, "finish_reason": _FINISH.get(finish, "stop")}


def _said(choice: Choice) -> str:
    return choice.text + (choice.refusal or "")


def _echo(request: Request) -> str:
    return request.messages[0].text if request.extra.get(ECHO) else ""


def _logprobs(said: Json, offset: int) -> Json:
    """Chat completions' form as four lists side by side."""
    tokens = objects(lenient(said).get("content"))
    if not tokens:
        return None
    words = [text(token.get("token")) for token in tokens]
    starts: list[int] = []
    for word in words:
        starts.append(offset)
        offset += len(word)
    return {
        "tokens": words,
        "token_logprobs": [token.get("logprob") for token in tokens],
        "top_logprobs": [
            {text(one.get("token")): one.get("logprob") for one in objects(token.get("top_logprobs"))}
            for token in tokens
        ],
        "text_offset": starts,
    }


def _wire(body: Json) -> bytes:
    return b"data: " + orjson.dumps(body) + b"\n\n"


def _id(answer_id: str, request_id: str) -> str:
    """The provider's own id where it has one, in this API's form."""
    said = answer_id.removeprefix("chatcmpl-").removeprefix("cmpl-") or request_id or "raygate"
    return f"cmpl-{said}"
