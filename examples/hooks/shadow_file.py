"""Writes prompts down where a route is to be evaluated later: slow work, so it is async and uses a thread.

hooks:
  - redact
  - use: shadow_file:ShadowFile
    with: {path: /var/lib/raygate/shadow.jsonl, share: 0.1}
    timeout_s: 0.25
"""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import Mapping
from pathlib import Path

from runtime.hooks import After


class ShadowFile:
    def __init__(self, *, path: str, share: float = 1.0) -> None:
        if not 0 <= share <= 1:
            raise ValueError("`share` should be from 0 to 1")
        self._path = Path(path)
        self._share = share
        self._written = 0

    async def post(self, given: After) -> None:
        """By the request's id, so that all replicas choose alike."""
        request = given.request
        if zlib.crc32(request.request_id.encode()) / 2**32 >= self._share:
            return
        prompt = [{"role": one.role, "text": one.text} for one in request.messages]
        line = json.dumps({"id": request.request_id, "prompt": prompt, "answer": given.completion.text})
        await asyncio.to_thread(self._write, line)
        self._written += 1

    def metrics(self) -> Mapping[str, float]:
        return {"written": float(self._written)}

    def _write(self, line: str) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
