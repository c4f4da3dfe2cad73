"""What a dialect is: values into bytes and back, without I/O, clock or configuration.

A new provider is one module here, one row in the catalogue and a folder of small fixtures. A provider that
merely speaks OpenAI is only a row. A message part that a dialect cannot express is a `Failure`; a field that it
cannot carry is named in `HttpCall.dropped`. Nothing is lost in silence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from runtime.outcome import Completion, Delta, Embeddings, Failure, Outcome
from runtime.request import EmbedRequest, Json, Request
from runtime.values import quick


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a call goes: what dialects need to know of a provider's settings.

    `headers` are the user's own additions; `options` are dialect-specific (`OpenAI-Organization` and the like).
    `max_output_tokens` is the longest answer of this model where that is known: some APIs must be told a limit.
    """

    provider: str
    base_url: str
    model: str = ""
    api_key: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, object] = field(default_factory=dict)
    max_output_tokens: int | None = None


class Watch(Protocol):
    """Who must know when a call really goes out. `connecting` is the transport's to set: it has no connection yet, and
    not a byte was sent."""

    connecting: bool

    async def again(self) -> bool:
        """Whether a call that died on a stale connection may be sent once more."""
        ...


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class HttpCall:
    """One HTTP request, ready to send. `dropped` names the request's fields that it could not carry."""

    method: Literal["GET", "POST"]
    url: str
    headers: Mapping[str, str]
    body: bytes = b""
    dropped: tuple[str, ...] = ()
    watch: Watch | None = field(default=None, compare=False)


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class HttpReply:
    """A whole HTTP answer. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class ChunkDecoder(Protocol):
    """Reads one stream. The same bytes mean the same, wherever they are cut.

    `id` and `model` are what the stream called itself so far; empty until it did.
    """

    @property
    def id(self) -> str: ...

    @property
    def model(self) -> str: ...

    def feed(self, data: bytes) -> Sequence[Delta]:
        """What these bytes complete. After a failure is known, nothing more."""
        ...

    def finish(self) -> Outcome:
        """Call once, at the end of the bytes: the whole completion, or why there is none.

        A stream that lacks its end marker is `INTERRUPTED`; an error event in it is that error; what is not
        the dialect at all is `MALFORMED`.
        """
        ...

    def so_far(self) -> Completion:
        """What of the answer has come, with the usage as far as it was named. It need not be whole."""
        ...

    @property
    def ended(self) -> bool:
        """True once the dialect's end marker, or an error event, was read: no need to read on."""
        ...


class Dialect(Protocol):
    """One wire format. Stateless; one instance serves everyone.

    `json_streams`: its streams may come labelled as `application/json`, and its decoder reads a whole reply, too.
    """

    name: str
    json_streams: bool

    def encode(self, request: Request, target: Target) -> HttpCall | Failure:
        """The call for this request (streamed where `request.stream`)."""
        ...

    def decode(self, reply: HttpReply, target: Target) -> Outcome:
        """The completion in a whole reply; any status. Errors inside a 200 are failures."""
        ...

    def decoder(self, target: Target) -> ChunkDecoder:
        """A fresh decoder for one stream that began with status 200."""
        ...

    def encode_embed(self, request: EmbedRequest, target: Target) -> HttpCall | Failure: ...

    def decode_embed(self, reply: HttpReply, target: Target) -> Embeddings | Failure: ...

    def list_models(self, target: Target) -> HttpCall | Failure:
        """The free call that lists models."""
        ...

    def decode_models(self, reply: HttpReply, target: Target) -> tuple[str, ...] | Failure: ...

    def health(self, target: Target) -> HttpCall | Failure:
        """A call that costs nothing and proves that the provider answers."""
        ...

    def decode_health(self, reply: HttpReply, target: Target) -> Failure | None:
        """What the answer to `health` says is wrong; None if nothing is."""
        ...


class Parse(Protocol):
    """The inverse of `Dialect.encode`: a body that a client sent, as a `Request`.

    `model` and `stream` are what the address says, where a dialect has them there (Gemini); elsewhere the body says.
    A body that is wrong is a `BAD_REQUEST` whose `param` names the field at fault; a form that the dialect has but
    Raygate cannot carry is `UNSUPPORTED`. A field that is not known goes into `extra`, never a message or a tool.
    """

    def __call__(self, body: Json, *, model: str = "", stream: bool = False) -> Request | Failure: ...
