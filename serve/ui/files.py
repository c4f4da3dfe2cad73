"""The page's files, read once. All of them share one version, so that a browser keeps each for ever.

The page itself names the version; it is asked for anew each time, and answered with 304 while nothing has changed.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path

from serve.http import Exchange, Headers

FOLDER = Path(__file__).parent / "static"
INDEX = "index.html"
OPEN = "open.html"
"""The page where no key is asked for."""
VERSION, ASKS = b"{version}", b"{asks}"
"""What stands in the page for the version of its files, and for whether a key is asked for."""

TYPES = {
    ".html": b"text/html; charset=utf-8",
    ".js": b"text/javascript; charset=utf-8",
    ".css": b"text/css; charset=utf-8",
    ".svg": b"image/svg+xml",
    ".LICENSE": b"text/plain; charset=utf-8",
}

POLICY = "; ".join(
    (
        "default-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "object-src 'none'",
        # Nobody turns a string into HTML or a script here, and no file may begin to.
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
).encode()

SAFE: Headers = [
    (b"content-security-policy", POLICY),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
]

FOR_EVER = b"public, max-age=31536000, immutable"
ASK = b"no-cache"


@dataclass(frozen=True, slots=True)
class File:
    """`packed` is it with gzip."""

    body: bytes
    packed: bytes
    content_type: bytes
    etag: bytes


@dataclass(frozen=True, slots=True)
class Files:
    version: str
    of: dict[str, File]

    def page(self, *, asks: bool) -> File:
        """The page itself. `asks`: whether this Raygate wants a key, so that the page need not find out."""
        return self.of[INDEX] if asks else self.of[OPEN]


@cache
def files(folder: Path = FOLDER) -> Files:
    """All that lies in this folder, by its path there."""
    bodies = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix in TYPES
    }
    whole = sha256()
    for name, body in bodies.items():
        whole.update(f"{name}\0{len(body)}\0".encode())
        whole.update(body)
    version = whole.hexdigest()[:12]
    page = bodies[INDEX].replace(VERSION, version.encode())
    bodies[INDEX], bodies[OPEN] = page.replace(ASKS, b"yes"), page.replace(ASKS, b"no")
    return Files(version, {name: _file(name, body) for name, body in bodies.items()})


def _file(name: str, body: bytes) -> File:
    etag = f'"{sha256(body).hexdigest()[:16]}"'.encode()
    return File(body, gzip.compress(body, 9, mtime=0), TYPES[Path(name).suffix], etag)


async def send(exchange: Exchange, file: File, caching: bytes) -> None:
    head: Headers = [*SAFE, (b"cache-control", caching), (b"etag", file.etag), (b"vary", b"accept-encoding")]
    if file.etag.decode() in exchange.header(b"if-none-match"):
        await exchange.start(304, head)
        await exchange.write(b"", more=False)
        return
    packs = "gzip" in exchange.header(b"accept-encoding")
    body = file.packed if packs else file.body
    head.append((b"content-type", file.content_type))
    if packs:
        head.append((b"content-encoding", b"gzip"))
    if exchange.method == "HEAD":
        await exchange.start(200, [*head, (b"content-length", b"%d" % len(body))])
        await exchange.write(b"", more=False)
        return
    await exchange.reply(200, body, head)
