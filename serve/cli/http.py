"""Calling a Raygate over HTTP, and what to say when that fails."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx

from serve.cli.errors import BAD_INPUT, FAILED, Ended
from serve.cli.place import Target
from serve.cli.screen import harmless, program, waiting

PATIENCE = httpx.Timeout(600.0, connect=5.0)
LOOPBACK = frozenset(("127.0.0.1", "localhost", "::1"))


@contextmanager
def client(target: Target) -> Iterator[httpx.Client]:
    """A client for this Raygate. What goes wrong on the wire inside the block is raised as `Ended`."""
    try:
        url = httpx.URL(target.url)
    except (httpx.InvalidURL, ValueError):
        raise Ended(f"{target.url!r} is not a URL") from None
    if url.scheme not in ("http", "https") or not url.host or (url.port or 0) > 65_535:
        raise Ended(f"{target.url!r} is not a URL; it should look like http://127.0.0.1:8000")
    try:
        with httpx.Client(
            base_url=url,
            headers={"authorization": f"Bearer {target.key}"} if target.key else {},
            timeout=PATIENCE,
            verify=url.scheme == "https",  # loading certificates takes longer than an answer
            trust_env=url.host not in LOOPBACK,  # a proxy cannot reach this machine's own loopback
        ) as opened:
            yield opened
    except httpx.ConnectError:
        raise Ended(f"nobody answers at {target.url}; `{program()} status` says what runs here") from None
    except httpx.TimeoutException:
        raise Ended(f"{target.url} did not answer in time", FAILED) from None
    except httpx.TransportError as error:
        raise Ended(f"the connection to {target.url} broke off ({type(error).__name__})", FAILED) from None


def refusal(target: Target, reply: httpx.Response) -> Ended:
    """Why this answer is no answer. The reply must have been read."""
    try:
        said = harmless(str(reply.json()["error"]["message"])).replace("\n", " ")
    except (ValueError, KeyError, TypeError):
        return Ended(f"{target.url} answers {reply.status_code}, but not as Raygate would; is this the right address?")
    if reply.status_code == 401:
        source = f" (it came from {target.key_from})" if target.key_from else ""
        return Ended(f"{target.url} refuses the key{source}: {said}")
    return Ended(said, BAD_INPUT if reply.status_code < 500 and reply.status_code != 429 else FAILED)


def body_of(target: Target, reply: httpx.Response) -> Any:
    """The JSON of a good answer. Raises `Ended` for any other."""
    if reply.status_code != 200:
        raise refusal(target, reply)
    try:
        return reply.json()
    except ValueError:
        raise Ended(f"{target.url} does not answer in JSON; is this the right address?") from None


def download(target: Target, path: str, query: Mapping[str, str], file: Path, *, what: str) -> int:
    """The answer as a file, which is there once it is whole; the number of its bytes. Raises `Ended`.

    `what` is said on the screen while it comes.
    """
    part = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with (
            part.open("wb") as out,
            waiting(what),
            client(target) as opened,
            opened.stream("GET", path, params=query) as reply,
        ):
            if reply.status_code != 200:
                reply.read()
                raise refusal(target, reply)
            size = sum(out.write(piece) for piece in reply.iter_bytes())
        part.replace(file)
    except OSError as error:
        raise Ended(f"{file} cannot be written: {error.strerror}", FAILED) from None
    finally:
        with suppress(OSError):
            part.unlink()
    return size
