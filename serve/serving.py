"""Our application on Ray Serve, started beside whatever else starts: `raygate up` waits for the longest, not for all.

raygate up      reads modules │ Ray starts │ manager: starts, takes its settings ─┐
                                           │ Serve: controller, proxies, replicas ┴─► ready
"""

from __future__ import annotations

from concurrent.futures import Future
from concurrent.futures import wait as wait_for
from contextlib import suppress
from importlib import import_module
from threading import Thread

from runtime.settings import Settings

APPLICATION = "raygate"
OVER_S = 20.0
"""How long a start that is of no use any more is waited for: to leave Ray beneath it could crash this process."""


def read_ahead() -> Thread:
    """Read Ray's and Serve's modules, which takes as long as starting Ray and needs none of it."""

    def read() -> None:
        # What cannot be read is told of by whoever needs it.
        with suppress(ImportError):
            import_module("ray.serve")
            import_module("serve.deploy")

    reading = Thread(target=read, daemon=True)
    reading.start()
    return reading


def serving_at(settings: Settings, port: int) -> Future[None]:
    """Start Serve and our application, in a thread: done once its replicas are there, failed with what kept them."""
    done: Future[None] = Future()

    def work() -> None:
        try:
            _serve(settings, port)
        except BaseException as error:  # whoever waits hears of it, whatever it is
            done.set_exception(error)
        else:
            done.set_result(None)

    Thread(target=work, daemon=True).start()
    return done


def over(serving: Future[None] | None) -> None:
    """Wait for a start of which nobody wants the end."""
    if serving is not None:
        wait_for((serving,), OVER_S)


def _serve(settings: Settings, port: int) -> None:
    from ray import serve as ray_serve

    from serve.deploy import deployment

    quiet()
    ray_serve.start(proxy_location="EveryNode", http_options={"host": settings.host, "port": port})
    application = deployment(replicas=settings.replicas, autoscale=settings.autoscale)
    ray_serve.run(application, name=APPLICATION, route_prefix="/")


def quiet() -> None:
    """Serve's own log goes to its files; here only what is wrong is said."""
    import logging

    logging.getLogger("ray.serve").setLevel(logging.WARNING)
