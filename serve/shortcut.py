"""Requests go from the HTTP server of a replica straight to our application, past what Serve does for each of them.

    uvicorn ─► Shortcut ─┬─► GatewayApp.straight          as soon as a replica of ours has started in this process
                         └─► Serve's own way ─► GatewayApp   its own paths (/-/…), WebSockets, a limit of Serve's own

Serve's own way puts two tasks, a queue, a request context, a line of its access log and six of its metrics around each
request, which cost more than all that we do for it. What of that is needed here is done here: watching for a client
that leaves (`Exchange.unless_gone`), limits of requests at once (`runtime.admission`), the request's id. Draining
waits for requests all the same: uvicorn ends only after the last of them.

From there on the application talks to the HTTP server itself where that is one that we know (`serve.line`).

Serve finds us by `RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH`, its own way to put middleware around an HTTP server; in a
process without a replica of ours (Serve's proxies) everything goes Serve's own way.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

from serve.accepting import take_bursts
from serve.http import LINE
from serve.line import config_of, line_of

CALLBACK = "serve.shortcut:middlewares"

TIME_LIMIT = b"x-request-timeout-seconds"
"""Serve's own limit for one request; whoever asks for it gets it."""

_Call = Callable[[Any, Any, Any], Awaitable[None]]


class Shortcut:
    """ASGI middleware, outside of all that is Serve's. `way` says where requests go; where that is None, Serve's own
    way. One for the process, as Serve makes us."""

    way: ClassVar[Callable[[], _Call | None]] = staticmethod(lambda: None)

    def __init__(self, app: _Call) -> None:
        self._app = app
        self._heard = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if not self._heard:
            self._heard = True
            if (config := config_of(send)) is not None:
                take_bursts(config)
        if (
            scope["type"] == "http"
            and (call := Shortcut.way()) is not None
            and not scope["path"].startswith("/-/")
            and not any(name == TIME_LIMIT for name, _ in scope["headers"])
        ):
            scope[LINE] = line_of(scope, send)
            await call(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def middlewares() -> list[Any]:
    """What Serve asks for."""
    from starlette.middleware import Middleware

    return [Middleware(Shortcut)]
