"""The HTTP surface: which path leads where, and who may go there.

    authenticate ─► read the body ─► room for it? ─► parse ─► a place ─► Gateway (or the manager's actor) ─► render

Raw ASGI. Every error, also one of our own, is in the envelope of the API that was asked, with one sentence that says
what to do.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
from collections.abc import Awaitable, Callable

from actors.clock import monotonic
from actors.edge import Edge
from actors.refs import Unreachable
from runtime.admission import Admission
from runtime.admitted import Admitted, Calls
from runtime.assemble import Places
from runtime.dialects.ollama.generate import asks_to_load, render_loaded
from runtime.dialects.ollama.render import Shape
from runtime.outcome import Failure, FailureKind
from runtime.provider import Provider
from runtime.request import Json
from serve import admin, answer, repeats, traced
from serve.asked import Asked, no_such_model
from serve.auth import Caller, caller_of
from serve.endpoints import CHATS, RUVLLM, Chat, route_of, surface_of, with_betas
from serve.errors import Refused, answer_failure
from serve.http import ClientGone, Exchange, Receive, Scope, Send, TooLarge
from serve.metered import Metered
from serve.ruvllm import InSession
from serve.ui.page import Page, is_ours, needs_key

log = logging.getLogger("raygate.http")


class GatewayApp:
    """The ASGI application of one replica. `open_edge` is called once, when the replica starts."""

    def __init__(self, open_edge: Callable[[], Awaitable[Edge]]) -> None:
        self._open_edge = open_edge
        self._edge: Edge | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._page = Page()
        self._places = Places(monotonic, random.Random(), on_change=self._count)

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

    @property
    def admission(self) -> Admission:
        """This replica's queue for places, under the settings of this moment."""
        return self._places.under(self.edge.settings.admission)

    def _count(self, queue: Admission) -> None:
        """The manager hears of it with the next report."""
        counters = self.edge.counters
        counters["waiting"], counters["waited"], counters["shed"] = queue.queued, queue.waited, queue.shed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._answer(Exchange(scope, receive, send))
        elif scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": "there is no WebSocket here"})

    def way(self) -> Callable[[Scope, Receive, Send], Awaitable[None]] | None:
        """Where an HTTP server of this process may send its requests past Serve; None where it may not."""
        return self.straight if self._loop is not None and self._loop is asyncio.get_running_loop() else None

    async def straight(self, scope: Scope, receive: Receive, send: Send) -> None:
        """An HTTP request around which Serve puts nothing."""
        exchange = Exchange(scope, receive, send)
        exchange.alone = True
        await self._answer(exchange)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            self._edge = await self._open_edge()
            self._loop = asyncio.get_running_loop()
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
        exchange.request_id = request_id
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
        finally:
            if (came_at := exchange.came_at) is not None:
                now, operation = monotonic(), exchange.operation
                self.edge.meter.served(
                    exchange.surface.name, exchange.model, exchange.outcome, now - came_at, operation=operation
                )
                if exchange.traced is not None:
                    traced.ended(exchange, self.edge, came_at, now)

    async def _route(self, exchange: Exchange, request_id: str) -> None:
        path = exchange.path.removeprefix("/v1").rstrip("/")
        if path.startswith(admin.PREFIX + "/"):
            await admin.answer(self._asked(exchange, path, request_id, await caller_of(exchange, self.edge)))
        elif is_ours(path):
            caller = await caller_of(exchange, self.edge) if needs_key(path) else Caller()
            await self._page.answer(self._asked(exchange, path, request_id, caller))
        elif (chat := CHATS.get(path)) is not None:
            exchange.surface = chat.surface
            self._only(exchange, "POST")
            exchange.came_at = monotonic()
            await self._chat(exchange, chat, request_id, await caller_of(exchange, self.edge))
        elif (route := route_of(path, exchange)) is not None:
            exchange.surface = route.surface
            self._only(exchange, route.method)
            if route.operation:
                exchange.came_at, exchange.operation = monotonic(), route.operation
            caller = await caller_of(exchange, self.edge) if route.key else Caller()
            await route.handle(self._asked(exchange, path, request_id, caller))
        else:
            exchange.surface = surface_of(path, exchange)
            detail = f"there is nothing at {exchange.path[:200]}; GET /docs lists what there is"
            raise Refused(FailureKind.BAD_REQUEST, detail, status=404, code="unknown_url")

    def _asked(self, exchange: Exchange, path: str, request_id: str, caller: Caller) -> Asked:
        calls = self._within_limits(exchange, Admitted(self.target, self.admission), caller)
        return Asked(
            exchange, self.edge, self.target, path, request_id, caller=caller, admission=self.admission, calls=calls
        )

    async def _chat(self, exchange: Exchange, chat: Chat, request_id: str, caller: Caller) -> None:
        self.edge.counters["requests"] += 1
        body = await exchange.body(self.edge.settings.max_body_bytes)
        admission = self.admission
        # Whoever has to go anyway is told so before any work is done for him.
        if (shed := admission.refuses(caller.tenant)) is not None:
            await answer_failure(exchange, shed.failure())
            return
        sent = None if chat.surface is RUVLLM else repeats.sent_by(exchange, body, self.edge, caller)
        if sent is not None and await repeats.answered(exchange, self.edge, sent, request_id, caller):
            return
        said = answer.json_of(body)
        if chat.loads is not None and (model := asks_to_load(said)) is not None:
            await self._load(exchange, said, model, chat.loads)
            return
        usual_s = self.edge.gateway.policy.deadline_s
        said = with_betas(said, exchange)
        request = answer.parse(said, chat.parse, request_id=request_id, caller=caller, deadline_s=usual_s)
        if isinstance(request, Failure):
            await answer_failure(exchange, request)
            return
        exchange.model = request.model
        request = answer.controlled(request, exchange)
        request = traced.begun(exchange, self.edge, request)
        target = self._within_limits(exchange, Admitted(self.target, admission), caller)
        if chat.surface is RUVLLM and self.edge.settings.learning.enabled:
            target = InSession(target, self.edge.learning, caller)
        if request.stream:
            await answer.stream(target, exchange, request)
        else:
            await answer.complete(target, exchange, request)
            if sent is not None:
                repeats.remember(exchange, self.edge, sent, request, size=len(body))

    def _within_limits(self, exchange: Exchange, calls: Calls, caller: Caller) -> Calls:
        """The calls within this caller's rates, if he has any; the answer tells him what is left."""
        if caller.pass_ is None or not self.edge.till.has_rates(caller.pass_):
            return calls
        metered = Metered(calls, self.edge.till, caller.pass_)
        exchange.more_headers = metered.headers
        return metered

    async def _load(self, exchange: Exchange, body: Json, model: str, shape: Shape) -> None:
        """Ollama's clients load a model before they ask it anything; here it only has to be one that we know."""
        if await self.target.model_info(model) is None:
            raise no_such_model(model)
        await exchange.reply_json(200, render_loaded(body, model, shape))

    @staticmethod
    def _only(exchange: Exchange, method: str) -> None:
        if exchange.method != method and (exchange.method, method) != ("HEAD", "GET"):
            detail = f"{exchange.path} answers {method}, not {exchange.method}"
            allow = [(b"allow", b"GET, HEAD" if method == "GET" else method.encode())]
            raise Refused(FailureKind.BAD_REQUEST, detail, status=405, code="method_not_allowed", headers=allow)
