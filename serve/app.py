"""The HTTP surface: which path leads where, and who may go there.

    authenticate ─► read the body ─► parse ─► Gateway (or the manager's actor) ─► render

Raw ASGI. Every error, also one of our own, is in the envelope of the API that was asked, with one sentence that says
what to do.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version

from actors.edge import Edge
from actors.refs import Unreachable
from runtime.dialects.base import Parse
from runtime.dialects.openai_surface import parse_embed, render_embeddings, render_models
from runtime.outcome import Failure, FailureKind
from runtime.provider import Provider
from serve import answer, auth, openapi
from serve.endpoints import CHATS, surface_at
from serve.errors import Refused, answer_failure
from serve.http import ClientGone, Exchange, Headers, Receive, Scope, Send, TooLarge

log = logging.getLogger("raygate.http")

try:
    VERSION = version("raygate")
except PackageNotFoundError:
    # Ray ships a working directory as it stands, without installing it.
    VERSION = "unpackaged"


class GatewayApp:
    """The ASGI application of one replica. `open_edge` is called once, when the replica starts."""

    def __init__(self, open_edge: Callable[[], Awaitable[Edge]]) -> None:
        self._open_edge = open_edge
        self._edge: Edge | None = None

    @property
    def edge(self) -> Edge:
        if self._edge is None:
            raise RuntimeError("a request came before the replica had started")
        return self._edge

    @property
    def target(self) -> Provider:
        """Who answers: this replica's own gateway, or the manager's actor where `data_path` says so."""
        edge = self.edge
        return edge.manager if edge.settings.data_path == "actor" else edge.gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._answer(Exchange(scope, receive, send))
        elif scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": "there is no WebSocket here"})

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            self._edge = await self._open_edge()
        except Exception as error:
            log.exception("replica.start_failed")
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._edge.stop()
        await send({"type": "lifespan.shutdown.complete"})

    async def _answer(self, exchange: Exchange) -> None:
        request_id = exchange.header(b"x-request-id")[:128] or f"req_{secrets.token_hex(12)}"
        try:
            await self._route(exchange, request_id)
        except ClientGone:
            self.edge.counters["client_gone"] += 1
        except Refused as refused:
            await answer_failure(exchange, refused.failure, status=refused.status, headers=refused.headers)
        except TooLarge:
            limit = self.edge.settings.max_body_bytes
            detail = f"the request body is larger than {limit:,} bytes; send less, or raise max_body_bytes"
            failure = Failure(kind=FailureKind.TOO_LARGE, detail=detail, code="request_too_large")
            await answer_failure(exchange, failure)
        except Unreachable as error:
            detail = f"{error}; try again in a moment"
            failure = Failure(kind=FailureKind.UNAVAILABLE, detail=detail, retry_after_s=1.0)
            await answer_failure(exchange, failure)
        except Exception:
            # The last net: the caller gets one sentence, the log everything.
            log.exception("request.failed", extra={"request_id": request_id, "path": exchange.path})
            detail = f"an error inside Raygate; its log says more under request id {request_id}"
            await answer_failure(exchange, Failure(kind=FailureKind.INTERNAL, detail=detail))

    async def _route(self, exchange: Exchange, request_id: str) -> None:
        path = exchange.path.removeprefix("/v1").rstrip("/")
        exchange.surface = surface_at(path, exchange)
        if (parser := CHATS.get(path)) is not None:
            await self._chat(exchange, parser, request_id, self._admit(exchange, "POST"))
        elif (public := self._public.get(path)) is not None:
            self._only(exchange, "GET")
            await public(exchange)
        elif path == "/embeddings":
            self._admit(exchange, "POST")
            await self._embeddings(exchange, request_id)
        elif path == "/models":
            self._admit(exchange, "GET")
            await self._models(exchange)
        elif path.startswith("/models/"):
            self._admit(exchange, "GET")
            await self._model(exchange, path.removeprefix("/models/"))
        else:
            detail = f"there is nothing at {exchange.path[:200]}; GET /docs lists what there is"
            raise Refused(FailureKind.BAD_REQUEST, detail, status=404, code="unknown_url")

    @property
    def _public(self) -> Mapping[str, Callable[[Exchange], Awaitable[None]]]:
        """What needs no key."""
        return {
            "/health": self._alive,
            "/health/liveliness": self._alive,
            "/health/liveness": self._alive,
            "/health/readiness": self._readiness,
            "/version": self._version,
            "/openapi.json": self._openapi,
            "/docs": self._docs,
        }

    async def _alive(self, exchange: Exchange) -> None:
        await exchange.reply_json(200, {"status": "alive"})

    async def _version(self, exchange: Exchange) -> None:
        await exchange.reply_json(200, {"version": VERSION})

    async def _openapi(self, exchange: Exchange) -> None:
        await exchange.reply_json(200, openapi.document(VERSION))

    async def _docs(self, exchange: Exchange) -> None:
        html: Headers = [
            (b"content-type", b"text/html; charset=utf-8"),
            (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'"),
        ]
        await exchange.reply(200, openapi.page(VERSION).encode(), html)

    async def _chat(self, exchange: Exchange, parser: Parse, request_id: str, tenant: str) -> None:
        self.edge.counters["requests"] += 1
        body = await exchange.body(self.edge.settings.max_body_bytes)
        request = answer.parse(body, parser, request_id=request_id, tenant=tenant)
        if isinstance(request, Failure):
            await answer_failure(exchange, request)
            return
        if request.deadline_s is None:
            request = replace(request, deadline_s=self.edge.gateway.policy.deadline_s)
        if request.stream:
            await answer.stream(self.target, exchange, request)
        else:
            await answer.complete(self.target, exchange, request)

    async def _embeddings(self, exchange: Exchange, request_id: str) -> None:
        self.edge.counters["requests"] += 1
        parsed = parse_embed(answer.json_of(await exchange.body(self.edge.settings.max_body_bytes)))
        if isinstance(parsed, Failure):
            await answer_failure(exchange, parsed)
            return
        request, encoding = parsed
        deadline_s = self.edge.gateway.policy.deadline_s
        request = replace(request, request_id=request_id, deadline_s=deadline_s)
        embeddings = await exchange.unless_gone(self.target.embed(request))
        if isinstance(embeddings, Failure):
            await answer_failure(exchange, embeddings)
            return
        headers = answer.source_headers(embeddings.provider, embeddings.model) + answer.cost_headers(embeddings.cost)
        await exchange.reply_json(200, render_embeddings(embeddings, encoding=encoding), headers)

    async def _models(self, exchange: Exchange) -> None:
        models = await self.target.list_models()
        await exchange.reply_json(200, render_models(f"{info.provider}/{info.model}" for info in models))

    async def _model(self, exchange: Exchange, name: str) -> None:
        info = await self.target.model_info(name)
        if info is None:
            detail = f"no provider serves a model named {name[:200]!r}; GET /v1/models lists them"
            raise Refused(FailureKind.MODEL_NOT_FOUND, detail)
        await exchange.reply_json(200, render_models([f"{info.provider}/{info.model}"])["data"][0])

    async def _readiness(self, exchange: Exchange) -> None:
        """Ready once the settings have come and there is anyone to ask; asks nobody."""
        ready = self.edge.ready and bool(self.edge.gateway.policy.upstreams)
        await exchange.reply_json(200 if ready else 503, {"status": "ready" if ready else "no provider is configured"})

    def _admit(self, exchange: Exchange, method: str) -> str:
        """The caller's tenant. Raises `Refused`."""
        self._only(exchange, method)
        if not self.edge.settings.auth:
            return ""
        key = auth.presented(exchange)
        holder = auth.holder(key, self.edge.keys)
        if holder is None:
            said = "this key is not known here" if key else "no key was sent"
            detail = f"{said}; send a Raygate key as 'Authorization: Bearer rg-...' (raygate status says where it lies)"
            raise Refused(FailureKind.BAD_KEY, detail, code="invalid_api_key")
        return holder.tenant

    @staticmethod
    def _only(exchange: Exchange, method: str) -> None:
        if exchange.method != method and (exchange.method, method) != ("HEAD", "GET"):
            detail = f"{exchange.path} answers {method}, not {exchange.method}"
            allow = [(b"allow", b"GET, HEAD" if method == "GET" else method.encode())]
            raise Refused(FailureKind.BAD_REQUEST, detail, status=405, code="method_not_allowed", headers=allow)
