"""One private Raygate and the fake provider behind it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import httpx

from tests.clients.upstream import FakeProvider

RAYGATE = Path(sys.executable).parent / "raygate"
UP_S = 120.0
MAX_BODY_BYTES = 1_000_000
SLOTS = 2
"""Clients at once."""

PRICE = {"input": "1", "output": "2", "cached_input": "0.5"}


@dataclass(frozen=True, slots=True)
class Stack:
    """Where the two of them are."""

    url: str
    key: str
    fake_url: str


def settings(fake_url: str, *, data_path: str) -> dict[str, Any]:
    """`fake` and `claude` are the same provider in two APIs' words.

    A throttle shuts a provider for everybody, so each client that runs has a `busy-N` to be throttled by, and a
    `hasty-N`, which has one try and two seconds.
    """
    # Without a key of its own: one that a client's 401 shuts would be shut for the next client, too.
    openai = {"kind": "custom", "base_url": f"{fake_url}/v1", "price": PRICE}
    return {
        "port": 0,
        "data_path": data_path,
        "max_body_bytes": MAX_BODY_BYTES,
        "local": {"enabled": False},
        "providers": {
            "fake": openai,
            "claude": {"kind": "anthropic", "base_url": fake_url, "api_key": "sk-fake-of-claude", "price": PRICE},
            **{f"busy-{slot}": openai for slot in range(SLOTS)},
            **{f"hasty-{slot}": {**openai, "retry_attempts": 1, "timeout_s": 2.0} for slot in range(SLOTS)},
        },
        "timeouts": {"first_byte_s": 20.0, "between_s": 10.0, "total_s": 60.0},
        "retry": {"per_provider": 2, "base_s": 0.01, "cap_s": 0.05, "budget_ratio": 1.0},
        # One client's failures must not shut the provider for the next one.
        "breaker": {"failures": 100_000},
    }


@asynccontextmanager
async def running(*, data_path: str) -> AsyncGenerator[Stack]:
    """Both, until the block ends; nothing of them is left then."""
    with tempfile.TemporaryDirectory(prefix="raygate-clients-") as folder:
        async with FakeProvider() as fake:
            config = Path(folder) / "raygate.json"
            config.write_text(json.dumps(settings(fake.url, data_path=data_path)))
            env = {**environment(), "RAYGATE_STATE_DIR": str(Path(folder) / "state")}
            try:
                up = json.loads(await _raygate("up", "-c", str(config), "--json", env=env))
                stack = Stack(url=up["url"], key=up["key"], fake_url=fake.url)
                async with asyncio.TaskGroup() as group:
                    pulse = group.create_task(_pulse(stack))
                    yield stack
                    pulse.cancel()
            finally:
                await _raygate("down", env=env)


async def _pulse(stack: Stack) -> None:
    """Calls that succeed: a provider that did nothing but fail, as the clients have it, would be shut for them all."""
    headers = {"authorization": f"Bearer {stack.key}"}
    async with httpx.AsyncClient(base_url=stack.url, headers=headers, timeout=60, trust_env=False) as client:
        for provider in cycle(("fake", "claude")):
            body = {"model": f"{provider}/say.pulse", "messages": [{"role": "user", "content": "Well?"}]}
            with suppress(httpx.HTTPError):
                await client.post("/v1/chat/completions", json=body)
            await asyncio.sleep(0.05)


def environment() -> dict[str, str]:
    """Nothing of ours but what a program needs to start: no proxy, no keys, no settings."""
    return {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}


async def _raygate(*arguments: str, env: Mapping[str, str]) -> bytes:
    process = await asyncio.create_subprocess_exec(
        RAYGATE, *arguments, env=env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), UP_S)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise RuntimeError(f"raygate {arguments[0]} took longer than {UP_S:g} s") from None
    if process.returncode != 0:
        raise RuntimeError(f"raygate {arguments[0]} failed: {(out + err).decode()[-2000:]}")
    return out
