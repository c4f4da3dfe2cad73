"""Logs of our own processes: JSON lines on standard error, which Ray keeps in a file for each of them.

`RAYGATE_LOG_LEVEL` (info) says how much, `RAYGATE_LOG_CONTENT=1` that errors may quote what they were given. In a
process that is not ours, a notebook say, logging stays as its owner has set it up.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping

from runtime.log_lines import Lines

LEVEL, CONTENT = "RAYGATE_LOG_LEVEL", "RAYGATE_LOG_CONTENT"
ROOT = "raygate"
LEVELS = ("debug", "info", "warning", "error", "critical")


def begin(process: str, env: Mapping[str, str]) -> None:
    """Write lines from now on, if this is an actor's process. Again is no harm."""
    import ray

    if not ray.is_initialized() or ray.get_runtime_context().get_actor_id() is None:
        return
    _set_up(logging.getLogger(ROOT), process, env)


def _set_up(logger: logging.Logger, process: str, env: Mapping[str, str]) -> None:
    for handler in list(logger.handlers):
        if isinstance(handler.formatter, Lines):
            logger.removeHandler(handler)
    wanted = env.get(LEVEL, "").strip().lower()
    # Serve puts a text of its own before whatever is written to the replaced one.
    handler = logging.StreamHandler(sys.__stderr__)
    handler.setFormatter(Lines(process, content=env.get(CONTENT) == "1"))
    logger.addHandler(handler)
    logger.setLevel((wanted if wanted in LEVELS else "info").upper())
    logger.propagate = False
