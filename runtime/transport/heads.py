"""Where a request goes, and its head, in bytes. What stays the same from call to call is put together once.

Everything that HTTP cannot carry is a `ValueError` with a sentence that names no header's value and no address: some
providers make a place for keys of them.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import quote, unquote, urlsplit

from runtime.dialects.base import HttpCall

PORTS = {"http": 80, "https": 443}

USUAL = {"accept": "*/*", "accept-encoding": "gzip, deflate", "user-agent": "raygate"}
"""Said of every call that does not say otherwise."""

_OURS = frozenset({"content-length", "transfer-encoding", "connection", "host"})
"""What the message itself decides."""

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_PATH = "/%:@!$&'()*+,;=~-._"
_QUERY = _PATH + "?"


class Place(NamedTuple):
    """Whom a connection is to."""

    host: str
    port: int
    tls: bool


@lru_cache(maxsize=256)
def place_of(url: str) -> Place:
    return _split(url)[0]


def head_of(call: HttpCall) -> bytes:
    """The request line and all headers, with the empty line behind them."""
    first = _first(call.method, call.url)
    headers = call.headers
    said = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    if said.count("\r") != len(headers) or said.count("\n") != len(headers) or "\0" in said:
        raise ValueError("a header holds what HTTP cannot carry; remove line ends from keys and headers")
    more = _more(tuple(headers))
    if more.left_out:
        said = "".join([f"{name}: {value}\r\n" for name, value in headers.items() if name not in more.left_out])
    length = f"Content-Length: {len(call.body)}\r\n\r\n" if call.body or call.method != "GET" else "\r\n"
    return f"{first}{more.usual}{said}{length}".encode("utf-8", "surrogateescape")


class _More(NamedTuple):
    usual: str
    left_out: frozenset[str]


@lru_cache(maxsize=256)
def _more(names: Iterable[str]) -> _More:
    """What is said beside headers of these names, and which of them are not for callers to say."""
    lower = {name: name.lower() for name in names}
    if not all(_TOKEN.fullmatch(name) for name in names):
        raise ValueError("a header's name holds what HTTP cannot carry")
    usual = "".join(f"{name.title()}: {value}\r\n" for name, value in USUAL.items() if name not in lower.values())
    return _More(usual, frozenset(name for name, plain in lower.items() if plain in _OURS))


@lru_cache(maxsize=256)
def _first(method: str, url: str) -> str:
    """The request line and what the address alone decides."""
    place, target, login = _split(url)
    host = f"[{place.host}]" if ":" in place.host else place.host
    port = "" if place.port == PORTS["https" if place.tls else "http"] else f":{place.port}"
    authorization = f"Authorization: Basic {login}\r\n" if login else ""
    return f"{method} {target} HTTP/1.1\r\nHost: {host}{port}\r\n{authorization}"


def _split(url: str) -> tuple[Place, str, str]:
    """Place, target, and the login in the address, if there is one."""
    try:
        parts = urlsplit(url)
        port = parts.port
        host = parts.hostname or ""
        if not host.isascii():
            host = host.encode("idna").decode("ascii")
    except ValueError:
        raise ValueError("the provider's address is none; put a whole http(s) URL into base_url") from None
    if parts.scheme not in PORTS or not host or _TOKEN.fullmatch(host.replace(":", "")) is None:
        raise ValueError("the provider's address is none; put a whole http(s) URL into base_url")
    target = quote(parts.path or "/", safe=_PATH)
    if parts.query:
        target += "?" + quote(parts.query, safe=_QUERY)
    login = ""
    if parts.username is not None:
        login = b64encode(f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()).decode()
    tls = parts.scheme == "https"
    return Place(host, PORTS[parts.scheme] if port is None else port, tls), target, login
